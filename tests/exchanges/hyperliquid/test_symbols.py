"""``allPerpMetas`` and ``spotMeta`` → instruments; the rows are written from docs/venues/hyperliquid.md."""

from typing import Any

import pytest

from exchanges.errors import BadMessage, BadSymbol
from exchanges.hyperliquid.symbols import perp_instruments, spot_instruments
from exchanges.instrument import Catalogue, Instrument


def token(index: int, name: str, decimals: int = 2) -> dict[str, Any]:
    return {"name": name, "szDecimals": decimals, "weiDecimals": 8, "index": index, "isCanonical": index < 2}


def pair(name: str, base: int, quote: int = 0) -> dict[str, Any]:
    return {"name": name, "tokens": [base, quote], "index": int(name.removeprefix("@")), "isCanonical": False}


def coin(name: str, decimals: int = 2, **differences: Any) -> dict[str, Any]:
    return {"name": name, "szDecimals": decimals, "maxLeverage": 20, "marginTableId": 51, **differences}


def dex(*universe: dict[str, Any], collateral: int = 0) -> dict[str, Any]:
    return {"universe": list(universe), "marginTables": [], "collateralToken": collateral}


# Neither list is in the order of its numbers, and both have holes.
TOKENS = [token(360, "USDH"), token(0, "USDC", 8), token(1, "PURR", 0), token(150, "HYPE"), token(268, "USDT0")]
PURR = {"name": "PURR/USDC", "tokens": [1, 0], "index": 0, "isCanonical": True}
HYPE = pair("@107", 150)


def perps(*metas: dict[str, Any]) -> list[Instrument]:
    return perp_instruments(list(metas), {"tokens": TOKENS, "universe": []})


def spots(*universe: dict[str, Any], tokens: list[dict[str, Any]] = TOKENS) -> list[Instrument]:
    return spot_instruments({"tokens": tokens, "universe": list(universe)})


def test_a_perpetual_has_every_fact_of_its_row() -> None:
    row = coin("ETH", 4)
    assert perps(dex(row)) == [
        Instrument(
            exchange="hyperliquid",
            market="perp",
            symbol="ETH/USDC:USDC",
            venue_symbol="ETH",
            base="ETH",
            quote="USDC",
            settle="USDC",
            kind="perp",
            active=True,
            tick_size=None,  # five significant figures: it depends on the price
            min_order_size=0.0001,
            contract_size=1.0,
            info=row,
        )
    ]


def test_a_spot_pair_settles_in_nothing_and_has_the_decimals_of_its_base() -> None:
    assert spots(HYPE) == [
        Instrument(
            exchange="hyperliquid",
            market="spot",
            symbol="HYPE/USDC",
            venue_symbol="@107",
            base="HYPE",
            quote="USDC",
            settle=None,
            kind="spot",
            active=True,
            tick_size=None,
            min_order_size=0.01,
            contract_size=None,
            info=HYPE,
        )
    ]


@pytest.mark.parametrize(
    ("name", "collateral", "symbol"),
    [
        pytest.param("kPEPE", 0, "KPEPE/USDC:USDC", id="a thousand of them"),
        pytest.param("2Z", 0, "2Z/USDC:USDC", id="a digit first"),
        pytest.param("xyz:SP500", 0, "XYZ-SP500/USDC:USDC", id="of a dex"),
        pytest.param("para:kBONK", 360, "PARA-KBONK/USDH:USDH", id="a dex with another collateral"),
        pytest.param("mkts:GOLD", 268, "MKTS-GOLD/USDT:USDT", id="a bridged collateral"),
    ],
)
def test_unified_names_are_ccxts_and_the_venues_are_kept_to_the_letter(name: str, collateral: int, symbol: str) -> None:
    (instrument,) = perps(dex(coin(name), collateral=collateral))
    assert (instrument.symbol, instrument.venue_symbol) == (symbol, name)
    assert (instrument.quote, instrument.settle) == (instrument.symbol.rpartition(":")[2],) * 2


@pytest.mark.parametrize(
    ("bridged", "name"),
    [
        ("HPENGU", "PENGU"),
        ("UBONK", "BONK"),
        ("UBTC", "BTC"),
        ("UDZ", "2Z"),
        ("UETH", "ETH"),
        ("UFART", "FARTCOIN"),
        ("UPUMP", "PUMP"),
        ("USDT0", "USDT"),
        ("USOL", "SOL"),
        ("UUUSPX", "SPX"),
        ("UXPL", "XPL"),
        ("XAUT0", "XAUT"),
        ("UNI", "UNI"),  # an U alone bridges nothing
        ("feUSD", "feUSD"),  # a token's letters are its own
    ],
)
def test_bridged_assets_have_the_names_the_world_uses(bridged: str, name: str) -> None:
    (instrument,) = spots(pair("@142", 197), tokens=[*TOKENS, token(197, bridged, 5)])
    assert (instrument.symbol, instrument.base, instrument.venue_symbol) == (f"{name}/USDC", name, "@142")


@pytest.mark.parametrize(
    ("row", "symbol", "least"),
    [
        pytest.param(PURR, "PURR/USDC", 1.0, id="a name of its own and whole amounts"),
        pytest.param(pair("@207", 150, 360), "HYPE/USDH", 0.01, id="another quote"),
        pytest.param(pair("@166", 268), "USDT/USDC", 0.01, id="a bridged base"),
    ],
)
def test_a_pair_is_named_by_its_tokens(row: dict[str, Any], symbol: str, least: float) -> None:
    (instrument,) = spots(row)
    assert (instrument.symbol, instrument.min_order_size, instrument.venue_symbol) == (symbol, least, row["name"])


