"""Binance's REST endpoints. Weights are the venue's, a minute: 2,400 on futures, 6,000 on spot.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
"""

import time
from dataclasses import dataclass
from typing import Any

from exchanges.binance import parse
from exchanges.errors import GatewayError, UpstreamError, ValidationFailed, VenueBusy, VenueUnavailable
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher, read_answer, within

MAX_TRADES = 1000
MAX_PAGES = 10  # of missed trades: minutes of the busiest market for a twelfth of a minute's weight
DEPTHS = (5, 10, 20, 50, 100, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Futures or spot: same endpoints, another base URL."""

    base_url: str
    max_candles: int


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
    fetcher: Fetcher, product: Product, venue_symbol: str, *, since: int | None, until: int | None, limit: int
) -> list[Trade]:
    """``aggTrades``, oldest first; weight 20 on futures, 4 on spot."""
    query: dict[str, str | int] = {"symbol": venue_symbol, "limit": min(limit, MAX_TRADES)}
    query |= _window(since, until)
    rows = await fetcher.get(f"{product.base_url}/aggTrades", query)
    return _agg_trades(rows)


async def agg_trades_after(fetcher: Fetcher, product: Product, venue_symbol: str, *, after: str) -> list[Trade]:
    """The aggregate trades that follow the one with id ``after``, oldest first; ids are consecutive."""
    missed: list[Trade] = []
    first = int(after) + 1
    for _ in range(MAX_PAGES):
        query: dict[str, str | int] = {"symbol": venue_symbol, "fromId": first + len(missed), "limit": MAX_TRADES}
        page = _agg_trades(await fetcher.get(f"{product.base_url}/aggTrades", query))
        missed += page
        if len(page) < MAX_TRADES:
            break
    return missed


def _agg_trades(rows: Any) -> list[Trade]:
    return read_answer("binance", lambda: [event for row in rows for event in parse.parse_agg_trade(row)])  # type: ignore[misc]


async def recent_trades(
    fetcher: Fetcher, product: Product, venue_symbol: str, *, since: int | None, until: int | None, limit: int
) -> list[Trade]:
    """``trades``, oldest first; weight 5 on futures, 25 on spot. The venue has the newest 1,000 and no times."""
    bounded = since is not None or until is not None
    size = MAX_TRADES if bounded else min(limit, MAX_TRADES)
    rows = await fetcher.get(f"{product.base_url}/trades", {"symbol": venue_symbol, "limit": size})
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
) -> list[Candle]:
    """``klines``, ascending, the forming one last; weight 1 to 10 by ``limit``, 2 on spot."""
    query: dict[str, str | int] = {"symbol": venue_symbol, "interval": timeframe}
    query["limit"] = min(limit, product.max_candles)
    query |= _window(since, until)
    rows = await fetcher.get(f"{product.base_url}/klines", query)
    now_ms = time.time_ns() // 1_000_000
    return read_answer("binance", lambda: [parse.candle(row, now_ms=now_ms) for row in rows])


async def book(fetcher: Fetcher, product: Product, venue_symbol: str, *, levels: int) -> BookSnapshot:
    """``depth``; weight 2 to 20 by size on futures, 5 to 50 on spot."""
    limit = next((depth for depth in DEPTHS if depth >= levels), DEPTHS[-1])
    answer = await fetcher.get(f"{product.base_url}/depth", {"symbol": venue_symbol, "limit": limit})
    return read_answer("binance", lambda: parse.book(answer))


def _window(since: int | None, until: int | None) -> dict[str, str | int]:
    return {name: ms for name, ms in (("startTime", since), ("endTime", until)) if ms is not None}
