"""One Hyperliquid coin: a market in Hyperliquid's words. Numbers are strings, ids are hashes, times are ms.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Callable
from hashlib import blake2b
from itertools import islice
from typing import Any

from .candles import MONTH, WEEK, Trade, close_time
from .history import DAY, HOUR, MINUTE, Candle
from .hyperliquid_listings import Listing
from .market import Market, Touch
from .truth import LEVELS, BookJournal

INTERVALS = {
    "1m": MINUTE, "3m": 3 * MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "30m": 30 * MINUTE,
    "1h": HOUR, "2h": 2 * HOUR, "4h": 4 * HOUR, "8h": 8 * HOUR, "12h": 12 * HOUR,
    "1d": DAY, "3d": 3 * DAY, "1w": WEEK, "1M": MONTH,
}  # fmt: skip
DEPTH, FAST_DEPTH = 20, 5  # levels a side
UNHASHED_EVERY = 13  # one print in so many carries a hash of zeros
TRADERS = ["0x" + blake2b(b"trader %d" % number, digest_size=20).hexdigest() for number in range(64)]

Side = list[tuple[int, int]]  # (price in ticks, amount in steps), best first


class Instrument:
    """A listing that trades, its market, how Hyperliquid writes what happens there, and what it stated of the book."""

    def __init__(self, listing: Listing, market: Market, *, skew_ms: Callable[[], int] = lambda: 0) -> None:
        self.listing = listing
        self.coin = listing.coin
        self.market = market
        self.price: Callable[[int], str] = market.prices.text
        self.amount: Callable[[int], str] = market.amounts.text
        self.cost: Callable[[int], str] = market.prices.times(market.amounts).text

        self.stated = BookJournal(market.prices, market.amounts, skew_ms)

    def note(self, stream: str, now_ms: int) -> None:
        """The book as it is now has been stated; the venue knows no numbers of it but the time."""
        if self.stated.recording:
            market = self.market
            self.stated.note(stream, now_ms, now_ms, market.bids.top(LEVELS), market.asks.top(LEVELS))

    def level(self, price: int, amount: int) -> dict[str, Any]:
        return {"px": self.price(price), "sz": self.amount(amount), "n": orders(price, amount)}

    def touch(self, touch: Touch) -> list[dict[str, Any]]:
        """Best bid and best ask."""
        return [self.level(touch.bid, touch.bid_amount), self.level(touch.ask, touch.ask_amount)]

    def trade(self, trade: Trade) -> dict[str, Any]:
        """One print; ``side`` is the aggressor's, ``users`` are the buyer and the seller, ``tid`` has no order."""
        # All fills of one order are one transaction: they share its hash.
        digest = blake2b(f"{self.coin} {trade.time_ms}".encode(), digest_size=32).hexdigest()
        return {
            "coin": self.coin,
            "side": "B" if trade.taker_side == "buy" else "A",
            "px": self.price(trade.price),
            "sz": self.amount(trade.amount),
            "time": trade.time_ms,
            "hash": "0x" + (digest if trade.time_ms % UNHASHED_EVERY else "0" * 64),
            "tid": trade_id(self.coin, trade.id),
            "users": [TRADERS[trade.id * 7 % 64], TRADERS[(trade.id * 11 + 3) % 64]],
        }

    def candle(self, interval: str, candle: Candle) -> dict[str, Any]:
        """There is no closed flag and no quote volume."""
        row: dict[str, Any] = {"t": candle.open_ms, "T": close_time(candle.open_ms, INTERVALS[interval]) - 1}
        row |= {"s": self.coin, "i": interval, "o": self.price(candle.open), "c": self.price(candle.close)}
        row |= {"h": self.price(candle.high), "l": self.price(candle.low)}
        return row | {"v": self.amount(candle.volume), "n": candle.count}


def book(
    one: Instrument | None,
    coin: str,
    now_ms: int,
    *,
    depth: int,
    figures: int | None = None,
    mantissa: int | None = None,
) -> dict[str, Any]:
    """The whole book as ``l2Book`` has it, bids then asks, best first; a delisted coin's is empty.

    With ``figures`` prices are rounded away from the middle to so many significant ones, and ``spread`` is told.
    """
    if one is None:
        return {"coin": coin, "time": now_ms, "levels": [[], []]}
    market = one.market
    if figures is None:
        levels = [[one.level(*level) for level in side.top(depth)] for side in (market.bids, market.asks)]
        return {"coin": coin, "time": now_ms, "levels": levels}
    width = bucket_width(market.touch.bid, figures, mantissa)
    bids = buckets(market.bids.top(), lambda price: price // width * width, depth)
    asks = buckets(market.asks.top(), lambda price: -(-price // width) * width, depth)
    levels = [
        [{"px": one.price(price), "sz": one.amount(amount), "n": count} for price, amount, count in side]
        for side in (bids, asks)
    ]
    return {"coin": coin, "time": now_ms, "levels": levels, "spread": one.price(asks[0][0] - bids[0][0])}


def bucket_width(price: int, figures: int, mantissa: int | None) -> int:
    """In ticks; a tick is always a power of ten, so a price's digits in ticks are its significant ones."""
    return int(10 ** max(0, len(str(price)) - figures) * (mantissa or 1))


def buckets(side: Side, rounded: Callable[[int], int], depth: int) -> list[tuple[int, int, int]]:
    """(price, amount, orders) of the best ``depth`` buckets."""
    found: dict[int, tuple[int, int]] = {}
    for price, amount in side:
        bucket = rounded(price)
        total, count = found.get(bucket, (0, 0))
        found[bucket] = (total + amount, count + orders(price, amount))
    return [(price, *rest) for price, rest in islice(found.items(), depth)]


def orders(price: int, amount: int) -> int:
    """How many orders make a level: some number that stays while the level does."""
    return 1 + (price * 31 + amount * 17) % 37


def trade_id(coin: str, ledger_id: int) -> int:
    """``tid``: 50 bits that say nothing about order."""
    return int.from_bytes(blake2b(f"{coin} {ledger_id}".encode(), digest_size=7).digest(), "big") >> 6
