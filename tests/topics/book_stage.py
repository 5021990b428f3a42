"""A book that a test moves by texts, with its views and their clients, and a clock that only the test moves.

``Stage`` does to ``Books`` what an upstream does: a change gets its cursor at the end of its turn, or on request.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from exchanges.book import BookSync, LevelText, OrderBook
from exchanges.events import BookDelta, BookSnapshot
from exchanges.venue import Texts
from tests.topics.reader import Reader, Turns
from tests.topics.scripted_venue import EPOCH_MS, topic_key
from topics.books import Books
from topics.key import Cursor, TopicKey
from topics.topic import Topic

Rows = Sequence[LevelText]


def read_texts(raw: Any) -> Texts:
    """Of the events that are made here: they are what they were made of."""
    bids, asks = raw
    return bids, asks


def levels(rows: Rows) -> list[tuple[float, float]]:
    return [(float(price), float(amount)) for price, amount in rows]


def text_snapshot(bids: Rows, asks: Rows, *, sequence: int = 1) -> BookSnapshot:
    return BookSnapshot(
        bids=levels(bids), asks=levels(asks), sequence=sequence, timestamp_ms=EPOCH_MS + sequence, raw=(bids, asks)
    )


class Due:
    """A call that is due; itself what it is cancelled by."""

    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class HandLoop:
    """The clock and the timers of an event loop; implements ``topics.view.Timers``."""

    def __init__(self) -> None:
        self.now = 1_000.0  # seconds
        self._due: list[Due] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> Due:
        self._due.append(Due(when, callback))
        return self._due[-1]

    @property
    def pending(self) -> list[float]:
        """When timers are due, in seconds from now."""
        return sorted(round(due.when - self.now, 6) for due in self._due if not due.cancelled)

    def move(self, seconds: float) -> None:
        """Let time pass; what becomes due is called at its time."""
        until = self.now + seconds
        while due := min((d for d in self._due if not d.cancelled and d.when <= until), key=_when, default=None):
            self._due.remove(due)
            self.now = max(self.now, due.when)
            due.callback()
        self.now = until


def _when(due: Due) -> float:
    return due.when


class Stage:
    """One book of a feed, and its views."""

    def __init__(
        self,
        *,
        read: Callable[[Any], Texts] | None = read_texts,
        fetch: Callable[[], Awaitable[BookSnapshot]] | None = None,
        resync: Callable[[], None] = lambda: None,
    ) -> None:
        self.loop, self.turns = HandLoop(), Turns()
        self.cursor = Cursor(EPOCH_MS, 0)
        self.encoded = 0  # frames
        self.books = Books(
            self._topic,
            read_texts=read,
            fetch=fetch,
            settle=self.settle,
            resync=resync,
            timers=lambda: self.loop,
        )
        self._read = read
        self._sync = BookSync()
        self._due = False

    # -- the feed ------------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """A new subscription, as the feed begins it."""
        self._sync = BookSync(texts=self._read if self.books.exact else None)

    def hear(self, event: BookSnapshot | BookDelta) -> OrderBook | None:
        """What the venue says. The change is not published before the turn ends."""
        book = self._sync.on_snapshot(event) if isinstance(event, BookSnapshot) else self._sync.on_delta(event)
        if book is not None:
            self.books.accept([book])
            self._due = True
        return book

    def change(self, bids: Rows = (), asks: Rows = ()) -> None:
        """The next delta."""
        assert self._sync.book is not None
        last = self._sync.book.sequence
        self.hear(
            BookDelta(
                bids=levels(bids),
                asks=levels(asks),
                prev_sequence=last,
                last_sequence=last + 1,
                timestamp_ms=EPOCH_MS + last + 1,
                raw=(bids, asks),
            )
        )

    def lose(self) -> None:
        """The book broke."""
        self._due = False
        self.books.forget()

    def settle(self) -> None:
        if self._due:
            self._due = False
            self.cursor = self.cursor.next()
            self.books.publish(self.cursor, EPOCH_MS + self.cursor.seq)

    def turn(self) -> None:
        """The end of a turn of the loop: what changed is published, and clients are written to."""
        self.settle()
        self.turns.take_all()

    def show(self, bids: Rows = (), asks: Rows = ()) -> None:
        """A change, and the end of its turn."""
        self.change(bids, asks)
        self.turn()

    def pass_time(self, seconds: float) -> None:
        self.loop.move(seconds)
        self.turns.take_all()

    # -- the clients ---------------------------------------------------------------------------------------------------

    def join(self, *, snapshot: bool = True, **params: Any) -> Reader:
        reader, topic = Reader(), self.books.topic(self.key(**params))
        self.settle()
        first = at_once(self.books.first_frame(topic, self.cursor, snapshot=snapshot, rewind=0))
        topic.fanout.add(reader)
        if first is not None:
            reader.payloads.append(first)
        return reader

    def leave(self, reader: Reader, **params: Any) -> None:
        self.books.topic(self.key(**params)).fanout.remove(reader)

    def key(self, **params: Any) -> TopicKey:
        return topic_key("orderbook", **params)

    def _topic(self, key: TopicKey) -> Topic:
        return Topic(key, self.turns.tick, clock_ms=self._clock_ms)

    def _clock_ms(self) -> int:
        self.encoded += 1
        return EPOCH_MS + round(self.loop.now * 1000)


def at_once(coroutine: Coroutine[Any, Any, bytes | None]) -> bytes | None:
    """The result of a coroutine that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: bytes | None = done.value
        return result
    raise AssertionError("it waited")
