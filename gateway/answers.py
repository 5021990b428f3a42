"""The answers of REST, as models (``shapes.py``)."""

from typing import Any, Literal

from pydantic import Field

from exchanges.venue import Channel
from gateway.shapes import Code, Cursor, ExchangeState, Milliseconds, Params, Refusal, Shape, TopicState


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
