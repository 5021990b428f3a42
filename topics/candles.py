"""Candles of one instrument and timeframe: the newest state of each, written to a ring."""

from collections.abc import Iterable, Sequence

import orjson

from exchanges.events import Candle
from topics.key import Cursor, TopicKey
from topics.ring import MAX_ROWS, Ring, Row
from topics.topic import Topic
from topics.wire import candle_json


class Candles:
    """The newest state of each candle, by open time; what says nothing new is left out."""

    def __init__(self, topic: Topic, ring: Ring) -> None:
        self._topic = topic
        self.ring = ring
        self._pending: dict[int, Candle] = {}
        self._known: dict[int, Candle] = {}  # the newest state of the newest candles, by open time
        self._newest: Cursor | None = None  # of the ring
        self._received_ms = 0

    def topics(self) -> Iterable[Topic]:
        return (self._topic,)

    def topic(self, key: TopicKey) -> Topic:
        return self._topic

    def accept(self, events: Sequence[Candle]) -> bool:
        for candle in events:
            if self._known.get(candle.open_time_ms) != candle:
                self._known[candle.open_time_ms] = self._pending[candle.open_time_ms] = candle
        while len(self._known) > MAX_ROWS:
            del self._known[min(self._known)]
        return bool(self._pending)

    def prime(self, cursor: Cursor, history: Sequence[Candle], received_ms: int) -> bool:
        if not self.accept(history):
            return False
        self._newest, self._received_ms = cursor, received_ms
        data, rows = self._take()
        payload = self._topic.encode(cursor, data, event_ms=None, received_ms=received_ms)
        self.ring.append(cursor, payload, rows)
        return True

    def publish(self, cursor: Cursor, received_ms: int) -> None:
        self._newest, self._received_ms = cursor, received_ms
        data, rows = self._take()
        payload = self._topic.publish(cursor, data, event_ms=None, received_ms=received_ms)
        self.ring.append(cursor, payload, rows)

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        rows = await self.ring.rows(rewind or (1 if snapshot else 0))
        if not rows:
            return None
        data = [orjson.Fragment(row.payload) for row in rows]
        # The rows are as of the end of the read, and more may have been published while it took place.
        return topic.encode(self._newest or cursor, data, event_ms=None, received_ms=self._received_ms)

    def close(self) -> None:
        self.ring.close()

    def _take(self) -> tuple[list[orjson.Fragment], list[Row]]:
        candles, self._pending = sorted(self._pending.items()), {}
        rows = [candle_json(candle) for _, candle in candles]
        return [orjson.Fragment(row.payload) for row in rows], rows
