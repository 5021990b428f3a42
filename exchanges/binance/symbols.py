"""``exchangeInfo`` → instruments. Pure, but for counting the rows it cannot read.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Exchange-Information
"""

from datetime import UTC, datetime
from typing import Any

from exchanges.errors import UNREADABLE, BadMessage
from exchanges.fetch import readable
from exchanges.instrument import Instrument, unified_symbol


def instruments(answer: dict[str, Any], *, market: str) -> list[Instrument]:
    """All instruments of ``market`` ("linear" or "spot"), in the venue's order.

    Raises:
        BadMessage: the answer is not what Binance documents.
    """
    one = future if market == "linear" else spot
    try:
        return readable("binance", answer["symbols"], one)
    except UNREADABLE as error:
        raise BadMessage("binance", repr(error)) from error


def future(row: dict[str, Any]) -> Instrument:
    """``contractType`` decides what is dated: delisted perpetuals carry a real ``deliveryDate`` too."""
    dated = "QUARTER" in row["contractType"]
    expiry = datetime.fromtimestamp(row["deliveryDate"] / 1000, UTC).strftime("%y%m%d") if dated else None
    settle = row["marginAsset"]
    return Instrument(
        exchange="binance",
        market="linear",
        symbol=unified_symbol(row["baseAsset"], row["quoteAsset"], settle=settle, expiry=expiry),
        venue_symbol=row["symbol"],
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        settle=settle,
        kind="future" if dated else "perp",
        active=row["status"] == "TRADING",
        tick_size=_filter(row, "PRICE_FILTER", "tickSize"),
        min_order_size=_filter(row, "LOT_SIZE", "minQty"),
        contract_size=1.0,
        info=row,
    )


def spot(row: dict[str, Any]) -> Instrument:
    return Instrument(
        exchange="binance",
        market="spot",
        symbol=unified_symbol(row["baseAsset"], row["quoteAsset"]),
        venue_symbol=row["symbol"],
        base=row["baseAsset"],
        quote=row["quoteAsset"],
        settle=None,
        kind="spot",
        active=row["status"] == "TRADING",
        tick_size=_filter(row, "PRICE_FILTER", "tickSize"),
        min_order_size=_filter(row, "LOT_SIZE", "minQty"),
        contract_size=None,
        info=row,
    )


def _filter(row: dict[str, Any], kind: str, name: str) -> float | None:
    """The tick is ``PRICE_FILTER.tickSize``, never ``pricePrecision`` (2 beside a tick of 0.10)."""
    return next((float(f[name]) for f in row["filters"] if f["filterType"] == kind), None)
