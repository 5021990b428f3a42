"""How a book is told: whole each time, or by what changed of it. Knows no feed, and when to speak is not its choice.

All subscribers of a view hold the same state, the one last published, so one frame serves them all: ``Chain`` remembers
it, level by level, and says how the book differs from it now. Who joins is given that same state, and so extends it by
the frame that extends it for everybody.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, NamedTuple
from zlib import crc32

from exchanges.book import BookSide, LevelText, OrderBook
from topics.key import Cursor
from topics.topic import Topic
from topics.wire import book_shape, book_view

ANCHOR_AFTER = 30.0  # seconds after which a snapshot takes the place of the next delta
CHECKSUM_EVERY = 1.0  # seconds between two deltas with a checksum, or a snapshot and one
CHECKSUM_LEVELS = 10
REMOVED = "0"  # the amount of a level that is gone
NOWHERE = Cursor(0, 0)  # before anything was published

Reason = Literal["join", "resync", "anchor", "conflated"]


@dataclass(slots=True)
class Newest:
    """A book as its feed left it, and its place in the feed's stream; one for all views of the book."""

    book: OrderBook | None = None  # None: none is proven
    cursor: Cursor = NOWHERE
    received_ms: int = 0


class Whole:
    """``mode: "full"``: each frame takes the place of the one before."""

    lacking = False  # numbers are always there

    def __init__(self, topic: Topic, newest: Newest, *, levels: int) -> None:
        self.cursor: Cursor | None = None  # of what was published last; None: nothing was
        self._topic, self._newest, self._levels = topic, newest, levels
        self._payload: bytes | None = None

    def publish(self) -> bool:
        """Send the newest state to the subscribers; False: there was nothing to say."""
        self._tell(self._topic.publish)
        return True

    def begin(self) -> None:
        """Make the newest state the one last published, though nobody was there to see it."""
        self._tell(self._topic.encode)

    def snapshot(self, reason: Reason) -> bytes | None:
        """The state last published, as a frame's JSON; None: there is none."""
        return self._payload

    def forget(self, *, broken: bool) -> None:
        self.cursor = self._payload = None

    def _tell(self, tell: Callable[..., bytes]) -> None:
        book, cursor = self._newest.book, self._newest.cursor
        assert book is not None
        data = book_view(book, self._topic.key.symbol, levels=self._levels)
        self._payload = tell(cursor, data, event_ms=book.timestamp_ms, received_ms=self._newest.received_ms)
        self.cursor = cursor


class Change(NamedTuple):
    """How a side differs from the one that subscribers hold."""

    amounts: dict[float, float]  # by price, of the side as it is now, the best first
    texts: dict[float, LevelText]  # of new levels and new amounts
    gone: list[float]  # prices where there is nothing any more
    left: list[float]  # those, and prices that fell out below the view: a client finds out by truncating


class ShownSide:
    """One side as the subscribers of a view hold it."""

    def __init__(self) -> None:
        self._amounts: dict[float, float] = {}  # by price, the best first
        self._texts: dict[float, LevelText] = {}  # by price

    def rows(self, count: int | None = None) -> list[LevelText]:
        """The best ``count`` levels, or all, the best first."""
        prices = list(self._amounts)[:count]
        return [self._texts[price] for price in prices]

    def change(self, side: BookSide, known: Mapping[float, LevelText], *, levels: int) -> Change | None:
        """What has to be said of ``side``; None: nothing.

        Raises:
            KeyError: the text of a level is not known.
        """
        now, before = dict(side.rows(levels)), self._amounts
        if now == before:
            return None
        texts = {price: known[price] for price, amount in now.items() if before.get(price) != amount}
        left = [price for price in before if price not in now]
        gone = [price for price in left if not side.amount(price)]
        return Change(now, texts, gone, left)

    def take(self, change: Change | None) -> list[LevelText]:
        """Hold what ``change`` says from now on; gives it as rows for those who are to do the same."""
        if change is None:
            return []
        held = self._texts
        removed = [(held[price][0], REMOVED) for price in change.gone]
        # Subscribers know a level that they hold by the text of its price, whatever the venue writes now.
        texts = {price: (held[price][0], text[1]) if price in held else text for price, text in change.texts.items()}
        for price in change.left:
            del held[price]
        held |= texts
        self._amounts = change.amounts
        return removed + list(texts.values())


