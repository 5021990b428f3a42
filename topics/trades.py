"""Trades of one instrument as frames: each once, in order, written to a ring."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exchanges.events import Trade, VoidTrade
from topics import metrics
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import Entry, Ring, Row
from topics.topic import Topic
from topics.trade_sequence import MAX_SEEN, DenseTrades, LooseTrades, Mended, TradeSequence
from topics.wire import rows_of, trade_row

DEFAULT_TRADES = 100  # in a snapshot of trades that does not say how many


class Trades:
    """What may go out of the trades that came, as its sequence proves it."""

    def __init__(self, topic: Topic, ring: Ring, *, dense: bool = False) -> None:
        self._topic = topic
        self.ring = ring
        self._sequence: TradeSequence = DenseTrades() if dense else LooseTrades()
        self._pending: list[Trade] = []
        self.newest_ms: int | None = None  # venue's time of the newest trade that went out
        self._duplicates = metrics.DUPLICATES.labels(topic.key.exchange)

    @property
    def open(self) -> bool:
        return self._sequence.open

    @property
    def proven(self) -> bool:
        return self._sequence.proven

    @property
    def crowded(self) -> bool:
        return self._sequence.crowded

    @property
    def place(self) -> str | None:
        """The id of the trade after which something may be missing."""
        return self._sequence.last_id

    def topics(self) -> Iterable[Topic]:
        return (self._topic,)

    def topic(self, key: TopicKey) -> Topic:
        return self._topic

    def accept(self, events: Sequence[Trade | VoidTrade]) -> bool:
        self._pending += self._sequence.follow(events)
        if self._sequence.duplicates:
            self._duplicates.inc(self._sequence.duplicates)
            self._sequence.duplicates = 0
        return bool(self._pending)

    def check(self) -> bool:
        return False  # trades have no time of their own

    def broken(self) -> None:
        self._sequence.broken()

    def reached(self, rows: Sequence[Trade]) -> bool:
        return self._sequence.reached(rows)

    def mend(self, rows: Sequence[Trade]) -> Mended:
        ready, mended = self._sequence.mend(rows)
        self._pending += ready
        return mended

    def restore(self, entries: Sequence[Entry], rows: Sequence[Row]) -> None:
        """The sequence is to know the newest trades again: by their ids it finds out what was missed."""
        known = list[Trade]()
        for entry in reversed(entries):
            known[:0] = [_trade(row) for row in rows_of(entry.payload)]
            if len(known) >= MAX_SEEN:
                break
        if known:
            self._sequence.start(known, ())
            self._sequence.broken()
            self.newest_ms = known[-1].timestamp_ms

    def prime(
        self, cursor: Cursor, history: Sequence[Trade] | None, held: Sequence[Trade | VoidTrade], received_ms: int
    ) -> bool:
        ascending = sorted(history or (), key=lambda trade: trade.timestamp_ms)
        self._pending = self._sequence.start(ascending, held)
        if not self._pending:
            return False
        rows, event_ms = self._take()
        payload = self._topic.encode(cursor, rows, event_ms=event_ms, received_ms=received_ms)
        self.ring.append(cursor, payload, unseen=True)
        return True

    def publish(self, cursor: Cursor, received_ms: int) -> bool:
        rows, event_ms = self._take()
        payload = self._topic.publish(cursor, rows, event_ms=event_ms, received_ms=received_ms, rows=rows)
        self.ring.append(cursor, payload)
        return False

    def follow(self, entry: Entry) -> None:
        rows = rows_of(entry.payload)
        if not entry.unseen:
            self._topic.fanout.send(entry.cursor, frame(entry.payload), rows)
        self.ring.append(*entry)
        self.newest_ms = rows[-1]["timestamp"]

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        count = rewind or (DEFAULT_TRADES if snapshot else 0)
        if not count:
            return None
        entries, rows = await self._newest(count)
        if not rows:
            return None
        last_ms = rows[-1]["timestamp"]
        return topic.encode(entries[-1].cursor, rows[-count:], event_ms=last_ms, received_ms=last_ms)

    def close(self) -> None:
        self.ring.close()

    async def _newest(self, count: int) -> tuple[list[Entry], list[dict[str, Any]]]:
        """The newest entries with at least ``count`` trades, where there are so many: a gap has none."""
        asked = count
        while True:
            entries = await self.ring.last(asked)
            rows = [row for entry in entries for row in rows_of(entry.payload)]
            if len(rows) >= count or len(entries) < asked:
                return entries, rows
            asked *= 2

    def _take(self) -> tuple[list[dict[str, Any]], int]:
        """Rows of what is pending, and when the venue says the newest of it happened."""
        trades, self._pending = self._pending, []
        self.newest_ms = trades[-1].timestamp_ms
        symbol = self._topic.key.symbol
        return [trade_row(trade, symbol) for trade in trades], trades[-1].timestamp_ms


def _trade(row: Mapping[str, Any]) -> Trade:
    return Trade(
        id=row["id"],
        timestamp_ms=row["timestamp"],
        taker_side=row["side"],
        price=row["price"],
        amount=row["amount"],
        cost=row["cost"],
        raw=row["info"],
    )
