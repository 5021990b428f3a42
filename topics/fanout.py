"""The subscribers of one topic, and the one moment in each turn of the loop at which everybody is written to.

Nothing here waits, and a client that keeps up costs no task, no queue and no timer. Frames of one turn are collected;
at its end each topic hands its joined frames to its subscribers, and each client gets one write.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from exchanges.errors import GatewayError
from topics.key import TopicKey

log = logging.getLogger("topics.fanout")

WRITES_PER_TURN = 500  # one flush over 1,000 clients blocks the loop for 6 to 9 ms


class Subscriber(Protocol):
    """One client's socket, as far as topics know it."""

    extended: bool  # it said hello, and is told what a base client does not know of

    def push(self, frames: bytes) -> None:
        """Take whole frames, to be written at the end of this turn. Never waits, never raises."""
        ...

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        """Something is wrong with a topic it has; ``gone``: the subscription ended with it."""
        ...


class Tick:
    """What is due at the end of this turn of the loop: publishing, then fanning out, then one write per client."""

    def __init__(self, call_soon: Callable[[Callable[[], None]], object] | None = None) -> None:
        self._call_soon = call_soon or asyncio.get_running_loop().call_soon
        self._scheduled = False
        self._publish: list[Callable[[], None]] = []
        self._distribute: list[Callable[[], None]] = []
        self._write: list[Callable[[], None]] = []

    def publish(self, callback: Callable[[], None]) -> None:
        self._publish.append(callback)
        self._schedule()

    def distribute(self, callback: Callable[[], None]) -> None:
        self._distribute.append(callback)
        self._schedule()

    def write(self, callback: Callable[[], None]) -> None:
        self._write.append(callback)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._run)

    def _run(self) -> None:
        publish, self._publish = self._publish, []
        _call(publish)
        distribute, self._distribute = self._distribute, []
        _call(distribute)
        write, self._write = self._write[:WRITES_PER_TURN], self._write[WRITES_PER_TURN:]
        _call(write)
        self._scheduled = False
        if self._publish or self._distribute or self._write:
            self._schedule()


def _call(callbacks: Sequence[Callable[[], None]]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:  # one topic's failure must not silence all others for good
            log.exception("turn_failed")


class Fanout:
    """The subscribers of one topic."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick
        self._frames: list[bytes] = []
        self._base: list[bytes] | None = None  # the same without what base clients do not know; None: the same
        self._members: dict[Subscriber, None] = {}
        self._cached: tuple[Subscriber, ...] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def subscribers(self) -> tuple[Subscriber, ...]:
        # Rebuilt on change and never mutated, so a push may make someone leave while we iterate.
        if self._cached is None:
            self._cached = tuple(self._members)
        return self._cached

    def send(self, frame: bytes) -> None:
        if not self._frames:
            self._tick.distribute(self.flush)
        self._frames.append(frame)
        if self._base is not None:
            self._base.append(frame)

    def tell(self, frame: bytes) -> None:
        """Send to those who said hello, in its place among the other frames."""
        if self._base is None:
            self._base = list(self._frames)
        if not self._frames:
            self._tick.distribute(self.flush)
        self._frames.append(frame)

    def add(self, subscriber: Subscriber) -> None:
        """From the next frame on; frames of this turn went to those who were here for them."""
        self.flush()
        self._members[subscriber] = None
        self._cached = None

    def remove(self, subscriber: Subscriber) -> None:
        """No frame after this, not even one of this turn."""
        self._members.pop(subscriber, None)
        self._cached = None

    def flush(self) -> None:
        """Hand the frames of this turn to the subscribers now, in place of at its end."""
        if not self._frames:
            return
        frames, self._frames = self._frames, []
        base, self._base = self._base, None
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        plain = data if base is None else b"".join(base)
        for subscriber in self.subscribers():
            theirs = data if subscriber.extended else plain
            if theirs and subscriber in self._members:  # a push before ours may have made it leave
                subscriber.push(theirs)
