"""An order book, and the proof that it is the venue's. Pure: no clock, no socket, no venue.

Levels are numbers, checked where they were decoded (``events.Level``). The venue's own decimals are kept beside them
only for a book that somebody wants them of.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from math import inf, nextafter
from operator import itemgetter
from typing import Any

from exchanges.errors import UNREADABLE, CrossedBook, SequenceGap
from exchanges.events import BookDelta, BookSnapshot, Level
from exchanges.venue import Texts

MAX_LEVELS = 5_000  # a side; a diff stream alone would grow it for ever (Binance: 1,000 → 5,000 in six minutes)
MAX_KEPT = 2_000  # deltas kept while waiting for a snapshot: over three minutes of the fastest documented stream
MAX_LATE_MS = 60_000  # by which one whole book may come after a newer one
WINDOW = 60  # levels kept sorted to begin with

LevelText = tuple[str, str]  # price and amount, as the venue wrote them
ReadTexts = Callable[[Any], Texts]  # of an event's ``raw``
PRICE = itemgetter(0)


class BookSide:
    """One side's levels by price, the best of them sorted.

    Only the *window*, the levels at or better than an edge, is kept in order. The rest is a dict, removed levels
    included, and is looked into when the window runs out: half the cost of a fully sorted side
    (``scripts/bench_choices.py``).
    """

    __slots__ = ("_amounts", "_complete", "_edge", "_is_bid", "_size", "_window")

    def __init__(self, levels: Sequence[Level], *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self._amounts: dict[float, float] = dict(levels)  # by price; 0 for a removed level
        self._size = WINDOW
        self._sort()

    @property
    def best(self) -> float | None:
        """The highest bid or lowest ask; None: the side is empty."""
        if not self._window:
            return None
        return self._window[-1 if self._is_bid else 0]

    def amount(self, price: float) -> float:
        """What is there at ``price``; 0: nothing."""
        return self._amounts.get(price, 0.0)

    def levels(self) -> list[Level]:
        """All there are, in no order."""
        return [level for level in self._amounts.items() if level[1]]

    def apply(self, levels: Sequence[Level]) -> None:
        """Set each level; an amount of 0 removes it, and removing what is not there is normal."""
        amounts, window, edge, is_bid = self._amounts, self._window, self._edge, self._is_bid
        for price, amount in levels:
            if (price >= edge) is is_bid:
                if amount:
                    if not amounts.get(price):
                        insort(window, price)
                elif amounts.get(price):
                    del window[bisect_left(window, price)]
            amounts[price] = amount
        if len(amounts) > 2 * MAX_LEVELS or len(window) > 2 * self._size or self._exhausted(1):
            self._sort()

    def rows(self, count: int) -> list[tuple[float, float]]:
        """The best ``count`` levels as (price, amount), best first."""
        if self._exhausted(count):
            self._size = max(self._size, 2 * count)
            self._sort()
        prices = self._window[: -count - 1 : -1] if self._is_bid else self._window[:count]
        return list(zip(prices, map(self._amounts.__getitem__, prices), strict=True))

    def _exhausted(self, count: int) -> bool:
        return not self._complete and len(self._window) < count

    def _sort(self) -> None:
        """Make the window anew, and forget removed levels and those furthest from the touch."""
        live = {price: amount for price, amount in self._amounts.items() if amount}
        best = sorted(live, reverse=self._is_bid)[:MAX_LEVELS]
        window = best[: self._size]
        self._amounts = live if len(best) == len(live) else {price: live[price] for price in best}
        self._window = window[::-1] if self._is_bid else window
        self._complete = len(window) == len(best)
        # A bid belongs to the window from the edge up; an ask below it, so it lies just beyond the worst one.
        if self._complete:
            self._edge = -inf if self._is_bid else inf
        else:
            self._edge = window[-1] if self._is_bid else nextafter(window[-1], inf)


class LevelTexts:
    """A book's levels in the venue's own decimals, by price, as far as they are known: nothing is ever made up.

    Complete when it is kept from the snapshot on. When it begins in the middle, only levels that were heard of since
    are here, and ``fill`` adds those of another snapshot that are the same. Who misses a level waits.
    """

    __slots__ = ("asks", "bids", "read")

    def __init__(self, read: ReadTexts) -> None:
        self.read = read
        self.bids: dict[float, LevelText] = {}
        self.asks: dict[float, LevelText] = {}

    def hear(self, event: BookSnapshot | BookDelta, book: "OrderBook") -> None:
        """Take what ``event`` says, which ``book`` has taken already."""
        try:
            bids, asks = self.read(event.raw)
        except UNREADABLE:  # numbers where there always were texts: how they were written is not known then
            self._unknow(event)
            return
        self.bids = _take(self.bids, event.bids, bids, book.bids)
        self.asks = _take(self.asks, event.asks, asks, book.asks)

    def fill(self, snapshot: BookSnapshot, book: "OrderBook") -> None:
        """Add the levels that ``snapshot`` has at the same price with the same amount: that is all the proof needed.

        So it may be older or newer than the book, and of a venue without sequences.

        Raises:
            ValueError and its kin (``UNREADABLE``): its levels are not texts.
        """
        bids, asks = self.read(snapshot.raw)
        for known, levels, texts, side in (
            (self.bids, snapshot.bids, bids, book.bids),
            (self.asks, snapshot.asks, asks, book.asks),
        ):
            for (price, amount), text in zip(levels, texts, strict=True):
                if price not in known and amount and side.amount(price) == amount:
                    known[price] = text

    def _unknow(self, event: BookSnapshot | BookDelta) -> None:
        for known, levels in ((self.bids, event.bids), (self.asks, event.asks)):
            for price, _ in levels:
                known.pop(price, None)


def _take(
    known: dict[float, LevelText], levels: Sequence[Level], texts: Sequence[LevelText], side: BookSide
) -> dict[float, LevelText]:
    """``known`` with ``texts`` of the changed ``levels``, and without those that ``side`` has no more."""
    known.update(zip(map(PRICE, levels), texts, strict=True))
    for price, amount in levels:
        if not amount and not side.amount(price):  # it may have come back within the message
            known.pop(price, None)
    if len(known) > 2 * MAX_LEVELS:  # the side has forgotten those furthest from the touch
        known = {price: text for price, text in known.items() if side.amount(price)}
    return known


class OrderBook:
    """Bids and asks as of ``sequence``; ``texts`` of them while somebody wants any."""

    __slots__ = ("asks", "bids", "sequence", "texts", "timestamp_ms")

    def __init__(self, snapshot: BookSnapshot, *, texts: ReadTexts | None = None) -> None:
        self.bids = BookSide(snapshot.bids, is_bid=True)
        self.asks = BookSide(snapshot.asks, is_bid=False)
        self.sequence = snapshot.sequence
        self.timestamp_ms = snapshot.timestamp_ms
        self.texts: LevelTexts | None = None
        self._check()
        if texts is not None:
            self.texts = LevelTexts(texts)
            self.texts.hear(snapshot, self)

    def apply(self, delta: BookDelta) -> None:
        """Bring the book to ``delta.last_sequence``.

        Raises:
            CrossedBook: the result is not a book; it must not be used further.
        """
        self.bids.apply(delta.bids)
        self.asks.apply(delta.asks)
        self.sequence = delta.last_sequence
        self.timestamp_ms = delta.timestamp_ms
        self._check()
        if self.texts is not None:
            self.texts.hear(delta, self)

    def _check(self) -> None:
        best_bid, best_ask = self.bids.best, self.asks.best
        if best_bid is not None and best_ask is not None and best_bid >= best_ask:
            raise CrossedBook(best_bid, best_ask)


class BookSync:
    """Joins a snapshot to a stream of deltas, in whichever order they arrive.

    Waiting: deltas are kept. A snapshot makes it live as soon as it joins what was kept. Live: each delta must follow
    the one before, else ``SequenceGap``, and whoever owns us starts over.

    One rule serves the venues that number their deltas: a snapshot at S joins the first delta with
    ``prev_sequence <= S < last_sequence`` (the delta straddles the snapshot or continues it), older ones lie inside the
    snapshot, and from then on ``prev_sequence`` is exactly the sequence of the book.

    ``texts``: keep the venue's decimals from the first snapshot on. The book of a later snapshot keeps them if the one
    before did, so whoever wants them, or no longer, says so to the book.
    """

    def __init__(self, *, texts: ReadTexts | None = None) -> None:
        self._texts = texts
        self.book: OrderBook | None = None
        self.joined = False  # a delta has been applied since the snapshot
        self.kept: deque[BookDelta] = deque()  # not yet joined; after a SequenceGap from the one that showed it on

    def on_snapshot(self, snapshot: BookSnapshot) -> OrderBook | None:
        """The book, or None if the snapshot is older than the kept deltas and another one is needed.

        Where a venue has no sequences, one that is older than the book by the venue's clock is dropped: None too.

        Raises:
            SequenceGap, CrossedBook: the kept deltas do not follow each other, or the snapshot is no book.
        """
        if self.book is not None and not snapshot.sequence and _older(snapshot, self.book):
            return None
        while self.kept and self.kept[0].last_sequence <= snapshot.sequence:
            self.kept.popleft()
        if self.kept and self.kept[0].prev_sequence > snapshot.sequence:
            return None
        if self.book is not None:
            self._texts = None if self.book.texts is None else self.book.texts.read
        self.book, self.joined = OrderBook(snapshot, texts=self._texts), False
        while self.kept:
            self._join(self.book, self.kept[0])
            self.kept.popleft()
        return self.book

    def on_delta(self, delta: BookDelta) -> OrderBook | None:
        """The book after ``delta``, or None if it did not change (still waiting, or already inside the snapshot).

        Raises:
            SequenceGap: a delta is missing, or too many were kept.
            CrossedBook: the result is not a book.
        """
        if self.book is None:
            if len(self.kept) >= MAX_KEPT:
                raise SequenceGap(expected=self.kept[0].prev_sequence, got=delta.prev_sequence)
            self.kept.append(delta)
            return None
        return self.book if self._join(self.book, delta) else None

    def _join(self, book: OrderBook, delta: BookDelta) -> bool:
        if delta.last_sequence <= book.sequence:
            return False
        follows = delta.prev_sequence == book.sequence
        straddles = not self.joined and delta.prev_sequence <= book.sequence
        if not (follows or straddles):
            raise SequenceGap(expected=book.sequence, got=delta.prev_sequence)
        book.apply(delta)
        self.joined = True
        return True


def _older(snapshot: BookSnapshot, book: OrderBook) -> bool:
    """It came late. One that is far older comes from a clock that was set back, and is the newest there is."""
    behind = (book.timestamp_ms or 0) - (snapshot.timestamp_ms or 0)
    return snapshot.timestamp_ms is not None and 0 < behind <= MAX_LATE_MS
