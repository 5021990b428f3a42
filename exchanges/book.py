"""An order book, and the proof that it is the venue's. Pure: no clock, no socket, no venue.

Levels keep the venue's decimal text beside the float they sort by.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from math import inf

import orjson

from exchanges.errors import CrossedBook, SequenceGap
from exchanges.events import BookDelta, BookSnapshot, Level

MAX_LEVELS = 5_000  # a side; a diff stream alone would grow it for ever (Binance: 1,000 → 5,000 in six minutes)
MAX_KEPT = 2_000  # deltas kept while waiting for a snapshot: over three minutes of the fastest documented stream
WINDOW = 60  # levels kept sorted to begin with


class BookSide:
    """One side's levels by price, the best of them sorted.

    Only the *window*, the levels at or better than an edge, is kept in order; the rest is a dict that takes a whole
    message in one C call, removed levels included, and is looked into when the window runs out. A window as deep as
    anybody asks for makes 100 changes cost 15 µs; a fully sorted side 55 (``scripts/bench_ingest.py``).
    """

    __slots__ = ("_amounts", "_complete", "_inside", "_is_bid", "_levels", "_size", "_window")

    def __init__(self, *, is_bid: bool) -> None:
        self._is_bid = is_bid
        self._levels: dict[float, Level] = {}  # beyond the edge also removed ones, with an amount of 0
        self._window: list[float] = []  # ascending
        self._amounts: dict[float, float] = {}  # of the window's levels
        self._size = WINDOW
        self._complete = True  # nothing but removed levels lies beyond the edge
        self._inside = self._at_or_better(None)

    @property
    def best(self) -> float | None:
        """The highest bid or lowest ask; None: the side is empty."""
        if not self._window:
            return None
        return self._window[-1 if self._is_bid else 0]

    def replace(self, levels: Sequence[Level]) -> None:
        """Forget everything but ``levels``. Raises as ``apply`` does."""
        prices, _ = _prices_and_amounts(levels)
        self._levels = dict(zip(prices, levels, strict=True))
        self._sort()

    def apply(self, levels: Sequence[Level]) -> None:
        """Set each level; an amount of 0 removes it, and removing what is not there is normal.

        Raises:
            TypeError, ValueError: a level is none.
        """
        prices, amounts = _prices_and_amounts(levels)
        self._levels.update(zip(prices, levels, strict=True))
        inside = self._inside
        for price, amount in zip(prices, amounts, strict=True):
            if inside(price):
                self._put(price, amount)
        if len(self._levels) > 2 * MAX_LEVELS or len(self._window) > 2 * self._size or self._exhausted(1):
            self._sort()

    def best_prices(self, count: int) -> list[float]:
        """The best ``count`` prices, best first."""
        if self._exhausted(count):
            self._size = max(self._size, 2 * count)
            self._sort()
        return self._window[: -count - 1 : -1] if self._is_bid else self._window[:count]

    def texts(self, count: int) -> list[Level]:
        """The best ``count`` levels as the venue wrote them, best first."""
        return [self._levels[price] for price in self.best_prices(count)]

    def rows(self, count: int) -> list[tuple[float, float]]:
        """The best ``count`` levels as (price, amount), best first."""
        prices = self.best_prices(count)
        return list(zip(prices, map(self._amounts.__getitem__, prices), strict=True))

    def _put(self, price: float, amount: float) -> None:
        if amount:
            if price not in self._amounts:
                insort(self._window, float(price))
            self._amounts[price] = float(amount)
        elif self._amounts.pop(price, None) is not None:
            del self._window[bisect_left(self._window, price)]

    def _exhausted(self, count: int) -> bool:
        return not self._complete and len(self._window) < count

    def _sort(self) -> None:
        """Make the window anew, and forget removed levels and those furthest from the touch."""
        amounts = _numbers([amount for _, amount in self._levels.values()])
        live = {float(price): float(amount) for price, amount in zip(self._levels, amounts, strict=True) if amount}
        best = sorted(live, reverse=self._is_bid)[:MAX_LEVELS]
        window = best[: self._size]
        self._levels = {price: self._levels[price] for price in best}
        self._amounts = {price: live[price] for price in window}
        self._window = window[::-1] if self._is_bid else window
        self._complete = len(window) == len(best)
        self._inside = self._at_or_better(None if self._complete else window[-1])

    def _at_or_better(self, edge: float | None) -> Callable[[float], bool]:
        """Whether a price belongs to the window; None: every price does."""
        if self._is_bid:
            return (0.0 if edge is None else edge).__le__
        return (inf if edge is None else edge).__ge__


def _prices_and_amounts(levels: Sequence[Level]) -> tuple[list[float], list[float]]:
    """Both are read at once, also far from the touch: whoever looks there later is not the one to say it is rubbish."""
    prices = _numbers([price for price, _ in levels])
    amounts = _numbers([amount for _, amount in levels])
    if prices and (min(prices) <= 0.0 or min(amounts) < 0.0):
        raise ValueError("not levels: a price or an amount is out of range")
    return prices, amounts


def _numbers(texts: Sequence[str]) -> list[float]:
    """Decimal texts as numbers. As one JSON array they cost 0.03 µs each, by ``float()`` 0.15; JSON has no NaN."""
    numbers: list[float] = orjson.loads(f"[{','.join(texts)}]")
    return numbers


class OrderBook:
    """Bids and asks as of ``sequence``."""

    __slots__ = ("asks", "bids", "sequence", "timestamp_ms")

    def __init__(self, snapshot: BookSnapshot) -> None:
        self.bids, self.asks = BookSide(is_bid=True), BookSide(is_bid=False)
        self.bids.replace(snapshot.bids)
        self.asks.replace(snapshot.asks)
        self.sequence = snapshot.sequence
        self.timestamp_ms = snapshot.timestamp_ms
        self._check()

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

    def top_bids(self, count: int) -> list[Level]:
        """The best ``count`` bids as the venue wrote them, highest first."""
        return self.bids.texts(count)

    def top_asks(self, count: int) -> list[Level]:
        """The best ``count`` asks as the venue wrote them, lowest first."""
        return self.asks.texts(count)

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
    """

    def __init__(self) -> None:
        self.book: OrderBook | None = None
        self.joined = False  # a delta has been applied since the snapshot
        self._kept: deque[BookDelta] = deque()

    @property
    def kept(self) -> int:
        return len(self._kept)

    def on_snapshot(self, snapshot: BookSnapshot) -> OrderBook | None:
        """The book, or None if the snapshot is older than the kept deltas and another one is needed.

        Where a venue has no sequences, one that is older than the book by the venue's clock is dropped: None too.

        Raises:
            SequenceGap, CrossedBook: the kept deltas do not follow each other, or the snapshot is no book.
        """
        if self.book is not None and not snapshot.sequence and _older(snapshot, self.book):
            return None
        while self._kept and self._kept[0].last_sequence <= snapshot.sequence:
            self._kept.popleft()
        if self._kept and self._kept[0].prev_sequence > snapshot.sequence:
            return None
        self.book, self.joined = OrderBook(snapshot), False
        while self._kept:
            self._join(self.book, self._kept.popleft())
        return self.book

    def on_delta(self, delta: BookDelta) -> OrderBook | None:
        """The book after ``delta``, or None if it did not change (still waiting, or already inside the snapshot).

        Raises:
            SequenceGap: a delta is missing, or too many were kept.
            CrossedBook: the result is not a book.
        """
        if self.book is None:
            if len(self._kept) >= MAX_KEPT:
                raise SequenceGap(expected=self._kept[0].prev_sequence, got=delta.prev_sequence)
            self._kept.append(delta)
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
    return snapshot.timestamp_ms is not None and snapshot.timestamp_ms < (book.timestamp_ms or 0)
