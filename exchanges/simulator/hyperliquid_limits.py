"""What Hyperliquid allows one IP address: connections, subscriptions, messages and request weight.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/rate-limits-and-user-limits
"""

import time
from collections import deque

OPEN_CONNECTIONS = 10
NEW_CONNECTIONS = 30  # in a minute
SUBSCRIPTIONS = 1000  # over all connections
MESSAGES = 2000  # in a minute, over all connections
WEIGHT = 1200  # of REST requests, in a minute
MINUTE_SECONDS = 60.0


class Allowance:
    """So much in any minute; each entry weighs at least 1, so the memory is bounded by the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0

    @property
    def used(self) -> int:
        """In the last minute."""
        now = time.monotonic()
        while self._spent and self._spent[0][0] <= now - MINUTE_SECONDS:
            self._used -= self._spent.popleft()[1]
        return self._used

    def spend(self, amount: int = 1) -> bool:
        """False, and nothing is spent, once the minute's allowance is used up."""
        if self.used + amount > self._limit:
            return False
        self.add(amount)
        return True

    def add(self, amount: int) -> None:
        """What turns out to have been used as well, once it is known."""
        if amount:
            self._spent.append((time.monotonic(), amount))
            self._used += amount


class Visitor:
    """One IP address. ``connections`` and ``subscriptions`` are counted by those who open and close them."""

    def __init__(self) -> None:
        self.connections = 0
        self.subscriptions = 0
        self.messages = Allowance(MESSAGES)
        self.weight = Allowance(WEIGHT)
        self._arrivals = Allowance(NEW_CONNECTIONS)

    def may_connect(self) -> bool:
        """Whether one more connection is allowed; it counts as a new one if so."""
        return self.connections < OPEN_CONNECTIONS and self._arrivals.spend()

    def usage(self) -> dict[str, int]:
        """What it has used, by the name of the allowance; all but the first two in the last minute."""
        return {
            "connections": self.connections,
            "subscriptions": self.subscriptions,
            "new_connections": self._arrivals.used,
            "messages": self.messages.used,
            "weight": self.weight.used,
        }
