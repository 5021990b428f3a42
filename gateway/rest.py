"""The fetch endpoints: bare CCXT bodies, facts about them in headers."""

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from exchanges.errors import GatewayError, InvalidMessage, InvalidTopic, RateLimited, ValidationFailed
from exchanges.instrument import Instrument
from gateway.commands import PARAMS, Name
from gateway.state import Gateway
from topics.history import Answer, Span
from topics.key import TopicKey

MAX_TIMESTAMP = 253_402_300_799_999  # the last ms of year 9999

SYMBOL = "unified, or any other name of it"
MOST = "most rows; cut to what the venue gives at once"

Milliseconds = Annotated[int, Field(ge=0, le=MAX_TIMESTAMP)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    exchange: Name | None = Field(default=None, description="left out: the default exchange")
    params: dict[str, Any] = Field(default_factory=dict, description=f"{PARAMS}; order, until")


B = TypeVar("B", bound=Body)


class FetchTrades(Body):
    """Trades: with ``since`` the first from it, else the newest."""

    symbol: Name | None = Field(default=None, description=SYMBOL)
    since: Milliseconds | None = Field(default=None, description="ms, inclusive")
    limit: int = Field(default=100, ge=1, description=MOST)


class FetchOHLCV(Body):
    """Candles: with ``since`` the first from it, else the newest."""

    symbol: Name | None = Field(default=None, description=SYMBOL)
    timeframe: Annotated[str, StringConstraints(max_length=8)] | None = Field(
        default=None, description="1m if left out"
    )
    since: Milliseconds | None = Field(default=None, description="ms, inclusive")
    limit: int = Field(default=200, ge=1, description=MOST)


class FetchOrderBook(Body):
    """A book of ``limit`` levels; left out: 100, or the venue's deepest."""

    symbol: Name | None = Field(default=None, description=SYMBOL)
    limit: int | None = Field(default=None, ge=1, description="levels of each side, exactly")


class FetchMarkets(Body):
    """The catalogue; ``params.type`` or ``params.category`` picks a market."""

    includeInactive: bool = False  # a wire name


class RestParams(BaseModel):
    """The parameters that only REST has."""

    model_config = ConfigDict(strict=True)
    order: Literal["asc", "desc"] = "asc"
    until: Milliseconds | None = None


async def fetch_trades(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    body = await read(request, FetchTrades)
    rest, params = split(body.params)
    key, instrument = gateway.manager.resolve("trades", body.exchange, body.symbol, params)
    limits = gateway.manager.exchange(key.exchange).venue.capabilities
    limit = min(body.limit, limits.limit("max_trades", instrument.market))
    span = Span(since=body.since, until=rest.until, limit=limit)
    answer = await gateway.history.trades(
        key, instrument, span, newest_first=rest.order == "desc", params=dict(key.params)
    )
    return respond(answer)


async def fetch_ohlcv(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    body = await read(request, FetchOHLCV)
    rest, params = split(body.params)
    if body.timeframe is not None:
        params = {**params, "timeframe": body.timeframe}
    key, instrument = gateway.manager.resolve("ohlcv", body.exchange, body.symbol, params)
    limits = gateway.manager.exchange(key.exchange).venue.capabilities
    limit = min(body.limit, limits.limit("max_candles", instrument.market))
    span = Span(since=body.since, until=rest.until, limit=limit)
    return respond(await gateway.history.candles(key, instrument, span))


async def fetch_order_book(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    body = await read(request, FetchOrderBook)
    _, params = split(body.params)
    key, instrument, levels = book_request(gateway, body, params)
    return respond(await gateway.history.book(key, instrument, levels=levels))


def book_request(gateway: Gateway, body: FetchOrderBook, params: dict[str, Any]) -> tuple[TopicKey, Instrument, int]:
    """The book's topic and how many levels to answer with: ``limit`` exactly, while a topic has rungs of depth."""
    asked = next((params[name] for name in ("levels", "depth", "limit") if name in params), body.limit)
    if asked is None:
        deepest = gateway.manager.exchange(body.exchange).venue.capabilities.levels[-1]
        asked = min(100, deepest)
    key, instrument = gateway.manager.resolve("orderbook", body.exchange, body.symbol, {**params, "levels": asked})
    return key, instrument, asked


async def fetch_markets(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    body = await read(request, FetchMarkets)
    exchange = gateway.manager.exchange(body.exchange)
    capabilities = exchange.venue.capabilities
    wanted = body.params.get(capabilities.market_param)
    known = wanted is None or (isinstance(wanted, str) and wanted in capabilities.markets)
    if set(body.params) - {"type", "category"} or not known:
        raise InvalidTopic("no such market", field="params", allowed=sorted(capabilities.markets))
    market = capabilities.markets.get(str(wanted))
    instruments = [
        instrument
        for instrument in exchange.catalogue.current().by_symbol.values()
        if (instrument.active or body.includeInactive) and market in (None, instrument.market)
    ]
    content = {
        "exchange": exchange.venue.name,
        "markets": [market_row(instrument) for instrument in instruments],
        "timestamp": gateway.clock_ms(),
    }
    return Response(orjson.dumps(content), media_type="application/json")


def market_row(instrument: Instrument) -> dict[str, Any]:
    return {
        "exchange": instrument.exchange,
        "symbol": instrument.symbol,
        "unifiedSymbol": instrument.symbol,
        "base": instrument.base,
        "quote": instrument.quote,
        "settle": instrument.settle,
        "type": instrument.kind,
        "active": instrument.active,
        "marketId": instrument.market_id,
        "exchangeMarketId": instrument.venue_symbol,
        "minOrderSize": instrument.min_order_size,
        "tickSize": instrument.tick_size,
        "contractSize": instrument.contract_size,
        "info": dict(instrument.info),
    }


async def read(request: Request, model: type[B]) -> B:
    """The request's body.

    Raises:
        RateLimited: this client asks too often.
        InvalidMessage, ValidationFailed: what is wrong and what is allowed.
        HTTPException: it is too large.
    """
    gateway: Gateway = request.app.state.gateway
    if wait := gateway.requests.take(gateway.address_of(request.scope)):
        raise RateLimited("too many requests", retry_after=wait)
    limit = gateway.limits.body_bytes
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:  # the framework's own limit answers in plain text
            raise HTTPException(413, f"a body has at most {limit} bytes")
    try:
        return model.model_validate(orjson.loads(content or b"{}"))
    except orjson.JSONDecodeError as error:
        raise InvalidMessage("the body is one JSON object") from error
    except ValidationError as error:
        raise refused(error, model) from error


def split(params: dict[str, Any]) -> tuple[RestParams, dict[str, Any]]:
    """The parameters that only REST has, and those of the topic."""
    own = {name: value for name, value in params.items() if name in RestParams.model_fields}
    try:
        rest = RestParams(**own)
    except ValidationError as error:
        raise refused(error, RestParams, prefix="params.") from error
    return rest, {name: value for name, value in params.items() if name not in own}


def refused(error: ValidationError, model: type[BaseModel], prefix: str = "") -> GatewayError:
    problem = error.errors(include_url=False, include_input=False)[0]
    field = prefix + ".".join(str(part)[:64] for part in problem["loc"])
    details: dict[str, Any] = {"field": field}
    if problem["type"] == "extra_forbidden":
        details["allowed"] = sorted(model.model_fields)
    return ValidationFailed(f"{field or 'body'}: {problem['msg']}", **details)


def respond(answer: Answer) -> Response:
    headers = {"X-Topic-State": answer.state, "X-Data-Age-Ms": str(answer.age_ms)}
    if answer.cursor is not None:
        headers["X-Cursor"] = str(answer.cursor)
    return Response(answer.body, media_type="application/json", headers=headers)
