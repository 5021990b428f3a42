"""Who takes part in a fan-out: a client's socket, what a topic sends it, and what it is owed when it falls behind."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from exchanges.errors import GatewayError
from topics.key import Cursor, TopicKey

NOWHERE = Cursor(0, 0)

Behind = Literal["CLIENT_SLOW", "PAUSED"]


class Subscriber(Protocol):
    """One client's socket, as far as topics know it."""

    extended: bool  # it said hello, and is told what a base client does not know of
    deflated: bool  # it takes compressed frames

    @property
    def stopped(self) -> bool:
        """Its socket takes no more at the moment: it is owed, not sent."""
        ...

    @property
    def write(self) -> Callable[[bytes | memoryview], object]:
        """Takes frames behind all that it took before, now. Never waits; a failure is told by ``broke``."""
        ...

    @property
    def descriptor(self) -> int:
        """Of its socket, if that may be written to past ``write``; -1: it may not. Changes are told by ``rerouted``."""
        ...

    def broke(self, error: Exception) -> None:
        """A write has raised."""
        ...

    async def ready(self) -> None:
        """Wait until what it was pushed is written and its socket takes more, or it has gone."""
        ...

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        """Something is wrong with a topic it has; ``gone``: the subscription ended with it."""
        ...


class Sent(NamedTuple):
    """One frame of a topic."""

    frame: bytes
    cursor: Cursor | None  # None: a status, which is no event
    rows: Sequence[Any] = ()  # what it said, for those who will have missed it
    extended: bool = False  # only those who said hello know its kind


class Mark(NamedTuple):
    """What the last thing was that a subscriber was handed before it fell behind."""

    cursor: Cursor
    events: int  # of the topic until then
    reason: Behind


class Missed(NamedTuple):
    """What brings a subscriber up to date."""

    frames: list[bytes]
    gap: bytes | None  # what of it is lost, as a frame; None: nothing is
    loss: dict[str, Any] | None  # the same in a few words, for the warning


class Backlog(Protocol):
    """What a topic sent since the first of those who are behind in it fell behind. Bounded, and shared by all."""

    def begin(self, mark: Mark) -> None:
        """Somebody fell behind."""
        ...

    def end(self, mark: Mark) -> None:
        """It is behind no more, or has left."""
        ...

    def take(self, sent: Iterable[Sent]) -> None:
        """Remember what those who are behind miss."""
        ...

    def missed(self, mark: Mark, now: Mark, *, extended: bool, budget: int) -> Missed:
        """What a subscriber that stopped at ``mark`` lacks, in about ``budget`` bytes."""
        ...
