"""Binance's public REST endpoints, futures and spot: the table of paths and weights, and the answers.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
and https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from . import binance_tickers as tickers
from .binance_instrument import AGGREGATE_BASE, RPI_EVERY, Aggregate, Instrument, Listing, levels
from .binance_listings import futures_info, spot_info
from .binance_rest import Answer, BadRequest, Endpoint, Query, by_symbol, fixed, steps
from .binance_streams import SPOT_TIMEFRAMES, TIMEFRAMES
from .candles import Trade, close_time
from .history import DAY
from .rewind import book_at

FUTURES_DEPTH_LIMITS = (5, 10, 20, 50, 100, 500, 1000)
Staleness = Callable[[str], float]  # of a symbol's next snapshot: how many seconds it is old


def futures_endpoints(
    listings: list[Listing], everything: Callable[[], list[Instrument]], now_ms: int, staleness: Staleness
) -> dict[str, Endpoint]:
    kline_weight = steps((100, 1), (500, 2), (1000, 5), (1500, 10), default=5)
    one_or_all = _one_or_all(everything)
    return {
        "/v1/ping": Endpoint(fixed(1), lambda _query, _now: {}),
        "/v1/time": Endpoint(fixed(1), lambda _query, now: {"serverTime": now}),
        "/v1/exchangeInfo": Endpoint(fixed(1), lambda _query, _now: futures_info(listings, now_ms)),
        "/v1/depth": Endpoint(
            steps((50, 2), (100, 5), (500, 10), (1000, 20), default=1), partial(_futures_depth, staleness)
        ),
        "/v1/trades": Endpoint(fixed(5), _trades),
        "/v1/aggTrades": Endpoint(
            fixed(20), lambda query, now: aggregate_rows(query, now, limit=query.limit(500, 1000))
        ),
        "/v1/klines": Endpoint(
            kline_weight,
            lambda query, _now: kline_rows(query.instrument(), query, TIMEFRAMES, query.limit(500, 1500)),
        ),
        "/v1/premiumIndex": Endpoint(by_symbol(1, 10), one_or_all(tickers.premium_index)),
        "/v1/fundingRate": Endpoint(fixed(0), funding_rows),
        "/v1/fundingInfo": Endpoint(fixed(0), lambda _query, _now: []),
        "/v1/ticker/24hr": Endpoint(by_symbol(1, 40), one_or_all(tickers.day_row)),
        "/v1/ticker/price": Endpoint(by_symbol(1, 2), one_or_all(_price)),
        "/v2/ticker/price": Endpoint(by_symbol(1, 2), one_or_all(_price)),
        "/v1/ticker/bookTicker": Endpoint(by_symbol(2, 5), one_or_all(_best_prices)),
        "/v1/openInterest": Endpoint(fixed(1), lambda query, now: _open_interest(query.instrument(), now)),
    }


def spot_endpoints(
    listings: list[Listing], everything: Callable[[], list[Instrument]], staleness: Staleness
) -> dict[str, Endpoint]:
    return {
        "/ping": Endpoint(fixed(1), lambda _query, _now: {}),
        "/time": Endpoint(fixed(1), lambda _query, now: {"serverTime": now}),
        "/exchangeInfo": Endpoint(fixed(20), lambda query, now: _spot_info_for(listings, query, now)),
        "/depth": Endpoint(
            steps((100, 5), (500, 25), (1000, 50), (5000, 250), default=5),
            lambda query, now: depth(query.instrument(), query.limit(100, 5000, clamp=True), now, staleness),
        ),
        "/trades": Endpoint(fixed(25), _trades),
        "/aggTrades": Endpoint(
            fixed(4), lambda query, now: aggregate_rows(query, now, limit=query.limit(500, 1000, clamp=True))
        ),
        "/klines": Endpoint(
            fixed(2),
            lambda query, _now: kline_rows(
                query.instrument(), query, SPOT_TIMEFRAMES, query.limit(500, 1000, clamp=True)
            ),
        ),
        "/ticker/24hr": Endpoint(by_symbol(2, 80), _one_or_all(everything)(tickers.day_row)),
        "/ticker/bookTicker": Endpoint(by_symbol(2, 4), _one_or_all(everything)(_best_prices)),
    }


def _one_or_all(everything: Callable[[], list[Instrument]]) -> Callable[[Callable[[Instrument, int], Any]], Answer]:
    """Endpoints that answer one row for a symbol, and a list of all without one."""

    def with_row(row: Callable[[Instrument, int], Any]) -> Answer:
        def answer(query: Query, now: int) -> Any:
            return row(query.instrument(), now) if query.get("symbol") else [row(each, now) for each in everything()]

        return answer

    return with_row


def _spot_info_for(listings: list[Listing], query: Query, now: int) -> dict[str, Any]:
    if query.get("symbol") is None:
        return spot_info(listings, now)
    symbol = query.instrument().symbol
    return spot_info([each for each in listings if each.symbol == symbol], now)


def _trades(query: Query, _now: int) -> Any:
    one = query.instrument()
    return trade_rows(one, one.market.trades.newest(query.limit(500, 1000, clamp=not one.futures)))


def _futures_depth(staleness: Staleness, query: Query, now: int) -> Any:
    one = query.instrument()
    limit = query.integer("limit")
    if limit is not None and limit not in FUTURES_DEPTH_LIMITS:
        raise BadRequest(-4021, f"{limit} is not valid depth limit")
    return depth(one, limit or 500, now, staleness)


def _price(one: Instrument, _now: int) -> dict[str, Any]:
    newest = one.market.trades.newest(1)
    price = one.price(one.market.last_price)
    return {"symbol": one.symbol, "price": price, "time": newest[0].time_ms if newest else one.market.time_ms}


def _best_prices(one: Instrument, _now: int) -> dict[str, Any]:
    bid, ask = levels(one, one.market.bids.top(1))[0], levels(one, one.market.asks.top(1))[0]
    row = {"symbol": one.symbol, "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}
    if not one.futures:
        return row
    return row | {"time": one.market.touch.time_ms, "lastUpdateId": one.last_update_id}


def _open_interest(one: Instrument, now: int) -> dict[str, Any]:
    """Grows by a fifth of what was traded: anything that moves and stays positive would do."""
    traded = sum(trade.amount for trade in one.market.trades.newest(1000))
    return {"openInterest": one.amount(10_000_000 + traded // 5), "symbol": one.symbol, "time": now}


def depth(one: Instrument, count: int, now_ms: int, staleness: Staleness) -> dict[str, Any]:
    """The present book, or a true old one: the venue's snapshots are known to come from a cache at times."""
    if age := staleness(one.symbol):
        now_ms -= int(age * 1000)
        bids, asks, change = book_at(one.market, now_ms)
    else:
        market = one.market
        bids, asks, change = market.bids.top(count), market.asks.top(count), market.last_change
    one.stated.note("rest", one.update_id(change), change.time_ms if one.futures else now_ms, bids, asks)
    body: dict[str, Any] = {"lastUpdateId": one.update_id(change)}
    if one.futures:
        body |= {"E": now_ms, "T": change.time_ms}
    return body | {"bids": levels(one, bids[:count]), "asks": levels(one, asks[:count])}


