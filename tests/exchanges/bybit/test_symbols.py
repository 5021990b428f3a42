"""``instruments-info`` → instruments; the rows are written from docs/venues/bybit.md."""

import time
from typing import Any

import pytest

from exchanges.bybit.symbols import instruments
from exchanges.errors import BadMessage, BadSymbol
from exchanges.instrument import Catalogue, Instrument

CHRISTMAS_MS = "1798185600000"  # 2026-12-25T08:00:00Z
NEARLY_MIDNIGHT_MS = "1798243199000"  # 2026-12-25T23:59:59Z


def contract_row(symbol: str, base: str = "BTC", **differences: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "contractType": "LinearPerpetual",
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": "USDT",
        "settleCoin": "USDT",
        "launchTime": "1594310400000",
        "deliveryTime": "0",
        "deliveryFeeRate": "",
        "priceScale": "2",
        "priceFilter": {"minPrice": "0.05", "maxPrice": "99999.90", "tickSize": "0.05"},
        "lotSizeFilter": {"minOrderQty": "0.002", "maxOrderQty": "7900.000", "qtyStep": "0.001"},
        "fundingInterval": 480,
        "isPreListing": False,
        "preListingInfo": None,
        "symbolType": "",
        **differences,
    }


def usdc(symbol: str, **differences: Any) -> dict[str, Any]:
    return contract_row(symbol, quoteCoin="USDC", settleCoin="USDC", **differences)


def inverse_row(symbol: str, base: str = "BTC", **differences: Any) -> dict[str, Any]:
    coins = {"contractType": "InversePerpetual", "quoteCoin": "USD", "settleCoin": base}
    return contract_row(symbol, base, **{**coins, **differences})


def dated(row: dict[str, Any], *, delivery: Any = CHRISTMAS_MS) -> dict[str, Any]:
    kind = "InverseFutures" if row["contractType"].startswith("Inverse") else "LinearFutures"
    return {**row, "contractType": kind, "deliveryTime": delivery}


def spot_row(symbol: str, base: str = "BTC", **differences: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "baseCoin": base,
        "quoteCoin": "USDT",
        "innovation": "0",
        "status": "Trading",
        "marginTrading": "utaOnly",
        "lotSizeFilter": {"basePrecision": "0.000001", "quotePrecision": "0.0000001", "minOrderQty": "0.000011"},
        "priceFilter": {"tickSize": "0.1"},
        **differences,
    }


def only(row: dict[str, Any], market: str = "linear") -> Instrument:
    (instrument,) = instruments([row], market=market)
    return instrument


def test_a_perpetual_has_every_fact_of_its_row() -> None:
    row = contract_row("ETHUSDT", "ETH")
    assert only(row) == Instrument(
        exchange="bybit",
        market="linear",
        symbol="ETH/USDT:USDT",
        venue_symbol="ETHUSDT",
        base="ETH",
        quote="USDT",
        settle="USDT",
        kind="perp",
        active=True,
        tick_size=0.05,  # not 10 to the power of minus priceScale
        min_order_size=0.002,
        contract_size=1.0,
        info=row,
    )


def test_a_spot_market_settles_in_nothing_and_has_no_contracts() -> None:
    row = spot_row("BTCUSDT")
    assert only(row, "spot") == Instrument(
        exchange="bybit",
        market="spot",
        symbol="BTC/USDT",
        venue_symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        settle=None,
        kind="spot",
        active=True,
        tick_size=0.1,
        min_order_size=0.000011,
        contract_size=None,
        info=row,
    )


def case(name: str, market: str, row: dict[str, Any], symbol: str, kind: str) -> Any:
    return pytest.param(market, row, symbol, kind, id=name)


NAMES = [
    case("settled in USDC", "linear", usdc("BTCPERP"), "BTC/USDC:USDC", "perp"),
    case("dated", "linear", dated(contract_row("BTCUSDT-25DEC26")), "BTC/USDT:USDT-261225", "future"),
    case("dated, in USDC", "linear", dated(usdc("BTC-25DEC26")), "BTC/USDC:USDC-261225", "future"),
    case("inverse", "inverse", inverse_row("BTCUSD"), "BTC/USD:BTC", "perp"),
    case("inverse, dated", "inverse", dated(inverse_row("BTCUSDZ26")), "BTC/USD:BTC-261225", "future"),
    case(
        "a perpetual that will be delisted has a delivery time",
        "linear",
        contract_row("FTMUSDT", "FTM", deliveryTime="1736931600000"),
        "FTM/USDT:USDT",
        "perp",
    ),
    case("a multiplier first", "linear", contract_row("1000PEPEUSDT", "1000PEPE"), "1000PEPE/USDT:USDT", "perp"),
    case("a multiplier last", "linear", contract_row("SHIB1000USDT", "SHIB1000"), "SHIB1000/USDT:USDT", "perp"),
    case("a base of digits", "spot", spot_row("1INCHUSDT", "1INCH"), "1INCH/USDT", "spot"),
    case("a base that is a quote", "spot", spot_row("USDCUSDT", "USDC"), "USDC/USDT", "spot"),
    case("a quote that is a coin", "spot", spot_row("ETHBTC", "ETH", quoteCoin="BTC"), "ETH/BTC", "spot"),
]


@pytest.mark.parametrize(("market", "row", "symbol", "kind"), NAMES)
def test_the_coins_and_the_contract_type_make_the_unified_symbol(
    market: str, row: dict[str, Any], symbol: str, kind: str
) -> None:
    instrument = only(row, market)
    assert (instrument.symbol, instrument.kind, instrument.market) == (symbol, kind, market)
    assert instrument.venue_symbol == row["symbol"]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the time zone of the process cannot be changed here")
