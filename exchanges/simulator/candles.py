"""Candles of one instrument: the exact fold of its trades, and behind them a seeded past that no trade remembers.

Prices are counted in ticks, amounts in steps, costs in ticks times steps. Pure: no clock.
"""

from calendar import timegm
from collections.abc import Iterable, Iterator
from dataclasses import replace
from time import gmtime
from typing import NamedTuple

from .history import DAY, HOUR, MINUTE, Candle, Past

SECOND = 1_000
WEEK = 7 * DAY
MONTH = 30 * DAY  # stands for "a calendar month" wherever a timeframe is asked for; no venue has 30-day candles
MONDAY = 4 * DAY  # the epoch began on a Thursday
KEPT_DAYS = 8  # of minutes; older ones are folded into hours


class Trade(NamedTuple):
    """One public print. ``id`` counts from 1; price in ticks, amount in steps; the aggressor's side, buy or sell."""

    id: int
    price: int
    amount: int
    taker_side: str
    time_ms: int


def open_time(time_ms: int, timeframe: int) -> int:
    """When the candle that contains ``time_ms`` opened. Weeks open on Monday, months on the first, both 00:00 UTC."""
    if timeframe == MONTH:
        moment = gmtime(time_ms // 1000)
        return timegm((moment.tm_year, moment.tm_mon, 1, 0, 0, 0)) * 1000
    anchor = MONDAY if timeframe == WEEK else 0
    return (time_ms - anchor) // timeframe * timeframe + anchor


def close_time(open_ms: int, timeframe: int) -> int:
    """When the next candle opens."""
    if timeframe == MONTH:
        return open_time(open_ms + 31 * DAY, MONTH)
    return open_ms + timeframe


def open_times(timeframe: int, *, oldest: int, newest: int, since_ms: int | None, limit: int) -> list[int]:
    """When the candles of [oldest, newest] opened, ascending: the first ``limit`` from ``since_ms``, else the last."""
    newest = open_time(newest, timeframe)
    back = limit * (31 * DAY if timeframe == MONTH else timeframe)  # some too many; the slice below mends it
    start = max(newest - back if since_ms is None else since_ms, oldest)
    at = open_time(start, timeframe)
    if at < start:
        at = close_time(at, timeframe)
    opens: list[int] = []
    while at <= newest and not (since_ms is not None and len(opens) == limit):
        opens.append(at)
        at = close_time(at, timeframe)
    return opens[-limit:]


def first_trade(open_ms: int, trade: Trade) -> Candle:
    return Candle(
        open_ms=open_ms, open=trade.price, high=trade.price, low=trade.price, close=trade.price, first_id=trade.id
    )


def add_trade(candle: Candle, trade: Trade) -> None:
    """Fold one trade into a candle; ``candle`` must have been opened by ``first_trade`` or hold trades already."""
    price, cost = trade.price, trade.price * trade.amount
    if candle.count == 0:  # a flat candle gets its first trade: only now does it have an open of its own
        candle.open = candle.high = candle.low = price
        candle.first_id = trade.id
    candle.high = max(candle.high, price)
    candle.low = min(candle.low, price)
    candle.close = price
    candle.volume += trade.amount
    candle.cost += cost
    candle.count += 1
    candle.last_id = trade.id
    if trade.taker_side == "buy":
        candle.buy_volume += trade.amount
        candle.buy_cost += cost


def merge(open_ms: int, pieces: Iterable[Candle]) -> Candle | None:
    """One candle out of smaller ones, oldest first; pieces without trades do not count. None: no trades at all."""
    whole: Candle | None = None
    for piece in pieces:
        if piece.count == 0:
            continue
        if whole is None:
            whole = replace(piece, open_ms=open_ms)
            continue
        whole.high = max(whole.high, piece.high)
        whole.low = min(whole.low, piece.low)
        whole.close = piece.close
        whole.volume += piece.volume
        whole.cost += piece.cost
        whole.count += piece.count
        whole.buy_volume += piece.buy_volume
        whole.buy_cost += piece.buy_cost
        whole.last_id = piece.last_id
    return whole


class Candles:
    """Every timeframe of one instrument from a minute up; seconds are made from trades, see market.py.

    Minutes are kept (days of them), older times as hours, much older as days; anything else is merged from those when
    asked. The running candle of a timeframe that somebody follows is kept up to date trade by trade.
    """

    def __init__(self, start_ms: int, past: Past) -> None:
        assert start_ms % MINUTE == 0, "trades begin with a minute, so that no candle is half past and half trades"
        self._past = past
        self._minutes: dict[int, Candle] = {}
        self._minute = Candle(open_ms=start_ms, open=past.price, high=past.price, low=past.price, close=past.price)
        self._running: dict[int, Candle] = {}
        self._loaded = False

    def add(self, trade: Trade) -> None:
        """Fold in the next trade."""
        minute = trade.time_ms // MINUTE * MINUTE
        if minute != self._minute.open_ms:
            self._minute = first_trade(minute, trade)
            if len(self._minutes) > (KEPT_DAYS + 1) * DAY // MINUTE:
                self._load()
        self._minutes[minute] = self._minute
        add_trade(self._minute, trade)
        for timeframe, held in self._running.items():
            over = trade.time_ms >= close_time(held.open_ms, timeframe)
            candle = first_trade(open_time(trade.time_ms, timeframe), trade) if over else held
            self._running[timeframe] = candle
            add_trade(candle, trade)

    def running(self, timeframe: int, now_ms: int) -> Candle:
        """The candle of ``now_ms``, flat at the last price while it has no trade. Do not keep or change it."""
        opened = open_time(now_ms, timeframe)
        candle = self._running.get(timeframe)
        if candle is None or candle.open_ms != opened:
            candle = self.at(timeframe, opened)
            self._running[timeframe] = candle
        return candle

    def at(self, timeframe: int, open_ms: int) -> Candle:
        """The candle that opened at ``open_ms``, flat at the last price before it if it has no trade."""
        merged = merge(open_ms, self._pieces(open_ms, close_time(open_ms, timeframe)))
        if merged is not None:
            return merged
        price = self._price_before(open_ms)
        return Candle(open_ms=open_ms, open=price, high=price, low=price, close=price)

    def window(self, since_ms: int, until_ms: int) -> Candle | None:
        """All trades of whole minutes in [since, until) as one candle; None if there were none."""
        return merge(since_ms, self._pieces(since_ms // MINUTE * MINUTE, until_ms))

    def oldest(self, timeframe: int) -> int:
        """Open time of the oldest whole candle there is."""
        past = self._past
        start = past.minutes_from if timeframe < HOUR else past.hours_from if timeframe < DAY else past.days_from
        opened = open_time(start, timeframe)
        return opened if opened >= start else close_time(opened, timeframe)

    def _pieces(self, since_ms: int, until_ms: int) -> Iterator[Candle]:
        past = self._load()
        at = since_ms
        while at < until_ms:
            if at < past.hours_from:
                piece, at = past.days.get(at), at + DAY
            elif at < past.minutes_from:
                piece, at = past.hours.get(at), at + HOUR
            else:
                if at > self._minute.open_ms:
                    return
                piece, at = self._minutes.get(at), at + MINUTE
            if piece is not None:
                yield piece

    def _price_before(self, time_ms: int) -> int:
        # Quiet symbols have many minutes without a trade, but hardly ever an hour.
        at = min(time_ms, self._minute.open_ms + MINUTE)
        while at > self._past.minutes_from:
            at -= MINUTE
            piece = self._minutes.get(at)
            if piece is not None and piece.count:
                return piece.close
        return self._past.price

    def _load(self) -> Past:
        """Join the past to the present on first use: most simulated symbols are never asked for their candles."""
        past = self._past
        if not self._loaded:
            self._loaded = True
            self._minutes = past.load() | self._minutes
        if self._minute.open_ms - past.minutes_from > KEPT_DAYS * DAY:
            self._fold_oldest_day()
        return past

    def _fold_oldest_day(self) -> None:
        past, minutes = self._past, self._minutes
        for hour in range(past.minutes_from, past.minutes_from + DAY, HOUR):
            folded = merge(hour, [minutes.pop(at) for at in range(hour, hour + HOUR, MINUTE) if at in minutes])
            if folded is not None:
                past.hours[hour] = folded
        past.minutes_from += DAY