def trade_rows(one: Instrument, trades: list[Trade]) -> list[dict[str, Any]]:
    rows = []
    for trade in trades:
        row = {"id": one.trade_id(trade.id), "price": one.price(trade.price), "qty": one.amount(trade.amount)}
        row |= {"quoteQty": one.cost(trade.price * trade.amount), "time": trade.time_ms}
        row |= {"isBuyerMaker": trade.taker_side == "sell"}
        row |= {"isRPITrade": trade.id % RPI_EVERY == 0} if one.futures else {"isBestMatch": True}
        rows.append(row)
    return rows


def aggregate_rows(query: Query, now_ms: int, *, limit: int) -> list[dict[str, Any]]:
    """`aggTrades`: from an id, or within times, or the newest; ascending."""
    one = query.instrument()
    start, end, from_id = query.integer("startTime"), query.integer("endTime"), query.integer("fromId")
    if from_id is not None and (start is not None or end is not None):
        raise BadRequest(-1128, "Combination of optional parameters invalid.")
    if one.futures and start is not None and start < now_ms - 2 * DAY:
        raise BadRequest(-4166, "Search window is restricted to recent 2 days only.")
    closed = one.closed_aggregates()
    if from_id is not None:
        found = closed.since(from_id - AGGREGATE_BASE - 1)[:limit]
    elif start is not None or end is not None:
        found = closed.between(start or 0, now_ms if end is None else end, key=lambda each: each.time_ms)
        found = found[-limit:] if start is None else found[:limit]
    else:
        found = closed.newest(limit)
    return [_aggregate_row(one, each) for each in found]


def _aggregate_row(one: Instrument, each: Aggregate) -> dict[str, Any]:
    row = {"a": AGGREGATE_BASE + each.id, "p": one.price(each.price), "q": one.amount(each.amount)}
    if one.futures:
        row["nq"] = one.amount(each.plain_amount)
    row |= {"f": one.trade_id(each.first), "l": one.trade_id(each.last), "T": each.time_ms}
    return row | {"m": each.taker_side == "sell", **({} if one.futures else {"M": True})}


def kline_rows(one: Instrument, query: Query, timeframes: Mapping[str, int], limit: int) -> list[list[Any]]:
    interval = query.text("interval")
    if interval not in timeframes:
        raise BadRequest(-1120, "Invalid interval.")
    timeframe = timeframes[interval]
    since, until = query.integer("startTime"), query.integer("endTime")
    rows = []
    for candle in one.market.candle_rows(timeframe, since_ms=since, until_ms=until, limit=limit):
        row = [candle.open_ms, one.price(candle.open), one.price(candle.high), one.price(candle.low)]
        row += [one.price(candle.close), one.amount(candle.volume), close_time(candle.open_ms, timeframe) - 1]
        row += [one.cost(candle.cost), candle.count, one.amount(candle.buy_volume), one.cost(candle.buy_cost), "0"]
        rows.append(row)
    return rows


def funding_rows(query: Query, now_ms: int) -> list[dict[str, Any]]:
    """`fundingRate`: past periods, ascending."""
    one = query.instrument()
    limit = query.limit(100, 1000)
    end = min(query.integer("endTime") or now_ms, now_ms)
    newest = end // tickers.FUNDING_MS * tickers.FUNDING_MS
    since = query.integer("startTime")
    start = (
        newest - (limit - 1) * tickers.FUNDING_MS
        if since is None
        else -(-since // tickers.FUNDING_MS) * tickers.FUNDING_MS
    )
    times = range(max(start, now_ms - 90 * DAY), newest + 1, tickers.FUNDING_MS)[:limit]
    rate = tickers.funding_rate
    price = one.price(one.market.last_price)
    return [
        {"symbol": one.symbol, "fundingRate": rate(one.symbol, at), "fundingTime": at, "markPrice": price}
        for at in times
    ]
