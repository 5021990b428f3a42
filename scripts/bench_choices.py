"""The small choices of the hot path, each beside the way not taken. Printed: µs for one, the median of five rounds.

    python scripts/bench_choices.py

- An event is made for every message: msgspec's struct beside a frozen dataclass, both with the same check.
- A depth update of 100 levels as checked numbers: decoded typed, beside texts by orjson turned into numbers. What a
  second decoding for the texts alone costs is why only a book with a view in delta mode has one.
- A book side takes 50 changes among 1,000 levels: only the best kept sorted, beside all of them.
- A count on the way of a message: an addition read when somebody asks, beside Prometheus's own counter.
- A command that stores ten events in Redis, packed by us and by redis-py.
"""

import statistics
import timeit
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import orjson
from bench_ingest import binance_depth
from prometheus_client import Counter
from redis.asyncio import Connection

from exchanges.binance.parse import FUTURES_DEPTH, texts
from exchanges.book import BookSide
from exchanges.events import Trade
from topics.place import bulks
from topics.tally import Tally

ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DataclassTrade:
    """``Trade`` as a frozen dataclass."""

    id: str
    timestamp_ms: int
    taker_side: str
    price: float
    amount: float
    cost: float
    raw: Any

    def __post_init__(self) -> None:
        if not (0.0 < self.price < inf and 0.0 < self.amount < inf):
            raise ValueError("not a trade")


class SortedSide:
    """``BookSide`` with every price kept in order."""

    def __init__(self, levels: list[tuple[float, float]]) -> None:
        self.amounts = dict(levels)
        self.prices = sorted(self.amounts)

    def apply(self, levels: list[tuple[float, float]]) -> None:
        for price, amount in levels:
            if amount:
                if price not in self.amounts:
                    insort(self.prices, price)
                self.amounts[price] = amount
            elif price in self.amounts:
                del self.amounts[price]
                del self.prices[bisect_left(self.prices, price)]


def make(kind: Callable[..., object]) -> object:
    return kind(id="1", timestamp_ms=1, taker_side="buy", price=1.0, amount=1.0, cost=1.0, raw=None)


def typed(messages: list[bytes]) -> None:
    for raw in messages:
        FUTURES_DEPTH.decode(raw)


def by_hand(messages: list[bytes]) -> None:
    for raw in messages:
        data = orjson.loads(raw)["data"]
        for side in (data["b"], data["a"]):
            levels = [(float(price), float(amount)) for price, amount in side]
            if not all(0.0 < price < inf and 0.0 <= amount < inf for price, amount in levels):
                raise ValueError("not levels")


def feed(side: BookSide | SortedSide, updates: list[list[tuple[float, float]]]) -> None:
    for levels in updates:
        side.apply(levels)


def tallied(times: int) -> None:
    tally = Tally()
    for _ in range(times):
        tally.count += 1


def counted(times: int) -> None:
    counter = Counter("bench", "Nothing", ["label"], registry=None).labels("")
    for _ in range(times):
        counter.inc()


def by_the_library(parts: list[bytes], times: int) -> None:
    packer = Connection()
    for _ in range(times):
        packer.pack_command(*parts)


def by_us(parts: list[bytes], times: int) -> None:
    for _ in range(times):
        bulks(*parts)


def microseconds(work: Callable[[], object], count: int) -> float:
    """For one of ``count`` that ``work`` does at once."""
    return statistics.median(timeit.repeat(work, number=1, repeat=ROUNDS)) / count * 1e6


def main() -> None:
    messages = list(binance_depth())
    updates = [FUTURES_DEPTH.decode(raw).data.a for raw in messages]
    start = [(68_400 + tick * 0.1, 1.25) for tick in range(1, 1_001)]
    many = range(100_000)
    command = [
        b"EVALSHA",
        *(b"x" * size for size in (40, 2, *([80] * 30), *([50, 660] * 10))),
    ]  # ten events of ten feeds
    rows = (
        ("event: msgspec struct", microseconds(lambda: [make(Trade) for _ in many], len(many))),
        ("event: frozen dataclass", microseconds(lambda: [make(DataclassTrade) for _ in many], len(many))),
        ("100 levels: typed", microseconds(lambda: typed(messages), len(messages))),
        ("100 levels: orjson and float", microseconds(lambda: by_hand(messages), len(messages))),
        ("100 levels: their texts", microseconds(lambda: [texts(raw) for raw in messages], len(messages))),
        (
            "50 changes: best kept sorted",
            microseconds(lambda: feed(BookSide(start, is_bid=False), updates), len(updates)),
        ),
        ("50 changes: all kept sorted", microseconds(lambda: feed(SortedSide(start), updates), len(updates))),
        ("count: tally", microseconds(lambda: tallied(len(many)), len(many))),
        ("count: prometheus_client", microseconds(lambda: counted(len(many)), len(many))),
        ("10 events for Redis: packed by us", microseconds(lambda: by_us(command, 1_000), 1_000)),
        ("10 events for Redis: by redis-py", microseconds(lambda: by_the_library(command, 1_000), 1_000)),
    )
    for name, cost in rows:
        print(f"{name:36}{cost:8.2f} µs")


if __name__ == "__main__":
    main()
