"""What is new about a candle, when it is closed, and whether it is whole. Pure: it is told the time.

A candle is closed once: when the venue says so, or where it never does, when the next one has begun or its end has
passed. After that it changes only as a repair. Where the venue owes us the word, or a loss lies inside a candle, its
state is wanted from REST.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from exchanges.events import Candle
from exchanges.venue import TIMEFRAMES_MS

MAX_CANDLES = 1_500  # remembered
GRACE_MS = 2_000  # after a candle's end, where the venue never says that it is closed
LATE_MS = 30_000  # the same where it does; Binance's word was seen 24 s late
RETRY_MS = 10_000  # between two tries to have from REST what is wanted
STRAYS = (
    5  # forming candles in a row that are older than the newest: the venue's clock had been ahead, and was set back
)
EARLY_MS = 1_000  # by which a candle may begin before our clock says so without the clocks being taken to differ


class State(NamedTuple):
    """One candle as it was last told."""

    candle: Candle
    closed: bool
    complete: bool  # no loss lies inside that nobody has made up for
    source: Literal["venue", "rest"]


class CandleSequence:
    """The candles of one instrument and timeframe, as far as they are remembered."""

    def __init__(self, timeframe: str, *, marks_closed: bool) -> None:
        self._timeframe = timeframe
        self._marks_closed = marks_closed
        self._known: dict[int, State] = {}  # by open time
        self.newest_ms: int | None = None  # open time of the newest known
        self._unclosed: set[int] = set()
        self._doubtful: set[int] = set()  # a loss lies inside, and the venue has said nothing of them since
        self._wanted: set[int] = set()  # open times since which REST is to tell
        self._past_wanted = False  # it began without
        self._retry_at_ms = 0
        self._ahead_ms = 0  # of our clock, that the venue's is
        self._strays = 0

    def wants(self, now_ms: int) -> bool:
        """Something is to be asked of REST by now."""
        return (bool(self._wanted) or self._past_wanted) and now_ms >= self._retry_at_ms

    @property
    def lacks_only_its_past(self) -> bool:
        return self._past_wanted and not (self._wanted or self._doubtful)

    @property
    def since_ms(self) -> int | None:
        """The open time from which REST is to tell; None: from as long ago as it tells at once."""
        if self._past_wanted:
            return None
        return min([*self._wanted, *self._doubtful, *self._unclosed], default=self.newest_ms)

    def start(self, history: Sequence[Candle] | None, held: Sequence[Candle], now_ms: int) -> list[State]:
        """The beginning: ``history`` by REST, under what the stream brought meanwhile. None: it is wanted later."""
        self._past_wanted = history is None
        states = self._told_by_rest(history or (), now_ms)
        changes, repairs = self.follow(held, now_ms)
        return [*states, *changes, *repairs]

    def follow(self, candles: Iterable[Candle], now_ms: int) -> tuple[list[State], list[State]]:
        """Of what the stream says what is new: (all else, repairs of closed candles), each in the order it came."""
        changes: list[State] = []
        repairs: list[State] = []
        for candle in candles:
            at = candle.open_time_ms
            self._forget_the_future(candle)
            known = self._known.get(at)
            if self._marks_closed and known is not None and known.closed and candle.closed is not True:
                continue  # from before the venue's last word on it
            if known is None:
                changes += self._begin(at)
            self._doubtful.discard(at)
            self._set_clock(candle, now_ms)
            passed = not self._marks_closed and at < (self.newest_ms or 0)
            closed = candle.closed is True or passed or (known is not None and known.closed)
            state = State(candle, closed, True, "venue")
            if known is not None and _same(known, state):
                continue
            (repairs if known is not None and known.closed else changes).append(self._keep(state))
        self._trim()
        return changes, repairs

    def check(self, now_ms: int) -> list[State]:
        """Candles whose end has passed unsaid: closed now where the venue never says it, else wanted from REST."""
        over = [at for at in sorted(self._unclosed) if self._is_over(at, now_ms)]
        if not self._marks_closed:
            return [self._close(at) for at in over]
        self._wanted.update(over)
        return []

    def broken(self) -> None:
        """The subscription was lost: what is forming may change unseen."""
        self._doubtful |= self._unclosed

    def mend(self, rows: Sequence[Candle], now_ms: int) -> list[State]:
        """What ``rows``, by REST, change. Empty: they could not be had."""
        self._retry_at_ms = now_ms + RETRY_MS
        if not rows:
            self._wanted |= self._doubtful
            return []
        before = dict(self._known)
        told = self._told_by_rest(rows, now_ms)
        self._doubtful.clear()
        self._wanted.clear()
        self._past_wanted = False
        self._trim()
        return [
            state for state in told if (old := before.get(state.candle.open_time_ms)) is None or not _same(old, state)
        ]

    def _told_by_rest(self, rows: Sequence[Candle], now_ms: int) -> list[State]:
        """REST's word on what is closed goes by a clock that may differ: a candle is when a later one exists."""
        newest = max([*(row.open_time_ms for row in rows), self.newest_ms or 0])
        told = []
        for row in sorted(rows, key=lambda row: row.open_time_ms):
            at, known = row.open_time_ms, self._known.get(row.open_time_ms)
            owed = at in self._wanted and self._is_over(at, now_ms)
            closed = at < newest or owed or (known is not None and known.closed)
            told.append(self._keep(State(row, closed, True, "rest")))
        return told

    def _begin(self, at: int) -> list[State]:
        """A candle that was not known: what it says of those before it."""
        newest = self.newest_ms
        if newest is None or at < newest:
            return []
        if self._marks_closed:
            if at > candle_end(newest, self._timeframe):
                self._wanted.add(newest)  # such a venue tells of every interval: some are missing
            return []
        return [self._close(earlier) for earlier in sorted(self._unclosed)]

    def _close(self, at: int) -> State:
        """Its last known state is final, as far as anybody told us."""
        state = self._known[at]._replace(closed=True, complete=at not in self._doubtful)
        if not state.complete:
            self._wanted.add(at)
        return self._keep(state)

    def _keep(self, state: State) -> State:
        at = state.candle.open_time_ms
        self._known[at] = state
        self.newest_ms = max(at, self.newest_ms or 0)
        (self._unclosed.discard if state.closed else self._unclosed.add)(at)
        if state.closed and state.complete:
            self._wanted.discard(at)
        return state

    def _is_over(self, at: int, now_ms: int) -> bool:
        grace = LATE_MS if self._marks_closed else GRACE_MS
        return now_ms + self._ahead_ms >= candle_end(at, self._timeframe) + grace

    def _set_clock(self, candle: Candle, now_ms: int) -> None:
        """A candle that is forming tells the venue's time to within an interval; ours is used while it agrees.

        Where it does not, the venue's is taken to be the candle's beginning: nothing is closed too early by that.
        """
        at, venue_ms = candle.open_time_ms, now_ms + self._ahead_ms
        if candle.closed or at < (self.newest_ms or 0):
            return
        if venue_ms < at - EARLY_MS or venue_ms >= candle_end(at, self._timeframe) + LATE_MS:
            self._ahead_ms = at - now_ms

    def _forget_the_future(self, candle: Candle) -> None:
        """Candles of a time that has not come, told by a clock that was ahead, would make all that follow look old."""
        at = candle.open_time_ms
        late = (
            candle.closed is not True
            and self.newest_ms is not None
            and candle_end(at, self._timeframe) < self.newest_ms
        )
        self._strays = self._strays + 1 if late else 0
        if self._strays == STRAYS:
            for future in [time for time in self._known if time > at]:
                self._forget(future)
            self.newest_ms, self._strays, self._ahead_ms = max(self._known, default=None), 0, 0

    def _trim(self) -> None:
        while len(self._known) > MAX_CANDLES:
            self._forget(min(self._known))

    def _forget(self, at: int) -> None:
        del self._known[at]
        for times in (self._unclosed, self._doubtful, self._wanted):
            times.discard(at)


def candle_end(open_time_ms: int, timeframe: str) -> int:
    """Where the next candle begins; months are the calendar's, UTC."""
    if timeframe != "1M":
        return open_time_ms + TIMEFRAMES_MS[timeframe]
    begin = datetime.fromtimestamp(open_time_ms / 1000, UTC)
    end = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return round(end.timestamp() * 1000)


def _same(one: State, other: State) -> bool:
    return (
        one.closed == other.closed and one.complete == other.complete and _prices(one.candle) == _prices(other.candle)
    )


def _prices(candle: Candle) -> tuple[float | None, ...]:
    return candle.open, candle.high, candle.low, candle.close, candle.volume
