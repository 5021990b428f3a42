"""Those who have the same topics, and their shared write."""

from operator import length_hint
from typing import TYPE_CHECKING

from topics.subscriber import Subscriber

if TYPE_CHECKING:
    from topics.fanout import Fanout

CohortKey = tuple[frozenset["Fanout"], bool, bool]  # its topics; whether its members are extended, and deflated


class Seat:
    """A subscriber's place: its topics, and what it is to be given apart from others."""

    __slots__ = (
        "asleep",
        "cohort",
        "deflated",
        "extended",
        "pending",
        "sent_at",
        "subscriber",
        "taken",
        "topics",
        "write",
    )

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.write = subscriber.write
        self.extended, self.deflated = subscriber.extended, subscriber.deflated
        self.topics: dict[Fanout, None] = {}
        self.asleep: set[Fanout] = set()  # topics it asked a pause of
        self.cohort: Cohort | None = None
        self.taken: dict[Fanout, int] = {}  # frames of this round it has had, or came after
        self.pending: list[bytes] = []
        self.sent_at = 0.0  # seconds of the clock


class Cohort:
    """Those who are up to date in exactly the same topics, and know the same kinds of frame."""

    __slots__ = ("_cached", "deflated", "due", "extended", "job", "key", "seats", "sent_at", "topics")

    def __init__(self, key: "CohortKey") -> None:
        self.key = key
        self.topics, self.extended, self.deflated = key
        self.seats: dict[Seat, None] = {}
        self.due: list[bytes] = []  # of the round that begins
        self.job: Job | None = None  # while the round is under way
        self.sent_at = 0.0  # seconds of the clock
        self._cached: tuple[tuple[Seat, ...], tuple[int, ...]] | None = None

    def add(self, seat: "Seat") -> None:
        self.seats[seat] = None
        self._cached = None

    def remove(self, seat: "Seat") -> None:
        del self.seats[seat]
        self._cached = None

    def rerouted(self, seat: "Seat") -> None:
        self._cached = None
        if self.job is not None:
            self.job.reroute(seat)

    def begin(self, number: int, now: float) -> "Job":
        """The round's write of what is due. Each begins with another member: the last waits for all the others."""
        due, self.due = self.due, []
        if self._cached is None:
            self._cached = tuple(self.seats), tuple(seat.subscriber.descriptor for seat in self.seats)
        seats, descriptors = self._cached
        first = number * 127 % len(seats)
        data = due[0] if len(due) == 1 else b"".join(due)
        self.job = Job(self, data, [*seats[first:], *seats[:first]], [*descriptors[first:], *descriptors[:first]])
        self.sent_at = now
        return self.job


class Job:
    """One cohort's write of a round, as far as it has come."""

    __slots__ = ("_descriptors", "_seats", "cohort", "data", "left")

    def __init__(self, cohort: Cohort, data: bytes, seats: "list[Seat | None]", descriptors: list[int]) -> None:
        self.cohort, self.data = cohort, data
        self._seats, self._descriptors = seats, descriptors
        self.left = iter(descriptors)  # all that is touched for a write: a seat is far away from the processor

    @property
    def place(self) -> int:
        """How many have had their write, or are having it."""
        return len(self._descriptors) - length_hint(self.left)

    @property
    def current(self) -> "Seat | None":
        """Whose write is under way; None: it was pulled."""
        return self._seats[self.place - 1]

    def pull(self, seat: "Seat") -> bool:
        """Whether its write was still to come; it is not made any more."""
        place = self._find(seat)
        if place is not None:
            self._seats[place], self._descriptors[place] = None, -1
        return place is not None

    def reroute(self, seat: "Seat") -> None:
        place = self._find(seat)
        if place is not None:
            self._descriptors[place] = seat.subscriber.descriptor

    def _find(self, seat: "Seat") -> int | None:
        """The place of its write, if that is still to come."""
        try:
            return self._seats.index(seat, self.place)
        except ValueError:
            return None
