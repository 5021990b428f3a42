"""Clients that wander between the nodes of a cluster, each with a cursor for every topic, and a record of all they saw.

Imports nothing of the product. What must hold, whichever node a client is at and whatever becomes of the nodes: under
one cursor everybody is sent the same bytes; nobody is sent one twice; and from one event to the next either nothing is
missing or a ``gap`` has said so.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

RETRY_AFTER = 0.2  # seconds
PATIENCE = 20.0  # seconds
SERIES = ("trades", "ohlcv")


class Cursor(NamedTuple):
    epoch: int
    seq: int

    @classmethod
    def of(cls, frame: dict[str, Any]) -> "Cursor":
        epoch, _, seq = frame["cursor"].partition("-")
        return cls(int(epoch), int(seq))


class Record:
    """What all clients saw."""

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.counts: Counter[str] = Counter()
        self.said: Counter[str] = Counter()  # gaps, by reason and by whether something is missing
        self.newest_at: dict[str, float] = {}  # by topic: when an event nobody had seen before came (monotonic)
        self.longest: dict[str, float] = {}  # by topic: seconds between two such
        self._frames: dict[str, dict[Cursor, bytes]] = {}
        self._changed = asyncio.Event()

    async def until(self, so: Callable[[], bool]) -> None:
        """Wait until it is so; a TimeoutError if that takes longer than ``PATIENCE``."""
        async with asyncio.timeout(PATIENCE):
            while not so():
                self._changed.clear()
                await self._changed.wait()

    def count(self, what: str) -> None:
        self.counts[what] += 1
        self._changed.set()

    def see(self, topic: str, cursor: Cursor, frame: bytes) -> None:
        frames = self._frames.setdefault(topic, {})
        known = frames.setdefault(cursor, frame)
        if known is frame:
            now = time.monotonic()
            if topic in self.newest_at:
                self.longest[topic] = max(self.longest.get(topic, 0.0), now - self.newest_at[topic])
            self.newest_at[topic] = now
        elif known != frame:
            self.find(f"{topic} {cursor}: two different frames: {known!r} and {frame!r}")

    def find(self, what: str) -> None:
        if len(self.findings) < 50:
            self.findings.append(what)


class Roamer:
    """One client. ``nodes`` gives the URLs of the gateways there are."""

    def __init__(
        self, nodes: Callable[[], Sequence[str]], topics: Sequence[dict[str, Any]], record: Record, seed: int
    ) -> None:
        self._nodes, self._topics, self._record = nodes, topics, record
        self._random = random.Random(seed)
        self._at: dict[str, Cursor] = {}  # the newest event of each topic it was sent
        self._lost: dict[str, bool] = {}  # topics in which something is missing that a gap has told
        self._trades: dict[str, int] = {}  # the newest of each topic whose ids rise

    async def run(self, stay: tuple[float, float]) -> None:
        """Until cancelled: be at one node for a while, then at another."""
        while True:
            url = self._random.choice(list(self._nodes()))
            with suppress(OSError, WebSocketException, TimeoutError):
                async with asyncio.timeout(self._random.uniform(*stay)):
                    await self._visit(url.replace("http://", "ws://") + "/v1/ws")
            self._record.count("visits")
            await asyncio.sleep(self._random.uniform(0, RETRY_AFTER))

    async def _visit(self, url: str) -> None:
        async with connect(url, compression=None, max_size=None, open_timeout=2, close_timeout=0.2) as connection:
            await connection.send('{"op":"hello"}')
            for topic in self._topics:
                since = self._at.get(name_of(topic["channel"], topic))
                wish = {"snapshot": False} if since is None else {"since": f"{since.epoch}-{since.seq}"}
                await connection.send(orjson.dumps({"op": "subscribe", **topic, **wish}).decode())
            await self._read(connection)

    async def _read(self, connection: ClientConnection) -> None:
        async for text in connection:
            frame = orjson.loads(text)
            kind = frame["type"]
            if kind == "error":
                self._record.find(f"an error: {text!r}")
            if kind in (*SERIES, "gap"):
                assert isinstance(text, str)
                self._take(name_of(frame["channel"], frame["topic"]), frame, text.encode())
            self._record.count(kind)  # after all else that it says

    def _take(self, topic: str, frame: dict[str, Any], text: bytes) -> None:
        if frame["type"] == "gap":
            self._record.said[f"{frame['reason']}, missing {frame['missing']}"] += 1
        if "cursor" not in frame:  # a gap of this client's own: what follows begins anew
            self._lost[topic] = True
            return
        cursor, before = Cursor.of(frame), self._at.get(topic)
        self._record.see(topic, cursor, text)
        told = self._lost.pop(topic, False) or frame["type"] == "gap"
        if before is not None and cursor <= before:
            self._record.find(f"{topic}: {cursor} again, after {before}")
        elif before is not None and not told and cursor != Cursor(before.epoch, before.seq + 1):
            self._record.find(f"{topic}: {cursor} after {before}, and nothing said")
        self._at[topic] = cursor
        if frame["channel"] == "trades" and "data" in frame and frame["topic"]["exchange"] == "binance":
            for row in frame["data"]:
                id = int(row["id"])
                self._record.counts["trade again"] += id <= self._trades.get(topic, -1)
                self._trades[topic] = max(id, self._trades.get(topic, -1))


def name_of(channel: str, topic: dict[str, Any]) -> str:
    return f"{channel} {topic['exchange']} {topic['symbol']}"
