"""Candles of one instrument and timeframe as frames: rows, what is known of each beside them, repairs apart."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import orjson

from exchanges.events import Candle
from topics.candle_sequence import CandleSequence, State
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import Entry, Ring, Row
from topics.topic import Topic
from topics.trade_sequence import Mended
from topics.wire import candle_data, candle_json, candle_meta


class Candles:
    """The newest state of each candle, by open time; what says nothing new is left out."""

    def __init__(
        self, topic: Topic, ring: Ring, *, clock_ms: Callable[[], int], timeframe: str, marks_closed: bool = True
    ) -> None:
        self._topic = topic
        self.ring = ring
        self._clock_ms = clock_ms
        self._sequence = CandleSequence(timeframe, marks_closed=marks_closed)
        self._repairs: dict[int, State] = {}  # to be published, by open time
        self._pending: dict[int, State] = {}
        self._newest: Cursor | None = None  # of the ring
        self._received_ms = 0

    @property
    def open(self) -> bool:
        return self._sequence.wants(self._clock_ms())

    @property
    def proven(self) -> bool:
        return True  # each frame tells a candle's whole state

    @property
    def crowded(self) -> bool:
        return False  # nothing is withheld

    @property
    def place(self) -> int | None:
        """The open time from which REST is to tell what was missed."""
        return self._sequence.since_ms

    @property
    def newest_ms(self) -> int | None:
        return self._sequence.newest_ms

    def topics(self) -> Iterable[Topic]:
        return (self._topic,)

    def topic(self, key: TopicKey) -> Topic:
        return self._topic

    def accept(self, events: Sequence[Candle]) -> bool:
        changes, repairs = self._sequence.follow(events, self._clock_ms())
        self._pending |= _by_time(changes)
        self._repairs |= _by_time(repairs)
        return bool(self._pending or self._repairs)

    def check(self) -> bool:
        self._pending |= _by_time(self._sequence.check(self._clock_ms()))
        return bool(self._pending)

    def broken(self) -> None:
        self._sequence.broken()

    def reached(self, rows: Sequence[Candle]) -> bool:
        return bool(rows)

    def mend(self, rows: Sequence[Candle]) -> Mended:
        forming, only_past = self._sequence.newest_ms, self._sequence.lacks_only_its_past
        told = self._sequence.mend(rows, self._clock_ms())
        if only_past:  # nothing was lost, and of what is forming the stream knows more
            self._repairs |= _by_time(state for state in told if state.closed)
            return Mended(0, 0, forming)
        self._repairs |= _by_time(told)
        # What only went on forming was not missed: its newest state replaces all before it.
        missed = [state for state in told if state.closed or state.candle.open_time_ms != forming]
        return Mended(len(missed), 0 if rows else None, self._sequence.newest_ms)

    def restore(self, entries: Sequence[Entry], rows: Sequence[Row]) -> None:
        self._newest = entries[-1].cursor
        self._sequence.start([_candle(row) for row in rows], (), self._clock_ms())
        self._sequence.broken()

    def prime(self, cursor: Cursor, history: Sequence[Candle] | None, held: Sequence[Candle], received_ms: int) -> bool:
        self._pending = _by_time(self._sequence.start(history, held, self._clock_ms()))
        if not self._pending:
            return False
        states, self._pending = self._pending, {}
        self._store(cursor, states, received_ms, unseen=True)
        return True

    def publish(self, cursor: Cursor, received_ms: int) -> bool:
        """Repairs apart, and after what they repair."""
        if self._pending:
            states, self._pending = self._pending, {}
            self._store(cursor, states, received_ms)
        else:
            states, self._repairs = self._repairs, {}
            self._store(cursor, states, received_ms, repair=True)
        return bool(self._repairs)

    def follow(self, entry: Entry) -> None:
        told = orjson.loads(entry.payload)
        rows = [
            Row(row[0], orjson.dumps(row), orjson.dumps(meta))
            for row, meta in zip(told["data"], told["meta"], strict=True)
        ]
        repair = told.get("repair", False)
        self._newest, self._received_ms = entry.cursor, told["ts"]["rx"]
        if not entry.unseen:
            self._topic.fanout.send(entry.cursor, frame(entry.payload), [(row, repair) for row in rows])
        self.ring.append(*entry, rows=rows)

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        rows = await self.ring.rows(rewind or (1 if snapshot else 0))
        if not rows:
            return None
        # The rows are as of the end of the read, and more may have been published while it took place.
        newest = self._newest or cursor
        return topic.encode(
            newest, candle_data(rows), event_ms=None, received_ms=self._received_ms, beside=candle_meta(rows)
        )

    def close(self) -> None:
        self.ring.close()

    def _store(
        self,
        cursor: Cursor,
        states: dict[int, State],
        received_ms: int,
        *,
        repair: bool = False,
        unseen: bool = False,
    ) -> None:
        """Remember a frame of these; ``unseen``: nobody is there to be sent it."""
        self._newest, self._received_ms = cursor, received_ms
        rows = [row_of(state) for _, state in sorted(states.items())]
        beside: dict[str, Any] = {**({"repair": True} if repair else {}), **candle_meta(rows)}
        tell = self._topic.encode if unseen else partial(self._topic.publish, rows=[(row, repair) for row in rows])
        payload = tell(cursor, candle_data(rows), event_ms=None, received_ms=received_ms, beside=beside)
        self.ring.append(cursor, payload, unseen, rows)


def row_of(state: State) -> Row:
    meta = {"closed": state.closed, "complete": state.complete, "source": state.source}
    return candle_json(state.candle)._replace(meta=orjson.dumps(meta))


def _candle(row: Row) -> Candle:
    """What was published of a candle; whether it was the venue's last word on it is known again from REST."""
    open_time_ms, *prices, volume = orjson.loads(row.payload)
    open_, high, low, close = prices
    return Candle(
        open_time_ms=open_time_ms,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        closed=orjson.loads(row.meta)["closed"],
    )


def _by_time(states: Iterable[State]) -> dict[int, State]:
    return {state.candle.open_time_ms: state for state in states}
