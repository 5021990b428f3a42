"""Who may shake hands with a venue now: one gate for each site of it. Opens no connection itself.

The backoff belongs to the site and not to each socket. While it is in doubt (a connection was lost or a handshake
failed, and none has succeeded since) one handshake at a time is under way, and after a failure the gate stays shut for
a jittered pause; after a success the others follow at once, at the pace the venue allows. It never gives up.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from math import inf
from typing import NamedTuple, TypeVar

from exchanges import metrics
from exchanges.breaker import Breaker
from exchanges.budget import Budget, Clock, loop_clock
from exchanges.connection import HandshakeFailed
from exchanges.venue import Rate

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; full jitter
RATE_LIMITED = "rate limited"
MAX_UNPROVEN, UNPROVEN_WINDOW = 10, 60.0  # handshakes of a venue in any so many seconds while none succeeds

T = TypeVar("T")


class Outlook(NamedTuple):
    """What those are told who have no connection. ``attempt``: connections that failed in a row."""

    reason: str
    attempt: int
    retry_in: float  # seconds to the next handshake of the site, whoever makes it
    unavailable: bool = False  # the venue told us to stay away


class Waiting:
    """One in a gate's line. ``told`` is called when the outlook has changed."""

    def __init__(self, told: Callable[[Outlook], None]) -> None:
        self.told = told
        self.wake = asyncio.Event()


class Handshakes:
    """A venue's gates, and the bound over all of them: handshakes under way, or failed lately with no success since."""

    def __init__(self, exchange: str, connects: Rate, breaker: Breaker, *, clock: Clock = loop_clock) -> None:
        self.exchange = exchange
        self.breaker = breaker
        self._connects = connects
        self._clock = clock
        self._gates: dict[str, Gate] = {}
        self._under_way = 0
        self._failed: list[tuple[float, str]] = []  # when they began, and the site; at most MAX_UNPROVEN
        breaker.watch(self._on_breaker)

    def gate(self, site: str) -> "Gate":
        if site not in self._gates:
            pool = f"connects {site}".rstrip()
            budget = Budget(self.exchange, pool, self._connects, clock=self._clock)
            self._gates[site] = Gate(self, site, budget, clock=self._clock)
        return self._gates[site]

    @property
    def budgets(self) -> dict[str, Budget]:
        return {gate.budget.pool: gate.budget for gate in self._gates.values()}

    def wait(self) -> float:
        """Seconds until the bound leaves room for another."""
        now = self._clock()
        self._failed = [failed for failed in self._failed if now - failed[0] < UNPROVEN_WINDOW]
        if self._under_way + len(self._failed) < MAX_UNPROVEN:
            return 0.0
        return min(self._failed)[0] + UNPROVEN_WINDOW - now if self._failed else inf

    def began(self) -> float:
        self._under_way += 1
        return self._clock()

    def ended(self, begun: float, site: str, *, well: bool) -> None:
        """The handshake with ``site`` that began at ``begun`` has succeeded, or not; a success ends a site's outage."""
        self._under_way -= 1
        if well:
            self._failed = [failed for failed in self._failed if failed[1] != site]
        else:
            self._failed.append((begun, site))
        self.wake()

    def wake(self) -> None:
        for gate in self._gates.values():
            gate.wake()

    def _on_breaker(self) -> None:
        for gate in self._gates.values():
            if self.breaker.state == "open":
                gate.tell()
            gate.wake()


class Gate:
    """The gate of one site."""

    def __init__(self, venue: Handshakes, site: str, budget: Budget, *, clock: Clock = loop_clock) -> None:
        self.budget = budget
        self._site = site
        self._venue = venue
        self._clock = clock
        self._line: dict[Waiting, None] = {}  # first come, first served
        self._under_way = 0
        self._in_doubt = True  # never reached is no better than lost
        self._failures = 0  # connections in a row that failed, or ended without a word
        self._shut_until = -inf
        self._reason = ""

    @property
    def outlook(self) -> Outlook | None:
        """None: there is no bad news."""
        breaker = self._venue.breaker
        if breaker.remaining:
            return Outlook(RATE_LIMITED, self._failures, breaker.remaining, unavailable=True)
        if self._in_doubt and self._failures:
            return Outlook(self._reason, self._failures, min(self._pause(), UNPROVEN_WINDOW))
        return None

    async def handshake(self, shake: Callable[[], Awaitable[T]], told: Callable[[Outlook], None]) -> T:
        """Wait for our turn, and shake hands. ``told`` hears what changes while we wait.

        Raises:
            HandshakeFailed: of ours.
        """
        await self._turn(Waiting(told))
        begun, probe = self._venue.began(), self._in_doubt
        self.budget.take(1)
        self._under_way += 1
        outcome = "cancelled"
        try:
            with self._venue.breaker.passage():
                result = await self._answered(shake, probe)
            outcome = "ok"
        except HandshakeFailed as error:
            outcome = error.reason
            raise
        finally:
            self._under_way -= 1
            self._in_doubt = self._in_doubt and outcome != "ok"
            metrics.HANDSHAKES.labels(self.budget.exchange, outcome).inc()
            self._venue.ended(begun, self._site, well=outcome == "ok")
        return result

    def lost(self, reason: str) -> None:
        """A connection has ended. Of those that are lost together the first counts."""
        if not self._in_doubt:
            self._fail(reason)

    def heard(self) -> None:
        """A new connection has spoken: the site is what it should be."""
        if not self._in_doubt:
            self._failures = 0

    def tell(self) -> None:
        """Tell everyone in line what is to be expected now."""
        if (outlook := self.outlook) is not None:
            for waiting in list(self._line):
                waiting.told(outlook)

    def wake(self) -> None:
        """Let the first in line look again."""
        for first in self._line:
            first.wake.set()
            return

    async def _answered(self, shake: Callable[[], Awaitable[T]], probe: bool) -> T:
        breaker = self._venue.breaker
        try:
            result = await shake()
        except HandshakeFailed as error:
            if error.status is not None and breaker.refuses(error.status, error.headers):
                raise HandshakeFailed(RATE_LIMITED, status=error.status) from error
            if probe or not self._in_doubt:  # of those that were under way together one counts
                self._fail(error.reason)
            raise
        breaker.passed()
        return result

    def _fail(self, reason: str) -> None:
        self._in_doubt = True
        self._failures += 1
        self._reason = reason
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10))
        self._shut_until = self._clock() + random.uniform(0, longest)  # noqa: S311
        self.tell()

    async def _turn(self, waiting: Waiting) -> None:
        self._line[waiting] = None
        try:
            while (delay := self._delay(waiting)) > 0.0:
                try:
                    async with asyncio.timeout(delay if delay < inf else None):
                        await waiting.wake.wait()
                except TimeoutError:
                    pass
                waiting.wake.clear()
        finally:
            del self._line[waiting]
            # No await from here to what our turn takes: the next in line finds it taken.
            self.wake()

    def _delay(self, waiting: Waiting) -> float:
        """Seconds until ``waiting`` may go, as things stand; inf: until something changes."""
        if next(iter(self._line)) is not waiting or (self._in_doubt and self._under_way):
            return inf
        return max(self._pause(), self._venue.breaker.wait)

    def _pause(self) -> float:
        shut = self._shut_until - self._clock() if self._in_doubt else 0.0
        return max(0.0, shut, self._venue.wait(), self.budget.wait(1))
