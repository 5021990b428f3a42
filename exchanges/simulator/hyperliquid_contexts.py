"""Hyperliquid's statements of a state: asset contexts, mids, funding. Pure functions of the market.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/info-endpoint/perpetuals
"""

from typing import Any

from .grid import Grid
from .history import DAY, HOUR, MINUTE, Candle
from .hyperliquid_instrument import Instrument
from .hyperliquid_listings import Listing

MOST_ROWS = 500  # of fundingHistory
FUNDED_FROM_MS = 1_704_067_200_000  # 2024, where the history of funding begins


def context(listing: Listing, one: Instrument | None, now_ms: int) -> dict[str, Any]:
    """What ``activeAssetCtx`` and ``metaAndAssetCtxs`` say of a perpetual; a delisted one has no mid."""
    if one is None:
        gone: dict[str, Any] = {"funding": "0.0", "openInterest": "0.0", "prevDayPx": "0.19", "dayNtlVlm": "0.0"}
        gone |= {"premium": None, "oraclePx": "0.19", "markPx": "0.19", "midPx": None, "impactPxs": None}
        return gone | {"dayBaseVlm": "0.0"}
    touch = one.market.touch
    whole = day(one, now_ms)
    middle = (touch.bid + touch.ask) // 2
    oracle = middle + max(1, middle // 1500)
    interest = whole.volume * 2 // 3 + one.market.last_price
    return {
        "funding": rate(listing.coin, now_ms // HOUR),
        "openInterest": one.amount(interest),
        "prevDayPx": one.price(whole.open),
        "dayNtlVlm": one.cost(whole.cost),
        "premium": f"{(middle - oracle) / oracle:.6f}",
        "oraclePx": one.price(oracle),
        "markPx": mark(one),
        "midPx": mid(one),
        "impactPxs": [one.price(touch.bid), one.price(touch.ask)],
        "dayBaseVlm": one.amount(whole.volume),
    }


def spot_context(one: Instrument, now_ms: int) -> dict[str, Any]:
    whole = day(one, now_ms)
    row = {"prevDayPx": one.price(whole.open), "dayNtlVlm": one.cost(whole.cost), "markPx": mid(one), "midPx": mid(one)}
    row |= {"circulatingSupply": "596574183.1", "totalSupply": "598274922.4", "coin": one.coin}
    return row | {"dayBaseVlm": one.amount(whole.volume)}


def removed_spot_context() -> dict[str, Any]:
    """Contexts of pairs that are in no universe any more stay: a context's place says nothing, its coin does."""
    row: dict[str, Any] = {"prevDayPx": "0.0123", "dayNtlVlm": "0.0", "markPx": "0.0123", "midPx": None}
    return row | {"circulatingSupply": "999.0", "totalSupply": "1000.0", "coin": "@1", "dayBaseVlm": "0.0"}


def mark(one: Instrument) -> str:
    """The middle of the book, rounded down to a price."""
    touch = one.market.touch
    return one.price((touch.bid + touch.ask) // 2)


def mid(one: Instrument) -> str:
    """The middle of the best bid and ask, which is often half a tick between two prices."""
    touch = one.market.touch
    spec = one.market.spec
    decimals = len(spec.tick.partition(".")[2]) + 1
    halves = Grid(f"{5 * 10**-decimals:.{decimals}f}")
    return _trimmed(halves.text(touch.bid + touch.ask))


def day(one: Instrument, now_ms: int) -> Candle:
    """The last 24 hours, to the minute, as one candle; flat if nothing was traded."""
    since = now_ms // MINUTE * MINUTE - DAY + MINUTE
    price = one.market.last_price
    flat = Candle(open_ms=since, open=price, high=price, low=price, close=price)
    return one.market.candles.window(since, now_ms + 1) or flat


def rate(coin: str, hour: int) -> str:
    """The funding of one hour as a fraction, steady for it, between -0.000005 and 0.000025."""
    mixed = (sum(map(ord, coin)) * 7919 + hour * 104_729) % 30_001
    return f"{(mixed - 5_000) / 1e9:.10f}"


def funding_history(coin: str, start_ms: int, end_ms: int) -> list[dict[str, Any]]:
    """One row per full hour in [start, end], oldest first; the venue settles up to 118 ms after the hour."""
    rows = []
    first = -(-max(start_ms, FUNDED_FROM_MS) // HOUR)
    for hour in range(first, min(end_ms // HOUR, first + MOST_ROWS - 1) + 1):
        late = 1 + (hour * 37 + len(coin)) % 118
        rows.append(
            {"coin": coin, "fundingRate": rate(coin, hour - 1), "premium": "0.0003", "time": hour * HOUR + late}
        )
    return rows


def predicted_funding(coin: str, now_ms: int) -> list[Any]:
    """A row of ``predictedFundings``; what it calls the next funding is, on this venue, the hour just settled."""
    settled = now_ms // HOUR * HOUR
    own = {"fundingRate": rate(coin, now_ms // HOUR), "nextFundingTime": settled, "fundingIntervalHours": 1}
    return [coin, [["HlPerp", own], ["BinPerp", None], ["BybitPerp", None]]]


def _trimmed(text: str) -> str:
    """Without superfluous zeros, with at least one decimal."""
    stripped = text.rstrip("0")
    return stripped + "0" if stripped.endswith(".") else stripped