class Chain:
    """``mode: "delta"``: a snapshot, then what changes, in the venue's own decimals; now and then a snapshot again."""

    def __init__(self, topic: Topic, newest: Newest, *, levels: int, clock: Callable[[], float]) -> None:
        self.cursor: Cursor | None = None  # of what was published last; None: nothing was
        self.lacking = False  # a level's text is not known yet, so nothing can be said
        self._topic, self._newest, self._levels, self._clock = topic, newest, levels, clock
        self._bids, self._asks = ShownSide(), ShownSide()
        self._timestamp_ms: int | None = None
        self._sequence = self._received_ms = 0
        self._first_reason: Reason = "join"
        self._snapshots: dict[Reason, bytes] = {}  # the JSON of those built at this cursor
        self._anchor_at = self._checksum_at = 0.0  # seconds of the clock

    def publish(self) -> bool:
        """Send what is new to the subscribers; False: nothing is, or a text is lacking."""
        before = self.cursor
        changed = self._advance()
        if changed is None:
            return False
        now = self._clock()
        if before is None:
            self._publish_snapshot(self._first_reason, now)
        elif now >= self._anchor_at:
            self._publish_snapshot("anchor", now)
        else:
            beside: dict[str, Any] = {"kind": "delta", "prev": str(before)}
            if now >= self._checksum_at:
                beside["checksum"] = self._checksum()
                self._checksum_at = now + CHECKSUM_EVERY
            self._tell(self._topic.publish, *changed, beside=beside)
        return True

    def begin(self) -> None:
        """Make the newest state the one last published, though nobody was there to see it, unless a text is lacking."""
        if self._advance() is not None:
            self._set_dates(self._clock())

    def snapshot(self, reason: Reason) -> bytes | None:
        """The state last published, as a frame's JSON, built once; None: there is none."""
        if self.cursor is None:
            return None
        if reason not in self._snapshots:
            self._snapshots[reason] = self._tell_whole(self._topic.encode, reason)
        return self._snapshots[reason]

    def forget(self, *, broken: bool) -> None:
        """Begin anew with the next state; ``broken``: those who hold the last one are told that it broke."""
        if not broken:
            self._first_reason = "join"
        elif self.cursor is not None:
            self._first_reason = "resync"
        self.lacking = False
        if self.cursor is not None:
            self.cursor, self._snapshots = None, {}
            self._bids, self._asks = ShownSide(), ShownSide()

    def _advance(self) -> tuple[list[LevelText], list[LevelText]] | None:
        """Hold the newest state; gives the changed bids and asks, or None if nothing changed or a text is lacking."""
        book = self._newest.book
        assert book is not None
        self.lacking = True
        if book.texts is None:
            return None
        try:
            bids = self._bids.change(book.bids, book.texts.bids, levels=self._levels)
            asks = self._asks.change(book.asks, book.texts.asks, levels=self._levels)
        except KeyError:
            return None
        self.lacking = False
        if bids is None and asks is None and self.cursor is not None:
            return None
        self.cursor, self._sequence, self._timestamp_ms = self._newest.cursor, book.sequence, book.timestamp_ms
        self._received_ms = self._newest.received_ms
        self._snapshots = {}
        return self._bids.take(bids), self._asks.take(asks)

    def _publish_snapshot(self, reason: Reason, now: float) -> None:
        payload = self._tell_whole(self._topic.publish, reason)
        self._snapshots = {reason: payload, "join": payload}  # who joins at this cursor gets the same bytes
        self._set_dates(now)

    def _set_dates(self, now: float) -> None:
        self._anchor_at, self._checksum_at = now + ANCHOR_AFTER, now + CHECKSUM_EVERY

    def _tell_whole(self, tell: Callable[..., bytes], reason: Reason) -> bytes:
        beside = {"kind": "snapshot", "reason": reason, "checksum": self._checksum()}
        return self._tell(tell, self._bids.rows(), self._asks.rows(), beside=beside)

    def _tell(
        self, tell: Callable[..., bytes], bids: list[LevelText], asks: list[LevelText], *, beside: Mapping[str, Any]
    ) -> bytes:
        data = book_shape(self._topic.key.symbol, bids, asks, timestamp_ms=self._timestamp_ms, sequence=self._sequence)
        return tell(self.cursor, data, event_ms=self._timestamp_ms, received_ms=self._received_ms, beside=beside)

    def _checksum(self) -> int:
        best = min(CHECKSUM_LEVELS, self._levels)
        return checksum(self._bids.rows(best), self._asks.rows(best))


def checksum(bids: Iterable[LevelText], asks: Iterable[LevelText]) -> int:
    """CRC32 over ``bid price:bid amount:ask price:ask amount:…``, level by level; a missing one is skipped."""
    parts = [part for pair in zip_longest(bids, asks, fillvalue=()) for level in pair for part in level]
    return crc32(":".join(parts).encode())
