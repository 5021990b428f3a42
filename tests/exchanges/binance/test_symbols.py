"""``exchangeInfo`` → instruments; the rows are written from docs/venues/binance.md."""

from typing import Any

import pytest

from exchanges.binance.symbols import instruments
from exchanges.errors import BadMessage
from exchanges.instrument import Instrument

NEVER_MS = 4_133_404_800_000  # what a perpetual says of its delivery
CHRISTMAS_MS = 1_798_185_600_000  # 2026-12-25T08:00:00Z


def filters(tick: str, minimum: str) -> list[dict[str, str]]:
    return [
        {"filterType": "LOT_SIZE", "maxQty": "2000", "minQty": minimum, "stepSize": minimum},
        {"filterType": "MIN_NOTIONAL", "notional": "20"},
        {"tickSize": tick, "filterType": "PRICE_FILTER", "minPrice": "39.86", "maxPrice": "306177"},
    ]


def future_row(symbol: str, base: str, **differences: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "pair": symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": NEVER_MS,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "marginAsset": "USDT",
        "pricePrecision": 2,
        "filters": filters("0.10", "0.001"),
        **differences,
    }


def spot_row(symbol: str, base: str, **differences: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": "USDT",
        "filters": filters("0.01000000", "0.00001000"),
        **differences,
    }


def only(row: dict[str, Any], market: str = "linear") -> Instrument:
    (instrument,) = instruments({"symbols": [row]}, market=market)
    return instrument


def test_a_perpetual_has_every_fact_of_its_row() -> None:
    row = future_row("BTCUSDT", "BTC")
    assert only(row) == Instrument(
        exchange="binance",
        market="linear",
        symbol="BTC/USDT:USDT",
        venue_symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        settle="USDT",
        kind="perp",
        active=True,
        tick_size=0.1,  # PRICE_FILTER's, not 10 to the power of minus pricePrecision
        min_order_size=0.001,
        contract_size=1.0,
        info=row,
    )


def test_a_spot_market_settles_in_nothing_and_has_no_contracts() -> None:
    row = spot_row("BTCUSDT", "BTC")
    assert only(row, "spot") == Instrument(
        exchange="binance",
        market="spot",
        symbol="BTC/USDT",
        venue_symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        settle=None,
        kind="spot",
        active=True,
        tick_size=0.01,
        min_order_size=0.00001,
        contract_size=None,
        info=row,
    )


@pytest.mark.parametrize(
    ("row", "symbol", "kind"),
    [
        pytest.param(
            future_row("BTCUSDT_261225", "BTC", contractType="CURRENT_QUARTER", deliveryDate=CHRISTMAS_MS),
            "BTC/USDT:USDT-261225",
            "future",
            id="current quarter",
        ),
        pytest.param(
            future_row("ETHUSDT_261225", "ETH", contractType="NEXT_QUARTER", deliveryDate=CHRISTMAS_MS),
            "ETH/USDT:USDT-261225",
            "future",
            id="next quarter",
        ),
        pytest.param(
            future_row("LUNAUSDT", "LUNA", deliveryDate=1_652_432_400_000, status="SETTLING"),
            "LUNA/USDT:USDT",
            "perp",
            id="a delisted perpetual with a real delivery date",
        ),
        pytest.param(
            future_row("XAUUSDT", "XAU", contractType="TRADIFI_PERPETUAL"), "XAU/USDT:USDT", "perp", id="a commodity"
        ),
        pytest.param(
            future_row("SOLUSDC", "SOL", quoteAsset="USDC", marginAsset="USDC"),
            "SOL/USDC:USDC",
            "perp",
            id="another quote",
        ),
        pytest.param(
            future_row("BTCUSDT", "BTC", marginAsset="BNFCR"), "BTC/USDT:BNFCR", "perp", id="settled in another asset"
        ),
        pytest.param(
            future_row("1000SHIBUSDT", "1000SHIB"), "1000SHIB/USDT:USDT", "perp", id="a multiplier stays in the base"
        ),
        pytest.param(future_row("币安人生USDT", "币安人生"), "币安人生/USDT:USDT", "perp", id="beyond ASCII"),
    ],
)
def test_the_contract_type_decides_the_unified_symbol(row: dict[str, Any], symbol: str, kind: str) -> None:
    instrument = only(row)
    assert (instrument.symbol, instrument.kind, instrument.venue_symbol) == (symbol, kind, row["symbol"])


@pytest.mark.parametrize("market", ["linear", "spot"])
@pytest.mark.parametrize(
    ("status", "active"),
    [("TRADING", True), ("PENDING_TRADING", False), ("SETTLING", False), ("BREAK", False), ("a new one", False)],
)
def test_only_what_is_trading_is_active(market: str, status: str, active: bool) -> None:
    row = future_row("BTCUSDT", "BTC") if market == "linear" else spot_row("BTCUSDT", "BTC")
    assert only({**row, "status": status}, market).active is active


def test_without_its_filter_the_tick_is_not_known() -> None:
    instrument = only(future_row("BTCUSDT", "BTC", filters=[]))
    assert (instrument.tick_size, instrument.min_order_size) == (None, None)


def test_all_rows_come_in_the_venues_order() -> None:
    answer = {"symbols": [spot_row("ETHUSDT", "ETH"), spot_row("BTCUSDT", "BTC")]}
    assert [instrument.symbol for instrument in instruments(answer, market="spot")] == ["ETH/USDT", "BTC/USDT"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param(None, id="null"),
        pytest.param({"symbols": None}, id="no rows"),
        pytest.param({"symbols": [7]}, id="a number for a row"),
        pytest.param({"symbols": [{}]}, id="an empty row"),
        pytest.param({"symbols": [future_row("BTCUSDT", "BTC", contractType=None)]}, id="no contract type"),
        pytest.param({"symbols": [future_row("BTCUSDT", "BTC", filters=None)]}, id="no filters"),
        pytest.param({"symbols": [future_row("BTCUSDT", "BTC", filters=[{}])]}, id="an empty filter"),
        pytest.param({"symbols": [future_row("BTCUSDT", "BTC", filters=filters("x", "1"))]}, id="a tick of letters"),
        pytest.param(
            {"symbols": [future_row("B", "B", contractType="NEXT_QUARTER", deliveryDate=10**19)]}, id="a date too far"
        ),
        pytest.param(
            {"symbols": [future_row("B", "B", contractType="NEXT_QUARTER", deliveryDate=1e30)]}, id="beyond any date"
        ),
        pytest.param(
            {"symbols": [future_row("B", "B", contractType="NEXT_QUARTER", deliveryDate="x")]}, id="a date of letters"
        ),
    ],
)
def test_what_is_not_documented_is_refused(answer: Any) -> None:
    with pytest.raises(BadMessage):
        instruments(answer, market="linear")
