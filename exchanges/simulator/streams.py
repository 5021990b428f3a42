"""Who hears what, and when: a venue's live streams, each made once for all who subscribed to it. Knows no venue."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from .interference import Interference, Subscriber


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

    def __init__(self, open_stream: Callable[[str, int], Stream | None], interference: Interference) -> None:
        self._open = open_stream
        self._interference = interference
        self._faults = interference.faults
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
                    self._deliver(name, payload, [subscriber])
            subscribers.append(subscriber)
        return True

    def leave(self, name: str, subscriber: Subscriber) -> None:
        subscribers = self._subscribers.get(name)
        if subscribers is None or subscriber not in subscribers:
            return
        subscribers.remove(subscriber)
        if self._faults.busy:
            self._interference.forget(name, subscriber)
        if not subscribers:
            del self._subscribers[name], self._streams[name]

    def tick(self, now_ms: int, *, flush: bool = False) -> None:
        """Deliver what is due."""
        if self._faults.busy:
            self._interference.release()
        for name, stream in self._streams.items():
            if flush or now_ms >= stream.due_ms:
                self._produce(name, stream, now_ms, flush=flush)

    def _produce(self, name: str, stream: Stream, now_ms: int, *, flush: bool) -> None:
        for payload in stream.produce(now_ms, flush=flush):
            self._deliver(name, payload, self._subscribers[name])

    def _deliver(self, name: str, payload: bytes, subscribers: list[Subscriber]) -> None:
        if self._faults.busy:
            self._interference.deliver(name, payload, subscribers)
            return
        for subscriber in subscribers:
            subscriber.deliver(name, payload)


def next_boundary(now_ms: int, interval_ms: int) -> int:
    """The next time that is a whole number of intervals, as the venues' timers have it."""
    return (now_ms // interval_ms + 1) * interval_ms
