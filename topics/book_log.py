"""What the owner of a book hears from the venue, kept for those who follow it, and how they read it.

An entry is what one cursor stands for: the venue's own messages since the last one, so that a follower parses, applies
and proves them as the owner did, its decimals included. An *anchor* in place of one is the whole book, in numbers: the
first entry after the owner synced it, and again whenever the messages since the last anchor outweigh it. So all that is
kept of a book is at most about four times its size, and who comes reads from the last anchor on.
"""

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from msgspec import Raw, Struct
from msgspec.json import Decoder

from exchanges.book import BookSync, OrderBook, ReadTexts
from exchanges.events import BookDelta, BookSnapshot, Level
from exchanges.venue import Parsed
from topics.key import Cursor
from topics.redis_ring import RedisRing
from topics.ring import Entry
from topics.subscriber import NOWHERE

WHOLE, DELTAS = b'{"whole":', b'{"deltas":'


class Anchor(Struct):
    """A whole book; levels in no order."""

    bids: list[Level]
    asks: list[Level]
    sequence: int
    timestamp_ms: int | None


class Kept(Struct):
    """One entry. With messages, of which the first may be a whole book, an anchor says the same as they do."""

    received: int  # ms
    anchor: Anchor | None = None
    whole: Sequence[Raw] = ()
    deltas: Sequence[Raw] = ()


KEPT = Decoder(Kept)


class BookLog:
    """The owner's side."""

    def __init__(self, ring: RedisRing) -> None:
        self.ring = ring
        self._messages: list[bytes] = []
        self._whole = False  # the first of them tells the whole book
        self._anchor = NOWHERE  # the newest
        self._due = True  # there has to be another one: the book is not what came of the one before
        self._size = self._since = 0  # bytes of it, and of what came after it

    def hear(self, event: BookSnapshot | BookDelta | None) -> None:
        """The book has taken ``event``; None: it is another one."""
        if event is None:
            self.forget()
        elif isinstance(event, BookSnapshot):
            self._messages, self._whole = [event.raw], True
        else:
            self._messages.append(event.raw)

    def publish(self, cursor: Cursor, book: OrderBook, received_ms: int) -> None:
        """All that was heard since the last time is what ``cursor`` stands for."""
        messages, self._messages = self._messages, []
        whole, self._whole = self._whole, False
        lacking = self._due or not self.ring.holds(self._anchor)
        heard = b'%b[%b],"received":%d}' % (WHOLE if whole else DELTAS, b",".join(messages), received_ms)
        payload = heard
        if not whole and (lacking or self._since > self._size):
            said, whole = orjson.dumps({"anchor": _whole(book)})[:-1], True
            payload = said + b',"received":%d}' % received_ms if self._due else said + b"," + heard[1:]
        if whole:
            self.ring.forget_before(self._anchor)
            self._anchor, self._due, self._size, self._since = cursor, False, len(payload), 0
        else:
            self._since += len(payload)
        self.ring.append(cursor, payload)

    def forget(self) -> None:
        """The book is proven no more."""
        self._messages, self._whole, self._due = [], False, True


class BookReader:
    """The follower's side."""

    def __init__(self, parse: Callable[[bytes], Parsed], texts: ReadTexts | None) -> None:
        self._parse, self._texts = parse, texts
        self._sync: BookSync | None = None  # None: a whole book is waited for
        self._at: Cursor | None = None

    def read(self, entry: Entry, *, exact: bool) -> tuple[OrderBook, int] | None:
        """The book as of ``entry``, and when the owner received it (ms); None: a whole one has to come first.

        ``exact``: a book that begins with a message of the venue is to keep its texts.

        Raises:
            SequenceGap, CrossedBook, BadMessage, and ``UNREADABLE``: what was kept is not what the owner read.
                ``forget`` is due.
        """
        follows = self._at is not None and entry.cursor == self._at.next()
        if not follows:
            self._sync = None
        if self._sync is None and entry.payload.startswith(DELTAS):
            return None
        kept = KEPT.decode(entry.payload)
        sync = None if kept.whole else self._sync  # as the owner took it: it may be older than what is known here
        messages = (*kept.whole, *kept.deltas)
        if kept.anchor is not None and (sync is None or not messages):
            sync, messages = BookSync(), ()
            told = kept.anchor
            sync.on_snapshot(
                BookSnapshot(bids=told.bids, asks=told.asks, sequence=told.sequence, timestamp_ms=told.timestamp_ms)
            )
        for message in messages:
            sync = sync or BookSync(texts=self._texts if exact else None)
            for event in self._parse(bytes(message))[1]:
                if isinstance(event, BookSnapshot):
                    sync.on_snapshot(event)
                elif isinstance(event, BookDelta):
                    sync.on_delta(event)
        self._sync, self._at = sync, entry.cursor
        return None if sync is None or sync.book is None else (sync.book, kept.received)

    def forget(self) -> None:
        """Wait for a whole book."""
        self._sync = None


def _whole(book: OrderBook) -> dict[str, Any]:
    return {
        "bids": book.bids.levels(),
        "asks": book.asks.levels(),
        "sequence": book.sequence,
        "timestamp_ms": book.timestamp_ms,
    }
