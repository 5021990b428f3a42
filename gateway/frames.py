"""Every frame of the websocket, as a model (``shapes.py``)."""

from typing import Annotated, Literal

from pydantic import Field

from exchanges.errors import NotSubscribed, SubscriptionLimit
from exchanges.venue import Channel
from gateway.replies import STATUSES
from gateway.shapes import (
    Asked,
    Cursor,
    DecimalBook,
    ExchangeState,
    Id,
    Milliseconds,
    Ohlcv,
    OrderBook,
    Refusal,
    Shape,
    Topic,
    TopicState,
    Trade,
)

FrameCode = Annotated[
    str,
    Field(
        description="for programs", json_schema_extra={"enum": [*STATUSES, NotSubscribed.code, SubscriptionLimit.code]}
    ),
]


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