@pytest.mark.parametrize(
    ("row", "active"),
    [
        (coin("MATIC", isDelisted=True), False),
        (coin("MATIC", isDelisted=False), True),
        (coin("MATIC", onlyIsolated=True, marginMode="strictIsolated"), True),
    ],
    ids=["delisted", "not delisted", "isolated only"],
)
def test_only_what_is_delisted_is_inactive(row: dict[str, Any], active: bool) -> None:
    (instrument,) = perps(dex(row))
    assert instrument.active is active


def test_all_dexes_come_in_the_venues_order_each_with_its_own_collateral() -> None:
    found = perps(dex(coin("SOL"), coin("BTC")), dex(), dex(coin("xyz:BTC"), collateral=360))
    assert [i.symbol for i in found] == ["SOL/USDC:USDC", "BTC/USDC:USDC", "XYZ-BTC/USDH:USDH"]


def test_all_pairs_come_in_the_venues_order() -> None:
    assert [instrument.symbol for instrument in spots(HYPE, PURR)] == ["HYPE/USDC", "PURR/USDC"]


def test_a_coin_that_cannot_be_read_does_not_take_the_others_along() -> None:
    found = perps(dex(coin("ETH"), {"name": "?"}), dex(coin("new:BTC"), collateral=99), dex(coin("xyz:BTC")))
    assert [instrument.venue_symbol for instrument in found] == ["ETH", "xyz:BTC"]


def test_a_pair_that_cannot_be_read_does_not_take_the_others_along() -> None:
    assert [instrument.venue_symbol for instrument in spots(pair("@5", 5), HYPE)] == ["@107"]


LISTED = Catalogue(
    [
        *perps(dex(coin("HYPE"), coin("kPEPE"), coin("MATIC", isDelisted=True)), dex(coin("xyz:HYPE"))),
        *spots(HYPE, PURR),
    ],
    default_market="perp",
)


@pytest.mark.parametrize(
    ("text", "market", "venue_symbol"),
    [
        ("HYPE", None, "HYPE"),
        ("HYPE/USDC", None, "HYPE"),  # the perpetual is the default
        ("HYPE/USDC", "spot", "@107"),
        ("@107", None, "@107"),
        ("kPEPE", None, "kPEPE"),
        ("KPEPE/USDC", None, "kPEPE"),
        ("xyz:HYPE", None, "xyz:HYPE"),
        ("XYZ-HYPE/USDC:USDC", None, "xyz:HYPE"),
        ("PURR/USDC", None, "PURR/USDC"),  # its native and its unified name are one
        ("hyperliquid:spot:@107", None, "@107"),
    ],
)
def test_a_coin_answers_to_its_names(text: str, market: str | None, venue_symbol: str) -> None:
    assert LISTED.resolve(text, market=market).venue_symbol == venue_symbol


@pytest.mark.parametrize("text", ["hype", "kpepe", "XYZ:HYPE", "MATIC", "107"])
def test_a_name_that_would_close_the_whole_socket_or_stay_silent_is_none(text: str) -> None:
    with pytest.raises(BadSymbol):
        LISTED.resolve(text)


@pytest.mark.parametrize(
    "metas",
    [
        pytest.param(None, id="null"),
        pytest.param(dex(coin("BTC")), id="one dex"),
        pytest.param([None], id="null for a dex"),
        pytest.param([{"collateralToken": 0}], id="no universe"),
        pytest.param([{"universe": None, "collateralToken": 0}], id="null for a universe"),
        pytest.param([{"universe": [coin("BTC")]}], id="no collateral"),
        pytest.param([dex(coin("BTC"), collateral=99)], id="a collateral that is no token"),
        pytest.param([dex(7)], id="a number for a coin"),  # type: ignore[arg-type]
        pytest.param([dex({})], id="an empty coin"),
        pytest.param([dex(coin(None))], id="null for a name"),  # type: ignore[arg-type]
        pytest.param([dex({"name": "BTC"})], id="no decimals"),
        pytest.param([dex(coin("BTC", szDecimals="5"))], id="a text for decimals"),
        pytest.param([dex(coin("BTC", szDecimals=-400))], id="decimals beyond any number"),
    ],
)
def test_perpetuals_that_are_not_documented_are_refused(metas: Any) -> None:
    with pytest.raises(BadMessage):
        perp_instruments(metas, {"tokens": TOKENS})


@pytest.mark.parametrize(
    "meta",
    [
        pytest.param(None, id="null"),
        pytest.param([], id="a list"),
        pytest.param({"tokens": TOKENS}, id="no universe"),
        pytest.param({"universe": [HYPE]}, id="no tokens"),
        pytest.param({"tokens": TOKENS, "universe": [7]}, id="a number for a pair"),
        pytest.param({"tokens": TOKENS, "universe": [{}]}, id="an empty pair"),
        pytest.param({"tokens": TOKENS, "universe": [pair("@5", 5)]}, id="a base that is no token"),
        pytest.param({"tokens": TOKENS, "universe": [{**HYPE, "tokens": [150]}]}, id="one token"),
        pytest.param({"tokens": TOKENS, "universe": [{**HYPE, "tokens": [150, 0, 1]}]}, id="three tokens"),
        pytest.param({"tokens": TOKENS, "universe": [{**HYPE, "tokens": None}]}, id="null for tokens"),
        pytest.param({"tokens": [{"index": 0}], "universe": []}, id="a token without a name"),
        pytest.param({"tokens": [{"index": 0, "name": "USDC"}], "universe": []}, id="a token without decimals"),
    ],
)
def test_pairs_that_are_not_documented_are_refused(meta: Any) -> None:
    with pytest.raises(BadMessage):
        spot_instruments(meta)
