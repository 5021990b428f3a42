"""Bybit's public topics: one class a topic, each turning the market's truth into frames at Bybit's intervals.

Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook and its neighbours
"""

from collections.abc import Callable
from functools import partial
from typing import Any
from zlib import crc32

import orjson

from .bybit_book import BEST_GRID_MS
from .bybit_instrument import Instrument, seq
from .bybit_tickers import spot_ticker, ticker
from .candles import MONTH, WEEK, Trade, close_time, open_time
from .history import DAY, HOUR, MINUTE, Candle
from .streams import Stream, next_boundary

TRADES_PER_FRAME = 1024
FORCED_EVERY = 331  # one trade in so many is a liquidation
KLINE_EVERY_MS, KLINE_AT_LEAST_MS = 1_000, 60_000
CONFIRM_DELAY_MS = 150  # after the candle's end
BOOK_INTERVALS = {50: 20, 200: 100, 1000: 200}
TIMEFRAMES = {
    "1": MINUTE, "3": 3 * MINUTE, "5": 5 * MINUTE, "15": 15 * MINUTE, "30": 30 * MINUTE,
    "60": HOUR, "120": 2 * HOUR, "240": 4 * HOUR, "360": 6 * HOUR, "720": 12 * HOUR,
    "D": DAY, "W": WEEK, "M": MONTH,
}  # fmt: skip


class BookStream:
    """``orderbook.50|200|1000``."""

    def __init__(self, one: Instrument, depth: int, now_ms: int) -> None:
        self._one = one
        self._topic = one.books[depth]
        self._interval_ms = BOOK_INTERVALS[depth]
        self.due_ms = next_boundary(now_ms, self._interval_ms)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, self._interval_ms)
        frame = self._topic.push(now_ms)
        if frame is None:
            return []
        self._one.note(self._topic.depth, now_ms)
        return [frame]

    def greet(self, now_ms: int) -> list[bytes]:
        self._one.note(self._topic.depth, now_ms)
        return [self._topic.snapshot(now_ms)]


class BestStream:
    """``orderbook.1``."""

    def __init__(self, one: Instrument, now_ms: int) -> None:
        self._one = one
        self._topic = one.best
        self._topic.resume()
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, BEST_GRID_MS)
        return self._topic.push(now_ms)

    def greet(self, now_ms: int) -> list[bytes]:
        return [self._topic.snapshot(now_ms)]


