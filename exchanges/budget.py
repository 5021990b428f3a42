"""What we allow ourselves of a venue's rates: token buckets with names. No sockets and no requests; the clock is given.

A bucket that begins full and refills may spend its whole content and its refill within one of the venue's windows, and
those are clock minutes on one venue and sliding on another. So it holds ``BURST`` of the venue's amount and refills
``STEADY`` of it in the venue's time: together less than the whole, in any window however it is laid.
"""

import asyncio
from collections.abc import Callable
from math import inf
from typing import NamedTuple

from exchanges import metrics
from exchanges.errors import VenueBusy
from exchanges.venue import Rate

BURST, STEADY = 0.3, 0.6  # of the venue's amount; the rest is for what else runs at this address

Clock = Callable[[], float]


def loop_clock() -> float:
    return asyncio.get_running_loop().time()


class Patience(NamedTuple):
    """Who asks: the seconds it waits for budget, and the part of a full bucket it leaves to others."""

    wait: float
    leave: float = 0.0


CLIENT = Patience(2.0)  # somebody is waiting for the answer
HEALING = Patience(60.0)  # our own: snapshots, missed rows, lists of markets
WITNESS = Patience(0.0, leave=0.5)  # a doubt about a silent stream, which can wait for quieter times


class Bucket:
    """Tokens. They may be owed: who takes more than there is waits, and whoever comes later waits behind."""

    def __init__(self, rate: Rate, *, clock: Clock = loop_clock) -> None:
        self.capacity = max(1.0, BURST * rate.amount)
        self.per_second = STEADY * rate.amount / rate.seconds
        self._clock = clock
        self._level = self.capacity
        self._at = -inf

    @property
    def left(self) -> float:
        """Tokens; negative while they are owed."""
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._at) * self.per_second)
        self._at = now
        return self._level

    def wait(self, amount: float) -> float:
        """Seconds until ``amount`` would be there."""
        return max(0.0, amount - self.left) / self.per_second

    def take(self, amount: float) -> float:
        """Spend ``amount``; the seconds to wait before it may be used."""
        wait = self.wait(amount)
        self._level -= amount
        return wait


class Budget(Bucket):
    """A bucket of one venue's, counted by its name."""

    def __init__(self, exchange: str, pool: str, rate: Rate, *, clock: Clock = loop_clock) -> None:
        super().__init__(rate, clock=clock)
        self.exchange = exchange
        self.pool = pool
        self._used = metrics.BUDGET_USED.labels(exchange, pool)
        self._refused = metrics.BUDGET_REFUSED.labels(exchange, pool)

    def take(self, amount: float) -> float:
        self._used.inc(amount)
        return super().take(amount)

    def spend(self, weight: float, patience: Patience) -> float:
        """Take ``weight``; the seconds to wait before it may be used.

        Raises:
            VenueBusy: it would take longer than ``patience`` has, or leave less than it must.
        """
        wait = self.wait(weight + patience.leave * self.capacity)
        if wait > patience.wait:
            self._refused.inc()
            raise VenueBusy(f"the budget of requests to {self.exchange} is used up for now", retry_after=wait)
        return self.take(weight)
