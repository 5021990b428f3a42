"""The ground truth of one simulated instrument: its book, trades and candles. Venue-neutral; pure: no clock, no I/O.

Same seed and same times give the same market, however often and in what portions time is advanced: what happens is laid
out on the market's own time line (whole milliseconds), and ``advance`` only lets it happen.

Two kinds of things happen. *Requotes*: makers add, change and cancel levels around a fair price that wanders. *Takes*:
a taker buys or sells into the book, level by level, and every fill is a trade at the price of the level it hit. So
trades and book agree by construction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from .candles import SECOND, Candles, Trade, add_trade, first_trade, open_time, open_times
from .grid import Grid
from .history import HOUR, MINUTE, Candle, Pace, Past
from .journal import Journal
from .levels import Levels

TRADES_KEPT = 20_000
CHANGES_KEPT = 4_096
SPREAD_OF_AMOUNTS = 1.1  # sigma of the lognormal
STRAY = 0.01  # how far the fair price wanders from the start, one standard deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What an instrument is and how lively. Texts are the venue's decimals; ``settle`` is empty on spot."""

    base: str
    quote: str
    settle: str = ""
    price: str  # where the trades begin
    tick: str
    step: str
    amount: str  # a typical level; trades are smaller
    trades_per_second: float
    changes_per_second: float  # of book levels, not counting those that trades make
    levels: int = 1200  # per side
    volatility: float = 8.0  # ticks per square root of a second
    warm_ms: int = 120_000  # of real trades and book before the market opens
    price_decimals: int | None = None  # as written; None: as many as the tick has
    amount_decimals: int | None = None


class Change(NamedTuple):
    """A level's new total amount (0: gone) and its old one. ``sequence`` is dense; ``nth`` is within a millisecond."""

    sequence: int
    time_ms: int
    nth: int
    side: str  # "bids" or "asks"
    price: int
    amount: int
    before: int = 0


class Touch(NamedTuple):
    """Best prices and amounts after the change ``sequence``."""

    sequence: int
    time_ms: int
    nth: int
    bid: int
    bid_amount: int
    ask: int
    ask_amount: int


class Activity(NamedTuple):
    trades: list[Trade]
    changes: list[Change]


