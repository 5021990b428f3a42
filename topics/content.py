"""What flows through a topic, as ``upstream.py`` sees it: one behaviour for each channel.

``Trades`` (``trades.py``) and ``Candles`` (``candles.py``) have one topic each and write to a ring. ``Books``
(``books.py``) has one topic for each view of the same book and keeps only its newest state. All three are synchronous
but for reading the ring.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from topics.key import Cursor, TopicKey
from topics.topic import Topic


class Content(Protocol):
    """One channel's behaviour; ``upstream.py`` decides when."""

    def topics(self) -> Iterable[Topic]: ...

    def topic(self, key: TopicKey) -> Topic:
        """The topic of ``key``, made if need be.

        Raises:
            SubscriptionLimit: a book has too many views.
        """
        ...

    def accept(self, events: Sequence[Any]) -> bool:
        """Take what is new of ``events`` for the next frame; False if nothing is."""
        ...

    def prime(self, cursor: Cursor, history: Sequence[Any], received_ms: int) -> bool:
        """Remember ``history`` as the ring's first event, sent to nobody; False if there is none."""
        ...

    def publish(self, cursor: Cursor, received_ms: int) -> None:
        """One frame of all that was accepted since the last one."""
        ...

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        """The JSON a joining client gets before anything live, ending at ``cursor``; None: it gets none."""
        ...

    def close(self) -> None: ...
