"""What flows through a topic, by channel: what counts as new, what one frame holds, what a joining client gets first.

``Trades`` and ``Candles`` have one topic each and write to a ring. ``Books`` has one topic per view (depth) of the same
book and keeps only its newest state. All three are synchronous but for reading the ring.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import orjson

from exchanges.book import OrderBook
from exchanges.errors import SubscriptionLimit
from exchanges.events import Candle, Trade
from topics import metrics
from topics.key import Cursor, TopicKey
from topics.ring import MAX_ROWS, Ring, Row
from topics.topic import Topic
from topics.wire import book_view, candle_json, rows_of, trade_row

MAX_SEEN = 4_000  # trade ids remembered for each feed
DEFAULT_TRADES = 100  # in a snapshot of trades that does not say how many
MAX_VIEWS = 16  # of one book, besides the first


class Content(Protocol):
    """One channel's behaviour; ``upstream.py`` decides when."""

    def topics(self) -> Iterable[Topic]: ...

    def topic(self, key: TopicKey) -> Topic:
        """The topic of ``key``, made if need be.

        Raises:
            SubscriptionLimit: a book has too many views.
        """
        ...

    def accept(self, events: Sequence[Any]) -> bool:
        """Take what is new of ``events`` for the next frame; False if nothing is."""
        ...

    def prime(self, cursor: Cursor, history: Sequence[Any], received_ms: int) -> bool:
        """Remember ``history`` as the ring's first event, sent to nobody; False if there is none."""
        ...

    def publish(self, cursor: Cursor, received_ms: int) -> None:
        """One frame of all that was accepted since the last one."""
        ...

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        """The JSON a joining client gets before anything live, ending at ``cursor``; None: it gets none."""
        ...

    def close(self) -> None: ...


class Trades:
    """Each trade once, by the venue's id, in the order of arrival."""

    def __init__(self, topic: Topic, ring: Ring) -> None:
        self._topic = topic
        self.ring = ring
        self._pending: list[Trade] = []
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._duplicates = metrics.DUPLICATES.labels(topic.key.exchange)

    def topics(self) -> Iterable[Topic]:
        return (self._topic,)

    def topic(self, key: TopicKey) -> Topic:
        return self._topic

    def accept(self, events: Sequence[Trade]) -> bool:
        seen = self._seen
        for trade in events:
            if trade.id in seen:
                self._duplicates.inc()
                continue
            seen[trade.id] = None
            self._pending.append(trade)
        while len(seen) > MAX_SEEN:
            seen.popitem(last=False)
        return bool(self._pending)

    def prime(self, cursor: Cursor, history: Sequence[Trade], received_ms: int) -> bool:
        if not self.accept(sorted(history, key=lambda trade: trade.timestamp_ms)):
            return False
        rows, event_ms = self._take()
        self.ring.append(cursor, self._topic.encode(cursor, rows, event_ms=event_ms, received_ms=received_ms))
        return True

    def publish(self, cursor: Cursor, received_ms: int) -> None:
        rows, event_ms = self._take()
        self.ring.append(cursor, self._topic.publish(cursor, rows, event_ms=event_ms, received_ms=received_ms))

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        count = rewind or (DEFAULT_TRADES if snapshot else 0)
        entries = await self.ring.last(count) if count else []
        if not entries:
            return None
        rows = [row for entry in entries for row in rows_of(entry.payload)][-count:]
        last_ms = rows[-1]["timestamp"]
        return topic.encode(entries[-1].cursor, rows, event_ms=last_ms, received_ms=last_ms)

    def close(self) -> None:
        self.ring.close()

    def _take(self) -> tuple[list[dict[str, Any]], int]:
        """Rows of what is pending, and when the venue says the newest of it happened."""
        trades, self._pending = self._pending, []
        symbol = self._topic.key.symbol
        return [trade_row(trade, symbol) for trade in trades], trades[-1].timestamp_ms


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


class Books:
    """The newest proven state of one book, seen at several depths."""

    def __init__(self, make_topic: Callable[[TopicKey], Topic]) -> None:
        self.book: OrderBook | None = None
        self._make_topic = make_topic
        self._views: dict[TopicKey, Topic] = {}
        self._frames: dict[TopicKey, tuple[Cursor, bytes]] = {}  # the newest JSON of each view
        self._received_ms = 0

    def topics(self) -> Iterable[Topic]:
        return self._views.values()

    def topic(self, key: TopicKey) -> Topic:
        if key not in self._views:
            if len(self._views) > MAX_VIEWS:
                self._drop_unwatched()
            if len(self._views) > MAX_VIEWS:
                raise SubscriptionLimit(f"a book has at most {MAX_VIEWS} views besides the first", limit=MAX_VIEWS)
            self._views[key] = self._make_topic(key)
        return self._views[key]

    def accept(self, events: Sequence[OrderBook]) -> bool:
        self.book = events[-1]
        return True

    def prime(self, cursor: Cursor, history: Sequence[Any], received_ms: int) -> bool:
        return False  # a book has no past

    def publish(self, cursor: Cursor, received_ms: int) -> None:
        """A frame for every view somebody watches; the others cost nothing."""
        self._received_ms = received_ms
        for key, topic in self._views.items():
            if len(topic.fanout):
                self._frames[key] = cursor, topic.publish(cursor, self._view(key), **self._times())

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        """The view as last published, built once per cursor."""
        if not snapshot or self.book is None:
            return None
        built, payload = self._frames.get(topic.key, (None, b""))
        if built != cursor:
            payload = topic.encode(cursor, self._view(topic.key), **self._times())
            self._frames[topic.key] = cursor, payload
        return payload

    def close(self) -> None:
        self._views.clear()
        self._frames.clear()

    def forget(self) -> None:
        """The book is proven no more: nothing may be shown until the next one is."""
        self.book = None
        self._frames.clear()

    def _drop_unwatched(self) -> None:
        for key in [key for key, topic in self._views.items() if not len(topic.fanout)]:
            del self._views[key]
            self._frames.pop(key, None)

    def _view(self, key: TopicKey) -> dict[str, Any]:
        assert self.book is not None
        return book_view(self.book, key.symbol, levels=dict(key.params)["levels"])

    def _times(self) -> dict[str, Any]:
        assert self.book is not None
        return {"event_ms": self.book.timestamp_ms, "received_ms": self._received_ms}
