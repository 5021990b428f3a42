"""The recent past of one topic: what REST answers from and what a client joins with.

A ``Ring`` is appended to without waiting and read with an await, so that one in another process can stand in for the
one in memory. Its contract is ``tests/topics/ring_contract.py``.
"""

import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from topics.key import Cursor

MAX_EVENTS = 2_000
MAX_YOUNG_EVENTS, YOUNG = 20_000, 60.0  # kept beyond MAX_EVENTS while younger than this many seconds
MAX_ROWS = 1_500
MAX_BYTES = 16 * 1024 * 1024
NODE_BYTES = 512 * 1024 * 1024


class Entry(NamedTuple):
    """One event as it was published; ``payload`` is its JSON."""

    cursor: Cursor
    payload: bytes
    unseen: bool = False  # it was sent to nobody: what had happened before the stream began


class Row(NamedTuple):
    """One candle's newest state, by open time (ms): the row's JSON, and the JSON of what else is known of it."""

    open_time_ms: int
    payload: bytes
    meta: bytes = b""


class Ring(Protocol):
    """What was published, oldest first, bounded in items and bytes.

    A read includes every append made before it ends.
    """

    def append(self, cursor: Cursor, payload: bytes, unseen: bool = False, rows: Sequence[Row] = ()) -> None:
        """Remember an event; cursors only rise. ``rows`` replace those of the same open time."""
        ...

    async def last(self, count: int) -> list[Entry]:
        """The newest ``count`` events, oldest first."""
        ...

    async def since(self, cursor: Cursor, count: int = MAX_YOUNG_EVENTS) -> list[Entry] | None:
        """The first ``count`` events after ``cursor``, oldest first; None if some of them are no longer held."""
        ...

    async def rows(self, count: int) -> list[Row]:
        """The newest ``count`` candles, ascending."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class RingBudget:
    """The bytes all rings of this process may hold together."""

    def __init__(self, limit: int = NODE_BYTES) -> None:
        self.limit = limit
        self.used = 0


class MemoryRing:
    """A ring in this process."""

    def __init__(
        self,
        budget: RingBudget,
        *,
        max_events: int = MAX_EVENTS,
        max_young_events: int = MAX_YOUNG_EVENTS,
        max_rows: int = MAX_ROWS,
        max_bytes: int = MAX_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._max_events, self._max_young_events = max_events, max_young_events
        self._max_rows, self._max_bytes = max_rows, max_bytes
        self._monotonic = monotonic
        self._entries: deque[tuple[float, Entry]] = deque()
        self._rows: dict[int, Row] = {}  # kept ascending: a late row is rare and pays for the sort
        self._bytes = 0
        self._trimmed: Cursor | None = None  # the newest event no longer held

    @property
    def held(self) -> int:
        """Bytes of payload."""
        return self._bytes

    @property
    def newest(self) -> Cursor | None:
        return self._entries[-1][1].cursor if self._entries else None

    def contents(self) -> tuple[list[Entry], list[Row]]:
        return [entry for _, entry in self._entries], list(self._rows.values())

    def holds(self, cursor: Cursor) -> bool:
        """It has not dropped the event yet."""
        return bool(self._entries) and self._entries[0][1].cursor <= cursor

    def forget_before(self, cursor: Cursor) -> None:
        """Drop what came before the event."""
        while self._entries and self._entries[0][1].cursor < cursor:
            self._drop_oldest()

    def append(self, cursor: Cursor, payload: bytes, unseen: bool = False, rows: Sequence[Row] = ()) -> None:
        now = self._monotonic()
        self._entries.append((now, Entry(cursor, payload, unseen)))
        self._count(len(payload))
        for row in rows:
            self._put(row)
        while self._over(now):
            self._drop_oldest()
        while len(self._rows) > self._max_rows:
            self._forget_row()

    async def last(self, count: int) -> list[Entry]:
        newest = [self._entries[-n][1] for n in range(1, min(count, len(self._entries)) + 1)]
        return newest[::-1]

    async def since(self, cursor: Cursor, count: int = MAX_YOUNG_EVENTS) -> list[Entry] | None:
        if self._trimmed is not None and cursor < self._trimmed:
            return None
        first = self._after(cursor)
        return [entry for _, entry in islice(self._entries, first, first + count)]

    async def rows(self, count: int) -> list[Row]:
        return list(self._rows.values())[-count:] if count > 0 else []

    def close(self) -> None:
        self._count(-self._bytes)
        self._entries.clear()
        self._rows.clear()

    def _after(self, cursor: Cursor) -> int:
        """The place of the first event after ``cursor``."""
        return bisect_right(self._entries, cursor, key=lambda held: held[1].cursor)

    def _forget_row(self) -> Row:
        oldest = self._rows.pop(next(iter(self._rows)))
        self._count(-len(oldest.payload))
        return oldest

    def _put(self, row: Row) -> None:
        old = self._rows.get(row.open_time_ms)
        late = old is None and bool(self._rows) and row.open_time_ms < next(reversed(self._rows))
        self._rows[row.open_time_ms] = row
        self._count(len(row.payload) - (len(old.payload) if old else 0))
        if late:
            self._rows = dict(sorted(self._rows.items()))

    def _over(self, now: float) -> bool:
        count = len(self._entries)
        if count <= 1:
            return False
        too_many = count > self._max_events and (count > self._max_young_events or now - self._entries[0][0] > YOUNG)
        return too_many or self._bytes > self._max_bytes or self._budget.used > self._budget.limit

    def _drop_oldest(self) -> None:
        _, entry = self._entries.popleft()
        self._trimmed = entry.cursor
        self._count(-len(entry.payload))

    def _count(self, size: int) -> None:
        self._bytes += size
        self._budget.used += size
