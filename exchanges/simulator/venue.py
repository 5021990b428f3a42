"""What the server needs of a simulated venue, and what every venue needs: markets, listeners, counters."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from . import connection_faults
from .clock import Clock
from .dialect import Dialect
from .faults import Faults
from .market import Market, Spec
from .sockets import Connection
from .streams import Streams
from .truth import BookJournal, Tape

IDLE_LAG_MS = 5_000  # how far behind a market may be while nobody looks at it
IDLE_STRIDE_MS = 5_000  # how much of that is made up at a time, a few milliseconds of work


class Markets:
    """A venue's instruments by the venue's own symbol. Opened when first asked for; reading one brings it up to now."""

    def __init__(self, specs: Mapping[str, Spec], *, seed: str, clock: Clock, opened: Callable[[str, Market], None]):
        self._specs = dict(specs)
        self._seed = seed
        self._clock = clock
        self._opened = opened
        self._opened_ms = clock.now()
        self._markets: dict[str, Market] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __getitem__(self, symbol: str) -> Market:
        market = self._known(symbol)
        market.advance(self._clock.now())
        return market

    def find(self, symbol: str) -> Market | None:
        """As by index; None for what does not trade."""
        return self[symbol] if symbol in self._specs else None

    def _known(self, symbol: str) -> Market:
        market = self._markets.get(symbol)
        if market is None:
            market = Market(self._specs[symbol], seed=f"{self._seed} {symbol}", opened_ms=self._opened_ms)
            self._opened(symbol, market)
            self._markets[symbol] = market
        return market

    def now(self) -> int:
        """Market time."""
        return self._clock.now()

    def catch_up(self) -> None:
        """A little work for the one market that is furthest behind: asked for at last, none has hours to make up."""
        now = self._clock.now()
        unopened = next((symbol for symbol in self._specs if symbol not in self._markets), None)
        if unopened is not None:
            self._known(unopened)  # its first minutes are made up as those of any other that is behind
            return
        market = min(self._markets.values(), key=lambda each: each.time_ms)
        if now - market.time_ms > IDLE_LAG_MS:
            market.advance(min(now, market.time_ms + IDLE_STRIDE_MS))


@dataclass(slots=True)
class Counters:
    """What tests look at to know what a client really did."""

    handshakes_total: int = 0  # attempted, those that were refused among them
    requests_total: int = 0  # over REST, those that a fault answered among them
    refused: Counter[str] = field(default_factory=Counter)  # by the venue's own limits: handshake, message, request
    connections_total: int = 0
    subscribes_total: int = 0
    subscriptions: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    weight: int = 0  # in the current clock minute, where the venue has such a thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The venue's own pings: seconds between them, and how long it waits for the pong."""

    every: float
    pong_within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """A simulated venue, ready to be served under ``/{name}``."""

    name: str
    markets: Markets
    streams: Streams
    routes: list[BaseRoute]
    dialect: Dialect
    faults: Faults
    sequence: Callable[[str], int]  # the venue's number for the state a symbol's book is in
    books: Callable[[str], BookJournal]  # what it stated of a symbol's book
    tapes: Callable[[str], Mapping[str, Tape]]  # what it states of a symbol's trades, by stream; the usual one first
    reset: Callable[[str], None] | None = None  # begin a symbol's books anew, where the venue has such a thing
    syncs_by_rest: bool = False  # whether a book begins with a snapshot over REST
    heartbeat: Heartbeat | None = None
    forgive: Callable[[], None] = lambda: None  # forget what clients have used up of their allowances
    usage: Callable[[], dict[str, Any]] = dict  # what they have used up, by the name of the allowance
    counters: Counters = field(default_factory=Counters)
    connections: set[Connection] = field(default_factory=set)

    def connected(self, websocket: WebSocket) -> Connection:
        """The connection of an accepted websocket; who ends it takes it out of ``connections``."""
        connection = Connection(websocket)
        self.connections.add(connection)
        self.counters.connections_total += 1
        if self.faults.busy:
            connection_faults.opened(self.faults, connection, self.announce)
        return connection

    @property
    def announce(self) -> connection_faults.Announce | None:
        """Tell a connection in the venue's own way that the venue is about to go, where it has one."""
        farewell = self.dialect.farewell
        if farewell is None:
            return None
        return lambda connection: connection.deliver(*farewell(self.markets.now()))

    def sweep(self) -> None:
        """Let faults end, and happen to connections that have reached the age for it."""
        self.faults.active()
        connection_faults.sweep(self.faults, self.connections, self.announce)
