"""One book: its newest proven state, and the views of it. Nothing is kept of its past but what subscribers hold.

Levels are numbers. While a view in delta mode is wanted, the venue's own decimals are kept beside them: from the feed's
next sync on by themselves, and at first by one REST book, of which each level that is still the same is taken.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from exchanges.book import LevelTexts, OrderBook, ReadTexts
from exchanges.errors import UNREADABLE, BadMessage, GatewayError, SubscriptionLimit
from exchanges.events import BookDelta, BookSnapshot
from exchanges.feed import BOOK_FAULTS
from topics import metrics
from topics.book_frames import Newest
from topics.book_log import BookLog, BookReader
from topics.key import Cursor, TopicKey
from topics.ring import Entry
from topics.topic import Topic
from topics.view import Timers, View

log = logging.getLogger("topics.books")

MAX_VIEWS = 16  # of one book, besides the first
FILL_PAUSE = 1.0  # seconds before REST is asked for texts a second time; doubles, up to
MAX_FILL_PAUSE = 30.0
FILLS_BEFORE_RESYNC = 3  # REST books after which what is lacking still is had by syncing the book afresh


class Books:
    """The newest proven state of one book, seen at several depths, paces and in two modes."""

    def __init__(
        self,
        make_topic: Callable[[TopicKey], Topic],
        *,
        read_texts: ReadTexts | None = None,
        log: BookLog | None = None,
        reader: BookReader | None = None,
        fetch: Callable[[], Awaitable[BookSnapshot]] | None = None,
        settle: Callable[[], None] = lambda: None,
        resync: Callable[[], None] = lambda: None,
        timers: Callable[[], Timers] = asyncio.get_running_loop,
    ) -> None:
        """Begin without a book.

        Args:
            read_texts: the stream's ``texts``; None: no view in delta mode can show anything.
            log, reader: where there are other nodes, what they follow the book by, and what it is followed by here.
            fetch: a book by REST, as deep as the venue gives.
            settle: gives a state that has no cursor yet one, by ``publish``, before it returns.
            resync: has the feed sync the book afresh, for whoever wants what cannot be had otherwise.
        """
        self.log, self._reader = log, reader
        self._newest = Newest()
        self._make_topic = make_topic
        self._read_texts, self._fetch = read_texts, fetch
        self._settle, self._resync = settle, resync
        self._timers = timers
        self._views: dict[TopicKey, View] = {}
        self._filling: asyncio.Task[None] | None = None
        self._fill_pause, self._fills = 0.0, 0  # seconds before the next; REST books since texts are kept
        self._synced_for_texts = False  # since then the book was synced afresh for want of some

    @property
    def book(self) -> OrderBook | None:
        return self._newest.book

    @property
    def exact(self) -> bool:
        """Some view wants texts: the next ``BookSync`` is to keep them."""
        return any(view.wants_texts for view in self._views.values())

    def topics(self) -> Iterable[Topic]:
        return [view.topic for view in self._views.values()]

    def topic(self, key: TopicKey) -> Topic:
        if key not in self._views:
            if len(self._views) > MAX_VIEWS:
                self._drop_unwatched()
            if len(self._views) > MAX_VIEWS:
                raise SubscriptionLimit(f"a book has at most {MAX_VIEWS} views besides the first", limit=MAX_VIEWS)
            self._views[key] = View(
                self._make_topic(key), self._newest, timers=self._timers, settle=self._settle, lacks=self._want_texts
            )
        return self._views[key].topic

    def view(self, key: TopicKey) -> View:
        """The view of a topic that there is."""
        return self._views[key]

    def hear(self, event: BookSnapshot | BookDelta | None) -> None:
        """What has changed the book that is accepted next; None: more than that."""
        if self.log is not None:
            self.log.hear(event)

    def follow(self, entry: Entry, *, show: bool = True) -> bool:
        """Show what the book's owner, another node, has published; False: what came before it is not known here.

        Without ``show`` it is older than what was shown, and read for the sake of what follows it.
        """
        assert self._reader is not None
        try:
            read = self._reader.read(entry, exact=self.exact)
        except (*BOOK_FAULTS, *UNREADABLE, BadMessage) as error:
            log.warning("followed_book_broken", extra={"cursor": str(entry.cursor), "error": repr(error)})
            self._reader.forget()
            read = None
        if read is None:
            if self._newest.book is not None:
                self.forget()
            return False
        if show:
            self._newest.book, received_ms = read
            self._show(entry.cursor, received_ms)
        return True

    def accept(self, events: Sequence[OrderBook]) -> bool:
        self._newest.book = events[-1]
        return True

    def publish(self, cursor: Cursor, received_ms: int) -> bool:
        """Tell every view somebody watches; the others cost nothing."""
        assert self._newest.book is not None
        if self.log is not None:
            self.log.publish(cursor, self._newest.book, received_ms)
        self._show(cursor, received_ms)
        return False

    def _show(self, cursor: Cursor, received_ms: int) -> None:
        newest = self._newest
        newest.cursor, newest.received_ms = cursor, received_ms
        for view in self._views.values():
            if view.watched:
                view.changed()
            else:
                view.rest()
        if newest.book is not None and newest.book.texts is not None and not self.exact:
            newest.book.texts = None

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        """The view as last published, built once per cursor."""
        if self._newest.book is None:
            return None
        return self._views[topic.key].first_frame(snapshot=snapshot)

    def close(self) -> None:
        self.forget()
        self._views.clear()
        if self.log is not None:
            self.log.ring.close()

    def forget(self) -> None:
        """The book is proven no more: nothing may be shown until the next one is."""
        self._newest.book = None
        if self.log is not None:
            self.log.forget()
        self._stop_filling()
        for view in self._views.values():
            view.broken()

    def _drop_unwatched(self) -> None:
        for key in [key for key, view in self._views.items() if not view.watched]:
            self._views.pop(key).rest()

    # -- the venue's decimals ------------------------------------------------------------------------------------------

    def _want_texts(self) -> None:
        """Keep texts from now on, and ask REST for those of levels that do not change."""
        book = self._newest.book
        assert book is not None
        if book.texts is None:
            if self._read_texts is None:
                return
            book.texts = LevelTexts(self._read_texts)
            self._fill_pause, self._fills, self._synced_for_texts = 0.0, 0, False
        if self._fetch is not None and self._filling is None:
            self._filling = asyncio.create_task(self._fill(self._fetch))
            self._filling.add_done_callback(self._filled)

    def _lacking(self) -> list[View]:
        return [view for view in self._views.values() if view.lacking]

    async def _fill(self, fetch: Callable[[], Awaitable[BookSnapshot]]) -> None:
        """Ask REST, ever more slowly, while a subscriber waits for a text; at last have the book synced afresh."""
        while self._lacking():
            await asyncio.sleep(self._fill_pause)
            waiting = self._lacking()
            if not waiting:
                return  # the stream has brought what was lacking
            if self._fills >= FILLS_BEFORE_RESYNC and not self._synced_for_texts:
                self._synced_for_texts = True
                log.warning("texts_lacking", extra={"topics": [view.topic.key.topic for view in waiting]})
                self._resync()
                return
            self._fill_pause = min(max(FILL_PAUSE, 2 * self._fill_pause), MAX_FILL_PAUSE)
            metrics.TEXT_FILLS.labels(waiting[0].topic.key.exchange).inc()
            try:
                self._take_texts(await fetch())
            except GatewayError as error:
                self._fill_pause = max(self._fill_pause, error.retry_after or 0.0)
                log.info("text_fill_failed", extra={"error": str(error)})
            except UNREADABLE as error:
                log.warning("text_fill_unreadable", extra={"error": repr(error)})

    def _take_texts(self, snapshot: BookSnapshot) -> None:
        book = self._newest.book
        if book is None or book.texts is None:
            return
        self._fills += 1
        book.texts.fill(snapshot, book)
        self._settle()
        for view in self._lacking():
            view.changed()

    def _filled(self, task: asyncio.Task[None]) -> None:
        if self._filling is task:
            self._filling = None

    def _stop_filling(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
