"""What a client may say, and the one key it becomes, on a venue of each shape: by ``type`` and by ``category``."""

from dataclasses import replace
from typing import Any

import pytest

from exchanges.errors import BadSymbol, InvalidTopic, UnsupportedFeature
from exchanges.instrument import Catalogue
from exchanges.venue import Capabilities, Channel
from tests.topics.scripted_venue import instrument
from topics.key import Cursor, TopicKey, resolve, rung, timeframe

BY_TYPE = Capabilities(
    markets={"spot": "spot", "swap": "linear", "perp": "linear", "linear": "linear"},
    market_param="type",
    default_market="linear",
    instrument_groups=("all",),
    timeframes=("1m", "5m", "1h"),
    levels=(1, 5, 10, 20, 50, 100),
    trade_streams=("aggTrade", "trade"),
)
BY_CATEGORY = replace(
    BY_TYPE,
    markets={"spot": "spot", "linear": "linear", "inverse": "inverse"},
    market_param="category",
    trade_streams=(),
    default_levels=50,
    levels=(1, 50, 200),
)
PERP, SPOT = "BTC/USDT:USDT", "BTC/USDT"
CATALOGUE = Catalogue(
    [instrument(PERP), instrument(SPOT), instrument("BTC/USD:BTC", market="inverse"), instrument("ETH/USDT:USDT")],
    default_market="linear",
)


def canonical(
    channel: Channel, params: dict[str, Any], *, symbol: str | None = PERP, offer: Capabilities = BY_TYPE
) -> TopicKey:
    return resolve(channel, symbol, params, exchange="demo", catalogue=CATALOGUE, capabilities=offer)[0]


@pytest.mark.parametrize(
    ("channel", "given", "params"),
    [
        ("trades", {}, {}),
        ("trades", {"name": "aggTrade"}, {}),
        ("trades", {"name": "trade"}, {"name": "trade"}),
        ("ohlcv", {}, {"timeframe": "1m"}),
        ("ohlcv", {"timeframe": "1m"}, {"timeframe": "1m"}),
        ("ohlcv", {"interval": "5m"}, {"timeframe": "5m"}),
        ("ohlcv", {"interval": "5m", "timeframe": "5m"}, {"timeframe": "5m"}),
        ("orderbook", {}, {"levels": 20}),
        ("orderbook", {"levels": 50}, {"levels": 50}),
        ("orderbook", {"depth": 50}, {"levels": 50}),
        ("orderbook", {"limit": 50}, {"levels": 50}),
        ("orderbook", {"limit": 5, "depth": 5, "levels": 5}, {"levels": 5}),
        ("orderbook", {"throttleMs": 0, "mode": "full"}, {"levels": 20}),
        ("orderbook", {"group": None}, {"levels": 20}),
    ],
)
def test_params_are_canonical_whatever_the_words(
    channel: Channel, given: dict[str, Any], params: dict[str, Any]
) -> None:
    assert dict(canonical(channel, given).params) == params


@pytest.mark.parametrize(
    ("channel", "given"),
    [
        ("trades", {"timeframe": "5m", "levels": 5, "throttleMs": 250, "mode": "delta", "group": "1"}),
        ("trades", {"nSigFigs": 5, "mantissa": 2}),
        ("ohlcv", {"levels": 5, "name": "trade", "timeframe": "1m"}),
        ("orderbook", {"timeframe": "5m", "name": "trade", "nSigFigs": 5, "mantissa": 2, "levels": 20}),
    ],
)
def test_known_params_that_do_not_apply_are_dropped(channel: Channel, given: dict[str, Any]) -> None:
    assert canonical(channel, given) == canonical(channel, {})


def test_a_trade_stream_is_dropped_where_the_venue_has_no_choice() -> None:
    assert canonical("trades", {"name": "trade"}, offer=BY_CATEGORY) == canonical("trades", {}, offer=BY_CATEGORY)


def test_the_default_depth_is_the_venues() -> None:
    assert dict(canonical("orderbook", {}, offer=BY_CATEGORY).params) == {"levels": 50}


def test_params_are_sorted_so_that_equal_topics_are_equal_keys() -> None:
    one = canonical("trades", {"type": "spot", "name": "trade"}, symbol=SPOT)
    other = canonical("trades", {"name": "trade", "type": "spot"}, symbol=SPOT)

    assert one == other
    assert one.params == (("name", "trade"), ("type", "spot"))


@pytest.mark.parametrize(
    ("value", "expected"), [(1, 1), (2, 5), (5, 5), (6, 10), (11, 20), (20, 20), (21, 50), (99, 100), (100, 100)]
)
def test_levels_are_rounded_up_to_the_next_rung(value: int, expected: int) -> None:
    assert rung(value, BY_TYPE) == expected


@pytest.mark.parametrize("value", [0, -1, 101, 20.0, "20", True, None, [20], {}])
def test_levels_that_no_rung_holds_are_refused_with_the_rungs(value: Any) -> None:
    with pytest.raises(InvalidTopic) as caught:
        rung(value, BY_TYPE)

    assert caught.value.details == {"field": "levels", "allowed": [1, 5, 10, 20, 50, 100]}


