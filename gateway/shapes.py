"""What the gateway sends, as models: the answers of REST and every frame of the websocket.

They write nothing, for on the way of a message bytes are put together by hand (``topics/wire.py``). They describe, for
the documents that ``specs.py`` makes; and a recorded session is held against them (``tests/system/test_specs.py``), so
that what they say is what is sent. Times are integer milliseconds since 1970, UTC.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from exchanges.errors import NotSubscribed, SubscriptionLimit
from exchanges.venue import Channel
from gateway.replies import STATUSES

Milliseconds = Annotated[int, Field(ge=0, description="ms since 1970, UTC")]
Cursor = Annotated[str, Field(pattern=r"^\d+-\d+$", description="position in a stream, epoch-seq")]
Decimal = Annotated[str, Field(pattern=r"^\d+(\.\d+)?([eE]-?\d+)?$", description="as the venue wrote it")]
Id = Annotated[str | int, Field(description="that of the command")]
TopicState = Literal["connecting", "live", "stale", "reconnecting", "resyncing", "unavailable"]
ExchangeState = Literal["connecting", "live", "reconnecting", "unavailable", "idle"]
Params = Annotated[
    dict[str, str | int], Field(description="canonical: defaults are left out, but for levels and timeframe")
]

Code = Annotated[str, Field(description="for programs", json_schema_extra={"enum": [*STATUSES]})]
FrameCode = Annotated[
    str,
    Field(
        description="for programs", json_schema_extra={"enum": [*STATUSES, NotSubscribed.code, SubscriptionLimit.code]}
    ),
]


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# -- parts -------------------------------------------------------------------------------------------------------------


class Topic(Shape):
    """Which stream, in canonical words."""

    exchange: str
    symbol: str = Field(description="unified, as CCXT has it", examples=["BTC/USDT:USDT"])
    params: Params


class Asked(Shape):
    """A topic in the words of the command that an error is about, as far as they can be repeated."""

    exchange: str | None = None
    symbol: str | None = None
    params: dict[str, Any] | None = None


class Trade(Shape):
    """CCXT's trade."""

    info: Any = Field(description="the venue's own row")
    id: str
    timestamp: Milliseconds
    datetime: str = Field(description="the same in ISO 8601")
    symbol: str
    order: None
    type: None
    side: Literal["buy", "sell"] = Field(description="the taker's")
    takerOrMaker: None
    price: float
    amount: float = Field(description="of the base currency; contracts where the market is sized in them")
    cost: float
    fee: None
    fees: Annotated[list[Any], Field(max_length=0)]


Ohlcv = Annotated[
    tuple[int, float, float, float, float, float | None],
    Field(description="open time (ms), open, high, low, close, volume (null: the venue does not say)"),
]
Level = Annotated[tuple[float, float], Field(description="price, amount")]
DecimalLevel = Annotated[tuple[Decimal, Decimal], Field(description="price, amount; absolute, 0 removes the level")]


class OrderBook(Shape):
    """CCXT's order book, best levels first."""

    symbol: str
    bids: list[Level]
    asks: list[Level]
    timestamp: Milliseconds | None = Field(description="null: the venue does not say")
    datetime: str | None
    nonce: int | None = Field(description="the venue's sequence; null: it has none")


class DecimalBook(Shape):
    """Levels of a book in the venue's decimals: all of them, or those that changed."""

    symbol: str
    bids: list[DecimalLevel]
    asks: list[DecimalLevel]
    timestamp: Milliseconds | None = Field(description="null: the venue does not say")
    datetime: str | None
    nonce: int | None = Field(description="the venue's sequence; null: it has none")


class Details(Shape):
    """What an error is about, and what is allowed."""

    field: str | None = None
    allowed: list[Any] | None = None
    supported: list[Any] | None = None
    suggestions: list[str] | None = None
    limit: int | None = None
    topic: Topic | None = None
    ref: str | None = Field(default=None, description="under which the gateway's log has it")


