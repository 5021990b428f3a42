"""What a venue must answer, and the words it answers in. No sockets, no state.

A venue is a folder with ``symbols.py`` (names), ``streams.py`` (what to subscribe to), ``parse.py`` (bytes → events),
``rest.py`` (requests) and an ``__init__.py`` that joins them into a class with the shape of ``Venue``.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from exchanges.events import BookSnapshot, Candle, Event, Trade
from exchanges.instrument import Instrument

if TYPE_CHECKING:
    from exchanges.breaker import Breaker
    from exchanges.budget import Budget, Patience

Channel = Literal["trades", "orderbook", "ohlcv"]
CHANNELS: tuple[Channel, ...] = ("trades", "orderbook", "ohlcv")
TIMEFRAMES_MS: Mapping[str, int] = {
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
    "3d": 259_200_000,
    "1w": 604_800_000,
    "1M": 2_592_000_000,  # 30 days: only ever used to size a request, never to find where a month begins
}

# Which stream a message belongs to (its ``Stream.name``; for ``Accepted`` and ``Refused`` its ``Stream.request``;
# "" when it is about no stream), and what it says.
Parsed = tuple[str, Sequence[Event]]
# (price, amount) of bids and of asks in the venue's own decimals, in the order of the message.
Texts = tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]


class Rate(NamedTuple):
    """At most ``amount`` in any ``seconds``."""

    amount: float
    seconds: float

    def part(self, parts: int) -> "Rate":
        """What each of so many may use of it."""
        return Rate(self.amount / parts, self.seconds)


USUAL_CONNECTS = Rate(300, 300.0)  # Binance's, and what others are asked for where they document less strict ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One kind of socket of a venue: where it is, how to speak on it, when it counts as dead."""

    url: str
    parse: Callable[[bytes], Parsed]
    ping: str | None  # an application's ping to send; None: protocol ping frames
    ping_interval: float  # seconds
    idle_timeout: float  # seconds without a message after which the socket is given up; inf: protocol pings tell
    subscribe_interval: float = 0.0  # seconds between two frames we send, by the venue's message rate
    # Hyperliquid closes the whole socket on a subscription it does not like, and says nothing (docs/venues).
    closes_on_refusal: bool = False
    site: str = ""  # what is reached or not together: sockets of one site share handshakes and their failures
    lifetime: float = inf  # seconds after which the venue cuts the connection, whatever goes on in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One upstream subscription."""

    endpoint: Endpoint
    channel: Channel
    name: str  # what its data is recognised by on a socket
    request: str  # what the answers to ``subscribe`` are recognised by
    subscribe: str
    unsubscribe: str
    snapshot: Callable[[], Awaitable[BookSnapshot]] | None = None  # books whose deltas need a REST snapshot
    texts: Callable[[Any], Texts] | None = None  # of a book event's ``raw``; None: not a book
    replays: bool = False  # the first frame after a subscription repeats recent trades, unmarked
    dense: bool = False  # trade ids are integers that rise by one: a jump is a loss
    marks_closed: bool = True  # the venue says when a candle is closed
    steady: bool = False  # speaks at its own rhythm, also when nothing changes: silence alone is a fault
    # A fingerprint by REST that changes whenever this stream should have spoken: one that stays silent while it changes
    # is dead, however alive its socket. None: there is nothing to ask (a ``steady`` stream needs none).
    witness: Callable[[], Awaitable[object]] | None = None

    @property
    def is_book(self) -> bool:
        return self.channel == "orderbook"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a venue offers, known without asking it. Served as ``/v1/capabilities``."""

    markets: Mapping[str, str]  # what ``params.type`` or ``params.category`` may say → ``Instrument.market``
    market_param: Literal["type", "category"]
    default_market: str
    instrument_groups: tuple[str, ...]  # what the catalogue is fetched by, each on its own
    channels: tuple[Channel, ...] = CHANNELS
    timeframes: tuple[str, ...] = ()
    levels: tuple[int, ...] = ()  # rungs of ``params.levels``, ascending
    default_levels: int = 20
    trade_streams: tuple[str, ...] = ()  # what ``params.name`` may say, the default first; empty: no choice
    max_trades: int = 1000  # most rows one REST request gives
    max_candles: int = 1000
    trades_backfill: Literal["by-id", "recent"] = "recent"
    checksum: bool = False
    max_sockets: int = 100
    share_from: int = 100  # sockets open at which new feeds begin to share them
    max_streams_per_socket: int = 200
    connects: Rate = USUAL_CONNECTS  # handshakes of all sockets of a site
    messages: Rate | None = None  # what we send on all sockets together; None: each is paced by itself
    # By market, limits unlike the above.
    markets_differ: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def part(self, parts: int) -> "Capabilities":
        """The same, with the limits of an address shared among so many processes."""
        if parts == 1:
            return self
        return replace(
            self,
            max_sockets=max(1, self.max_sockets // parts),
            share_from=max(1, self.share_from // parts),
            connects=self.connects.part(parts),
            messages=None if self.messages is None else self.messages.part(parts),
        )

    def limit(self, name: Literal["max_trades", "max_candles"], market: str) -> int:
        default: int = getattr(self, name)
        return self.markets_differ.get(market, {}).get(name, default)


class Venue(Protocol):
    """One exchange. Methods that fetch raise ``UpstreamError`` and its kin, never anything of the HTTP client.

    ``patience`` is who asks: how long it waits where our budget of the venue's rates is used up. Without it a client.
    """

    name: str
    capabilities: Capabilities
    breaker: "Breaker"  # heeded by its requests; the sockets are to heed it too

    @property
    def budgets(self) -> Mapping[str, "Budget"]:
        """What it allows itself of the venue's request rates, by pool."""
        ...

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        """All instruments of one of ``Capabilities.instrument_groups``, inactive ones too."""
        ...

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        """The subscription that serves a topic; ``params`` are canonical. Topics that can share it get one name."""
        ...

    async def fetch_trades(
        self,
        instrument: Instrument,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        params: Mapping[str, Any],
        patience: "Patience" = ...,
    ) -> list[Trade]:
        """Oldest first. With ``since`` (ms, inclusive) the first ``limit`` from it, else the newest ``limit``.

        A venue that only has recent trades gives those of them that fit.
        """
        ...

    async def fetch_missed(self, instrument: Instrument, *, after: str, params: Mapping[str, Any]) -> list[Trade]:
        """Trades since the one whose id is ``after``, oldest first, for closing a hole.

        Where the venue cannot be asked by id these are the recent ones: whoever finds ``after`` or a later known trade
        among them has the proof that none is missing from there on. Bounded: a long hole is not filled to its end.
        """
        ...

    async def fetch_candles(
        self,
        instrument: Instrument,
        timeframe: str,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        patience: "Patience" = ...,
    ) -> list[Candle]:
        """Ascending, the forming one last. ``since``, ``until`` and ``limit`` as for trades."""
        ...

    async def fetch_book(self, instrument: Instrument, *, levels: int, patience: "Patience" = ...) -> BookSnapshot:
        """At least ``levels`` a side where the book is that deep."""
        ...

    async def close(self) -> None:
        """Let go of HTTP connections."""
        ...