@pytest.mark.parametrize("value", ["2m", "1M", "", 1, None, ["1m"], {}])
def test_a_timeframe_the_venue_lacks_is_refused_with_those_it_has(value: Any) -> None:
    with pytest.raises(InvalidTopic) as caught:
        timeframe(value, BY_TYPE)

    assert caught.value.details == {"field": "timeframe", "allowed": ["1m", "5m", "1h"]}


@pytest.mark.parametrize(
    ("given", "symbol", "expected", "params"),
    [
        ({}, SPOT, PERP, {}),  # BASE/QUOTE where a venue has both
        ({"type": "spot"}, SPOT, SPOT, {"type": "spot"}),
        ({"type": "swap"}, SPOT, PERP, {}),
        ({"type": "perp"}, PERP, PERP, {}),
        ({"category": "spot"}, SPOT, SPOT, {"type": "spot"}),
        ({"category": "inverse"}, PERP, PERP, {}),  # the other shape's word, which this venue does not know
        ({"type": "spot", "category": "spot"}, SPOT, SPOT, {"type": "spot"}),
        ({"type": "spot", "category": "inverse"}, SPOT, SPOT, {"type": "spot"}),
        ({"type": None}, PERP, PERP, {}),
        ({}, "BTCUSDT.S", SPOT, {"type": "spot"}),  # spot always shows, however it was named
        ({}, "scripted:spot:BTCUSDT.S", SPOT, {"type": "spot"}),
        ({}, "ETHUSDT", "ETH/USDT:USDT", {}),
    ],
)
def test_a_type_venue_picks_the_market_first(
    given: dict[str, Any], symbol: str, expected: str, params: dict[str, Any]
) -> None:
    key = canonical("trades", given, symbol=symbol)

    assert (key.symbol, dict(key.params)) == (expected, params)


@pytest.mark.parametrize(
    ("given", "symbol", "expected", "params"),
    [
        ({}, SPOT, PERP, {}),
        ({"category": "linear"}, PERP, PERP, {}),
        ({"category": "spot"}, SPOT, SPOT, {"category": "spot"}),
        ({"type": "spot"}, SPOT, SPOT, {"category": "spot"}),
        ({"type": "swap"}, PERP, PERP, {}),
        ({"category": "inverse"}, "BTC/USD", "BTC/USD:BTC", {"category": "inverse"}),
        ({"category": "inverse", "type": "swap"}, "BTC/USD", "BTC/USD:BTC", {"category": "inverse"}),
    ],
)
def test_a_category_venue_picks_the_market_first(
    given: dict[str, Any], symbol: str, expected: str, params: dict[str, Any]
) -> None:
    key = canonical("trades", given, symbol=symbol, offer=BY_CATEGORY)

    assert (key.symbol, dict(key.params)) == (expected, params)


@pytest.mark.parametrize(
    ("offer", "given", "field"),
    [
        (BY_TYPE, {"type": "option"}, "params.type"),
        (BY_TYPE, {"type": 1}, "params.type"),
        (BY_TYPE, {"type": ["spot"]}, "params.type"),
        (BY_TYPE, {"category": 1}, "params.category"),
        (BY_TYPE, {"category": {}}, "params.category"),
        (BY_CATEGORY, {"category": "swap"}, "params.category"),
        (BY_CATEGORY, {"type": False}, "params.type"),
    ],
)
def test_an_unknown_market_is_refused_with_the_known_ones(
    offer: Capabilities, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidTopic) as caught:
        canonical("trades", given, offer=offer)

    assert caught.value.details == {"field": field, "allowed": sorted(offer.markets)}


