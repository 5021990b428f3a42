"""Bybit's statements of a state: the ticker of a contract and of a spot symbol. Pure functions of the market.

Source: https://bybit-exchange.github.io/docs/v5/websocket/public/ticker
"""

from datetime import UTC, datetime
from typing import Any

from .bybit_instrument import Instrument
from .candles import open_time
from .history import DAY, HOUR, MINUTE, Candle

FUNDING_MS = 8 * HOUR
STEADY_MS = 5_000  # how long the figures of a whole day stand; folding a day of minutes anew is dear


def ticker(one: Instrument, now_ms: int) -> dict[str, Any]:
    """All keys of a contract's ticker: the websocket's, and REST's."""
    touch, whole = one.market.touch, _day(one, now_ms)
    middle = (touch.bid + touch.ask) // 2
    interest = 50_000_000 + whole.volume // 5  # anything that moves and stays positive would do
    row = {"symbol": one.symbol, "tickDirection": "PlusTick" if one.market.last_price >= middle else "MinusTick"}
    row |= _moves(one, whole)
    row |= {"markPrice": one.price(middle), "indexPrice": one.price(middle + middle // 20_000)}
    row |= {"openInterest": one.amount(2 * interest), "openInterestValue": one.value(2 * interest, middle)}
    row |= {"singleOpenInterest": one.amount(interest), "singleOpenInterestValue": one.value(interest, middle)}
    row |= {"bid1Price": one.price(touch.bid), "bid1Size": one.amount(touch.bid_amount)}
    row |= {"ask1Price": one.price(touch.ask), "ask1Size": one.amount(touch.ask_amount)}
    row |= {"preOpenPrice": "", "preQty": "", "curPreListingPhase": ""}
    if one.listing.dated:
        delivery = datetime.fromtimestamp(one.listing.delivery_ms / 1000, UTC)
        row |= {"deliveryTime": f"{delivery:%Y-%m-%dT%H:%M:%SZ}", "basisRate": "0.01", "basisRateYear": "0.08"}
        return row | {"deliveryFeeRate": "0.0005", "predictedDeliveryPrice": ""}
    row |= {"nextFundingTime": str(open_time(now_ms, FUNDING_MS) + FUNDING_MS), "fundingRate": "0.0001"}
    return row | {"fundingIntervalHour": "8", "fundingCap": "0.005"}


def spot_ticker(one: Instrument, now_ms: int) -> dict[str, Any]:
    """The websocket's; ``usdIndexPrice`` is empty where there is no index."""
    moves = _moves(one, _day(one, now_ms))
    del moves["prevPrice1h"]
    return {"symbol": one.symbol, **moves, "usdIndexPrice": moves["lastPrice"] if one.symbol == "BTCUSDT" else ""}


def rest_ticker(one: Instrument, now_ms: int) -> dict[str, Any]:
    """A row of REST ``tickers``; here spot has its best prices."""
    if one.futures:
        return ticker(one, now_ms)
    touch = one.market.touch
    row = spot_ticker(one, now_ms)
    row |= {"bid1Price": one.price(touch.bid), "bid1Size": one.amount(touch.bid_amount)}
    return row | {"ask1Price": one.price(touch.ask), "ask1Size": one.amount(touch.ask_amount)}


def _moves(one: Instrument, whole: Candle) -> dict[str, Any]:
    last = one.market.last_price
    hour_ago = one.market.candle(MINUTE, open_time(one.market.time_ms - HOUR, MINUTE)).open
    return {
        "price24hPcnt": f"{(last - whole.open) / whole.open:.4f}",
        "lastPrice": one.price(last),
        "prevPrice24h": one.price(whole.open),
        "highPrice24h": one.price(max(whole.high, last)),
        "lowPrice24h": one.price(min(whole.low, last)),
        "prevPrice1h": one.price(hour_ago),
        "turnover24h": one.turnover(whole, DAY),
        "volume24h": one.amount(whole.volume),
    }


def _day(one: Instrument, now_ms: int) -> Candle:
    """The last 24 hours as one candle, at most some seconds old; flat if nothing was traded."""
    if now_ms - one.day[0] >= STEADY_MS:
        since = now_ms // MINUTE * MINUTE - DAY + MINUTE
        price = one.market.last_price
        flat = Candle(open_ms=since, open=price, high=price, low=price, close=price)
        one.day = now_ms, one.market.candles.window(since, now_ms + 1) or flat
    return one.day[1]
