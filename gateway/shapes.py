"""What the gateway sends, as models: here what answers of REST (``answers.py``) and frames (``frames.py``) are made of.

They write nothing, for on the way of a message bytes are put together by hand (``topics/wire.py``). They describe, for
the documents that ``specs.py`` makes; and a recorded session is held against them (``tests/system/test_specs.py``), so
that what they say is what is sent. Times are integer milliseconds since 1970, UTC.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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
