"""Which trades are new, in what order they go out, and whether any is missing. Pure: no clock, no venue, no ring.

Two proofs. Where a venue counts its trades (``DenseTrades``), a jump in the ids is a loss, seen at once; what comes
after it is withheld until the hole is filled, by a late message or from REST. Where ids say nothing (``LooseTrades``),
a lost subscription is the only sign; then nothing goes out until a list of recent trades reaches from one that is known
to one that the stream has brought.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from exchanges.events import Trade, VoidTrade

MAX_SEEN = 4_000  # trade ids remembered where they say nothing
MAX_WITHHELD = 10_000  # trades that wait behind a hole
FAR = 1_000_000  # ids; a jump of more is believed only when a second trade says the same: hours of the busiest market


class Mended(NamedTuple):
    """What closed a hole, or could not."""

    rows: int  # fetched rows among what goes out now
    missing: int | None  # lost for good; 0: proven complete; None: nobody can know
    until_ms: int | None  # venue's time of the first trade that the stream itself brought after the hole


class TradeSequence(Protocol):
    """The proof for one stream of trades."""

    duplicates: int  # dropped so far; whoever counts them sets it back

    @property
    def open(self) -> bool:
        """Trades are withheld: something before them may be missing."""
        ...

    @property
    def crowded(self) -> bool:
        """More is withheld than may be."""
        ...

    @property
    def proven(self) -> bool:
        """The stream is known to go on where what went out has ended."""
        ...

    @property
    def last_id(self) -> str | None:
        """Of the newest trade that went out; None: none did."""
        ...

    def start(self, history: Sequence[Trade], held: Sequence[Trade | VoidTrade]) -> list[Trade]:
        """The beginning: ``history`` by REST as far as it joins what the stream brought meanwhile."""
        ...

    def follow(self, events: Iterable[Trade | VoidTrade]) -> list[Trade]:
        """Of what the stream brought, and of what was withheld, the trades that may go out, in order."""
        ...

    def broken(self) -> None:
        """The subscription was lost: what comes next proves nothing."""
        ...

    def reached(self, rows: Sequence[Trade]) -> bool:
        """Whether ``rows``, a contiguous list by REST, is as new as what is withheld; else it is to be asked again."""
        ...

    def mend(self, rows: Sequence[Trade]) -> tuple[list[Trade], Mended]:
        """Everything withheld with ``rows`` before it, in order. Empty ``rows``: they could not be had."""
        ...


class DenseTrades:
    """Ids are integers that rise by one; ``VoidTrade`` marks those that are no public trade."""

    def __init__(self) -> None:
        self.duplicates = 0
        self._last: int | None = None
        self._ahead: dict[int, Trade | VoidTrade] = {}  # behind a hole
        self._voids = False  # ids exist that REST does not list
        self._doubted: int | None = None  # a far id that was not believed
        self._blind = False  # lost before anything went out: its first trade need not be the first that was missed

    @property
    def open(self) -> bool:
        return bool(self._ahead)

    @property
    def crowded(self) -> bool:
        return len(self._ahead) > MAX_WITHHELD

    @property
    def proven(self) -> bool:
        return not self._ahead and not self._blind

    @property
    def last_id(self) -> str | None:
        return None if self._last is None else str(self._last)

    def start(self, history: Sequence[Trade], held: Sequence[Trade | VoidTrade]) -> list[Trade]:
        rows = sorted(history, key=_number)
        if held and rows and min(map(_number, held)) > _number(rows[-1]) + 1:
            rows = []  # it does not reach the stream: nobody may take the two for one
        newest = self._last = _number(rows[-1]) if rows else None
        return [*rows, *self.follow(e for e in sorted(held, key=_number) if newest is None or _number(e) > newest)]

    def follow(self, events: Iterable[Trade | VoidTrade]) -> list[Trade]:
        ready: list[Trade] = []
        for event in events:
            number = int(event.id)
            if self._last is None:
                if self._blind:
                    self._ahead[number] = event
                    continue
                self._last = number - 1
            if number == self._last + 1:
                self._ahead.pop(number, None)
                self._take(number, event, ready)
            elif number <= self._last or number in self._ahead:
                self.duplicates += 1
            elif self._believes(number):
                self._ahead[number] = event
        while self._ahead and self._last is not None and (found := self._ahead.pop(self._last + 1, None)):
            self._take(self._last + 1, found, ready)
        return ready

    def broken(self) -> None:
        self._blind = self._last is None  # else the ids will tell

    def reached(self, rows: Sequence[Trade]) -> bool:
        if not self._ahead:
            return True  # what is not among them will show as a hole
        newest = max(self._last or 0, _number(rows[-1]) if rows else 0)
        return newest + 1 >= min(self._ahead)

    def mend(self, rows: Sequence[Trade]) -> tuple[list[Trade], Mended]:
        if self._last is None and not rows and not self._ahead:
            return [], Mended(0, 0, None)  # nothing has ever gone out, so nothing is missing yet
        unknown = self._last is None and not rows  # how much was missed before the first
        first, last = (_number(rows[0]), _number(rows[-1])) if rows else (0, -1)
        if self._last is None:
            self._last = (first if rows else min(self._ahead)) - 1
        self._blind = False
        fetched = {_number(row): row for row in rows if _number(row) > self._last and _number(row) not in self._ahead}
        until_ms = next((e.timestamp_ms for _, e in sorted(self._ahead.items()) if isinstance(e, Trade)), None)
        found: dict[int, Trade | VoidTrade] = {**fetched, **self._ahead}
        ready: list[Trade] = []
        missing = 0
        for number in sorted(found):
            # Ids that a list by REST passes over were used up for something that is no trade.
            if number > self._last + 1 and not (first <= self._last + 1 and number <= last + 1):
                missing += number - self._last - 1
            self._take(number, found[number], ready)
        self._ahead.clear()
        return ready, Mended(len(fetched), None if unknown or (missing and self._voids) else missing, until_ms)

    def _believes(self, number: int) -> bool:
        """One garbled id must not make everything after it look old."""
        newest = max(self._ahead, default=self._last or 0)
        if number - newest <= FAR or (self._doubted is not None and abs(number - self._doubted) <= FAR):
            return True
        self._doubted = number
        return False

    def _take(self, number: int, event: Trade | VoidTrade, ready: list[Trade]) -> None:
        self._last = number
        if isinstance(event, Trade):
            ready.append(event)
        else:
            self._voids = True


class LooseTrades:
    """Ids are unique, and in no order."""

    def __init__(self) -> None:
        self.duplicates = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        # What came since a loss, and by subscriptions that were lost in their turn; None: there is nothing to prove.
        self._held: list[Trade] | None = []
        self._before: list[Trade] = []

    @property
    def open(self) -> bool:
        return bool(self._held)

    @property
    def crowded(self) -> bool:
        return len(self._held or ()) + len(self._before) > MAX_WITHHELD

    @property
    def proven(self) -> bool:
        return self._held is None

    @property
    def last_id(self) -> str | None:
        return next(reversed(self._seen), None)

    def start(self, history: Sequence[Trade], held: Sequence[Trade | VoidTrade]) -> list[Trade]:
        self._held = _trades(held)
        past = history if self.reached(history) else ()
        self._held = None if held else []
        return self._new({trade.id: trade for trade in [*past, *_trades(held)]}.values())

    def follow(self, events: Iterable[Trade | VoidTrade]) -> list[Trade]:
        if self._held is not None:
            self._held += _trades(events)
            return []
        return self._new(_trades(events))

    def broken(self) -> None:
        if self._held:
            self._before += self._held
        self._held = []

    def reached(self, rows: Sequence[Trade]) -> bool:
        ids = {row.id for row in rows}
        return not self._held or any(trade.id in ids or trade.id in self._seen for trade in self._held)

    def mend(self, rows: Sequence[Trade]) -> tuple[list[Trade], Mended]:
        """Without anything held the proof stays open: the first trade of the stream has yet to be met."""
        held = self._held or []
        known = self._seen or {trade.id for trade in self._before[:1]}
        if not known:
            rows = ()  # nothing has gone out: the stream begins with itself
        if not rows and not held:
            return [], Mended(0, 0, None)  # nothing to prove it with, and nothing yet that would have to be
        rows = rows[next((at for at, row in enumerate(rows) if row.id in known), 0) :]  # what is older is no loss
        known_before = any(trade.id in known for trade in [*rows, *held])
        reaches = self.reached(rows) and (bool(rows) or not self._before)
        complete = not known or (known_before and reaches)
        brought = {trade.id for trade in [*self._before, *held]}
        found = [*rows, *self._before, *held]
        if self._before and not complete:
            found.sort(key=lambda trade: trade.timestamp_ms)
        self._held, self._before = (None if held else []), []
        ready = self._new({trade.id: trade for trade in found if trade.id not in self._seen}.values())
        fetched = sum(trade.id not in brought for trade in ready)
        return ready, Mended(fetched, 0 if complete else None, held[0].timestamp_ms if held else None)

    def _new(self, trades: Iterable[Trade]) -> list[Trade]:
        seen, ready = self._seen, []
        for trade in trades:
            if trade.id in seen:
                self.duplicates += 1
                continue
            seen[trade.id] = None
            ready.append(trade)
        while len(seen) > MAX_SEEN:
            seen.popitem(last=False)
        return ready


def _trades(events: Iterable[Trade | VoidTrade]) -> list[Trade]:
    return [event for event in events if isinstance(event, Trade)]


def _number(event: Trade | VoidTrade) -> int:
    return int(event.id)
