"""Hyperliquid's ``POST /info``: a book costs little, everything else more, and rows cost extra.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint
"""

import time
from math import ceil
from typing import Any

from exchanges.budget import Patience
from exchanges.errors import GatewayError, UpstreamError, VenueUnavailable
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher, read_answer, within
from exchanges.hyperliquid import parse
from exchanges.venue import TIMEFRAMES_MS, Rate

RATE = Rate(1200, 60.0)  # weight, for an address
BOOK_WEIGHT, USUAL_WEIGHT = 2, 20
TRADES_WEIGHT = USUAL_WEIGHT + 1  # every 20 rows cost one more, and there are about ten
CANDLES_A_WEIGHT = 60  # rows that cost one more
MAX_CANDLES = 5000
MONTH_MS = 31 * 86_400_000


def refusal(status: int, answer: Any) -> GatewayError | None:
    """There are no error objects: 4xx come as text, and an unknown coin or dex as ``null`` with 500 or with 200."""
    if status in (200, 500) and answer is None:
        return UpstreamError("hyperliquid does not know what it was asked for")
    if status >= 500:
        return VenueUnavailable(f"hyperliquid answered with HTTP status {status}")
    return UpstreamError(f"hyperliquid refused the request (HTTP status {status})") if status >= 400 else None


async def trades(
    fetcher: Fetcher,
    url: str,
    coin: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Trade]:
    """``recentTrades``, oldest first: the venue gives about ten, by what is known of it newest first."""
    rows = await fetcher.post(url, {"type": "recentTrades", "coin": coin}, weight=TRADES_WEIGHT, patience=patience)
    recent = read_answer("hyperliquid", lambda: [parse.trade(row) for row in rows])
    if recent and recent[0].timestamp_ms >= recent[-1].timestamp_ms:
        recent.reverse()
    # Never by id, a hash: it would scramble the fills of one order, which share a time.
    recent.sort(key=lambda trade: trade.timestamp_ms)
    return within(recent, since=since, until=until, limit=limit)


async def candles(
    fetcher: Fetcher,
    url: str,
    coin: str,
    timeframe: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Candle]:
    """``candleSnapshot``, ascending, the forming one last; the venue keeps the newest 5,000."""
    interval_ms = MONTH_MS if timeframe == "1M" else TIMEFRAMES_MS[timeframe]
    now_ms = time.time_ns() // 1_000_000
    size = min(limit, MAX_CANDLES)
    start = since if since is not None else (until if until is not None else now_ms) - size * interval_ms
    ends = [end for end in (until, None if since is None else since + size * interval_ms) if end is not None]
    request = {"coin": coin, "interval": timeframe, "startTime": max(0, start)}
    if ends:
        request["endTime"] = min(ends)
    weight = USUAL_WEIGHT + ceil(size / CANDLES_A_WEIGHT)
    rows = await fetcher.post(url, {"type": "candleSnapshot", "req": request}, weight=weight, patience=patience)
    ascending = read_answer("hyperliquid", lambda: [parse.candle(row) for row in rows])
    return ascending[:size] if since is not None else ascending[-size:]


async def book(fetcher: Fetcher, url: str, coin: str, *, patience: Patience) -> BookSnapshot:
    """``l2Book``: 20 levels a side."""
    answer = await fetcher.post(url, {"type": "l2Book", "coin": coin}, weight=BOOK_WEIGHT, patience=patience)
    return read_answer("hyperliquid", lambda: parse.book(answer))
