"""A ring in this process with a copy in Redis (``store.py``), from which a later process goes on.

The feed's owner writes the copy. Where another node owns it, what is appended here came from there.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf

from topics import metrics
from topics.kept import Batch, Keeper, Past
from topics.key import Cursor
from topics.place import Place
from topics.ring import MAX_YOUNG_EVENTS, Entry, MemoryRing, RingBudget, Row
from topics.subscriber import NOWHERE


class RedisRing(MemoryRing):
    """Implements ``store.Kept``. Reads are of memory: no outage of Redis is felt in them."""

    def __init__(
        self,
        budget: RingBudget,
        keeper: Keeper,
        place: Place,
        *,
        fenced: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        **bounds: int,
    ) -> None:
        """``fenced`` is told that a later owner has written; ``clock`` is the one of ``write_until``."""
        super().__init__(budget, **bounds)  # type: ignore[arg-type]  # all but the clock are integers
        self.place = place
        self.released = asyncio.Event()  # it has let go of everything
        self._keeper = keeper
        self._fenced, self._clock = fenced, clock
        self._kept: Cursor | None = None  # newest event that Redis has; None: it has none
        self._changed: dict[int, None] = {}  # open times of candles whose state Redis lacks
        self._epoch: int | None = None  # under which it is written; None: another node's
        self._until = -inf  # when to stop writing
        self._closing = False

    def own(self, epoch: int) -> None:
        """What is appended from now on is this node's, and written."""
        self._epoch = epoch

    def write_until(self, end: float) -> None:
        """It is sure to be this node's until then."""
        self._until = end
        if self.lacking(1) is not None:
            self._keeper.mark(self)

    def disown(self) -> None:
        """It is another node's: what Redis lacks of it stays here alone."""
        self._epoch, self._until = None, -inf

    def begin_with(self, past: Past) -> None:
        """Hold what an earlier owner has kept."""
        if past.entries:
            first = past.entries[0].cursor
            self._trimmed = Cursor(first.epoch, first.seq - 1)
            self._kept = past.entries[-1].cursor
        for entry in past.entries:
            super().append(*entry)
        self.refresh(past.rows)

    def refresh(self, rows: Sequence[Row]) -> None:
        """Hold these candles as the owner has kept them."""
        for row in rows:
            self._put(row)

    def forget(self) -> None:
        """What was kept cannot be read."""
        super().close()
        self._kept = self._trimmed = None
        self._changed.clear()

    def append(self, cursor: Cursor, payload: bytes, unseen: bool = False, rows: Sequence[Row] = ()) -> None:
        super().append(cursor, payload, unseen, rows)
        if self._epoch is None:
            self._kept = cursor
        else:
            self._changed |= dict.fromkeys(row.open_time_ms for row in rows)
            self._keeper.mark(self)

    async def last(self, count: int) -> list[Entry]:
        return [] if self._closing else await super().last(count)

    async def since(self, cursor: Cursor, count: int = MAX_YOUNG_EVENTS) -> list[Entry] | None:
        return [] if self._closing else await super().since(cursor, count)

    async def rows(self, count: int) -> list[Row]:
        return [] if self._closing else await super().rows(count)

    def close(self) -> None:
        """Hold nothing for others any more, and let go as soon as all of it is kept, or nobody can keep it."""
        self._closing = True
        if not self._keeper.takes(self.place) or self.lacking(1) is None:
            self._let_go()
        else:
            self._keeper.mark(self)

    def lacking(self, count: int) -> Batch | None:
        if self._epoch is None or self._clock() >= self._until:
            if self._closing:
                self._let_go()  # nobody will keep it
            return None
        first = self._first_lacking()
        entries = [entry for _, entry in islice(self._entries, first, first + count)]
        changed = list(self._changed)
        if not (entries or changed) or not self._entries:
            return None
        oldest = self._entries[0][1].cursor
        rows = [(open_time, self._rows.get(open_time)) for open_time in changed]
        return Batch(self._epoch, self._kept or NOWHERE, oldest, entries, rows, len(self._entries) > first + count)

    def written(self, batch: Batch) -> None:
        if batch.entries:
            self._count_lost(batch.entries[0].cursor)
            self._kept = batch.entries[-1].cursor
        for open_time, row in batch.rows:
            if self._rows.get(open_time) is row:  # else it has changed meanwhile
                self._changed.pop(open_time, None)
        if self._closing and self.lacking(1) is None:
            self._let_go()

    def vanished(self) -> None:
        self._kept = None
        self._changed = dict.fromkeys(self._rows)

    def fenced(self) -> None:
        self.disown()
        self._fenced()
        if self._closing:
            self._let_go()

    def _let_go(self) -> None:
        super().close()
        self.released.set()

    def _forget_row(self) -> Row:
        row = super()._forget_row()
        if self._epoch is not None:
            self._changed[row.open_time_ms] = None
        return row

    def _first_lacking(self) -> int:
        """The place of the first event that Redis lacks; they are few but for an outage."""
        first, kept = len(self._entries), self._kept
        if kept is None:
            return 0
        while first and self._entries[first - 1][1].cursor > kept:
            first -= 1
        return first

    def _count_lost(self, first: Cursor) -> None:
        """Between what Redis has and ``first``, which is the oldest that could still be written."""
        if self._kept is not None and self._kept.epoch == first.epoch and first.seq > self._kept.seq + 1:
            metrics.UNSTORED.inc(first.seq - self._kept.seq - 1)
