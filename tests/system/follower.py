"""A client that follows topics and checks everything it is sent against the contract. Imports nothing of the product.

``invariants.py`` knows what must be true of one channel's frames; this is the connection: acks before data, statuses
that follow each other, times that can be, and types that were asked for. What is wrong is kept in ``Findings``.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.system.invariants import Books, Candles, Frame, Trades

BASE_TYPES = {
    "subscribed", "alreadySubscribed", "unsubscribed", "trades", "orderbook", "ohlcv", "pong", "warning", "error",
}  # fmt: skip
TYPES = BASE_TYPES | {
    "hello", "heartbeat", "status", "gap", "goaway", "caughtUp", "paused", "resumed", "batch", "subscriptions",
}  # fmt: skip
STATES = {"connecting", "live", "stale", "reconnecting", "resyncing", "unavailable"}
UNPROVEN = {"connecting", "reconnecting", "resyncing", "unavailable"}  # states in which no book may be shown
DENSE = {"binance"}  # venues whose trade ids rise by one
LATE_MS = 5_000  # how old a frame may be when it comes; this machine is shared
PATIENCE = 20.0  # seconds for any one frame that is waited for
MAX_EVIDENCE = 3  # of each kind of finding on a topic
TEXT = 400  # characters of one piece of evidence


class Wanted(NamedTuple):
    """One topic, as a client asks for it."""

    channel: str
    exchange: str
    symbol: str
    params: tuple[tuple[str, Any], ...] = ()

    @property
    def command(self) -> Frame:
        return {"channel": self.channel, "exchange": self.exchange, "symbol": self.symbol, "params": dict(self.params)}


@dataclass(slots=True)
class Findings:
    """What was wrong: how often, and the first evidence of each kind and topic."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    evidence: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def add(self, what: str, topic: str, evidence: object) -> None:
        self.counts[what, topic] += 1
        kept = self.evidence.setdefault((what, topic), [])
        if len(kept) < MAX_EVIDENCE:
            kept.append(f"{time.strftime('%H:%M:%S')} {evidence}"[:TEXT])

    def lines(self) -> list[str]:
        return [
            f"{what}: {topic}: {count} times: {' | '.join(self.evidence[what, topic])}"
            for (what, topic), count in sorted(self.counts.items())
        ]


class Change(NamedTuple):
    """A status frame. ``at`` is when it came, ``since`` when it became so by the gateway's clock; both in ms."""

    at: float
    since: int
    state: str
    previous: str
    reason: str

    def retells(self, other: "Change") -> bool:
        return (self.since, self.state, self.previous) == (other.since, other.state, other.previous)


@dataclass(slots=True)
class Followed:
    """One topic and everything that is known of it."""

    name: str
    wanted: Wanted
    content: Trades | Candles | Books
    state: str
    changes: list[Change] = field(default_factory=list)
    frames: int = 0
    data_at: float = 0.0  # when the last data frame came, ms
    latencies: list[float] = field(default_factory=list)  # ms from a change of state to its status frame


def now_ms() -> float:
    return time.time() * 1000


