"""The past of a simulated instrument: candles from before its first trade, the same for the same seed.

Minutes for the last days, hours before that, days before that: as much as a venue's candle endpoints hand out, bounded.
"""

from dataclasses import dataclass
from random import Random

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MINUTE_DAYS, HOUR_DAYS, DAY_DAYS = 5, 90, 1500


@dataclass(slots=True, kw_only=True)
class Candle:
    """Prices in ticks, volumes in steps (base), costs in ticks times steps (quote); ids of the first and last trade."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    cost: int = 0
    count: int = 0
    buy_volume: int = 0
    buy_cost: int = 0
    first_id: int = -1
    last_id: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How an instrument behaved: its moves (ticks per square root of a second), trades per second, steps per trade."""

    price: int
    volatility: float
    trades_per_second: float
    amount: int


class Past:
    """Candles before ``start_ms``, walked backwards from the price at which the trades begin.

    Trade ids go on downwards from 0, so that first and last ids are dense over the join with the real trades.
    """

    def __init__(self, start_ms: int, pace: Pace, rng: Random) -> None:
        today = start_ms // DAY * DAY
        self.price = pace.price
        self.start_ms = start_ms
        self.minutes_from = today - MINUTE_DAYS * DAY
        self.hours_from = today - HOUR_DAYS * DAY
        self.days_from = today - DAY_DAYS * DAY
        self.hours: dict[int, Candle] = {}
        self.days: dict[int, Candle] = {}
        self._pace = pace
        self._rng = rng

    def load(self) -> dict[int, Candle]:
        """Make it all: hours and days are filled in, the minutes are returned. Call once."""
        price, last_id = self.price, 0
        tiers: list[dict[int, Candle]] = []
        spans = ((self.minutes_from, self.start_ms, MINUTE), (self.hours_from, self.minutes_from, HOUR))
        for since, until, timeframe in (*spans, (self.days_from, self.hours_from, DAY)):
            tier: dict[int, Candle] = {}
            for open_ms in range(until - timeframe, since - 1, -timeframe):
                candle = self._before(open_ms, timeframe, close=price)
                if candle.count:
                    candle.first_id, candle.last_id = last_id - candle.count + 1, last_id
                    last_id -= candle.count
                    tier[open_ms] = candle
                price = candle.open
            tiers.append(tier)
        minutes, self.hours, self.days = tiers
        return minutes

    def _before(self, open_ms: int, timeframe: int, *, close: int) -> Candle:
        """One candle that ended at ``close``."""
        pace, rng = self._pace, self._rng
        expected = pace.trades_per_second * timeframe / 1000
        fewest = 0 if timeframe == MINUTE else 1  # an hour without a trade has no place in hourly candles
        count = max(fewest, round(rng.gauss(expected, expected**0.5 + expected / 5)))
        if count == 0:
            return Candle(open_ms=open_ms, open=close, high=close, low=close, close=close)
        # Days would stray too far with a minute's volatility: the exponent is smaller than a random walk's.
        move = pace.volatility * (timeframe / 1000) ** 0.45 + 0.5
        pull = (pace.price - close) * min(0.05, timeframe / DAY / 40)
        opened = max(10, close + round(rng.gauss(pull, move)))
        high = max(opened, close) + round(abs(rng.gauss(0, move / 2)))
        low = max(1, min(opened, close) - round(abs(rng.gauss(0, move / 2))))
        volume = max(count, round(count * pace.amount * rng.lognormvariate(0, 0.3)))
        bought = round(volume * rng.uniform(0.3, 0.7))
        typical = (high + low + opened + close) // 4
        return Candle(
            open_ms=open_ms, open=opened, high=high, low=low, close=close, count=count,
            volume=volume, cost=volume * typical, buy_volume=bought, buy_cost=bought * typical,
        )  # fmt: skip
