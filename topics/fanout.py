"""The subscribers of one topic, and the one moment at which everybody is written to.

Nothing here waits, and a client that keeps up costs no task, no queue and no timer, and nothing per message. Those who
have the same topics form a cohort: what its topics sent in a turn of the loop is joined once, and each member gets one
write of the same bytes. The others are served apart, until the turn's end: who joined or left in it (its frames begin
or end in its midst), who is answered to, and who is behind. A client is behind in a topic from when its socket takes no
more, or from when it asked for a pause, until it is brought up to date from the topic's backlog (``backlog.py``).

A turn publishes, then begins a round: every topic's frames are handed on, then written. A round that takes long is
spread over several turns, and the next one begins only after a linger as long as it took: so the busier the loop, the
more frames share one write, and an idle loop adds no delay.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from operator import length_hint
from typing import Any, Literal, NamedTuple, Protocol

from exchanges.errors import GatewayError
from topics import metrics
from topics.frame import deflated, frame
from topics.key import Cursor, TopicKey
from topics.wire import lagged_json

log = logging.getLogger("topics.fanout")

WRITE_TIME = 0.004  # seconds of writing after which other work of the loop has its turn
WRITES_BETWEEN_LOOKS = 32  # at the clock
LINGER_FROM = 0.002  # seconds of a round from which on the loop counts as busy, and the next round waits
MAX_LINGER = 0.025
ENOUGH_JOINED = 24 * 1024  # bytes of one write from which on waiting for more saves little
CATCHING_UP = 0.008  # seconds of a round for those who come back
OUTBOX_BYTES = 192 * 1024  # of what it missed, given at once to a client that was behind
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


CohortKey = tuple[frozenset[Fanout], bool, bool]


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


class Timers(Protocol):
    """As much of an event loop as is needed here."""

    def call_soon(self, callback: Callable[[], object], /) -> object: ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object: ...


class Tick:
    """What is due at the end of this turn of the loop: publishing, then a round of writes."""

    def __init__(
        self,
        timers: Timers | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        try_write: Callable[[int, bytes], int] = os.write,
    ) -> None:
        """Begin with nothing due.

        Args:
            timers: the loop; None: the running one.
            clock: seconds; a loop's own clock may stand still within a turn.
            try_write: of a socket's descriptor; gives how many bytes it took, or raises.
        """
        self._timers: Timers = timers or asyncio.get_running_loop()
        self._clock = clock
        self._try_write = try_write
        self._scheduled = self._lingering = False
        self._publish: list[Callable[[], None]] = []
        self._active: dict[Fanout, None] = {}
        self._seats: dict[Subscriber, Seat] = {}
        self._pending: dict[Seat, None] = {}  # they have something pending
        self._apart: dict[Seat, None] = {}  # to find a cohort at the round's end
        self._returned: dict[Seat, None] = {}  # to be brought up to date
        self._cohorts: dict[CohortKey, Cohort] = {}
        self._touched: list[Cohort] = []  # they are due something of the round that begins
        self._jobs: deque[Job] = deque()  # what is left of the round under way
        self._round = 0
        self._largest = 0  # bytes of one write of the round
        self._began = self._open_at = 0.0  # seconds of the clock

    def publish(self, callback: Callable[[], None]) -> None:
        self._publish.append(callback)
        self._schedule()

    def activate(self, fanout: Fanout) -> None:
        self._active[fanout] = None
        self._schedule()

    def push(self, subscriber: Subscriber, data: bytes) -> None:
        """Write ``data`` to one client at the end of this turn, also if it is behind; in no order with its topics."""
        self.queue(self._seat(subscriber), data)

    def write_now(self, subscriber: Subscriber) -> None:
        """Write what was pushed to one client, which is about to be cut."""
        seat = self._seats.get(subscriber)
        if seat is not None and seat in self._pending:
            del self._pending[seat]
            frames, seat.pending = seat.pending, []
            self._write(seat, b"".join(frames))

    def queue(self, seat: Seat, data: bytes) -> None:
        if not data:
            return
        seat.pending.append(data)
        self._pending[seat] = None
        self._schedule()

    def owe(self, cohort: Cohort, data: bytes) -> None:
        if not cohort.due:
            self._touched.append(cohort)
        cohort.due.append(data)

    def push_in_order(self, subscriber: Subscriber, fanout: Fanout, data: bytes) -> None:
        seat = self._seat(subscriber)
        if seat not in fanout.behind:
            self._part(seat)
            self.queue(seat, fanout.since(seat.taken.get(fanout, 0), seat))
            seat.taken[fanout] = fanout.waiting
        self.queue(seat, data)

    def sent_at(self, subscriber: Subscriber) -> float:
        """The clock's time at which it was last written to."""
        seat = self._seats.get(subscriber)
        if seat is None:
            return self._clock()
        return max(seat.sent_at, seat.cohort.sent_at if seat.cohort else 0.0)

    # -- who has what --------------------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber, fanout: Fanout) -> None:
        seat = self._seat(subscriber)
        self._part(seat)
        seat.topics[fanout] = None
        seat.taken[fanout] = fanout.waiting
        if subscriber.stopped:
            self._fall_behind(seat, fanout, "CLIENT_SLOW")
        else:
            fanout.apart[seat] = None

    def leave(self, subscriber: Subscriber, fanout: Fanout) -> None:
        seat = self._seats[subscriber]
        self._part(seat)
        self._release(seat, fanout)
        del seat.topics[fanout]
        seat.asleep.discard(fanout)

    def forget(self, subscriber: Subscriber) -> None:
        """Its connection has ended: nothing is written to it any more."""
        seat = self._seats.pop(subscriber, None)
        if seat is None:
            return
        if seat.cohort is not None and seat.cohort.job is not None:
            seat.cohort.job.pull(seat)
        self._quit(seat)
        for fanout in list(seat.topics):
            fanout.members.pop(subscriber, None)
            self._release(seat, fanout)
        seat.topics.clear()
        for places in (self._pending, self._apart, self._returned):
            places.pop(seat, None)

    def changed(self, subscriber: Subscriber) -> None:
        """It knows other kinds of frame from now on."""
        seat = self._seat(subscriber)
        for fanout in seat.topics:
            if seat in fanout.behind:
                fanout.heard[seat] = fanout.waiting
            elif fanout.waiting:  # what was sent before is told as it was known then
                self.push_in_order(subscriber, fanout, b"")
        self._part(seat)
        seat.extended, seat.deflated = subscriber.extended, subscriber.deflated

    def stop(self, subscriber: Subscriber) -> None:
        """Its socket takes no more: from here on it is behind in all its topics."""
        seat = self._seats.get(subscriber)
        if seat is not None:
            self._part(seat)
            for fanout in seat.topics:
                self._fall_behind(seat, fanout, "CLIENT_SLOW")

    def rerouted(self, subscriber: Subscriber) -> None:
        """Its ``descriptor`` is another one."""
        seat = self._seats.get(subscriber)
        if seat is not None and seat.cohort is not None:
            seat.cohort.rerouted(seat)

    def drained(self, subscriber: Subscriber) -> None:
        """Its socket takes data again."""
        seat = self._seats.get(subscriber)
        if seat is not None:
            self._returned[seat] = None
            self._schedule()

    def sleep(self, subscriber: Subscriber, fanout: Fanout) -> None:
        """Send it nothing of a topic until it wakes."""
        seat = self._seats[subscriber]
        self._part(seat)
        seat.asleep.add(fanout)
        self._fall_behind(seat, fanout, "PAUSED")

    def wake(self, subscriber: Subscriber, fanout: Fanout) -> None:
        seat = self._seats[subscriber]
        seat.asleep.discard(fanout)
        self._returned[seat] = None
        self._schedule()

    def _seat(self, subscriber: Subscriber) -> Seat:
        seat = self._seats.get(subscriber)
        if seat is None:
            seat = self._seats[subscriber] = Seat(subscriber)
        return seat

    def _part(self, seat: Seat) -> None:
        """Serve it apart until the round's end, beginning with what it is still due of a round under way.

        That is not written here: a write may stop its client or end it, in the midst of whatever is being changed.
        """
        cohort = seat.cohort
        if cohort is not None:
            if cohort.job is not None and cohort.job.pull(seat):
                self.queue(seat, cohort.job.data)
            seat.sent_at = max(seat.sent_at, cohort.sent_at)
            self._quit(seat)
            for fanout in cohort.topics:
                fanout.apart[seat] = None
        self._apart[seat] = None
        self._schedule()

    def _quit(self, seat: Seat) -> None:
        cohort, seat.cohort = seat.cohort, None
        if cohort is None:
            return
        cohort.remove(seat)
        if not cohort.seats:
            del self._cohorts[cohort.key]
            for fanout in cohort.topics:
                fanout.cohorts.pop(cohort, None)

    def _fall_behind(self, seat: Seat, fanout: Fanout, reason: Behind) -> None:
        if seat in fanout.behind:
            return
        taken = seat.taken.pop(fanout, 0)
        if taken:
            fanout.heard[seat] = taken
        mark = fanout.mark(taken, reason)
        fanout.apart.pop(seat, None)
        fanout.behind[seat] = mark
        fanout.backlog.begin(mark)

    def _release(self, seat: Seat, fanout: Fanout) -> None:
        fanout.apart.pop(seat, None)
        fanout.heard.pop(seat, None)
        seat.taken.pop(fanout, None)
        mark = fanout.behind.pop(seat, None)
        if mark is not None:
            fanout.backlog.end(mark)

    # -- the turn ------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._timers.call_soon(self._run)

    def _run(self) -> None:
        publish, self._publish = self._publish, []
        for callback in publish:
            _guard(callback)
        now = self._clock()
        if not self._jobs and (self._active or self._apart or self._returned):
            if now >= self._open_at:
                self._begin_round(now)
            elif not self._lingering:
                self._lingering = True
                self._timers.call_later(self._open_at - now, self._end_linger)
        self._write_pending(now)
        self._write_cohorts()
        self._scheduled = False
        idle = self._lingering or not (self._active or self._apart or self._returned)
        if self._publish or self._pending or self._jobs or not idle:
            self._schedule()

    def _end_linger(self) -> None:
        self._lingering = False
        self._schedule()

    def _begin_round(self, now: float) -> None:
        self._round += 1
        self._began = now
        active, self._active = self._active, {}
        for fanout in active:
            _guard(fanout.hand_on)
        touched, self._touched = self._touched, []
        self._jobs += [cohort.begin(self._round, now) for cohort in touched if cohort.seats]
        self._largest = max((len(job.data) for job in self._jobs), default=0)
        returned, self._returned = self._returned, {}
        until = self._clock() + CATCHING_UP
        for seat in returned:
            if self._clock() >= until:
                self._returned[seat] = None
            elif not seat.subscriber.stopped:
                _guard(partial(self._bring_up_to_date, seat))
        self._settle()

    def _bring_up_to_date(self, seat: Seat) -> None:
        """Give it what it missed, in portions: what does not fit waits for the next round, or until it drains."""
        self._part(seat)
        budget, losses = OUTBOX_BYTES, list[dict[str, Any]]()
        for fanout in seat.topics:
            mark = fanout.behind.get(seat)
            if mark is None or fanout in seat.asleep:
                continue
            if budget <= 0:
                self._returned[seat] = None
                break
            missed = fanout.backlog.missed(mark, fanout.now, extended=seat.extended, budget=budget)
            self._release(seat, fanout)
            fanout.apart[seat] = None
            gap = [missed.gap] if missed.gap is not None and seat.extended else []
            for data in (*gap, *missed.frames):
                budget -= len(data)
                self.queue(seat, data)
            if missed.loss is not None and mark.reason == "CLIENT_SLOW":
                losses.append(missed.loss)
        if losses:
            metrics.LAGGED.inc()
            self.queue(seat, frame(lagged_json(losses)))

    def _settle(self) -> None:
        """Between rounds: who was served apart finds others who have the same topics."""
        apart, self._apart = self._apart, {}
        for seat in apart:
            flowing = [fanout for fanout in seat.topics if seat not in fanout.behind]
            if not flowing:
                continue
            key = frozenset(flowing), seat.extended, seat.deflated
            cohort = self._cohorts.get(key)
            if cohort is None:
                cohort = self._cohorts[key] = Cohort(key)
                for fanout in flowing:
                    fanout.cohorts[cohort] = None
            for fanout in flowing:
                fanout.apart.pop(seat, None)
            seat.taken.clear()
            cohort.add(seat)
            seat.cohort = cohort

    def _write_pending(self, now: float) -> None:
        pending, self._pending = self._pending, {}
        for seat in pending:
            frames, seat.pending = seat.pending, []
            seat.sent_at = now
            self._write(seat, frames[0] if len(frames) == 1 else b"".join(frames))

    def _write_cohorts(self) -> None:
        """Go on with the round, for as long as a turn may take."""
        if not self._jobs:
            return
        clock, try_write = self._clock, self._try_write
        until = clock() + WRITE_TIME
        while self._jobs:
            job, data = self._jobs[0], self._jobs[0].data
            before = job.place
            late, size = False, len(data)
            while not late and length_hint(job.left):
                try:
                    for descriptor in islice(job.left, WRITES_BETWEEN_LOOKS):
                        if (taken := try_write(descriptor, data)) != size:
                            self._finish(job.current, data, taken)
                except OSError:  # the socket is full, broken, or none; its client's own write tells which
                    self._finish(job.current, data, 0)
                late = clock() >= until
            metrics.WRITES.inc(job.place - before)
            metrics.BYTES_OUT.inc((job.place - before) * len(data))
            if length_hint(job.left):
                return
            job.cohort.job = None
            self._jobs.popleft()
            if late and self._jobs:
                return
        now = clock()
        took = now - self._began
        if took >= LINGER_FROM and self._largest < ENOUGH_JOINED and not self._returned:
            self._open_at = now + min(took, MAX_LINGER)

    def _write(self, seat: Seat, data: bytes) -> None:
        metrics.WRITES.inc()
        metrics.BYTES_OUT.inc(len(data))
        self._finish(seat, data, 0)

    def _finish(self, seat: Seat | None, data: bytes, taken: int) -> None:
        """Give what is left of ``data``, shared by all who could not take it, to the client's own buffer."""
        if seat is None:
            return
        try:
            seat.write(memoryview(data)[taken:] if taken else data)
        except Exception as error:
            _guard(partial(seat.subscriber.broke, error))


def _guard(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:  # one topic's failure must not silence all others for good
        log.exception("turn_failed")