class Refusal(Shape):
    """The body that all errors have."""

    message: str = Field(description="for people: what was wrong, and what is allowed")
    retryable: bool = Field(description="the same may work later")
    retryAfterMs: int | None = Field(default=None, description="not before then")
    details: Details | None = None


# -- REST --------------------------------------------------------------------------------------------------------------


class RestError(Refusal):
    code: Code
    requestId: str = Field(description="as in X-Request-Id")


class Market(Shape):
    exchange: str
    symbol: str
    unifiedSymbol: str
    base: str
    quote: str
    settle: str | None = Field(description="null: spot")
    type: Literal["spot", "perp", "future", "option"]
    active: bool
    marketId: str = Field(examples=["binance:perp:BTCUSDT"])
    exchangeMarketId: str = Field(description="the venue's own", examples=["BTCUSDT"])
    minOrderSize: float | None
    tickSize: float | None = Field(description="null: the venue has no fixed one")
    contractSize: float | None = Field(description="null: spot")
    info: dict[str, Any] = Field(description="the venue's own row")


class Markets(Shape):
    exchange: str
    markets: list[Market]
    timestamp: Milliseconds


class MarketChoice(Shape):
    """Which markets ``params`` may name, and by which key."""

    param: str
    default: str
    values: list[str]


class TradesOffer(Shape):
    markets: MarketChoice
    names: list[str] = Field(description="values of params.name; empty: there is one kind")
    maxRows: int = Field(description="most rows one request gives")
    backfill: Literal["by-id", "recent"] = Field(description="how trades that were missed can be fetched")


class OrderBookOffer(Shape):
    markets: MarketChoice
    levels: list[int]
    defaultLevels: int
    throttleMs: list[int]
    modes: list[str]
    checksum: bool = Field(description="the venue has one, and it is verified")


class OhlcvOffer(Shape):
    markets: MarketChoice
    timeframes: list[str]
    maxRows: int


class Channels(Shape):
    trades: TradesOffer
    orderbook: OrderBookOffer
    ohlcv: OhlcvOffer


class ExchangeOffer(Shape):
    exchange: str
    channels: Channels


class Capabilities(Shape):
    exchanges: list[ExchangeOffer]
    defaultExchange: str


class Left(Shape):
    now: int
    of: int


class Budget(Shape):
    """What the gateway allows itself of the venue's limits."""

    maxSockets: int | None
    maxStreamsPerSocket: int | None
    left: dict[str, Left]
    bannedForMs: int


class ExchangeRow(Shape):
    exchange: str
    state: ExchangeState
    sockets: int
    budget: Budget


class FeedRow(Shape):
    """One upstream subscription."""

    exchange: str
    channel: Channel
    symbol: str
    params: Params
    state: TopicState
    lastEvent: Milliseconds | None = Field(description="null: nothing came yet")
    cursor: Cursor
    subscribers: int
    owner: str = Field(description="the node that has it")


class WorkerRow(Shape):
    node: str
    uptimeMs: int
    clients: int


class NodeStatus(Shape):
    node: str
    version: str
    uptimeMs: int
    exchanges: list[ExchangeRow]
    feeds: list[FeedRow]
    clients: int
    workers: list[WorkerRow] | None = Field(default=None, description="where there are several")


class Health(Shape):
    status: Literal["ok"]


class Readiness(Shape):
    status: Literal["ready", "degraded", "starting", "draining"]
    reasons: list[str]


# -- frames ------------------------------------------------------------------------------------------------------------


class Times(Shape):
    ex: Milliseconds | None = Field(description="when the venue says it happened; null: it does not say")
    rx: Milliseconds = Field(description="when the gateway received it")
    tx: Milliseconds = Field(description="when the gateway encoded it")


class Data(Shape):
    """The same bytes for all who have the topic."""

    channel: Channel
    topic: Topic
    cursor: Cursor
    ts: Times