def test_a_delivery_date_is_utcs_wherever_we_run(monkeypatch: pytest.MonkeyPatch) -> None:
    row = dated(inverse_row("ETHUSDZ26", "ETH"), delivery=NEARLY_MIDNIGHT_MS)
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        symbol = only(row, "inverse").symbol
    time.tzset()
    assert symbol == "ETH/USD:ETH-261225"


@pytest.mark.parametrize(("market", "row"), [("linear", contract_row("B")), ("spot", spot_row("B"))])
@pytest.mark.parametrize(
    ("status", "active"),
    [("Trading", True), ("PreLaunch", False), ("Delivering", False), ("Closed", False), ("a new one", False)],
)
def test_only_what_is_trading_is_active(market: str, row: dict[str, Any], status: str, active: bool) -> None:
    assert only({**row, "status": status}, market).active is active


def test_all_rows_come_in_the_venues_order() -> None:
    found = instruments([spot_row("ETHUSDT", "ETH"), spot_row("BTCUSDT")], market="spot")
    assert [instrument.symbol for instrument in found] == ["ETH/USDT", "BTC/USDT"]


def test_a_row_that_cannot_be_read_does_not_take_the_others_along() -> None:
    rows = [contract_row("ETHUSDT", "ETH"), {"symbol": "?"}, contract_row("BTCUSDT")]
    assert [instrument.venue_symbol for instrument in instruments(rows, market="linear")] == ["ETHUSDT", "BTCUSDT"]


def test_a_market_without_instruments_is_none() -> None:
    assert instruments([], market="linear") == []


LISTED = Catalogue(
    [
        *instruments(
            [
                contract_row("BTCUSDT"),
                dated(contract_row("BTCUSDT-25DEC26")),
                usdc("BTCPERP"),
                contract_row("GONEUSDT", "GONE", status="Closed"),
                dated(contract_row("NEWUSDT-25DEC26", "NEW")),
            ],
            market="linear",
        ),
        *instruments([inverse_row("BTCUSD")], market="inverse"),
        *instruments([spot_row("BTCUSDT"), spot_row("ETHBTC", "ETH", quoteCoin="BTC")], market="spot"),
    ],
    default_market="linear",
)


@pytest.mark.parametrize(
    ("text", "market", "symbol"),
    [
        ("BTCUSDT", None, "BTC/USDT:USDT"),  # the contract is the default
        ("BTCUSDT", "spot", "BTC/USDT"),
        ("BTC/USDT", "linear", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT", None, "BTC/USDT:USDT"),
        ("BTC/USD", None, "BTC/USD:BTC"),
        ("BTCUSD", "inverse", "BTC/USD:BTC"),
        ("BTC/USDC", None, "BTC/USDC:USDC"),
        ("BTCPERP", None, "BTC/USDC:USDC"),
        ("BTCUSDT-25DEC26", None, "BTC/USDT:USDT-261225"),
        ("bybit:future:BTCUSDT-25DEC26", None, "BTC/USDT:USDT-261225"),
        ("bybit:spot:BTCUSDT", None, "BTC/USDT"),
        ("ETHBTC", None, "ETH/BTC"),
    ],
)
def test_an_instrument_answers_to_its_names(text: str, market: str | None, symbol: str) -> None:
    assert LISTED.resolve(text, market=market).symbol == symbol


@pytest.mark.parametrize(
    ("text", "market"),
    [("btcusdt", None), ("BTCUSD", "spot"), ("BTCPERP", "inverse"), ("GONEUSDT", None), ("NEW/USDT", None)],
    ids=["small letters", "another category", "yet another", "closed", "only a dated one"],
)
def test_a_name_that_the_venue_would_refuse_is_none(text: str, market: str | None) -> None:
    with pytest.raises(BadSymbol):
        LISTED.resolve(text, market=market)


UNREADABLE: list[Any] = [
    pytest.param("linear", 7, id="a number for a row"),
    pytest.param("linear", None, id="null for a row"),
    pytest.param("linear", {}, id="an empty row"),
    pytest.param("linear", contract_row("B", contractType=None), id="no contract type"),
    pytest.param("linear", contract_row("B", priceFilter=None), id="no price filter"),
    pytest.param("linear", contract_row("B", priceFilter={"tickSize": "x"}), id="a tick of letters"),
    pytest.param("linear", contract_row("B", lotSizeFilter={}), id="an empty lot filter"),
    pytest.param("linear", dated(contract_row("B"), delivery="soon"), id="a date of letters"),
    pytest.param("linear", dated(contract_row("B"), delivery=""), id="no date"),
    pytest.param("linear", dated(contract_row("B"), delivery="9" * 19), id="a date too far"),
    pytest.param("linear", dated(contract_row("B"), delivery=None), id="null for a date"),
    pytest.param("inverse", spot_row("BTCUSDT"), id="a spot row among contracts"),
    pytest.param("spot", spot_row("B", priceFilter=[]), id="a list for a price filter"),
    pytest.param("spot", spot_row("B", lotSizeFilter={"minOrderQty": None}), id="null for the least amount"),
]


@pytest.mark.parametrize(("market", "row"), UNREADABLE)
def test_what_is_not_documented_is_refused(market: str, row: Any) -> None:
    with pytest.raises(BadMessage):
        instruments([row], market=market)
