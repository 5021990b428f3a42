"""Bybit's REST endpoints: 600 requests in 5 s for an address, then HTTP 403 for ten minutes.

Source: https://bybit-exchange.github.io/docs/v5/market/kline and its neighbours
"""

from functools import partial
from typing import Any

from exchanges.budget import HEALING, Patience
from exchanges.bybit import parse
from exchanges.bybit.streams import INTERVALS
from exchanges.errors import GatewayError, UpstreamError, VenueBusy, VenueUnavailable
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher, read_answer, within
from exchanges.instrument import Instrument
from exchanges.venue import TIMEFRAMES_MS, Rate

PAGE = 1000  # instruments; by default the venue gives 500 and says nothing of the rest
MAX_PAGES = 10
MAX_CANDLES = 1000
MAX_TRADES = {"spot": 60, "linear": 1000, "inverse": 1000}
RATE = Rate(600, 5.0)  # requests
BANS = {403: 600.0, 429: 60.0, 418: 60.0}  # seconds where it names none; 403 is "access too frequent"
MONTH_MS = 31 * 86_400_000


def refusal(status: int, answer: Any) -> GatewayError | None:
    """Errors come as HTTP 200 with a ``retCode``; HTTP 403, the address's limit or its country, is the breaker's."""
    if status >= 500 or not isinstance(answer, dict):
        return None  # its servers' failure, or a page: the fetcher tells
    code = answer.get("retCode")
    if code == 0:
        return None
    if code == 10006:
        return VenueBusy("bybit asks us to slow down", retry_after=1.0)
    if code == 10016:
        return VenueUnavailable("bybit is restarting")
    return UpstreamError(f"bybit refused the request (code {code})")


async def instruments(fetcher: Fetcher, base_url: str, *, category: str) -> list[dict[str, Any]]:
    """All rows of ``instruments-info``, page by page; spot has one page."""
    rows: list[dict[str, Any]] = []
    query: dict[str, str | int] = {"category": category, "limit": PAGE}
    for _ in range(MAX_PAGES):
        answer = await fetcher.get(f"{base_url}/instruments-info", query, patience=HEALING)
        page, query["cursor"] = read_answer("bybit", partial(_page, answer))
        rows += page
        if not query["cursor"]:
            break
    return rows


def _page(answer: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    return list(answer["result"]["list"]), answer["result"].get("nextPageCursor", "")


async def trades(
    fetcher: Fetcher,
    base_url: str,
    instrument: Instrument,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Trade]:
    """``recent-trade``, oldest first: the venue has the newest 1,000 (60 on spot) and takes no times."""
    most = MAX_TRADES[instrument.market]
    bounded = since is not None or until is not None
    size = most if bounded else min(limit, most)
    query = {**_market(instrument), "limit": size}
    answer = await fetcher.get(f"{base_url}/recent-trade", query, patience=patience)
    counting = parse.counting(instrument.market)
    newest_first = read_answer("bybit", lambda: [parse.rest_trade(row, counting) for row in answer["result"]["list"]])
    return within(newest_first[::-1], since=since, until=until, limit=limit)


async def candles(
    fetcher: Fetcher,
    base_url: str,
    instrument: Instrument,
    timeframe: str,
    *,
    since: int | None,
    until: int | None,
    limit: int,
    patience: Patience,
) -> list[Candle]:
    """``kline``, ascending, the forming one last.

    The venue gives the newest rows of a window, so the first rows from ``since`` need a window that ends with them; and
    it begins with the candle that contains the window's start, which opened before ``since``.
    """
    limit = min(limit, MAX_CANDLES)
    interval_ms = MONTH_MS if timeframe == "1M" else TIMEFRAMES_MS[timeframe]
    query: dict[str, str | int] = {**_market(instrument), "interval": INTERVALS[timeframe]}
    query["limit"] = min(limit + 2, MAX_CANDLES)
    end = until
    if since is not None:
        last_ms = since + limit * interval_ms - 1
        query["start"], end = since, last_ms if until is None else min(until, last_ms)
    if end is not None:
        query["end"] = end
    answer = await fetcher.get(f"{base_url}/kline", query, patience=patience)

    counting = parse.counting(instrument.market)

    def rows() -> list[Candle]:
        time_ms, newest_first = answer["time"], answer["result"]["list"]
        running = {0} if newest_first and int(newest_first[0][0]) + interval_ms > time_ms else set()
        return [parse.rest_candle(row, counting, closed=n not in running) for n, row in enumerate(newest_first)][::-1]

    ascending = read_answer("bybit", rows)
    if since is None:
        return ascending[-limit:]
    return [candle for candle in ascending if candle.open_time_ms >= since][:limit]


async def book(
    fetcher: Fetcher, base_url: str, instrument: Instrument, *, levels: int, patience: Patience
) -> BookSnapshot:
    """``orderbook``, up to 1,000 levels."""
    query = {**_market(instrument), "limit": levels}
    answer = await fetcher.get(f"{base_url}/orderbook", query, patience=patience)
    return read_answer("bybit", lambda: parse.rest_book(answer["result"]))


def _market(instrument: Instrument) -> dict[str, str | int]:
    return {"category": instrument.market, "symbol": instrument.venue_symbol}
