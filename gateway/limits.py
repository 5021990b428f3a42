"""Who may come in, and how often somebody may ask: counts and token buckets. No sockets; clocks are given."""

import ipaddress
import math
import resource
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway import metrics
from gateway.http import Peer

FILES_FOR_CLIENTS = 0.9  # of the process's file descriptors; the rest is for venues
MAX_ADDRESSES = 10_000  # remembered for the rate of their requests, the longest unheard of forgotten first
RECOVERED = 0.5  # of its burst, at which a client's past haste is forgiven

Clock = Callable[[], float]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Bucket:
    """Tokens that refill at ``rate`` a second up to ``burst``; it begins full."""

    def __init__(self, rate: float, burst: float, *, clock: Clock) -> None:
        self.rate, self.burst = rate, burst
        self._clock = clock
        self._level, self._at = burst, clock()

    @property
    def level(self) -> float:
        now = self._clock()
        self._level = min(self.burst, self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level

    def take(self) -> float:
        """Spend one token; the seconds until it is there, 0.0 if it was."""
        wait = max(0.0, 1.0 - self.level) / self.rate
        self._level -= 1.0
        return wait

    def try_take(self) -> bool:
        """Spend one token if there is one."""
        if self.level < 1.0:
            return False
        self._level -= 1.0
        return True


class Door:
    """TCP connections: how many at once, and how many new ones a second."""

    def __init__(self, *, connections: int, accept_rate: float, accept_burst: float, clock: Clock) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = min(connections, math.floor(files * FILES_FOR_CLIENTS))
        self.inside = 0
        self._bucket = Bucket(accept_rate, accept_burst, clock=clock)

    def admit(self, peer: Peer) -> str | None:
        """Why it may not come in; None: it may, and ``left`` is due."""
        if self.inside >= self.most:
            metrics.REJECTED.labels("connections").inc()
            return f"this node serves at most {self.most} connections"
        if not self._bucket.try_take():
            metrics.REJECTED.labels("accept_rate").inc()
            return f"this node takes at most {self._bucket.rate:g} new connections a second"
        self.inside += 1
        return None

    def left(self, peer: Peer) -> None:
        self.inside -= 1


class Addresses:
    """Websockets by client address; 0: any number of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._inside: dict[str, int] = {}

    def enter(self, address: str) -> bool:
        """False: it has as many as it may. Else ``leave`` is due."""
        inside = self._inside.get(address, 0)
        if self._most and inside >= self._most:
            return False
        self._inside[address] = inside + 1
        return True

    def leave(self, address: str) -> None:
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]


class Requests:
    """The rate of each client address's requests."""

    def __init__(self, *, rate: float, burst: float, clock: Clock, most: int = MAX_ADDRESSES) -> None:
        self._rate, self._burst, self._clock, self._most = rate, burst, clock, most
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, address: str) -> float:
        """The seconds to wait before asking again; 0.0: the request is welcome."""
        bucket = self._buckets.get(address)
        if bucket is None:
            bucket = self._buckets[address] = Bucket(self._rate, self._burst, clock=self._clock)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(address)
        return 0.0 if bucket.try_take() else (1.0 - bucket.level) / bucket.rate


class Commands:
    """One client's commands: some at once, then at a steady rate, then refused, at last its end.

    Up to ``delays`` commands in a row wait for their turn, while nothing more is read of the client; further ones are
    refused. Who leaves half of its burst unused again is forgiven.
    """

    def __init__(self, *, rate: float, burst: int, delays: int, refusals: int, clock: Clock) -> None:
        self._bucket = Bucket(rate, burst, clock=clock)
        self._delays, self._refusals = delays, refusals
        self._delayed = self._refused = 0

    def take(self) -> float | None:
        """Seconds that the next command has to wait; None: it is refused."""
        if self._bucket.level >= RECOVERED * self._bucket.burst:
            self._delayed = self._refused = 0
        if self._bucket.try_take():
            return 0.0
        if self._delayed < self._delays:
            self._delayed += 1
            return self._bucket.take()
        self._refused += 1
        return None

    @property
    def retry_after(self) -> float:
        """Seconds until a command would be welcome, never nothing: who asks was refused."""
        return max(0.001, (1.0 - self._bucket.level) / self._bucket.rate)

    @property
    def hopeless(self) -> bool:
        """It does not listen to refusals."""
        return self._refused >= self._refusals


@dataclass(frozen=True, slots=True)
class Proxies:
    """The reverse proxies whose word for a client's address is taken."""

    networks: Sequence[Network] = field(default=())

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address: the last one named in X-Forwarded-For that is no proxy of ours, if ``peer`` is one."""
        address = peer
        named = [part.strip() for line in forwarded for part in line.split(",")]
        while named and self._trusted(address):
            address = named.pop()
        return address[:64]

    def _trusted(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)