class Tape:
    """``publicTrade``: every fill as it happens, ascending. Always called a snapshot, never a replay."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._sent = instrument.market.trades.last
        newest = instrument.market.trades.newest(1)
        self._price = newest[0].price if newest else 0
        self._direction = "ZeroPlusTick"
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        one = self._instrument
        one.market.advance(now_ms)
        fresh, self._sent = one.market.trades.since(self._sent), one.market.trades.last
        head = {"topic": f"publicTrade.{one.symbol}", "type": "snapshot", "ts": now_ms}
        return [
            orjson.dumps(head | {"data": [self._row(trade) for trade in fresh[start : start + TRADES_PER_FRAME]]})
            for start in range(0, len(fresh), TRADES_PER_FRAME)
        ]

    def _row(self, trade: Trade) -> dict[str, Any]:
        one = self._instrument
        row: dict[str, Any] = {"T": trade.time_ms, "s": one.symbol, "S": "Buy" if trade.taker_side == "buy" else "Sell"}
        row |= {"v": one.amount(trade.amount), "p": one.price(trade.price)}
        if one.futures:
            row["L"] = self._tick_direction(trade.price)
        row |= {"i": one.trade_id(trade), "BT": False}
        if one.futures:
            row["RPI"] = one.is_rpi(trade)
        return row | {"seq": seq(trade.time_ms)}

    def _tick_direction(self, price: int) -> str:
        if price == self._price:
            if not self._direction.startswith("Zero"):
                self._direction = "Zero" + self._direction
        else:
            self._direction = "PlusTick" if price > self._price else "MinusTick"
        self._price = price
        return self._direction


class Klines:
    """``kline``: the running candle each second if it changed, at least each minute, and at last with ``confirm``."""

    def __init__(self, instrument: Instrument, interval: str, now_ms: int) -> None:
        self._instrument = instrument
        self._interval = interval
        self._timeframe = TIMEFRAMES[interval]
        self._unconfirmed = open_time(now_ms, self._timeframe)  # open time of the oldest candle not confirmed yet
        self._seen = (0, -1)  # open time and last trade of the running candle as told last
        self._told_ms = 0
        # Where in a second a topic is pushed is its own; some so begin the next candle before they confirm the last.
        self._phase_ms = crc32(f"{instrument.symbol} {interval}".encode()) % KLINE_EVERY_MS
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        market, timeframe = self._instrument.market, self._timeframe
        market.advance(now_ms)
        payloads = []
        while now_ms >= (end := close_time(self._unconfirmed, timeframe)) + (0 if flush else CONFIRM_DELAY_MS):
            payloads.append(self._frame(market.candle(timeframe, self._unconfirmed), now_ms, confirm=True))
            self._unconfirmed = end
        running = market.candle(timeframe, open_time(now_ms, timeframe))
        state = (running.open_ms, running.last_id)
        if state != self._seen or now_ms - self._told_ms >= KLINE_AT_LEAST_MS:
            self._seen, self._told_ms = state, now_ms
            payloads.append(self._frame(running, now_ms, confirm=False))
        confirm_ms = close_time(self._unconfirmed, timeframe) + CONFIRM_DELAY_MS
        self.due_ms = min(next_boundary(now_ms - self._phase_ms, KLINE_EVERY_MS) + self._phase_ms, confirm_ms)
        return payloads

    def greet(self, now_ms: int) -> list[bytes]:
        running = self._instrument.market.candle(self._timeframe, open_time(now_ms, self._timeframe))
        return [self._frame(running, now_ms, confirm=False)]

    def _frame(self, candle: Candle, now_ms: int, *, confirm: bool) -> bytes:
        one = self._instrument
        end = close_time(candle.open_ms, self._timeframe) - 1
        row = {"start": candle.open_ms, "end": end, "interval": self._interval, "open": one.price(candle.open)}
        row |= {"close": one.price(candle.close), "high": one.price(candle.high), "low": one.price(candle.low)}
        row |= {"volume": one.amount(candle.volume), "turnover": one.turnover(candle, self._timeframe)}
        row |= {"confirm": confirm, "timestamp": self._last_match(candle)}
        topic = f"kline.{self._interval}.{one.symbol}"
        return orjson.dumps({"topic": topic, "type": "snapshot", "ts": now_ms, "data": [row]})

    def _last_match(self, candle: Candle) -> int:
        matched = self._instrument.market.trades.since(candle.last_id - 1)[:1] if candle.count else []
        return matched[0].time_ms if matched and matched[0].id == candle.last_id else candle.open_ms


class Tickers:
    """``tickers`` of futures: a snapshot, then at most ten deltas a second; a missing key is an unchanged one."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._told: dict[str, Any] = {}
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, 100)
        self._instrument.market.advance(now_ms)
        state = ticker(self._instrument, now_ms)
        changed = {name: value for name, value in state.items() if self._told.get(name) != value}
        self._told = state
        if not changed:
            return []
        return [self._frame("delta", {"symbol": self._instrument.symbol, **changed}, now_ms)]

    def greet(self, now_ms: int) -> list[bytes]:
        return [self._frame("snapshot", self._told, now_ms)]

    def _frame(self, kind: str, data: dict[str, Any], now_ms: int) -> bytes:
        one = self._instrument
        head = {"topic": f"tickers.{one.symbol}", "type": kind, "data": data}
        return orjson.dumps(head | {"cs": seq(one.market.last_change.time_ms), "ts": now_ms})


class SpotTickers:
    """``tickers`` of spot: always whole, when something changed, and without bid and ask."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._told: dict[str, Any] = {}
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, 50)
        self._instrument.market.advance(now_ms)
        state = spot_ticker(self._instrument, now_ms)
        if state == self._told:
            return []
        self._told = state
        return self.greet(now_ms)

    def greet(self, now_ms: int) -> list[bytes]:
        one = self._instrument
        head = {"topic": f"tickers.{one.symbol}", "ts": now_ms, "type": "snapshot"}
        return [orjson.dumps(head | {"cs": seq(one.market.last_change.time_ms), "data": self._told})]


class Liquidations:
    """``allLiquidation``: each 500 ms, all of them. ``S`` is the side of the position: a forced sale ends a long."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._sent = instrument.market.trades.last
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, 500)
        one = self._instrument
        one.market.advance(now_ms)
        fresh, self._sent = one.market.trades.since(self._sent), one.market.trades.last
        forced = [
            {
                "T": trade.time_ms,
                "s": one.symbol,
                "S": "Buy" if trade.taker_side == "sell" else "Sell",
                "v": one.amount(trade.amount),
                "p": one.price(trade.price),
            }
            for trade in fresh
            if trade.id % FORCED_EVERY == 0
        ]
        if not forced:
            return []
        head = {"topic": f"allLiquidation.{one.symbol}", "type": "snapshot", "ts": now_ms}
        return [orjson.dumps(head | {"data": forced})]


Make = Callable[[Instrument, int], Stream]  # from the instrument and the time


def _book(depth: int, one: Instrument, now: int) -> Stream:
    return BookStream(one, depth, now)


def _kline(interval: str, one: Instrument, now: int) -> Stream:
    return Klines(one, interval, now)


# What may stand before the symbol, which is after the last point.
TOPICS: dict[str, Make] = {
    "orderbook.1": BestStream,
    **{f"orderbook.{depth}": partial(_book, depth) for depth in BOOK_INTERVALS},
    "publicTrade": Tape,
    **{f"kline.{interval}": partial(_kline, interval) for interval in TIMEFRAMES},
    "tickers": lambda one, now: Tickers(one, now) if one.futures else SpotTickers(one, now),
}
FUTURES_TOPICS: dict[str, Make] = {"allLiquidation": Liquidations}
