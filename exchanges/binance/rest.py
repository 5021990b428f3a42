"""Binance's REST endpoints. Weights are the venue's: futures and spot are counted apart, for an address, by the minute.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exchanges.binance import parse
from exchanges.budget import HEALING, Patience
from exchanges.errors import GatewayError, UpstreamError, ValidationFailed, VenueBusy, VenueUnavailable
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher, read_answer, within
from exchanges.venue import Rate

MAX_TRADES = 1000
MAX_PAGES = 10  # of missed trades: minutes of the busiest market for a twelfth of a minute's weight
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


BANS = {429: 60.0, 418: 120.0}  # seconds where it names none: the counted minute; the shortest ban


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Futures or spot: same endpoints, another base URL and other weights."""

    base_url: str
    max_candles: int
    rate: Rate
    listing_weight: int
    agg_trades_weight: int
    trades_weight: int
    candles_weights: Sequence[tuple[int, int]]  # (rows up to, weight), ascending
    book_weights: Sequence[tuple[int, int]]


def futures(base_url: str) -> Product:
    return Product(
        base_url=base_url,
        max_candles=1500,
        rate=Rate(2400, 60.0),
        listing_weight=1,
        agg_trades_weight=20,
        trades_weight=5,
        candles_weights=((100, 1), (500, 2), (1000, 5), (1500, 10)),
        book_weights=((50, 2), (100, 5), (500, 10), (1000, 20)),
    )


def spot(base_url: str) -> Product:
    return Product(
        base_url=base_url,
        max_candles=1000,
        rate=Rate(6000, 60.0),
        listing_weight=20,
        agg_trades_weight=4,
        trades_weight=25,
        candles_weights=((1000, 2),),
        book_weights=((100, 5), (500, 25), (1000, 50)),
    )


def refusal(status: int, answer: Any) -> GatewayError | None:
    """Binance's ``{"code": -1121, "msg": …}``; a firewall answers 403 in HTML."""
    if status < 400:
        return None
    code = answer.get("code") if isinstance(answer, dict) else None
    if code == -4166:
        return ValidationFailed("binance gives aggregate trades of the last 2 days only", field="since")
    if code == -1003:
        return VenueBusy("binance asks us to slow down")
    if status >= 500:
        return VenueUnavailable(f"binance answered with HTTP status {status}")
    return UpstreamError(f"binance refused the request (HTTP status {status}, code {code})")


async def agg_trades(
    fetcher: Fetcher,
    product: Product,
    venue_symbol: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Trade]:
    """``aggTrades``, oldest first."""
    query: dict[str, str | int] = {"symbol": venue_symbol, "limit": min(limit, MAX_TRADES)}
    query |= _window(since, until)
    url, weight = f"{product.base_url}/aggTrades", product.agg_trades_weight
    return _agg_trades(await fetcher.get(url, query, weight=weight, patience=patience))


async def agg_trades_after(fetcher: Fetcher, product: Product, venue_symbol: str, *, after: str) -> list[Trade]:
    """The aggregate trades that follow the one with id ``after``, oldest first; ids are consecutive."""
    missed: list[Trade] = []
    first = int(after) + 1
    url, weight = f"{product.base_url}/aggTrades", product.agg_trades_weight
    for _ in range(MAX_PAGES):
        query: dict[str, str | int] = {"symbol": venue_symbol, "fromId": first + len(missed), "limit": MAX_TRADES}
        page = _agg_trades(await fetcher.get(url, query, weight=weight, patience=HEALING))
        missed += page
        if len(page) < MAX_TRADES:
            break
    return missed


def _agg_trades(rows: Any) -> list[Trade]:
    return read_answer("binance", lambda: [event for row in rows for event in parse.parse_agg_trade(row)])  # type: ignore[misc]


async def recent_trades(
    fetcher: Fetcher,
    product: Product,
    venue_symbol: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Trade]:
    """``trades``, oldest first. The venue has the newest 1,000 and no times."""
    bounded = since is not None or until is not None
    size = MAX_TRADES if bounded else min(limit, MAX_TRADES)
    query: dict[str, str | int] = {"symbol": venue_symbol, "limit": size}
    url, weight = f"{product.base_url}/trades", product.trades_weight
    rows = await fetcher.get(url, query, weight=weight, patience=patience)
    trades = read_answer("binance", lambda: [parse.recent_trade(row) for row in rows])
    return within(trades, since=since, until=until, limit=limit)


async def candles(
    fetcher: Fetcher,
    product: Product,
    venue_symbol: str,
    timeframe: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Candle]:
    """``klines``, ascending, the forming one last."""
    size = min(limit, product.max_candles)
    query: dict[str, str | int] = {"symbol": venue_symbol, "interval": timeframe, "limit": size}
    query |= _window(since, until)
    url, weight = f"{product.base_url}/klines", _weight(product.candles_weights, size)
    rows = await fetcher.get(url, query, weight=weight, patience=patience)
    now_ms = time.time_ns() // 1_000_000
    return read_answer("binance", lambda: [parse.candle(row, now_ms=now_ms) for row in rows])


async def book(
    fetcher: Fetcher, product: Product, venue_symbol: str, *, levels: int, patience: Patience
) -> BookSnapshot:
    """``depth``."""
    limit = next((depth for depth in DEPTHS if depth >= levels), DEPTHS[-1])
    url, weight = f"{product.base_url}/depth", _weight(product.book_weights, limit)
    answer = await fetcher.get(url, {"symbol": venue_symbol, "limit": limit}, weight=weight, patience=patience)
    return read_answer("binance", lambda: parse.book(answer))


def _weight(weights: Sequence[tuple[int, int]], rows: int) -> int:
    return next(weight for most, weight in weights if rows <= most)


def _window(since: int | None, until: int | None) -> dict[str, str | int]:
    return {name: ms for name, ms in (("startTime", since), ("endTime", until)) if ms is not None}
