"""Binance's market streams: one class a stream, each telling the market's truth at Binance's intervals.

Those of the order book are in ``binance_book.py``; which names there are, on which route, is at the end.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
and https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

from collections.abc import Callable
from typing import Any

import orjson

from . import binance_tickers as tickers
from .binance_book import BestPrices, Depth, PartialDepth
from .binance_instrument import AGGREGATE_BASE, INSURANCE_EVERY, NA_EVERY, USD_MARGINED, Instrument
from .candles import MONTH, SECOND, WEEK, Trade, close_time, open_time
from .history import DAY, HOUR, MINUTE, Candle
from .streams import Stream, next_boundary

FORCED_EVERY = 331  # one trade in so many is a liquidation
CLOSING_DELAY_MS = 190  # how long after its end a candle's closing event comes
TIMEFRAMES = {
    "1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "30m": 30 * MINUTE,
    "1h": HOUR, "2h": 2 * HOUR, "4h": 4 * HOUR, "6h": 6 * HOUR, "8h": 8 * HOUR, "12h": 12 * HOUR,
    "1d": DAY, "3d": 3 * DAY, "1w": WEEK, "1M": MONTH,
}  # fmt: skip
SPOT_TIMEFRAMES = {"1s": SECOND, **TIMEFRAMES}


class Tape:
    """`@trade`: every fill as it happens, and on futures the prints that are not book trades, in the same numbering."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._sent = instrument.market.trades.last
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self._instrument.market.advance(now_ms)
        fresh = self._instrument.market.trades.since(self._sent)
        self._sent = self._instrument.market.trades.last
        return [orjson.dumps(row) for trade in fresh for row in self._rows(trade, now_ms)]

    def _rows(self, trade: Trade, now_ms: int) -> list[dict[str, Any]]:
        one = self._instrument
        row: dict[str, Any] = {
            "e": "trade",
            "E": now_ms,
            "T": trade.time_ms,
            "s": one.symbol,
            "t": one.trade_id(trade.id),
        }
        row |= {"p": one.price(trade.price), "q": one.amount(trade.amount), "m": trade.taker_side == "sell"}
        if not one.futures:
            return [row | {"M": True}]
        row |= {"X": "MARKET", "st": USD_MARGINED}
        rows = [row]
        if trade.id % NA_EVERY == 0:
            rows.append(row | {"t": rows[-1]["t"] + 1, "p": "0", "q": "0", "X": "NA"})
        if trade.id % INSURANCE_EVERY == 0:
            rows.append(row | {"t": rows[-1]["t"] + 1, "X": "INSURANCE_FUND"})
        return rows


class AggregatedTape:
    """`@aggTrade`: an aggregate is sent once its window is over."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._sent = instrument.closed_aggregates().last
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        one = self._instrument
        one.market.advance(now_ms)
        closed = one.closed_aggregates()
        fresh, self._sent = closed.since(self._sent), closed.last
        self.due_ms = next_boundary(now_ms, 100) if one.futures else now_ms
        payloads = []
        for each in fresh:
            row = {"e": "aggTrade", "E": now_ms, "a": AGGREGATE_BASE + each.id, "s": one.symbol}
            row |= {"p": one.price(each.price), "q": one.amount(each.amount)}
            if one.futures:
                row["nq"] = one.amount(each.plain_amount)
            row |= {"f": one.trade_id(each.first), "l": one.trade_id(each.last), "T": each.time_ms}
            row |= {"m": each.taker_side == "sell", **({"st": USD_MARGINED} if one.futures else {"M": True})}
            payloads.append(orjson.dumps(row))
        return payloads


class Liquidations:
    """`@forceOrder`: forced orders, at most one a second; a sample, so silence means nothing."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._sent = instrument.market.trades.last
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        one = self._instrument
        one.market.advance(now_ms)
        fresh, self._sent = one.market.trades.since(self._sent), one.market.trades.last
        forced = [trade for trade in fresh if trade.id % FORCED_EVERY == 0]
        if not forced:
            return []
        self.due_ms = now_ms + 1000
        trade = forced[-1]
        side, price, amount = trade.taker_side.upper(), one.price(trade.price), one.amount(trade.amount)
        order: dict[str, Any] = {
            "s": one.symbol,
            "S": side,
            "o": "LIMIT",
            "f": "IOC",
            "q": amount,
            "p": price,
            "ap": price,
        }
        order |= {"X": "FILLED", "l": amount, "z": amount, "T": trade.time_ms}
        return [orjson.dumps({"e": "forceOrder", "E": now_ms, "o": order})]


