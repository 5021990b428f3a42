"""What the server needs of a simulated venue, and what every venue needs: markets, listeners, counters."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from starlette.routing import BaseRoute

from .clock import Clock
from .market import Market, Spec
from .sockets import Connection
from .streams import Streams

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

    def _known(self, symbol: str) -> Market:
        market = self._markets.get(symbol)
        if market is None:
            market = Market(self._specs[symbol], seed=f"{self._seed} {symbol}", opened_ms=self._opened_ms)
            self._opened(symbol, market)
            self._markets[symbol] = market
        return market

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
    sequence: Callable[[str], int]  # the venue's number for the state a symbol's book is in
    lose: Callable[[str, int], None]  # drop the next n book events of a symbol on the wire
    reset: Callable[[str], None] | None = None  # begin a symbol's books anew, where the venue has such a thing
    heartbeat: Heartbeat | None = None
    forgive: Callable[[], None] = lambda: None  # forget what clients have used up of their allowances
    counters: Counters = field(default_factory=Counters)
    connections: set[Connection] = field(default_factory=set)
