"""Who hears what, and when: a venue's live streams, each made once for all who subscribed to it. Knows no venue."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable


class Subscriber(Protocol):
    """What a stream needs of a client's session."""

    def deliver(self, name: str, payload: bytes) -> None: ...


class Stream(Protocol):
    """One stream of a venue while somebody listens to it."""

    due_ms: int  # market time at which produce() is to be called next; the stream sets it itself

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        """Messages due by ``now_ms``, oldest first; with ``flush`` also what would become due later."""
        ...


@runtime_checkable
class Greeting(Protocol):
    """A stream that sends a new subscriber something of its own first: a snapshot, a replay."""

    def greet(self, now_ms: int) -> list[bytes]:
        """Called right after a flushing ``produce``, so that what follows joins on."""
        ...


class Streams:
    """The live streams by name; a stream lives from its first subscriber to its last."""

    def __init__(self, open_stream: Callable[[str, int], Stream | None]) -> None:
        self._open = open_stream
        self._streams: dict[str, Stream] = {}
        self._subscribers: dict[str, list[Subscriber]] = {}

    def join(self, name: str, subscriber: Subscriber, now_ms: int) -> bool:
        """False: the venue has no such stream, and nothing will ever come."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._open(name, now_ms)
            if stream is None:
                return False
            self._streams[name] = stream
            self._subscribers[name] = []
        subscribers = self._subscribers[name]
        if subscriber not in subscribers:
            if isinstance(stream, Greeting):
                self._produce(name, stream, now_ms, flush=True)
                for payload in stream.greet(now_ms):
                    subscriber.deliver(name, payload)
            subscribers.append(subscriber)
        return True

    def leave(self, name: str, subscriber: Subscriber) -> None:
        subscribers = self._subscribers.get(name)
        if subscribers is None or subscriber not in subscribers:
            return
        subscribers.remove(subscriber)
        if not subscribers:
            del self._subscribers[name], self._streams[name]

    def tick(self, now_ms: int, *, flush: bool = False) -> None:
        """Deliver what is due."""
        for name, stream in self._streams.items():
            if flush or now_ms >= stream.due_ms:
                self._produce(name, stream, now_ms, flush=flush)

    def _produce(self, name: str, stream: Stream, now_ms: int, *, flush: bool) -> None:
        for payload in stream.produce(now_ms, flush=flush):
            for subscriber in self._subscribers[name]:
                subscriber.deliver(name, payload)


def next_boundary(now_ms: int, interval_ms: int) -> int:
    """The next time that is a whole number of intervals, as the venues' timers have it."""
    return (now_ms // interval_ms + 1) * interval_ms
