"""``POST /info``: every public read of Hyperliquid over REST. What a type answers, what it weighs, how it refuses.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from . import hyperliquid_contexts as contexts
from .hyperliquid_instrument import DEPTH, INTERVALS, Instrument, book
from .hyperliquid_listings import DEXES, perp_dexs
from .hyperliquid_subscription import COIN, DEX, FIGURES, Field, Unreadable, read, sensible
from .venue import Venue

if TYPE_CHECKING:
    from .hyperliquid import Exchange

NOT_JSON = "Failed to parse the request body as JSON"
NOT_A_REQUEST = "Failed to deserialize the JSON body into the target type"
RECENT = 10  # trades
MOST_CANDLES = 5_000

TIME = Field(lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0)
TIME_OR_NOW = Field(lambda value: value is None or TIME.valid(value), None)
CANDLES = {
    "coin": COIN, "interval": Field(lambda value: value in INTERVALS), "startTime": TIME, "endTime": TIME_OR_NOW,
}  # fmt: skip


class Broken(Exception):
    """A request that the server fails on: HTTP 500 with the body ``null``."""


class Info(NamedTuple):
    """One type of request. ``items`` is how many items of the answer add 1 to the weight; 0: none do."""

    answer: Callable[["Exchange", dict[str, Any], int], Any]
    fields: Mapping[str, Field]
    weight: int = 20
    items: int = 0


def info_routes(exchange: "Exchange", venue: Venue) -> list[BaseRoute]:
    async def serve(request: Request) -> Response:
        visitor = exchange.visitor(request.client.host if request.client else "")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return Response("Expected request with `Content-Type: application/json`", 415, media_type="text/plain")
        try:
            body = orjson.loads(await request.body())
        except ValueError:
            return Response(NOT_JSON, 400, media_type="text/plain")
        kind = body.get("type") if isinstance(body, dict) else None
        info = INFOS.get(kind) if isinstance(kind, str) else None
        venue.counters.requests[f"/info {kind}" if info else "/info"] += 1
        if not visitor.weight.spend(info.weight if info else 20):
            venue.counters.refused["request"] += 1
            return Response("null", 429, media_type="application/json")
        try:
            answer = ask(exchange, body)
        except Unreadable:
            return Response(NOT_A_REQUEST, 422, media_type="text/plain")
        except Broken:
            return Response("null", 500, media_type="application/json")
        if info is not None and info.items and isinstance(answer, list):
            visitor.weight.add(len(answer) // info.items)
        venue.counters.weight = visitor.weight.used
        return Response(orjson.dumps(answer), media_type="application/json")

    return [Route("/info", serve, methods=["POST"])]


def ask(exchange: "Exchange", body: Any) -> Any:
    """The answer to a request's body, over REST or within a websocket's ``post``.

    Raises:
        Unreadable: no such type, or a field is missing or of another type.
        Broken: the server fails on it.
    """
    if not isinstance(body, dict) or not isinstance(body.get("type"), str) or body["type"] not in INFOS:
        raise Unreadable
    info = INFOS[body["type"]]
    return info.answer(exchange, read(body, info.fields), exchange.clock.now())


def _book(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    if wanted["coin"] not in exchange.listings:
        return None
    if not sensible(wanted["nSigFigs"], wanted["mantissa"]):
        raise Broken
    one = exchange.instrument(wanted["coin"])
    if one is not None and wanted["nSigFigs"] is None:
        one.note("rest", now_ms)
    return book(
        one, wanted["coin"], now_ms, depth=DEPTH, figures=wanted["nSigFigs"], mantissa=wanted["mantissa"]
    )  # fmt: skip


def _recent_trades(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    one = _known(exchange, wanted["coin"])
    # Newest first, unlike the stream: the order is not documented, so nobody may rely on one.
    return [one.trade(trade) for trade in reversed(one.market.trades.newest(RECENT))] if one else []


def _candles(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    wanted = read(wanted["req"], CANDLES)
    one = _known(exchange, wanted["coin"])
    if one is None or wanted["startTime"] > now_ms:
        return []
    interval = wanted["interval"]
    since = max(wanted["startTime"], now_ms - (MOST_CANDLES - 1) * INTERVALS[interval])
    rows = one.market.candle_rows(
        INTERVALS[interval], since_ms=since, until_ms=wanted["endTime"], limit=MOST_CANDLES
    )  # fmt: skip
    return [one.candle(interval, row) for row in rows if row.count]


def _mids(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    return exchange.mids(_dex(wanted))


def _meta(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    return exchange.metas[_dex(wanted)]


def _meta_and_contexts(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    dex = _dex(wanted)
    return [exchange.metas[dex], exchange.contexts(dex, now_ms)]


def _spot_meta(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    return exchange.spot_meta


def _spot_meta_and_contexts(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    return [exchange.spot_meta, exchange.spot_contexts(now_ms)]


def _funding_history(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    listing = exchange.listings.get(wanted["coin"])
    if listing is None or not listing.max_leverage:
        raise Broken
    end = min(now_ms, wanted["endTime"] if wanted["endTime"] is not None else now_ms)
    return contexts.funding_history(listing.coin, wanted["startTime"], end)


def _predicted_fundings(exchange: "Exchange", wanted: dict[str, Any], now_ms: int) -> Any:
    main = [each for each in exchange.listings.values() if each.max_leverage and not each.dex and each.spec]
    return [contexts.predicted_funding(each.coin, now_ms) for each in main]


def _known(exchange: "Exchange", coin: str) -> Instrument | None:
    """None: delisted."""
    if coin not in exchange.listings:
        raise Broken
    return exchange.instrument(coin)


def _dex(wanted: dict[str, Any]) -> str:
    dex = str(wanted["dex"] or "")
    if dex not in DEXES:
        raise Broken
    return dex


INFOS: Mapping[str, Info] = {
    "l2Book": Info(_book, {"coin": COIN, **FIGURES}, weight=2),
    "recentTrades": Info(_recent_trades, {"coin": COIN}, items=20),
    "candleSnapshot": Info(_candles, {"req": Field(lambda value: isinstance(value, dict))}, items=60),
    "allMids": Info(_mids, {"dex": DEX}, weight=2),
    "meta": Info(_meta, {"dex": DEX}),
    "metaAndAssetCtxs": Info(_meta_and_contexts, {"dex": DEX}),
    "spotMeta": Info(_spot_meta, {}),
    "spotMetaAndAssetCtxs": Info(_spot_meta_and_contexts, {}),
    "perpDexs": Info(lambda _exchange, _wanted, _now: perp_dexs(), {}),
    "allPerpMetas": Info(lambda exchange, _wanted, _now: [exchange.metas[dex] for dex in DEXES], {}),
    "fundingHistory": Info(_funding_history, {"coin": COIN, "startTime": TIME, "endTime": TIME_OR_NOW}, items=20),
    "predictedFundings": Info(_predicted_fundings, {}),
    # The venue's own clock: it trails the wall clock a little.
    "exchangeStatus": Info(lambda _exchange, _wanted, now: {"specialStatuses": None, "time": now - 180}, {}, weight=2),
}
