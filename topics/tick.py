"""The one moment of a turn of the loop at which everybody is written to.

A turn publishes, then begins a round: every topic's frames are handed on, then written. A round that takes long is
spread over several turns, and the next one begins only after a linger as long as it took: so the busier the loop, the
more frames share one write, and an idle loop adds no delay.
"""

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from operator import length_hint
from typing import Any, Protocol

from topics import metrics
from topics.cohort import Cohort, CohortKey, Job, Seat
from topics.fanout import Fanout
from topics.frame import frame
from topics.subscriber import Behind, Subscriber
from topics.wire import lagged_json

log = logging.getLogger("topics.tick")

WRITE_TIME = 0.004  # seconds of writing after which other work of the loop has its turn
WRITES_BETWEEN_LOOKS = 32  # at the clock
LINGER_FROM = 0.002  # seconds of a round from which on the loop counts as busy, and the next round waits
MAX_LINGER = 0.025
ENOUGH_JOINED = 24 * 1024  # bytes of one write from which on waiting for more saves little
CATCHING_UP = 0.008  # seconds of a round for those who come back
OUTBOX_BYTES = 192 * 1024  # of what it missed, at most given at once to a client that was behind
PORTION_BYTES = 64 * 1024  # of it, from which on the next topic waits until these are taken


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
        self._writes, self._bytes_out = metrics.WRITES.labels(), metrics.BYTES_OUT.labels()
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

    def pending(self, subscriber: Subscriber) -> bool:
        """Whether something that was pushed to it has not been written."""
        return self._seats.get(subscriber) in self._pending

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
            if budget < OUTBOX_BYTES - PORTION_BYTES:  # what is left may be too little for a topic: it has its turn
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
            writes = job.place - before
            self._writes.count += writes
            self._bytes_out.count += writes * size
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
        self._writes.count += 1
        self._bytes_out.count += len(data)
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
