"""Bybit's market endpoints: the table of paths, and the answers.

Source: https://bybit-exchange.github.io/docs/v5/market/time and its neighbours
"""

from collections.abc import Callable
from typing import Any

from .bybit_instrument import Instrument, seq
from .bybit_listings import Listing, instrument_row
from .bybit_rest import Answer, BadRequest, Query
from .bybit_streams import TIMEFRAMES
from .bybit_tickers import rest_ticker
from .candles import open_time

BOOK_DEFAULTS = {"linear": 25, "inverse": 25, "spot": 1}
TRADE_LIMITS = {"linear": (500, 1000), "inverse": (500, 1000), "spot": (60, 60)}  # default and highest


def endpoints(
    listings: list[Listing], everything: Callable[[str], list[Instrument]], listened: Callable[[Instrument, str], bool]
) -> dict[str, Answer]:
    """``everything`` is a category's instruments; ``listened``: whether a topic of one has a subscriber."""
    return {
        "time": lambda _query, now: {"timeSecond": str(now // 1000), "timeNano": f"{now}000000"},
        "instruments-info": lambda query, _now: _instruments(listings, query),
        "orderbook": lambda query, now: _book(query, now, listened),
        "recent-trade": _trades,
        "kline": _klines,
        "tickers": lambda query, now: _tickers(query, now, everything),
    }


def _instruments(listings: list[Listing], query: Query) -> dict[str, Any]:
    """Contracts come in pages, and unless asked for by symbol or status only those that trade. Spot has one page."""
    category, symbol = query.category(), query.get("symbol")
    status = query.get("status") or (None if symbol else "Trading")
    base = query.get("baseCoin")
    rows = [
        instrument_row(one, number)
        for number, one in enumerate(listings, 1)
        if one.category == category
        and symbol in (None, one.symbol)
        and status in (None, one.status)
        and base in (None, one.spec.base)
    ]
    if category == "spot":
        return {"category": category, "list": rows}
    limit, start = query.limit(500, 1000), _page_start(query)
    cursor = f"page_start={start + limit}" if start + limit < len(rows) else ""
    return {"category": category, "list": rows[start : start + limit], "nextPageCursor": cursor}


def _page_start(query: Query) -> int:
    name, _, start = (query.get("cursor") or "page_start=0").partition("=")
    if name != "page_start" or not start.isdecimal():
        raise BadRequest(10001, "params error: cursor is invalid")
    return int(start)


def _book(query: Query, now_ms: int, listened: Callable[[Instrument, str], bool]) -> dict[str, Any]:
    """What the 1000-level topic pushed last: it has the same ``u``."""
    one = query.instrument()
    limit = query.limit(BOOK_DEFAULTS[one.category], 1000)
    topic = one.books[1000]
    if not listened(one, "orderbook.1000"):  # otherwise its next push is for its subscribers
        topic.push(now_ms)
    one.note(1000, now_ms, stream="rest")
    body = topic.body(list(topic.bids.items())[:limit], list(topic.asks.items())[:limit])
    return body | {"ts": now_ms, "cts": topic.changed_ms}


def _trades(query: Query, _now: int) -> dict[str, Any]:
    """Newest first."""
    one = query.instrument()
    rows = []
    for trade in reversed(one.market.trades.newest(query.limit(*TRADE_LIMITS[one.category]))):
        row: dict[str, Any] = {"execId": one.trade_id(trade), "symbol": one.symbol, "price": one.price(trade.price)}
        row |= {"size": one.amount(trade.amount), "side": "Buy" if trade.taker_side == "buy" else "Sell"}
        row |= {"time": str(trade.time_ms), "isBlockTrade": False, "isRPITrade": one.is_rpi(trade)}
        rows.append(row | {"seq": str(seq(trade.time_ms))})
    return {"category": one.category, "list": rows}


def _klines(query: Query, _now: int) -> dict[str, Any]:
    """Newest first; the newest may still be running.

    Of a window with both ends the newest rows are given, of one without an end the first: ``start=9999&limit=1`` is how
    the oldest candle of a symbol is found (github.com/bybit-exchange/pybit/issues/186). It begins with the candle that
    contains ``start``.
    """
    one = query.instrument("linear")
    interval = query.text("interval")
    if interval not in TIMEFRAMES:
        raise BadRequest(10001, "params error: interval is invalid")
    timeframe, limit = TIMEFRAMES[interval], query.limit(200, 1000)
    since, until = query.integer("start"), query.integer("end")
    first = None if since is None else open_time(since, timeframe)
    candles = one.market.candle_rows(timeframe, since_ms=first if until is None else None, until_ms=until, limit=limit)
    rows = []
    for candle in candles:
        if first is not None and candle.open_ms < first:
            continue
        row = [str(candle.open_ms), one.price(candle.open), one.price(candle.high), one.price(candle.low)]
        rows.append([*row, one.price(candle.close), one.amount(candle.volume), one.turnover(candle, timeframe)])
    return {"category": one.category, "symbol": one.symbol, "list": rows[::-1]}


def _tickers(query: Query, now_ms: int, everything: Callable[[str], list[Instrument]]) -> dict[str, Any]:
    category, base = query.category(), query.get("baseCoin")
    wanted = [query.instrument()] if query.get("symbol") else everything(category)
    rows = [rest_ticker(one, now_ms) for one in wanted if base in (None, one.listing.spec.base)]
    return {"category": category, "list": rows}
