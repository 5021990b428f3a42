"""One venue's word that we shall stay away, kept for its time by everything that talks to it. Opens no connection.

A venue bans an address, whichever way it was reached: a refused handshake holds back requests too, and the other way
round. When the time is over one caller goes first, and the others follow once it was answered.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import Literal

from exchanges import metrics
from exchanges.budget import Clock, loop_clock
from exchanges.errors import VenueBusy

log = logging.getLogger("exchanges.breaker")

# HTTP statuses that ask us to stay away, and the seconds where they name none.
BANS: Mapping[int, float] = {418: 60.0, 429: 60.0}
LONGEST_BAN = 3600.0  # whatever the venue names
SHORTEST_BAN = 1.0
PROBE_PAUSE = 1.0  # seconds after which those who are behind the first caller may ask again


class Breaker:
    """``closed``: all may pass. ``open``: nobody. ``half-open``: the time is over, one at a time."""

    def __init__(self, exchange: str, *, bans: Mapping[int, float] = BANS, clock: Clock = loop_clock) -> None:
        self.exchange = exchange
        self._bans = bans
        self._clock = clock
        self._until = -inf
        self._proven = True  # answered since the last ban
        self._probing = False
        self._told: list[Callable[[], None]] = []

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        if self.remaining > 0.0:
            return "open"
        return "closed" if self._proven else "half-open"

    @property
    def remaining(self) -> float:
        """Seconds of a ban that are left."""
        return max(0.0, self._until - self._clock())

    @property
    def wait(self) -> float:
        """Seconds until it is worth asking; 0: now."""
        return self.remaining or (PROBE_PAUSE if self._probing else 0.0)

    def watch(self, told: Callable[[], None]) -> None:
        """Call ``told`` whenever it opens, and whenever those who wait may find that they need not."""
        self._told.append(told)

    def refuses(self, status: int, headers: Mapping[str, str]) -> bool:
        """Whether an HTTP answer is a ban; if it is, the breaker is open for its time. Any other answer closes it."""
        if status not in self._bans:
            self.passed()
            return False
        named = retry_after(headers)
        self.open(self._bans[status] if named is None else named, status=status)
        return True

    def open(self, seconds: float, *, status: int) -> None:
        seconds = min(max(seconds, SHORTEST_BAN), LONGEST_BAN)
        if seconds > (left := self.remaining):
            if seconds - left > SHORTEST_BAN:  # those that were under way together are one
                log.warning("banned", extra={"exchange": self.exchange, "status": status, "seconds": round(seconds, 1)})
            self._until = self._clock() + seconds
            metrics.BANNED_UNTIL.labels(self.exchange).set(time.time() + seconds)
        self._proven = self._probing = False
        self._tell()

    def passed(self) -> None:
        """The venue answered, and not with a ban: that counts from whoever goes first when one is over."""
        if self._probing:
            self._proven, self._probing = True, False
            metrics.BANNED_UNTIL.labels(self.exchange).set(0)
            log.info("ban_over", extra={"exchange": self.exchange})
            self._tell()

    def check(self) -> None:
        """
        Raises:
            VenueBusy: the venue told us to stay away, or somebody is finding out whether it still does.
        """
        if wait := self.wait:
            raise VenueBusy(f"{self.exchange} asked us to stay away", retry_after=wait)

    @contextmanager
    def passage(self) -> Iterator[None]:
        """For the time of one request or handshake. Raises as ``check`` does."""
        self.check()
        first = self._probing = not self._proven
        try:
            yield
        finally:
            if first and self._probing:
                self._probing = False
                self._tell()

    def _tell(self) -> None:
        for told in self._told:
            told()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the venue asks us to wait; None where it does not say.

    A date counts from the venue's own ``Date``, where it says that too: its clock need not be ours.
    """
    value = headers.get("retry-after", "")
    if value.isascii() and value.isdigit():
        return float(value)
    if (until := _date(value)) is None:
        return None
    return max(0.0, (until - (_date(headers.get("date", "")) or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