class TradesFrame(Data):
    """One or more trades, oldest first: append."""

    type: Literal["trades"]
    data: list[Trade]


class OrderBookFrame(Data):
    """The best levels of each side: replace."""

    type: Literal["orderbook"]
    data: OrderBook


class BookSnapshotFrame(Data):
    """mode delta: forget your book, take this one."""

    type: Literal["orderbook"]
    kind: Literal["snapshot"]
    reason: Literal["join", "resync", "anchor", "conflated"]
    checksum: int = Field(ge=0, le=0xFFFFFFFF, description="CRC32 of the best 10 levels of each side")
    data: DecimalBook


class BookDeltaFrame(Data):
    """mode delta: changed levels; apply only if prev is your cursor."""

    type: Literal["orderbook"]
    kind: Literal["delta"]
    prev: Cursor
    checksum: int | None = Field(default=None, ge=0, le=0xFFFFFFFF)
    data: DecimalBook


class CandleMeta(Shape):
    closed: bool = Field(description="final")
    complete: bool = Field(description="false: something of it was lost, and not made up for")
    source: Literal["venue", "rest", "trades"]


class OhlcvFrame(Data):
    """Candles, ascending: upsert by open time."""

    type: Literal["ohlcv"]
    repair: Literal[True] | None = Field(default=None, description="fetched after a loss, or changed by the venue")
    meta: list[CandleMeta] = Field(description="one for each row of data")
    data: list[Ohlcv]


class Resume(Shape):
    """What became of ``since``."""

    status: Literal["recovered", "partial", "lost", "epochChanged", "ahead", "snapshot"]
    from_: Cursor = Field(alias="from")
    to: Cursor
    count: int = Field(description="stored frames that follow")


class Ack(Shape):
    id: Id | None = None
    index: int | None = Field(default=None, description="of the item in a batch")
    channel: Channel
    topic: Topic


class Subscribed(Ack):
    """Always before the first data of its topic."""

    type: Literal["subscribed"]
    state: TopicState
    resume: Resume | None = None


class AlreadySubscribed(Ack):
    """The subscription stays as it is."""

    type: Literal["alreadySubscribed"]
    state: TopicState


class Unsubscribed(Ack):
    """No frame of the topic follows."""

    type: Literal["unsubscribed"]


class BatchDone(Shape):
    """After the answers to all items of a batch."""

    type: Literal["batch"]
    id: Id | None = None
    ok: int
    failed: int


class Subscription(Shape):
    channel: Channel
    topic: Topic
    state: TopicState
    cursor: Cursor


class Subscriptions(Shape):
    """The answer to list."""

    type: Literal["subscriptions"]
    id: Id | None = None
    topics: list[Subscription]


class TopicName(Shape):
    channel: Channel
    topic: Topic


class Paused(Shape):
    """These topics send no data until they are resumed."""

    type: Literal["paused"]
    id: Id | None = None
    topics: list[TopicName]


class Resumed(Shape):
    """These topics are brought up to date, and go on."""

    type: Literal["resumed"]
    id: Id | None = None
    topics: list[TopicName]


class Pong(Shape):
    """The answer to a ping without id and t."""

    type: Literal["pong"]


class TimedPong(Shape):
    """The answer to a ping with id or t: how far apart the clocks are."""

    type: Literal["pong"]
    id: Id | None = None
    t: int | float | None = Field(description="as it was sent; null: none was")
    rx: Milliseconds = Field(description="when the ping was received")
    tx: Milliseconds = Field(description="when this was sent")


class Welcome(Shape):
    """The answer to hello; from here on all types of frames may come."""

    type: Literal["hello"]
    id: Id | None = None
    protocol: Literal[1]
    server: str
    node: str
    connection: str
    time: Milliseconds
    heartbeatMs: int
    limits: dict[str, int | float]
    channels: list[Channel]
    exchanges: list[str]