class Follower:
    """One connection. ``run`` reads until it is cancelled or closed; ``hello`` decides what may be sent to it."""

    def __init__(self, connection: ClientConnection, findings: Findings, *, hello: bool = True) -> None:
        self.findings = findings
        self.topics: dict[str, Followed] = {}  # by their public form
        self.exchanges: dict[str, str] = {}  # the state each was last said to be in
        self.exchange_changes: list[tuple[str, Change]] = []
        self.types: Counter[str] = Counter()
        self.errors: list[Frame] = []
        self.closed = False
        self._connection = connection
        self._hello = hello
        self._asked: dict[str, Wanted] = {}  # by the id of the command
        self._waiters: list[tuple[Callable[[Frame], bool], asyncio.Future[Frame]]] = []

    async def follow(self, wanted: Iterable[Wanted]) -> list[Followed]:
        """Subscribe; the topics as soon as all are answered, in the same order. One that is refused is a finding."""
        asked = [(f"s{len(self._asked) + n}", one) for n, one in enumerate(wanted)]
        self._asked |= dict(asked)
        answers = [self.expect(id=id) for id, _ in asked]
        for id, one in asked:
            await self._send(op="subscribe", id=id, **one.command)
        accepted = []
        for (_, one), answer in zip(asked, await asyncio.gather(*answers), strict=True):
            if answer["type"] == "subscribed":
                accepted.append(self.topics[name_of(answer)])
            else:
                self.findings.add("refused", f"{one.channel} {one.exchange} {one.symbol}", answer)
        return accepted

    async def run(self) -> None:
        """Greet and read. Frames that cannot be understood are findings, not failures."""
        if self._hello:
            await self._send(op="hello", client="follower")
        try:
            async for text in self._connection:
                self._take(orjson.loads(text), now_ms())
        except ConnectionClosed as error:
            self.findings.add("connection closed", "", error)
        self.closed = True

    def expect(self, **fields: Any) -> asyncio.Future[Frame]:
        """The next frame from now on that has these fields; a TimeoutError if none comes within ``PATIENCE``."""
        return self.when(lambda frame: all(frame.get(name) == value for name, value in fields.items()))

    def when(self, so: Callable[[Frame], bool]) -> asyncio.Future[Frame]:
        """The next frame from now on that is ``so``, once it has been taken in; a TimeoutError as of ``expect``."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Frame] = loop.create_future()
        self._waiters.append((so, future))
        timer = loop.call_later(PATIENCE, _give_up, future)
        future.add_done_callback(lambda _future: timer.cancel())
        return future

    async def _send(self, **command: Any) -> None:
        await self._connection.send(orjson.dumps(command).decode())

    def _take(self, frame: Frame, at: float) -> None:
        kind = frame.get("type")
        self.types[str(kind)] += 1
        if kind not in (TYPES if self._hello else BASE_TYPES):
            self.findings.add("a frame of a type that was not asked for", "", frame)
        try:
            match kind:
                case "subscribed":
                    self._acknowledge(frame)
                case "trades" | "orderbook" | "ohlcv":
                    self._take_data(frame, at)
                case "gap":
                    self._take_gap(frame, at)
                case "status":
                    self._take_status(frame, at)
                case "error":
                    self.errors.append(frame)
                    if frame["code"] == "INTERNAL":
                        self.findings.add("an internal error", "", frame)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self.findings.add("malformed frame", name_of(frame), f"{error!r}: {frame}")
        if self._waiters:
            self._wake(frame)

    def _wake(self, frame: Frame) -> None:
        for waiter in list(self._waiters):
            wanted, future = waiter
            if future.done():
                self._waiters.remove(waiter)
            elif wanted(frame):
                self._waiters.remove(waiter)
                future.set_result(frame)

    def _acknowledge(self, frame: Frame) -> None:
        name = name_of(frame)
        if set(frame["topic"]) != {"exchange", "symbol", "params"}:
            self.findings.add("a topic that is not a topic", name, frame["topic"])
        if frame["state"] not in STATES:
            self.findings.add("no such state", name, frame)
        wanted = self._asked[frame["id"]]
        self.topics[name] = Followed(name, wanted, self._content(name, frame), frame["state"])

    def _content(self, name: str, ack: Frame) -> Trades | Candles | Books:
        params = ack["topic"]["params"]

        def wrong(what: str, evidence: object) -> None:
            self.findings.add(what, name, evidence)

        if ack["channel"] == "trades":
            dense = ack["topic"]["exchange"] in DENSE and "name" not in params
            return Trades(wrong, dense=dense, told=self._hello)
        if ack["channel"] == "ohlcv":
            return Candles(wrong, told=self._hello)
        throttle_ms, delta = params.get("throttleMs", 0), params.get("mode", "full") == "delta"
        return Books(wrong, params["levels"], throttle_ms, delta)

    def _take_data(self, frame: Frame, at: float) -> None:
        name = name_of(frame)
        followed = self.topics.get(name)
        if followed is None:
            self.findings.add("data before the ack", name, frame)
            return
        self._check_times(frame["ts"], name, at)
        if isinstance(followed.content, Books) and followed.state in UNPROVEN and self._hello:
            self.findings.add(f"a book shown while {followed.state}", name, frame["cursor"])
        followed.frames += 1
        followed.data_at = at
        followed.content.take(frame, at)

    def _check_times(self, times: Frame, name: str, at: float) -> None:
        """``ex`` is the venue's clock, which may be wrong by any amount; the other two are ours."""
        event, received, encoded = times["ex"], times["rx"], times["tx"]
        if event is not None and (not isinstance(event, int) or event <= 0):
            self.findings.add("not a time", name, times)
        if not received <= encoded <= at + 50:
            self.findings.add("times out of order", name, f"{times} came at {at:.0f}")

    def _take_gap(self, frame: Frame, at: float) -> None:
        followed = self.topics[name_of(frame)]
        if isinstance(followed.content, Books):
            self.findings.add("a gap in a book", followed.name, frame)
            return
        followed.content.take_gap(frame, at)

    def _take_status(self, frame: Frame, at: float) -> None:
        change = Change(at, frame["since"], frame["state"], frame["previous"], frame["reason"])
        if frame["scope"] == "exchange":
            name, before = frame["exchange"], self.exchanges.get(frame["exchange"], change.previous)
            self.exchanges[name] = change.state
            self.exchange_changes.append((name, change))
        else:
            followed = self.topics[name := name_of(frame)]
            # What is news in it is only the next attempt: the same change, told again.
            if followed.changes and change.retells(followed.changes[-1]):
                return
            before, followed.state = followed.state, change.state
            followed.changes.append(change)
            followed.latencies.append(at - change.since)
            if isinstance(followed.content, Books):
                followed.content.quiet = True
        self._check_status(frame, change, before, name)

    def _check_status(self, frame: Frame, change: Change, before: str, name: str) -> None:
        if change.previous != before:
            self.findings.add("a status that does not follow the last", name, f"{before}, then {frame}")
        if {change.state, change.previous} - STATES:
            self.findings.add("no such state", name, frame)
        if not change.at - LATE_MS <= change.since <= change.at + 50:
            self.findings.add("a status that came late", name, f"{change.at - change.since:.0f} ms: {frame}")
        last, attempt, retry = frame.get("lastEvent"), frame.get("attempt") or 0, frame.get("retryInMs") or 0
        if attempt < 0 or retry < 0 or (last is not None and last > change.at + 50):
            self.findings.add("a status of impossible facts", name, frame)


def _give_up(future: asyncio.Future[Frame]) -> None:
    if not future.done():
        future.set_exception(TimeoutError("no such frame came"))


def name_of(frame: Frame) -> str:
    """A topic's public form, and its channel, in one line."""
    topic = frame.get("topic") or {}
    params = ",".join(f"{key}={value}" for key, value in sorted((topic.get("params") or {}).items()))
    return f"{frame.get('channel')} {topic.get('exchange')} {topic.get('symbol')} {params}".strip()


@asynccontextmanager
async def follower(gateway_url: str, findings: Findings, *, hello: bool = True) -> AsyncIterator[Follower]:
    """A follower that reads while it is open."""
    url = gateway_url.replace("http://", "ws://") + "/v1/ws"
    async with connect(url, compression=None, max_size=None, max_queue=4096, ping_interval=None) as connection:
        one = Follower(connection, findings, hello=hello)
        reading = asyncio.create_task(one.run(), name="follower")
        try:
            yield one
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
