"""``instruments-info`` → instruments. Pure, but for counting the rows it cannot read.

Source: https://bybit-exchange.github.io/docs/v5/market/instrument
"""

from datetime import UTC, datetime
from typing import Any

from exchanges.fetch import readable
from exchanges.instrument import Instrument, unified_symbol


def instruments(rows: list[dict[str, Any]], *, market: str) -> list[Instrument]:
    """All instruments of ``market`` ("linear", "inverse" or "spot"), in the venue's order.

    Raises:
        BadMessage: the answer is not what Bybit documents.
    """
    one = spot if market == "spot" else contract
    return readable("bybit", rows, lambda row: one(row, market))


def contract(row: dict[str, Any], market: str) -> Instrument:
    """``contractType`` decides what is dated: a perpetual that will be delisted has a ``deliveryTime`` too."""
    dated = row["contractType"].endswith("Futures")
    expiry = datetime.fromtimestamp(int(row["deliveryTime"]) / 1000, UTC).strftime("%y%m%d") if dated else None
    base, quote, settle = row["baseCoin"], row["quoteCoin"], row["settleCoin"]
    return Instrument(
        exchange="bybit",
        market=market,
        symbol=unified_symbol(base, quote, settle=settle, expiry=expiry),
        venue_symbol=row["symbol"],
        base=base,
        quote=quote,
        settle=settle,
        kind="future" if dated else "perp",
        active=row["status"] == "Trading",
        tick_size=float(row["priceFilter"]["tickSize"]),
        min_order_size=float(row["lotSizeFilter"]["minOrderQty"]),
        contract_size=1.0,  # of the base coin; inverse contracts are of one quote unit
        info=row,
    )


def spot(row: dict[str, Any], market: str) -> Instrument:
    return Instrument(
        exchange="bybit",
        market=market,
        symbol=unified_symbol(row["baseCoin"], row["quoteCoin"]),
        venue_symbol=row["symbol"],
        base=row["baseCoin"],
        quote=row["quoteCoin"],
        settle=None,
        kind="spot",
        active=row["status"] == "Trading",
        tick_size=float(row["priceFilter"]["tickSize"]),
        min_order_size=float(row["lotSizeFilter"]["minOrderQty"]),
        contract_size=None,
        info=row,
    )
