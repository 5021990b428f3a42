"""What a topic sent while somebody was behind in it: one for each channel, shared by all who are. Pure.

Those who are behind cost nothing per message: each is a mark, and what lies behind the oldest of them is kept once.
Of trades the newest are kept as they were sent, the older ones are summed up between one mark and the next, so that
everyone can be told exactly what it lost. Of candles the newest state of each open time is kept; of a book nothing,
for its view can be shown whole at any time.
"""

from bisect import bisect_left, bisect_right, insort
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import inf
from typing import Any, NamedTuple

from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import MAX_ROWS, Row
from topics.subscriber import Mark, Missed, Sent
from topics.wire import is_gap_frame, loss_row, missed_json

MAX_KEPT = 1_000  # events of trades
MAX_KEPT_BYTES = 1024 * 1024
MAX_GAPS = 100  # losses upstream that are told one by one to those who were behind


@dataclass(frozen=True, slots=True)
class Tally:
    """A run of trades in a few numbers. Amounts are summed by taker side; ``last`` is the newest price."""

    count: int = 0
    buy_amount: float = 0.0
    sell_amount: float = 0.0
    high: float = -inf
    low: float = inf
    last: float | None = None  # None: there was no trade

    def __add__(self, later: "Tally") -> "Tally":
        return Tally(
            self.count + later.count,
            self.buy_amount + later.buy_amount,
            self.sell_amount + later.sell_amount,
            max(self.high, later.high),
            min(self.low, later.low),
            self.last if later.last is None else later.last,
        )

    @property
    def summary(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "buyAmount": self.buy_amount,
            "sellAmount": self.sell_amount,
            "high": self.high if self.count else None,
            "low": self.low if self.count else None,
            "last": self.last,
        }


NOTHING = Tally()


def tally(rows: Sequence[dict[str, Any]]) -> Tally:
    """CCXT trades, oldest first, summed up."""
    if not rows:
        return NOTHING
    prices = [row["price"] for row in rows]
    amounts = {side: sum(row["amount"] for row in rows if row["side"] == side) for side in ("buy", "sell")}
    return Tally(len(rows), amounts["buy"], amounts["sell"], max(prices), min(prices), prices[-1])


class Kept(NamedTuple):
    """An event of trades that is still whole."""

    cursor: Cursor
    frame: bytes
    tally: Tally


