"""What a venue stated, before any fault touched it: its books by the venue's own sequence, its trades by their ids.

Pure: no clock, no I/O. Books are remembered only once somebody asked for them; trades are the market's own ledger.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple

from .grid import Grid
from .journal import Journal

LEVELS = 25  # a side
STATEMENTS = 5_000  # of one kind of stream and symbol
MOST_ROWS = 1_000  # in one answer

Rows = Iterable[tuple[int, int]]  # (price in ticks, amount in steps), best first


class Statement(NamedTuple):
    number: int
    stream: str
    sequence: int
    timestamp_ms: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class BookJournal:
    """The newest book statements of one symbol, numbered over all its streams, kept for each stream by itself.

    ``recording`` is asked before anything is done for a statement. ``skew_ms`` is how far the venue's clock is off.
    """

    def __init__(self, prices: Grid, amounts: Grid, skew_ms: Callable[[], int] = lambda: 0) -> None:
        self.recording = False
        self._prices = prices
        self._amounts = amounts
        self._skew_ms = skew_ms
        self._streams: dict[str, deque[Statement]] = {}
        self._last = 0
        self._begins = 1  # the number from which on nothing is forgotten

    def note(self, stream: str, sequence: int, timestamp_ms: int, bids: Rows, asks: Rows) -> None:
        """Remember a statement; does nothing unless ``recording``."""
        if not self.recording:
            return
        kept = self._streams.setdefault(stream, deque())
        if len(kept) >= STATEMENTS:
            self._begins = max(self._begins, kept.popleft().number + 1)
        self._last += 1
        at = timestamp_ms + self._skew_ms()
        kept.append(Statement(self._last, stream, sequence, at, list(islice(bids, LEVELS)), list(islice(asks, LEVELS))))

    def read(self, since: int) -> dict[str, Any]:
        """Statements numbered ``since`` and higher, oldest first; ``next`` is what to ask for after them.

        ``begins`` above a ``since`` that is not 0: some were forgotten before they were read.
        """
        self.recording = True
        found = sorted(each for kept in self._streams.values() for each in kept if each.number >= since)[:MOST_ROWS]
        return {
            "next": found[-1].number + 1 if found else max(since, self._last + 1),
            "begins": self._begins,
            "books": [self._row(each) for each in found],
        }

    def _row(self, each: Statement) -> dict[str, Any]:
        row: dict[str, Any] = {"n": each.number, "stream": each.stream, "sequence": each.sequence}
        row |= {"timestamp_ms": each.timestamp_ms}
        return row | {"bids": self._texts(each.bids), "asks": self._texts(each.asks)}

    def _texts(self, side: list[tuple[int, int]]) -> list[list[str]]:
        return [[self._prices.text(price), self._amounts.text(amount)] for price, amount in side]


class Print(NamedTuple):
    """One trade as a stream of the venue states it; ``id`` as on the wire."""

    id: int | str
    price: str
    amount: str
    taker_side: str
    timestamp_ms: int


class Tape(NamedTuple):
    """A numbered ledger and how a stream of the venue states its entries."""

    ledger: Journal[Any]
    state: Callable[[Any], Print]

    def read(self, since: int, skew_ms: int = 0) -> dict[str, Any]:
        """Trades numbered ``since`` and higher, oldest first; ``next`` and ``begins`` as of ``BookJournal.read``.

        Times are as the venue states them now.
        """
        begins = self.ledger.first
        first = max(since, begins)
        found = self.ledger.since(first - 1)[:MOST_ROWS]
        trades = []
        for number, entry in enumerate(found, first):
            told = self.state(entry)
            trades.append({"n": number, **told._asdict(), "timestamp_ms": told.timestamp_ms + skew_ms})
        return {"next": first + len(found), "begins": begins, "trades": trades}