class Klines:
    """`@kline_<interval>`: the running candle while it changes, and once more with ``x: true`` when it is over."""

    def __init__(self, instrument: Instrument, interval: str, *, every_ms: int) -> None:
        self._instrument = instrument
        self._interval = interval
        self._timeframe = SPOT_TIMEFRAMES[interval]
        self._every_ms = every_ms
        now_ms = instrument.market.time_ms
        self._open_ms = open_time(now_ms, self._timeframe)
        self._seen = -1  # last trade id told
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        market = self._instrument.market
        market.advance(now_ms)
        payloads = []
        end = close_time(self._open_ms, self._timeframe)
        while now_ms >= end + (0 if flush else CLOSING_DELAY_MS):
            payloads.append(self._event(market.candle(self._timeframe, self._open_ms), now_ms, closed=True))
            self._open_ms, end = end, close_time(end, self._timeframe)
        self.due_ms = next_boundary(now_ms, self._every_ms)
        if end <= self.due_ms:
            self.due_ms = min(end + CLOSING_DELAY_MS, next_boundary(end, self._every_ms))
        if now_ms < end:
            candle = market.candle(self._timeframe, self._open_ms)
            if candle.count and candle.last_id != self._seen:
                self._seen = candle.last_id
                payloads.append(self._event(candle, now_ms, closed=False))
        return payloads

    def _event(self, candle: Candle, now_ms: int, *, closed: bool) -> bytes:
        one = self._instrument
        traded = candle.count > 0
        row = {"t": candle.open_ms, "T": close_time(candle.open_ms, self._timeframe) - 1, "s": one.symbol}
        row |= {"i": self._interval, "f": one.trade_id(candle.first_id) if traded else -1}
        row |= {"L": one.trade_id(candle.last_id) if traded else -1, "o": one.price(candle.open)}
        row |= {"c": one.price(candle.close), "h": one.price(candle.high), "l": one.price(candle.low)}
        row |= {"v": one.amount(candle.volume), "n": candle.count, "x": closed, "q": one.cost(candle.cost)}
        row |= {"V": one.amount(candle.buy_volume), "Q": one.cost(candle.buy_cost), "B": "0"}
        return orjson.dumps({"e": "kline", "E": now_ms, "s": one.symbol, "k": row})


class Periodic:
    """`@markPrice`, `@ticker`, `@miniTicker`: one whole statement at a fixed interval."""

    def __init__(self, instrument: Instrument, interval_ms: int, state: Callable[[Instrument, int], Any]) -> None:
        self._instrument = instrument
        self._interval_ms = interval_ms
        self._state = state
        self.due_ms = next_boundary(instrument.market.time_ms, interval_ms)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, self._interval_ms)
        self._instrument.market.advance(now_ms)
        return [orjson.dumps(self._state(self._instrument, now_ms))]


Make = Callable[[Instrument, int], Stream]  # from the instrument and the time


def _depth(every: int) -> Make:
    return lambda one, _now: Depth(one, every)


def _top(count: int, every: int) -> Make:
    return lambda one, _now: PartialDepth(one, count, every)


def _kline(interval: str, every: int) -> Make:
    return lambda one, _now: Klines(one, interval, every_ms=every)


def _depths(speeds: dict[str, int]) -> dict[str, Make]:
    """Diff and partial depth at each speed (ms, by the name's ending)."""
    made: dict[str, Make] = {}
    for ending, every in speeds.items():
        made["depth" + ending] = _depth(every)
        made |= {f"depth{count}{ending}": _top(count, every) for count in (5, 10, 20)}
    return made


def _periodic(interval_ms: int, state: Callable[[Instrument, int], Any]) -> Make:
    return lambda one, _now: Periodic(one, interval_ms, state)


# What may follow the first "@" of a stream name, by the route that serves it.
FUTURES_PUBLIC: dict[str, Make] = {
    "trade": Tape,
    "bookTicker": BestPrices,
    **_depths({"": 250, "@100ms": 100, "@500ms": 500}),
}
FUTURES_MARKET: dict[str, Make] = {
    "aggTrade": AggregatedTape,
    "forceOrder": Liquidations,
    "markPrice": _periodic(3000, tickers.mark_price_event),
    "markPrice@1s": _periodic(1000, tickers.mark_price_event),
    "ticker": _periodic(2000, tickers.ticker_event),
    "miniTicker": _periodic(2000, tickers.mini_ticker_event),
    **{f"kline_{interval}": _kline(interval, 250) for interval in TIMEFRAMES},
}
SPOT: dict[str, Make] = {
    "trade": Tape,
    "aggTrade": AggregatedTape,
    "bookTicker": BestPrices,
    "ticker": _periodic(1000, tickers.ticker_event),
    "miniTicker": _periodic(1000, tickers.mini_ticker_event),
    **_depths({"": 1000, "@100ms": 100}),
    **{f"kline_{interval}": _kline(interval, 2000) for interval in TIMEFRAMES},
    "kline_1s": _kline("1s", 1000),
}
