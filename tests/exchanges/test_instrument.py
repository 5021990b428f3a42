"""What a client typed → one instrument, or a refusal that helps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.errors import BadSymbol
from exchanges.instrument import MAX_SUGGESTIONS, Catalogue, Instrument, Kind, unified_symbol


def listed(venue_symbol: str, base: str, kind: Kind, *, expiry: str | None = None, active: bool = True) -> Instrument:
    settle = None if kind == "spot" else "USDT"
    return Instrument(
        exchange="toy",
        market="spot" if kind == "spot" else "linear",
        symbol=unified_symbol(base, "USDT", settle=settle, expiry=expiry),
        venue_symbol=venue_symbol,
        base=base,
        quote="USDT",
        settle=settle,
        kind=kind,
        active=active,
        tick_size=None,
        min_order_size=None,
        contract_size=None if kind == "spot" else 1.0,
        info={},
    )


CATALOGUE = Catalogue(
    [
        listed("BTCUSDT", "BTC", "perp"),
        listed("BTCUSDT", "BTC", "spot"),
        listed("BTCUSDT_261225", "BTC", "future", expiry="261225"),
        listed("BTCDOMUSDT", "BTCDOM", "perp"),
        listed("ETH_PERP", "ETH", "perp"),
        listed("ADAUSDT", "ADA", "spot"),
        listed("XRPUSDT_261225", "XRP", "future", expiry="261225"),
        listed("1000PEPEUSDT", "1000PEPE", "perp"),
        listed("PEPEUSDT", "PEPE", "spot"),
        listed("币安人生USDT", "币安人生", "perp"),
        listed("LUNAUSDT", "LUNA", "perp", active=False),
        listed("SOLUSDT", "SOL", "perp", active=False),
        listed("SOLUSDT", "SOL", "spot"),
    ],
    default_market="linear",
)


@pytest.mark.parametrize(
    ("text", "market", "symbol"),
    [
        pytest.param("BTC/USDT:USDT", None, "BTC/USDT:USDT", id="unified perpetual"),
        pytest.param("BTC/USDT:USDT-261225", None, "BTC/USDT:USDT-261225", id="unified dated future"),
        pytest.param("BTC/USDT", None, "BTC/USDT:USDT", id="base/quote of two markets: the default one"),
        pytest.param("BTC/USDT", "spot", "BTC/USDT", id="base/quote of two markets: the one given"),
        pytest.param("BTC/USDT", "linear", "BTC/USDT:USDT", id="base/quote and the default market given"),
        pytest.param("BTCUSDT", None, "BTC/USDT:USDT", id="native id of two markets: the default one"),
        pytest.param("BTCUSDT", "spot", "BTC/USDT", id="native id of two markets: the one given"),
        pytest.param("BTCUSDT_261225", None, "BTC/USDT:USDT-261225", id="native id of a dated future"),
        pytest.param("ETH_PERP", None, "ETH/USDT:USDT", id="native id unlike the pair"),
        pytest.param("ETH/USDT", None, "ETH/USDT:USDT", id="base/quote of a perpetual alone"),
        pytest.param("ADA/USDT", None, "ADA/USDT", id="base/quote of a spot market alone"),
        pytest.param("toy:spot:BTCUSDT", None, "BTC/USDT", id="market id of spot"),
        pytest.param("toy:perp:BTCUSDT", None, "BTC/USDT:USDT", id="market id of a perpetual"),
        pytest.param("toy:future:XRPUSDT_261225", None, "XRP/USDT:USDT-261225", id="market id of a dated future"),
        pytest.param("1000PEPE/USDT", None, "1000PEPE/USDT:USDT", id="a multiplier is part of the base"),
        pytest.param("PEPE/USDT", None, "PEPE/USDT", id="and the plain one is another instrument"),
        pytest.param("币安人生/USDT:USDT", None, "币安人生/USDT:USDT", id="beyond ASCII, unified"),
        pytest.param("币安人生USDT", None, "币安人生/USDT:USDT", id="beyond ASCII, native"),
        pytest.param("SOLUSDT", None, "SOL/USDT", id="an inactive namesake is passed over"),
        pytest.param("SOL/USDT", None, "SOL/USDT", id="its base/quote too"),
    ],
)
def test_every_name_of_an_instrument_finds_it(text: str, market: str | None, symbol: str) -> None:
    assert CATALOGUE.resolve(text, market=market).symbol == symbol


@pytest.mark.parametrize(
    ("text", "market", "suggestions"),
    [
        pytest.param("XRP/USDT", None, ["XRP/USDT:USDT-261225"], id="base/quote is never a dated future"),
        pytest.param("BTC/EUR", None, ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225"], id="another quote"),
        pytest.param("BTC/EUR", "spot", ["BTC/USDT"], id="another quote, only in the market given"),
        pytest.param("btc/usdt", None, ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225"], id="small letters"),
        pytest.param("btcusdt", None, ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225"], id="small native id"),
        pytest.param("BTC-USDT", None, ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225"], id="another venue's id"),
        pytest.param("btcdomusdt", None, ["BTCDOM/USDT:USDT"], id="the longest base it starts with"),
        pytest.param("1000PEPEUSDC", None, ["1000PEPE/USDT:USDT"], id="a base that starts with digits"),
        pytest.param("ADA/USDT", "linear", [], id="not in the market given"),
        pytest.param("LUNA/EUR", None, [], id="inactive ones are not suggested"),
        pytest.param("DOGE/USDT", None, [], id="unknown base"),
        pytest.param("", None, [], id="nothing"),
        pytest.param("/", None, [], id="a slash"),
        pytest.param("BTC/USDT\n", None, ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225"], id="a line break"),
    ],
)
def test_what_names_nothing_is_refused_with_suggestions(text: str, market: str | None, suggestions: list[str]) -> None:
    with pytest.raises(BadSymbol, match="no such symbol") as refused:
        CATALOGUE.resolve(text, market=market)
    assert refused.value.details == {"field": "symbol", "suggestions": suggestions}


def test_an_inactive_instrument_is_refused_by_its_name() -> None:
    with pytest.raises(BadSymbol, match="LUNA/USDT:USDT is not trading"):
        CATALOGUE.resolve("LUNAUSDT")


def test_a_name_of_several_markets_none_of_them_the_default_is_refused_with_all_of_them() -> None:
    catalogue = Catalogue(
        [listed("BTCUSDT", "BTC", "perp"), listed("BTCUSDT", "BTC", "spot")], default_market="inverse"
    )
    with pytest.raises(BadSymbol, match="several markets") as refused:
        catalogue.resolve("BTC/USDT")
    assert refused.value.details["suggestions"] == ["BTC/USDT", "BTC/USDT:USDT"]


def test_suggestions_are_few_and_the_shortest_come_first() -> None:
    months = [listed(f"BTCUSDT_27{month:02}01", "BTC", "future", expiry=f"27{month:02}01") for month in range(1, 10)]
    catalogue = Catalogue([*months, listed("BTCUSDT", "BTC", "spot")], default_market="linear")
    with pytest.raises(BadSymbol) as refused:
        catalogue.resolve("btc")
    suggestions = refused.value.details["suggestions"]
    assert (len(suggestions), suggestions[:2]) == (MAX_SUGGESTIONS, ["BTC/USDT", "BTC/USDT:USDT-270101"])


@given(st.text())
def test_text_of_any_kind_is_an_instrument_or_refused(text: str) -> None:
    try:
        assert CATALOGUE.resolve(text).active
    except BadSymbol as refused:
        assert len(refused.details["suggestions"]) <= MAX_SUGGESTIONS


@pytest.mark.parametrize(
    ("settle", "expiry", "symbol"),
    [
        (None, None, "BTC/USDT"),
        ("USDT", None, "BTC/USDT:USDT"),
        ("BTC", "261225", "BTC/USDT:BTC-261225"),
    ],
)
def test_a_unified_symbol_says_what_it_settles_in_and_when(settle: str | None, expiry: str | None, symbol: str) -> None:
    assert unified_symbol("BTC", "USDT", settle=settle, expiry=expiry) == symbol


def test_the_catalogue_counts_its_symbols_and_gives_them() -> None:
    assert len(CATALOGUE) == 13
    assert CATALOGUE.by_symbol["BTC/USDT"].market == "spot"
