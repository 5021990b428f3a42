"""Binance's statements of a state: 24-hour tickers, mark price, funding, open interest. Pure functions of the market.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
"""

from typing import Any

from .binance_instrument import USD_MARGINED, Instrument
from .candles import open_time
from .history import DAY, HOUR, MINUTE, Candle

FUNDING_MS = 8 * HOUR


def day(one: Instrument, now_ms: int) -> Candle:
    """The last 24 hours, to the minute, as one candle; flat if nothing was traded."""
    since = now_ms // MINUTE * MINUTE - DAY + MINUTE
    price = one.market.last_price
    flat = Candle(open_ms=since, open=price, high=price, low=price, close=price)
    return one.market.candles.window(since, now_ms + 1) or flat


def day_row(one: Instrument, now_ms: int) -> dict[str, Any]:
    """`ticker/24hr` over REST."""
    whole = day(one, now_ms)
    newest = one.market.trades.newest(1)
    row = {"symbol": one.symbol, **_moves(one, whole)}
    row |= {"lastPrice": one.price(whole.close), "lastQty": one.amount(newest[0].amount if newest else 0)}
    row |= {"openPrice": one.price(whole.open), "highPrice": one.price(whole.high), "lowPrice": one.price(whole.low)}
    row |= {"volume": one.amount(whole.volume), "quoteVolume": one.cost(whole.cost), "openTime": whole.open_ms}
    row |= {"closeTime": now_ms, **_ids(one, whole), "count": whole.count}
    if not one.futures:
        touch = one.market.touch
        row |= {"prevClosePrice": one.price(whole.open), "bidPrice": one.price(touch.bid)}
        row |= {"bidQty": one.amount(touch.bid_amount), "askPrice": one.price(touch.ask)}
        row |= {"askQty": one.amount(touch.ask_amount)}
    return row


def ticker_event(one: Instrument, now_ms: int) -> dict[str, Any]:
    """`@ticker`; futures have no bid and ask in it, spot has."""
    row = day_row(one, now_ms)
    event = {"e": "24hrTicker", "E": now_ms, "s": one.symbol}
    event |= {"p": row["priceChange"], "P": row["priceChangePercent"], "w": row["weightedAvgPrice"]}
    event |= {"c": row["lastPrice"], "Q": row["lastQty"], "o": row["openPrice"], "h": row["highPrice"]}
    event |= {"l": row["lowPrice"], "v": row["volume"], "q": row["quoteVolume"], "O": row["openTime"], "C": now_ms}
    event |= {"F": row["firstId"], "L": row["lastId"], "n": row["count"]}
    if one.futures:
        return event | {"ps": one.listing.pair, "st": USD_MARGINED}
    event |= {"x": row["prevClosePrice"], "b": row["bidPrice"], "B": row["bidQty"]}
    return event | {"a": row["askPrice"], "A": row["askQty"]}


def mini_ticker_event(one: Instrument, now_ms: int) -> dict[str, Any]:
    row = day_row(one, now_ms)
    event = {"e": "24hrMiniTicker", "E": now_ms, "s": one.symbol, "c": row["lastPrice"], "o": row["openPrice"]}
    event |= {"h": row["highPrice"], "l": row["lowPrice"], "v": row["volume"], "q": row["quoteVolume"]}
    return event | ({"ps": one.listing.pair, "st": USD_MARGINED} if one.futures else {})


def mark_price_event(one: Instrument, now_ms: int) -> dict[str, Any]:
    """`@markPrice`; a dated future has no funding."""
    row = premium_index(one, now_ms)
    event = {"e": "markPriceUpdate", "E": now_ms, "s": one.symbol, "p": row["markPrice"], "ap": row["markPrice"]}
    event |= {"i": row["indexPrice"], "P": row["estimatedSettlePrice"], "r": row["lastFundingRate"]}
    return event | {"T": row["nextFundingTime"], "st": USD_MARGINED}


def premium_index(one: Instrument, now_ms: int) -> dict[str, Any]:
    """`premiumIndex` over REST. The mark is the middle of the book, the index the mark less a steady premium."""
    touch = one.market.touch
    mark = (touch.bid + touch.ask) // 2
    index = mark + mark * 5 // 10_000
    perpetual = one.listing.contract_type == "PERPETUAL"
    next_funding = open_time(now_ms, FUNDING_MS) + FUNDING_MS
    return {
        "symbol": one.symbol,
        "markPrice": one.price(mark),
        "indexPrice": one.price(index),
        "estimatedSettlePrice": one.price((mark + index) // 2),
        "lastFundingRate": funding_rate(one.symbol, next_funding) if perpetual else "",
        "interestRate": "0.00010000" if perpetual else "",
        "nextFundingTime": next_funding if perpetual else 0,
        "time": now_ms,
    }


def funding_rate(symbol: str, funding_ms: int) -> str:
    """The rate of one period, steady for it, between -0.01 % and +0.03 %."""
    mixed = (sum(map(ord, symbol)) * 7919 + funding_ms // FUNDING_MS * 104_729) % 40_001
    return f"{(mixed - 10_000) / 1e8:.8f}"


def _moves(one: Instrument, whole: Candle) -> dict[str, Any]:
    average = whole.cost // whole.volume if whole.volume else whole.close
    return {
        "priceChange": one.price(whole.close - whole.open),
        "priceChangePercent": f"{(whole.close - whole.open) / whole.open * 100:.3f}",
        "weightedAvgPrice": one.price(average),
    }


def _ids(one: Instrument, whole: Candle) -> dict[str, int]:
    if not whole.count:
        return {"firstId": -1, "lastId": -1}
    return {"firstId": one.trade_id(whole.first_id), "lastId": one.trade_id(whole.last_id)}
