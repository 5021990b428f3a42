"""The subscribers of one topic: who is written to together, who apart, and who is behind.

Nothing here waits, and a client that keeps up costs no task, no queue and no timer, and nothing per message. Those who
have the same topics form a cohort: what its topics sent in a turn of the loop is joined once, and each member gets one
write of the same bytes. The others are served apart, until the turn's end: who joined or left in it (its frames begin
or end in its midst), who is answered to, and who is behind. A client is behind in a topic from when its socket takes no
more, or from when it asked for a pause, until it is brought up to date from the topic's backlog (``backlog.py``).
When all of that happens is the tick's (``tick.py``).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from topics.cohort import Cohort, Seat
from topics.frame import deflated
from topics.key import Cursor
from topics.subscriber import NOWHERE, Backlog, Behind, Mark, Sent, Subscriber

if TYPE_CHECKING:
    from topics.tick import Tick


class Fanout:
    """The subscribers of one topic."""

    def __init__(self, tick: "Tick", backlog: Backlog) -> None:
        self._tick = tick
        self.backlog = backlog
        self.members: dict[Subscriber, None] = {}
        # Each of them is in one of these three: among others who have the same topics, up to date and apart, behind.
        self.cohorts: dict[Cohort, None] = {}
        self.apart: dict[Seat, None] = {}
        self.behind: dict[Seat, Mark] = {}
        self.heard: dict[Seat, int] = {}  # frames since the last round that those who fell behind in it had had
        self._sent: list[Sent] = []  # since the last round
        self._cursor, self._count = NOWHERE, 0  # the newest event of the rounds before, and how many there were

    def __len__(self) -> int:
        return len(self.members)

    def subscribers(self) -> tuple[Subscriber, ...]:
        return tuple(self.members)

    def start_at(self, cursor: Cursor) -> None:
        """What was published until ``cursor`` was sent to nobody."""
        self._cursor = cursor

    def send(self, cursor: Cursor, frame: bytes, rows: Sequence[Any] = ()) -> None:
        """An event, to everybody."""
        self._add(Sent(frame, cursor, rows))

    def declare(self, cursor: Cursor, frame: bytes) -> None:
        """An event that only those who said hello know of: a gap."""
        self._add(Sent(frame, cursor, extended=True))

    def tell(self, frame: bytes) -> None:
        """A status: to those who said hello, in its place among the events; it waits for nobody who is behind."""
        self._add(Sent(frame, None, extended=True))

    def add(self, subscriber: Subscriber) -> None:
        """From the next frame on."""
        if subscriber not in self.members:
            self.members[subscriber] = None
            self._tick.join(subscriber, self)

    def remove(self, subscriber: Subscriber) -> None:
        """Nothing of this turn, and nothing after. What is left of a round under way comes ahead of what is pushed."""
        if subscriber in self.members:
            del self.members[subscriber]
            self._tick.leave(subscriber, self)

    def push_in_order(self, subscriber: Subscriber, data: bytes) -> None:
        """Give ``data`` to one subscriber behind all that was sent until now."""
        self._tick.push_in_order(subscriber, self, data)

    # -- for the tick --------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Frames since the last round."""
        return len(self._sent)

    @property
    def now(self) -> Mark:
        """Where those are who are up to date, as of the last round."""
        return Mark(self._cursor, self._count, "CLIENT_SLOW")

    def since(self, taken: int, seat: "Seat") -> bytes:
        """The frames since the last round behind the first ``taken``, as this subscriber may have them."""
        return _join(self._sent[taken:], extended=seat.extended, shrunk=seat.deflated)

    def mark(self, taken: int, reason: Behind) -> Mark:
        """The place of one that was handed the first ``taken`` frames since the last round."""
        cursors = [sent.cursor for sent in self._sent[:taken] if sent.cursor is not None]
        return Mark(cursors[-1] if cursors else self._cursor, self._count + len(cursors), reason)

    def hand_on(self) -> None:
        """Give what was sent since the last round to those who are to be written to, and remember it for the others."""
        for seat in self.apart:
            if due := self.since(seat.taken.pop(self, 0), seat):
                self._tick.queue(seat, due)
        sent, self._sent = self._sent, []
        joined: dict[tuple[bool, bool], bytes] = {}
        for cohort in self.cohorts:
            kind = cohort.extended, cohort.deflated
            if kind not in joined:
                joined[kind] = _join(sent, extended=cohort.extended, shrunk=cohort.deflated)
            if joined[kind]:
                self._tick.owe(cohort, joined[kind])
        self._advance(sent)
        heard, self.heard = self.heard, {}
        if self.behind:
            self.backlog.take([one for one in sent if one.cursor is not None])
            if any(one.cursor is None for one in sent):
                for seat in self.behind:
                    if seat.extended:
                        told = [one.frame for one in sent[heard.get(seat, 0) :] if one.cursor is None]
                        self._tick.queue(seat, b"".join(told))

    def _add(self, sent: Sent) -> None:
        if not self.members and not self._sent:  # nobody is to have it, and nothing stands before it
            self._advance([sent])
            return
        if not self._sent:
            self._tick.activate(self)
        self._sent.append(sent)

    def _advance(self, sent: Iterable[Sent]) -> None:
        for one in sent:
            if one.cursor is not None:
                self._cursor, self._count = one.cursor, self._count + 1


def _join(sent: Sequence[Sent], *, extended: bool, shrunk: bool) -> bytes:
    frames = [one.frame for one in sent if extended or not one.extended]
    if shrunk:
        frames = [deflated(frame) for frame in frames]
    return frames[0] if len(frames) == 1 else b"".join(frames)