class TradeBacklog:
    """The newest events, and sums of those before, from each mark to the next."""

    def __init__(self, key: TopicKey, *, max_kept: int = MAX_KEPT, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._key = key
        self._max_kept, self._max_bytes = max_kept, max_bytes
        self._kept: deque[Kept] = deque()
        self._bytes = 0
        self._marks: list[Cursor] = []  # of those who are behind, ascending, each once
        self._holders: Counter[Cursor] = Counter()
        self._sums: dict[Cursor, Tally] = {}  # of what is no longer kept, from a mark to the next

    def begin(self, mark: Mark) -> None:
        if not self._holders[mark.cursor]:
            insort(self._marks, mark.cursor)
            self._sums[mark.cursor] = NOTHING
        self._holders[mark.cursor] += 1

    def end(self, mark: Mark) -> None:
        self._holders[mark.cursor] -= 1
        if self._holders[mark.cursor]:
            return
        del self._holders[mark.cursor]
        place = bisect_left(self._marks, mark.cursor)
        del self._marks[place]
        ended = self._sums.pop(mark.cursor)
        if place:
            before = self._marks[place - 1]
            self._sums[before] += ended
        if not self._marks:
            self._kept.clear()
            self._bytes = 0

    def take(self, sent: Iterable[Sent]) -> None:
        for one in sent:
            assert one.cursor is not None
            self._kept.append(Kept(one.cursor, one.frame, tally(one.rows)))
            self._bytes += len(one.frame)
        while len(self._kept) > self._max_kept or (self._bytes > self._max_bytes and len(self._kept) > 1):
            self._sum_up(self._kept.popleft())

    def missed(self, mark: Mark, now: Mark, *, extended: bool, budget: int) -> Missed:
        after = list(takewhile(lambda kept: kept.cursor > mark.cursor, reversed(self._kept)))  # newest first
        whole = 0
        for kept in after:
            budget -= len(kept.frame)
            if budget < 0:
                break
            whole += 1
        told, lost = after[:whole][::-1], after[whole:][::-1]
        frames = [kept.frame for kept in told if extended or not is_gap_frame(kept.frame)]
        events = now.events - mark.events - len(told)
        if not events:
            return Missed(frames, None, None)
        sums = sum((self._sums[cursor] for cursor in self._marks[bisect_left(self._marks, mark.cursor) :]), NOTHING)
        total = sum((kept.tally for kept in lost), sums)
        until = told[0].cursor if told else now.cursor
        gap = missed_json(
            self._key, mark, until, missing=total.count, events=events, summary=total.summary, backfilled=False
        )
        return Missed(frames, frame(gap), loss_row(self._key, mark, until, missing=total.count, events=events))

    def _sum_up(self, kept: Kept) -> None:
        self._bytes -= len(kept.frame)
        place = bisect_right(self._marks, kept.cursor) - 1
        if place >= 0 and self._marks[place] == kept.cursor:
            place -= 1  # who stopped at it has had it
        if place >= 0:
            self._sums[self._marks[place]] += kept.tally


class CandleBacklog:
    """The newest state of each candle that changed, and the losses upstream that were declared."""

    def __init__(self, key: TopicKey, encode: Callable[..., bytes]) -> None:
        self._key = key
        self._encode = encode  # (cursor, rows, repair) → a frame's JSON
        # By open time, in the order in which they last changed; True: some change of it was a repair.
        self._rows: dict[int, tuple[Cursor, Row, bool]] = {}
        self._gaps: deque[tuple[Cursor, bytes]] = deque(maxlen=MAX_GAPS)
        self._holders = 0

    def begin(self, mark: Mark) -> None:
        self._holders += 1

    def end(self, mark: Mark) -> None:
        self._holders -= 1
        if not self._holders:
            self._rows.clear()
            self._gaps.clear()

    def take(self, sent: Iterable[Sent]) -> None:
        for one in sent:
            assert one.cursor is not None
            if one.extended:
                self._gaps.append((one.cursor, one.frame))
            for row, repair in one.rows:
                before = self._rows.pop(row.open_time_ms, None)
                self._rows[row.open_time_ms] = one.cursor, row, repair or (before is not None and before[2])
        while len(self._rows) > MAX_ROWS:
            del self._rows[next(iter(self._rows))]

    def missed(self, mark: Mark, now: Mark, *, extended: bool, budget: int) -> Missed:
        events = now.events - mark.events
        if not events:
            return Missed([], None, None)
        placed = [(cursor, data) for cursor, data in self._gaps if cursor > mark.cursor and extended]
        changed = [(cursor, row, repair) for cursor, row, repair in self._rows.values() if cursor > mark.cursor]
        if changed:
            newest, rows = max(cursor for cursor, _, _ in changed), sorted(row for _, row, _ in changed)
            repaired = any(repair for _, _, repair in changed)
            placed.append((newest, frame(self._encode(newest, rows, repaired))))
        frames = [data for _, data in sorted(placed)]
        # Those that were told one by one, and the newest one, whose place the newest state of all takes.
        events -= len(frames) if extended else len(frames) + sum(cursor > mark.cursor for cursor, _ in self._gaps)
        if events <= 0:
            return Missed(frames, None, None)
        gap = missed_json(self._key, mark, now.cursor, missing=0, events=events, summary=None, backfilled=True)
        return Missed(frames, frame(gap), loss_row(self._key, mark, now.cursor, missing=0, events=events))


class BookBacklog:
    """A book's view is shown whole: nothing has to be kept, and nothing is lost by it."""

    def __init__(self, key: TopicKey, show: Callable[[], bytes | None]) -> None:
        self._key = key
        self._show = show  # the view as last sent, as a frame's JSON; None: there is none

    def begin(self, mark: Mark) -> None:
        """Nothing to remember."""

    def end(self, mark: Mark) -> None:
        """Nothing to forget."""

    def take(self, sent: Iterable[Sent]) -> None:
        """Each is a newer state of the same."""

    def missed(self, mark: Mark, now: Mark, *, extended: bool, budget: int) -> Missed:
        events = now.events - mark.events
        view = self._show() if events else None
        if view is None:
            return Missed([], None, None)
        skipped = loss_row(self._key, mark, now.cursor, missing=0, events=events - 1) if events > 1 else None
        return Missed([frame(view)], None, skipped)
