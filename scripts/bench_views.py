"""What the views of one book cost: µs of one core for a Binance update of 100 levels, by who watches the book.

    python scripts/bench_ingest.py     prints this after its own table

An update goes the whole way: bytes → event → book → views → frames → one subscriber of each view. Time is the venue's:
ten updates a second, which is what a throttle is measured against. Rounds of all cases take turns; the median counts.

What it decided: numbers stay the book's levels and texts are kept beside them only while a view in delta mode is
watched. Texts double the reading of a message; a book without such a view must not pay for them.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from exchanges.binance import parse
from exchanges.book import BookSync
from topics.books import MAX_VIEWS, Books
from topics.key import Cursor, TopicKey
from topics.tick import Tick
from topics.topic import Topic

ROUNDS = 3
START_MS = 1_795_000_000_000
INTERVAL = 0.1  # seconds between two updates
DEPTHS = (5, 10, 20, 50, 100)
DELTA, THROTTLED = {"mode": "delta"}, {"throttleMs": 500}

Params = dict[str, Any]
TEN_DELTAS = [{"levels": levels, **DELTA, **more} for levels in DEPTHS for more in ({}, THROTTLED)]
CASES: dict[str, Sequence[Params]] = {
    "nobody": [],
    "1 full view of 20": [{"levels": 20}],
    "1 delta view of 20": [{"levels": 20, **DELTA}],
    "10 delta views, 5 to 100": TEN_DELTAS,
    "1 full view of 20, throttled": [{"levels": 20, **THROTTLED}],
    "16 views, 5 to 200": [*TEN_DELTAS, *({"levels": levels} for levels in (*DEPTHS, 200))],
    "1 full view of 1000": [{"levels": 1000}],
    "1 delta view of 1000": [{"levels": 1000, **DELTA}],
}


class Client:
    """Implements ``topics.subscriber.Subscriber``."""

    extended = True
    deflated = stopped = False

    def __init__(self) -> None:
        self.received = 0  # bytes

    def write(self, frames: bytes) -> None:
        self.received += len(frames)

    def broke(self, error: Exception) -> None:
        raise error

    def failed(self, key: TopicKey, error: Exception, *, gone: bool) -> None:
        raise error


class Due:
    """A callback and when it is called; itself the handle to cancel it by."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when, self.callback = when, callback

    def cancel(self) -> None:
        self.callback = lambda: None


class Loop:
    """As much of an event loop as a book needs, moved on by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[Due] = []
        self._soon: list[Callable[[], object]] = []
        self.tick = Tick(self, clock=self.time)

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        self.call_at(self.now + delay, callback)

    def call_at(self, when: float, callback: Callable[[], object]) -> Due:
        self._due.append(Due(when, callback))
        return self._due[-1]

    def turn(self) -> None:
        self.now += INTERVAL
        due, self._due = [d for d in self._due if d.when <= self.now], [d for d in self._due if d.when > self.now]
        for one in due:
            one.callback()
        while self._soon:
            self._soon.pop()()


def book_of(params: Sequence[Params], snapshot: object) -> Callable[[bytes], None]:
    """What takes one message all the way, with a subscriber to each of the views ``params``."""
    loop, cursor = Loop(), Cursor(START_MS, 0)
    books = Books(lambda key: Topic(key, loop.tick, clock_ms=lambda: START_MS), timers=lambda: loop)
    for one in params:
        assert len(params) <= MAX_VIEWS + 1
        key = TopicKey("binance", "orderbook", "BTC/USDT:USDT", tuple(sorted(one.items())))
        books.topic(key).fanout.add(Client())
    sync = BookSync(texts=parse.texts if books.exact else None)
    sync.on_snapshot(parse.book(snapshot))

    def work(raw: bytes) -> None:
        nonlocal cursor
        _, (event,) = parse.futures(raw)
        book = sync.on_delta(event)
        cursor = cursor.next()
        books.accept([book])
        books.publish(cursor, START_MS)
        loop.turn()

    return work


def measure(messages: Sequence[bytes], snapshot: object, *, seconds: float) -> dict[str, float]:
    """µs for one message, by case, and by nothing but the reading of the message and the book."""
    rounds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):
        for name, params in CASES.items():
            done, spent = 0, 0.0
            while spent < seconds:
                work = book_of(params, snapshot)
                begin = time.process_time()
                for raw in messages:
                    work(raw)
                spent += time.process_time() - begin
                done += len(messages)
            rounds[name].append(spent / done * 1e6)
    return {name: statistics.median(costs) for name, costs in rounds.items()}


def report(messages: Callable[[], Sequence[bytes]], snapshot: object, *, seconds: float) -> None:
    random.seed(1)
    costs = measure(list(messages()), snapshot, seconds=seconds)
    print(f"\n{'who watches a book':32}{'µs an update':>14}{'ratio':>8}")
    for name, cost in costs.items():
        print(f"{name:32}{cost:>14.1f}{cost / costs['1 full view of 20']:>8.2f}")
