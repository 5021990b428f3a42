"""A ring in this process with a copy in Redis (``store.py``), from which a later process goes on."""

from collections.abc import Sequence
from itertools import islice

from topics import metrics
from topics.key import Cursor
from topics.ring import MAX_YOUNG_EVENTS, Entry, MemoryRing, RingBudget, Row
from topics.store import Batch, Past, Place, Store
from topics.subscriber import NOWHERE


class RedisRing(MemoryRing):
    """Implements ``store.Kept``. Reads are of memory: no outage of Redis is felt in them."""

    def __init__(self, budget: RingBudget, store: Store, place: Place, **bounds: int) -> None:
        super().__init__(budget, **bounds)  # type: ignore[arg-type]  # all but the clock are integers
        self.place = place
        self._store = store
        self._kept: Cursor | None = None  # newest event that Redis has; None: it has none
        self._changed: dict[int, None] = {}  # open times of candles whose state Redis lacks
        self._refused = self._closing = False

    def begin_with(self, past: Past) -> None:
        """Hold what an earlier process has kept."""
        if past.entries:
            first = past.entries[0].cursor
            self._trimmed = Cursor(first.epoch, first.seq - 1)
            self._kept = past.entries[-1].cursor
        for entry in past.entries:
            super().append(entry.cursor, entry.payload)
        for row in past.rows:
            self._put(row)

    def append(self, cursor: Cursor, payload: bytes, rows: Sequence[Row] = ()) -> None:
        super().append(cursor, payload, rows)
        self._changed |= dict.fromkeys(row.open_time_ms for row in rows)
        self._tell()

    async def last(self, count: int) -> list[Entry]:
        return [] if self._closing else await super().last(count)

    async def since(self, cursor: Cursor, count: int = MAX_YOUNG_EVENTS) -> list[Entry] | None:
        return [] if self._closing else await super().since(cursor, count)

    async def rows(self, count: int) -> list[Row]:
        return [] if self._closing else await super().rows(count)

    def close(self) -> None:
        """Hold nothing for others any more, and let go as soon as all of it is kept, or nobody can keep it."""
        self._closing = True
        if self._refused or self._store.problem is not None or self.lacking(1) is None:
            super().close()
        else:
            self._tell()

    def lacking(self, count: int) -> Batch | None:
        first = self._after(self._kept)
        entries = [entry for _, entry in islice(self._entries, first, first + count)]
        changed = list(self._changed)
        if self._refused or not (entries or changed) or not self._entries:
            return None
        oldest, newest = self._entries[0][1].cursor, self._entries[-1][1].cursor
        rows = [(open_time, self._rows.get(open_time)) for open_time in changed]
        return Batch(newest.epoch, self._kept or NOWHERE, oldest, entries, rows, len(self._entries) > first + count)

    def written(self, batch: Batch) -> None:
        if batch.entries:
            self._count_lost(batch.entries[0].cursor)
            self._kept = batch.entries[-1].cursor
        for open_time, row in batch.rows:
            if self._rows.get(open_time) is row:  # else it has changed meanwhile
                self._changed.pop(open_time, None)
        if self._closing and self.lacking(1) is None:
            super().close()

    def vanished(self) -> None:
        self._kept = None
        self._changed = dict.fromkeys(self._rows)

    def fenced(self) -> None:
        self._refused = True
        if self._closing:
            super().close()

    def _forget_row(self) -> Row:
        row = super()._forget_row()
        self._changed[row.open_time_ms] = None
        return row

    def _tell(self) -> None:
        if not self._refused:
            self._store.mark(self)

    def _count_lost(self, first: Cursor) -> None:
        """Between what Redis has and ``first``, which is the oldest that could still be written."""
        if self._kept is not None and self._kept.epoch == first.epoch:
            metrics.UNSTORED.inc(first.seq - self._kept.seq - 1)
