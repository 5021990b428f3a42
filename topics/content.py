"""What flows through a topic, as ``upstream.py`` sees it: one behaviour for each channel.

``Trades`` (``trades.py``) and ``Candles`` (``candles.py``) have one topic each and write to a ring: what they missed
can be made up for. ``Books`` (``books.py``) has one topic for each view of the same book and keeps only its newest
state. All three are synchronous but for reading the ring.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from topics.key import Cursor, TopicKey
from topics.ring import Entry, Row
from topics.topic import Topic
from topics.trade_sequence import Mended


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

    def publish(self, cursor: Cursor, received_ms: int) -> bool:
        """One frame of all that was accepted since the last one; True if something is left for another."""
        ...

    async def first_frame(self, topic: Topic, cursor: Cursor, *, snapshot: bool, rewind: int) -> bytes | None:
        """The JSON a joining client gets before anything live, ending at ``cursor``; None: it gets none."""
        ...

    def close(self) -> None: ...


class Series(Content, Protocol):
    """A channel of rows: what was missed of them can be asked of REST, and proven to be all."""

    def restore(self, entries: Sequence[Entry], rows: Sequence[Row]) -> None:
        """Go on behind what an earlier owner published; that is in the ring already."""
        ...

    def follow(self, entry: Entry) -> None:
        """Send on what the feed's owner, another node, has published: no gap."""
        ...

    @property
    def open(self) -> bool:
        """Something may be missing: ``mend`` is due."""
        ...

    @property
    def proven(self) -> bool:
        """The stream is known to go on where what went out has ended."""
        ...

    @property
    def crowded(self) -> bool:
        """Too much is withheld to wait any longer."""
        ...

    @property
    def place(self) -> Any:
        """Where REST is to begin telling what was missed; None: nothing has gone out yet."""
        ...

    @property
    def newest_ms(self) -> int | None:
        """Venue's time of the newest row that went out."""
        ...

    def prime(self, cursor: Cursor, history: Sequence[Any] | None, held: Sequence[Any], received_ms: int) -> bool:
        """Remember ``history`` and what was ``held`` as the ring's first event, sent to nobody.

        ``history`` is None where it could not be had. False: there is nothing to remember.
        """
        ...

    def check(self) -> bool:
        """Once a second: True if time alone has brought something for the next frame."""
        ...

    def broken(self) -> None:
        """The subscription was lost."""
        ...

    def reached(self, rows: Sequence[Any]) -> bool:
        """Whether ``rows`` by REST are as new as what the stream brought; else they are to be asked for again."""
        ...

    def mend(self, rows: Sequence[Any]) -> Mended:
        """Take ``rows`` and all that was withheld for the next frame. Empty: they could not be had."""
        ...