class Heartbeat(Shape):
    """When nothing else was sent for heartbeatMs."""

    type: Literal["heartbeat"]
    time: Milliseconds


class State(Shape):
    """A state, and how it came about."""

    previous: str
    since: Milliseconds = Field(description="when the state began")
    lastEvent: Milliseconds | None = Field(description="null: nothing ever came")
    reason: str = Field(description="a few words")
    attempt: int = Field(description="connections that failed in a row")
    retryInMs: int | None = Field(description="null: no next attempt is known")


class TopicStatus(State):
    """What is to be known of one topic's source: on every change, and with news of the next attempt."""

    type: Literal["status"]
    scope: Literal["topic"]
    channel: Channel
    topic: Topic
    state: TopicState


class ExchangeStatus(State):
    """The same of a venue as a whole."""

    type: Literal["status"]
    scope: Literal["exchange"]
    exchange: str
    state: ExchangeState


class Place(Shape):
    cursor: Cursor
    time: Milliseconds | None


class Summary(Shape):
    """The trades that are missing, in a few numbers."""

    count: int
    buyAmount: float
    sellAmount: float
    high: float
    low: float
    last: float


class Gap(Shape):
    """A loss that lies after ``from`` and before ``to``."""

    type: Literal["gap"]
    channel: Literal["trades", "ohlcv"]
    topic: Topic
    from_: Place = Field(alias="from")
    to: Place
    missing: int | None = Field(description="rows lost for good; null: nobody can know")
    backfilled: bool = Field(description="it is proven that nothing is missing")
    rows: int = Field(description="rows that were fetched, and follow")


class FeedGap(Gap):
    """Of all who have the topic: an event of the stream, with a cursor of its own."""

    cursor: Cursor
    reason: Literal["UPSTREAM_RECONNECT", "VENUE_SKIP", "EPOCH_CHANGED"]


class ClientGap(Gap):
    """Of this client alone."""

    reason: Literal["CLIENT_SLOW", "PAUSED", "RING_TRIMMED", "EPOCH_CHANGED"]
    events: int | None = Field(description="frames that it is not sent; null: nobody knows")
    summary: Summary | None = None


class CaughtUp(Shape):
    """All that was published until ``cursor`` has been sent; what follows is live."""

    type: Literal["caughtUp"]
    channel: Channel
    topic: Topic
    cursor: Cursor


class Loss(Shape):
    channel: Channel
    topic: Topic
    from_: Cursor = Field(alias="from")
    to: Cursor
    missing: int
    events: int


class Lagged(Shape):
    """This client reads too slowly: newer data took the place of what it had not taken."""

    type: Literal["warning"]
    code: Literal["CLIENT_LAGGED"]
    message: str
    topics: list[Loss]


class GoAway(Shape):
    """The node is about to end: find another after delayMs, resume there, close this connection."""

    type: Literal["goaway"]
    reason: Literal["DEPLOY"]
    graceMs: int
    delayMs: int


class ErrorFrame(Refusal):
    """About a command, or about a subscription that runs."""

    type: Literal["error"]
    code: FrameCode
    id: Id | None = None
    index: int | None = None
    op: str | None = None
    channel: str | None = None
    topic: Topic | Asked | None = None


FRAMES: tuple[type[Shape], ...] = (
    Welcome,
    Subscribed,
    AlreadySubscribed,
    Unsubscribed,
    Subscriptions,
    BatchDone,
    TradesFrame,
    OrderBookFrame,
    BookSnapshotFrame,
    BookDeltaFrame,
    OhlcvFrame,
    CaughtUp,
    TopicStatus,
    ExchangeStatus,
    FeedGap,
    ClientGap,
    Lagged,
    ErrorFrame,
    Paused,
    Resumed,
    Pong,
    TimedPong,
    Heartbeat,
    GoAway,
)
