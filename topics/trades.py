"""Trades of one instrument: each once, in order, written to a ring."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from exchanges.events import Trade
from topics import metrics
from topics.key import Cursor, TopicKey
from topics.ring import Ring
from topics.topic import Topic
from topics.wire import rows_of, trade_row

MAX_SEEN = 4_000  # trade ids remembered for each feed
DEFAULT_TRADES = 100  # in a snapshot of trades that does not say how many


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
