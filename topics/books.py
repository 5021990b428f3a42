"""One book: its newest proven state, seen at several depths. Nothing is kept of its past."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from exchanges.book import OrderBook
from exchanges.errors import SubscriptionLimit
from topics.key import Cursor, TopicKey
from topics.topic import Topic
from topics.wire import book_view

MAX_VIEWS = 16  # of one book, besides the first


class Books:
    """The newest proven state of one book, seen at several depths."""

    def __init__(self, make_topic: Callable[[TopicKey], Topic]) -> None:
        self.book: OrderBook | None = None
        self._make_topic = make_topic
        self._views: dict[TopicKey, Topic] = {}
        self._frames: dict[TopicKey, tuple[Cursor, bytes]] = {}  # the newest JSON of each view
        self._received_ms = 0

    def topics(self) -> Iterable[Topic]:
        return self._views.values()

    def topic(self, key: TopicKey) -> Topic:
        if key not in self._views:
            if len(self._views) > MAX_VIEWS:
                self._drop_unwatched()
            if len(self._views) > MAX_VIEWS:
                raise SubscriptionLimit(f"a book has at most {MAX_VIEWS} views besides the first", limit=MAX_VIEWS)
            self._views[key] = self._make_topic(key)
        return self._views[key]

    def accept(self, events: Sequence[OrderBook]) -> bool:
        self.book = events[-1]
        return True

    def prime(self, cursor: Cursor, history: Sequence[Any], received_ms: int) -> bool:
        return False  # a book has no past

    def publish(self, cursor: Cursor, received_ms: int) -> None:
        """A frame for every view somebody watches; the others cost nothing."""
        self._received_ms = received_ms
        for key, topic in self._views.items():
            if len(topic.fanout):
                self._frames[key] = cursor, topic.publish(cursor, self._view(key), **self._times())

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        """The view as last published, built once per cursor."""
        if not snapshot or self.book is None:
            return None
        built, payload = self._frames.get(topic.key, (None, b""))
        if built != cursor:
            payload = topic.encode(cursor, self._view(topic.key), **self._times())
            self._frames[topic.key] = cursor, payload
        return payload

    def close(self) -> None:
        self._views.clear()
        self._frames.clear()

    def forget(self) -> None:
        """The book is proven no more: nothing may be shown until the next one is."""
        self.book = None
        self._frames.clear()

    def _drop_unwatched(self) -> None:
        for key in [key for key, topic in self._views.items() if not len(topic.fanout)]:
            del self._views[key]
            self._frames.pop(key, None)

    def _view(self, key: TopicKey) -> dict[str, Any]:
        assert self.book is not None
        return book_view(self.book, key.symbol, levels=dict(key.params)["levels"])

    def _times(self) -> dict[str, Any]:
        assert self.book is not None
        return {"event_ms": self.book.timestamp_ms, "received_ms": self._received_ms}