@pytest.mark.parametrize(
    ("channel", "given", "field", "allowed"),
    [
        ("trades", {"name": "trades"}, "params.name", ["aggTrade", "trade"]),
        ("trades", {"name": 1}, "params.name", ["aggTrade", "trade"]),
        ("trades", {"name": ["trade"]}, "params.name", ["aggTrade", "trade"]),
        ("orderbook", {"throttleMs": 50}, "params.throttleMs", [0, 100, 250, 500, 1000]),
        ("orderbook", {"throttleMs": False}, "params.throttleMs", [0, 100, 250, 500, 1000]),
        ("orderbook", {"throttleMs": None}, "params.throttleMs", [0, 100, 250, 500, 1000]),
        ("orderbook", {"throttleMs": 250.0}, "params.throttleMs", [0, 100, 250, 500, 1000]),  # would be another text
        ("orderbook", {"throttleMs": [250]}, "params.throttleMs", [0, 100, 250, 500, 1000]),
        ("orderbook", {"mode": ["delta"]}, "params.mode", ["full", "delta"]),
        ("orderbook", {"mode": "diff"}, "params.mode", ["full", "delta"]),
        ("orderbook", {"mode": None}, "params.mode", ["full", "delta"]),
        ("ohlcv", {"interval": "7m"}, "timeframe", ["1m", "5m", "1h"]),
        ("orderbook", {"limit": 101}, "levels", [1, 5, 10, 20, 50, 100]),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_those_that_can(
    channel: Channel, given: dict[str, Any], field: str, allowed: list[Any]
) -> None:
    with pytest.raises(InvalidTopic) as caught:
        canonical(channel, given)

    assert caught.value.details == {"field": field, "allowed": allowed}


@pytest.mark.parametrize(
    ("given", "field", "supported"),
    [
        ({"group": "0.5"}, "params.group", []),
        ({"group": "0.5", "mode": "delta"}, "params.group", []),
    ],
)
def test_what_is_documented_and_not_offered_says_what_is(
    given: dict[str, Any], field: str, supported: list[Any]
) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        canonical("orderbook", given)

    assert caught.value.details == {"field": field, "supported": supported}


@pytest.mark.parametrize(
    ("given", "params"),
    [
        ({"throttleMs": 0, "mode": "full"}, {"levels": 20}),
        ({"throttleMs": 250}, {"levels": 20, "throttleMs": 250}),
        ({"mode": "delta"}, {"levels": 20, "mode": "delta"}),
        ({"mode": "delta", "throttleMs": 1000, "depth": 7}, {"levels": 10, "mode": "delta", "throttleMs": 1000}),
    ],
)
def test_how_a_book_is_told_is_part_of_its_topic_where_it_is_not_the_default(
    given: dict[str, Any], params: dict[str, Any]
) -> None:
    assert dict(canonical("orderbook", given).params) == params


@pytest.mark.parametrize("given", [{"throttleMs": 250}, {"mode": "delta"}])
def test_how_a_book_is_told_is_no_part_of_other_topics(given: dict[str, Any]) -> None:
    assert canonical("trades", given).params == ()


@pytest.mark.parametrize("channel", ["ohlcv", "orderbook"])
def test_a_channel_the_venue_does_not_have_is_refused_with_those_it_has(channel: Channel) -> None:
    offer = replace(BY_TYPE, channels=("trades",), timeframes=(), levels=())

    with pytest.raises(UnsupportedFeature) as caught:
        canonical(channel, {}, offer=offer)

    assert caught.value.details == {"field": "channel", "supported": ["trades"]}


@pytest.mark.parametrize("name", ["id", "snapshot", "since", "rewind", "order", "until", "Levels", "", "x" * 500])
def test_an_unknown_parameter_is_refused_and_repeated_only_in_part(name: str) -> None:
    with pytest.raises(InvalidTopic) as caught:
        canonical("trades", {name: 1})

    assert caught.value.details["field"] == f"params.{name[:64]}"
    assert {"levels", "depth", "limit", "interval", "coin"} <= set(caught.value.details["allowed"])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"levels": 5, "depth": 10}, "params.depth"),
        ({"depth": 10, "limit": 5}, "params.limit"),
        ({"interval": "1m", "timeframe": "5m"}, "params.timeframe"),
        ({"type": "spot", "category": "linear"}, "params.category"),
    ],
)
def test_two_names_of_one_parameter_may_not_contradict_each_other(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidTopic) as caught:
        canonical("orderbook", given)

    assert caught.value.details["field"] == field


def test_a_coin_overrides_the_symbol_and_is_no_part_of_the_topic() -> None:
    assert canonical("trades", {"coin": "ETHUSDT"}, symbol=PERP) == canonical("trades", {}, symbol="ETH/USDT:USDT")


def test_a_coin_needs_no_symbol() -> None:
    assert canonical("trades", {"coin": "ETHUSDT"}, symbol=None).symbol == "ETH/USDT:USDT"


@pytest.mark.parametrize(
    ("symbol", "given"), [(None, {}), ("", {}), (PERP, {"coin": ""}), (PERP, {"coin": 5}), (PERP, {"coin": ["BTC"]})]
)
def test_without_a_symbol_there_is_no_topic(symbol: str | None, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidTopic) as caught:
        canonical("trades", given, symbol=symbol)

    assert caught.value.details["field"] == "symbol"


def test_a_symbol_of_another_market_is_not_found_in_the_picked_one() -> None:
    with pytest.raises(BadSymbol):
        canonical("trades", {"type": "spot"}, symbol="ETH/USDT:USDT")


def test_the_public_form_is_exactly_exchange_symbol_and_params() -> None:
    key = canonical("orderbook", {"type": "spot", "limit": 7}, symbol=SPOT)

    assert key.topic == {"exchange": "demo", "symbol": SPOT, "params": {"levels": 10, "type": "spot"}}


def test_the_instrument_comes_with_its_key() -> None:
    key, found = resolve("trades", "ETHUSDT", {}, exchange="demo", catalogue=CATALOGUE, capabilities=BY_TYPE)

    assert (key.symbol, found.venue_symbol) == ("ETH/USDT:USDT", "ETHUSDT")


def test_a_cursor_reads_as_epoch_and_seq_and_counts_by_one() -> None:
    assert str(Cursor(1_700_000_000_000, 41).next()) == "1700000000000-42"


def test_cursors_are_ordered_by_epoch_and_then_by_seq() -> None:
    assert sorted([Cursor(2, 1), Cursor(1, 10), Cursor(1, 9)]) == [Cursor(1, 9), Cursor(1, 10), Cursor(2, 1)]