class Market:
    """One instrument. Call ``advance`` before reading; the first time up to ``opened_ms`` or later.

    ``heard`` are told of every trade as it happens, so that what they make of trades does not depend on who asks when.
    """

    def __init__(self, spec: Spec, *, seed: str, opened_ms: int) -> None:
        self.spec = spec
        self.prices = Grid(spec.tick, spec.price_decimals)
        self.amounts = Grid(spec.step, spec.amount_decimals)
        start_ms = (opened_ms - spec.warm_ms) // MINUTE * MINUTE
        self._rng = Random(f"{seed} life")
        self._start = self.prices.count(spec.price)
        self._fair = float(self._start)
        self._pull = 0.5 * (spec.volatility / (STRAY * self._start)) ** 2  # per second, of an Ornstein-Uhlenbeck walk
        self._typical = max(1, self.amounts.count(spec.amount))
        self._draws = [
            max(1, round(self._typical * self._rng.lognormvariate(0, SPREAD_OF_AMOUNTS))) for _ in range(997)
        ]
        self.bids = Levels(highest_is_best=True)
        self.asks = Levels(highest_is_best=False)
        self.heard: list[Callable[[Trade], None]] = []
        self.trades: Journal[Trade] = Journal(TRADES_KEPT)
        self.changes: Journal[Change] = Journal(CHANGES_KEPT)
        self.touches: Journal[Touch] = Journal(CHANGES_KEPT)
        self.time_ms = start_ms
        self._busy = False
        self._fair_ms = self._last_ms = start_ms
        self._nth = -1
        self._next_quote = start_ms + 1
        self._next_take = start_ms + 3
        self._fill_book()
        pace = Pace(
            price=self._start,
            volatility=spec.volatility,
            trades_per_second=spec.trades_per_second,
            amount=max(1, self._typical // 4),
        )
        self.candles = Candles(start_ms, Past(start_ms, pace, Random(f"{seed} past")))

    @property
    def last_price(self) -> int:
        newest = self.trades.newest(1)
        return newest[0].price if newest else self._start

    @property
    def last_change(self) -> Change:
        """The change that the book is at; its sequence, time and place identify this state of the book."""
        return self.changes.newest(1)[0]

    @property
    def touch(self) -> Touch:
        return self.touches.newest(1)[0]

    def advance(self, now_ms: int) -> Activity:
        """Let everything happen up to and including ``now_ms``; what did since the last call."""
        trades, changes = self.trades.last, self.changes.last
        while True:
            if self._next_quote <= self._next_take:
                if self._next_quote > now_ms:
                    break
                at = self._next_quote
                self._next_quote = at + self._wait(self.spec.changes_per_second / 2.2)
                self._requote(at)
            else:
                if self._next_take > now_ms:
                    break
                at = self._next_take
                self._take(at)
                self._next_take = at + self._wait(self.spec.trades_per_second / 2.8 * (2.2 if self._busy else 0.6))
            self._note_touch(at)
        self.time_ms = max(self.time_ms, now_ms)
        return Activity(self.trades.since(trades), self.changes.since(changes))

    def candle(self, timeframe: int, open_ms: int) -> Candle:
        """The candle that opened at ``open_ms``, flat at the price before it if nothing was traded. Do not keep it."""
        if timeframe < MINUTE:
            return self.candle_rows(timeframe, since_ms=open_ms, limit=1)[0]
        if open_time(self.time_ms, timeframe) == open_ms:
            return self.candles.running(timeframe, self.time_ms)
        return self.candles.at(timeframe, open_ms)

    def candle_rows(
        self, timeframe: int, *, since_ms: int | None = None, until_ms: int | None = None, limit: int
    ) -> list[Candle]:
        """Candles that opened in [since, until], oldest first: the first ``limit`` from ``since``, else the newest."""
        oldest = (
            self.candles.oldest(timeframe) if timeframe >= MINUTE else self.trades.newest(2 * TRADES_KEPT)[0].time_ms
        )
        newest = self.time_ms if until_ms is None else min(until_ms, self.time_ms)
        opens = open_times(timeframe, oldest=oldest, newest=newest, since_ms=since_ms, limit=limit)
        if timeframe >= MINUTE or not opens:
            return [self.candle(timeframe, at) for at in opens]
        known = self.seconds(opens[0], opens[-1] + SECOND)
        before = self.trades_between(opens[0] - HOUR, opens[0] - 1)
        price = before[-1].price if before else self._start
        rows = []
        for at in opens:
            candle = known.get(at) or Candle(open_ms=at, open=price, high=price, low=price, close=price)
            price = candle.close
            rows.append(candle)
        return rows

    def seconds(self, since_ms: int, until_ms: int) -> dict[int, Candle]:
        """Candles of one second by open time, made from the trades still known; seconds without trades are missing."""
        candles: dict[int, Candle] = {}
        for trade in self.trades_between(since_ms, until_ms - 1):
            second = trade.time_ms // SECOND * SECOND
            candle = candles.get(second)
            if candle is None:
                candle = candles[second] = first_trade(second, trade)
            add_trade(candle, trade)
        return candles

    def trades_between(self, since_ms: int, until_ms: int) -> list[Trade]:
        """Trades still known with since <= time <= until, oldest first."""
        return self.trades.between(since_ms, until_ms, key=lambda trade: trade.time_ms)

    # -- the market's life; the order of the random draws is the market, so think before reordering

    def _wait(self, per_second: float) -> int:
        return 1 + round(self._rng.expovariate(per_second) * 1000)

    def _set(self, side: str, price: int, amount: int, time_ms: int) -> None:
        self._nth = self._nth + 1 if time_ms == self._last_ms else 0
        self._last_ms = time_ms
        levels = self.bids if side == "bids" else self.asks
        before = levels.amounts.get(price, 0)
        levels.set(price, amount)
        self.changes.append(Change(self.changes.last + 1, time_ms, self._nth, side, price, amount, before))

    def _note_touch(self, time_ms: int) -> None:
        bid, ask = self.bids.best, self.asks.best
        bid_amount, ask_amount = self.bids.amounts[bid], self.asks.amounts[ask]
        if self.touches.last and self.touch[3:] == (bid, bid_amount, ask, ask_amount):
            return
        self.touches.append(Touch(self.changes.last, time_ms, self._nth, bid, bid_amount, ask, ask_amount))

    def _amount(self) -> int:
        return self._draws[int(self._rng.random() * len(self._draws))]

    def _fill_book(self) -> None:
        bid, ask = self._start - 1, self._start
        for _ in range(self.spec.levels):
            self._set("bids", bid, self._amount(), self.time_ms)
            self._set("asks", ask, self._amount(), self.time_ms)
            bid -= 1 + int(self._rng.random() * 3)
            ask += 1 + int(self._rng.random() * 3)
            assert bid > 0, "too many levels for this price"

    def _wander(self, time_ms: int) -> None:
        seconds = (time_ms - self._fair_ms) / 1000
        self._fair_ms = time_ms
        self._fair += (self._start - self._fair) * min(1.0, self._pull * seconds)
        self._fair += self._rng.gauss(0.0, self.spec.volatility * min(seconds, 60.0) ** 0.5)

    def _requote(self, time_ms: int) -> None:
        """A few makers act: mostly near the touch, some of them deep in the book."""
        rng = self._rng
        self._wander(time_ms)
        self._flee(time_ms)
        for _ in range(1 + int(rng.random() * 3)):
            side = "bids" if rng.random() < 0.5 else "asks"
            levels = self.bids if side == "bids" else self.asks
            choice = rng.random()
            if choice < 0.27 or len(levels) < self.spec.levels * 0.97:
                self._set(side, self._new_price(side), self._amount(), time_ms)
            elif choice < 0.62:
                self._set(side, self._pick(levels), self._amount(), time_ms)
            elif len(levels) > self.spec.levels * 1.03:
                self._set(side, levels.worst, 0, time_ms)
            elif choice < 0.95:
                self._set(side, self._pick(levels), 0, time_ms)
            else:  # an order that came and went: a reader who saw neither is told to remove what it never had
                price = self._new_price(side)
                if price not in levels.amounts:
                    self._set(side, price, self._amount(), time_ms)
                    self._set(side, price, 0, time_ms)

    def _new_price(self, side: str) -> int:
        """Where the next maker stands: never through the other side, usually at or near the fair price."""
        rng = self._rng
        if rng.random() < 0.8:
            away = 0 if rng.random() < 0.35 else int(rng.expovariate(1 / 9))
        else:
            away = int(rng.random() * 2 * self.spec.levels)
        if side == "bids":
            return max(1, min(int(self._fair), self.asks.best - 1) - away)
        return max(int(self._fair) + 1, self.bids.best + 1) + away

    def _pick(self, levels: Levels) -> int:
        """An existing level that is not the whole side; near the touch more often than not."""
        count = len(levels)
        near = self._rng.random() < 0.7
        chosen = int(self._rng.random() ** 3 * 30) if near else int(self._rng.random() * count)
        return levels.nth(min(chosen, count - 1))

    def _flee(self, time_ms: int) -> None:
        """Makers whose price the fair one has passed cancel, a few at a time."""
        for _ in range(3):
            if self.asks.best < self._fair - 2 and len(self.asks) > self.spec.levels // 2:
                self._set("asks", self.asks.best, 0, time_ms)
            elif self.bids.best > self._fair + 3 and len(self.bids) > self.spec.levels // 2:
                self._set("bids", self.bids.best, 0, time_ms)

    def _take(self, time_ms: int) -> None:
        """One taker order: a few fills at the touched prices, each a trade."""
        rng = self._rng
        if rng.random() < 0.12:
            self._busy = not self._busy
        middle = (self.bids.best + self.asks.best) / 2
        lean = max(-0.35, min(0.35, (self._fair - middle) / (4 * self.spec.volatility + 1)))
        taker_side, hit = ("buy", "asks") if rng.random() < 0.5 + lean else ("sell", "bids")
        levels = self.asks if hit == "asks" else self.bids
        for _ in range(1 + min(11, int(rng.expovariate(1 / 2.3)))):
            if len(levels) < self.spec.levels // 2:
                return
            price = levels.best
            resting = levels.amounts[price]
            amount = min(resting, 1 + self._amount() // 6)
            self._set(hit, price, resting - amount, time_ms)
            trade = Trade(self.trades.last + 1, price, amount, taker_side, time_ms)
            self.trades.append(trade)
            self.candles.add(trade)
            for hear in self.heard:
                hear(trade)
