"""Events refuse numbers that are none: text such as "NaN" converts to a float, and no client may ever see it."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from msgspec import MsgspecError, convert

from exchanges.events import BookDelta, BookSnapshot, Candle, Level, Trade

TRADE: Mapping[str, Any] = {
    "id": "1",
    "timestamp_ms": 1_700_000_000_000,
    "taker_side": "sell",
    "price": 100.0,
    "amount": 0.5,
    "cost": 50.0,
    "raw": {},
}
CANDLE: Mapping[str, Any] = {
    "open_time_ms": 1_700_000_000_000,
    "open": 1.0,
    "high": 2.0,
    "low": 0.5,
    "close": 1.5,
    "volume": 3.0,
    "closed": True,
}
NO_NUMBERS = [float("nan"), float("inf"), float("-inf"), -1.0]
SNAPSHOT: Mapping[str, Any] = {"bids": [], "asks": [], "sequence": 7, "timestamp_ms": 1_700_000_000_000}
DELTA: Mapping[str, Any] = {
    "bids": [],
    "asks": [],
    "prev_sequence": 7,
    "last_sequence": 8,
    "timestamp_ms": 1_700_000_000_000,
}
NO_TIMES = ["1700000000000", 1_700_000_000_000.5, -1, 1e300, 253_402_300_800_000, []]


@pytest.mark.parametrize("field", ["price", "amount"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, 0.0])
def test_a_trade_has_a_price_and_an_amount_above_zero(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="not a trade"):
        Trade(**{**TRADE, field: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_trade_has_a_finite_cost(value: float) -> None:
    with pytest.raises(ValueError, match="not a trade"):
        Trade(**{**TRADE, "cost": value})


@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
@pytest.mark.parametrize("value", [*NO_NUMBERS, 0.0])
def test_a_candle_has_prices_above_zero(field: str, value: float) -> None:
    with pytest.raises(ValueError, match="not a candle"):
        Candle(**{**CANDLE, field: value})


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_candle_has_a_volume_that_is_a_number(value: float) -> None:
    with pytest.raises(ValueError, match="not a candle"):
        Candle(**{**CANDLE, "volume": value})


@pytest.mark.parametrize("value", ["false", "true", 7])
def test_a_candle_is_closed_or_not_or_nobody_says(value: object) -> None:
    with pytest.raises(ValueError, match="not a candle"):
        Candle(**{**CANDLE, "closed": value})


@pytest.mark.parametrize("value", [None, 0.0])
def test_a_candle_may_be_without_volume(value: float | None) -> None:
    assert Candle(**{**CANDLE, "volume": value}).volume == value


@pytest.mark.parametrize(
    ("event", "known", "field"),
    [
        (Trade, TRADE, "timestamp_ms"),
        (Candle, CANDLE, "open_time_ms"),
        (BookSnapshot, SNAPSHOT, "timestamp_ms"),
        (BookDelta, DELTA, "timestamp_ms"),
    ],
)
@pytest.mark.parametrize("value", NO_TIMES)
def test_a_time_is_whole_milliseconds_within_the_calendar(
    event: Callable[..., object], known: Mapping[str, Any], field: str, value: Any
) -> None:
    with pytest.raises(ValueError, match="not a time"):
        event(**{**known, field: value})


@pytest.mark.parametrize(("event", "known"), [(BookSnapshot, SNAPSHOT), (BookDelta, DELTA)])
def test_a_book_may_be_without_a_time(event: Callable[..., Any], known: Mapping[str, Any]) -> None:
    assert event(**{**known, "timestamp_ms": None}).timestamp_ms is None


def test_an_event_never_changes() -> None:
    with pytest.raises(AttributeError):
        Trade(**TRADE).price = 101.0  # type: ignore[misc]


def levels(rows: object) -> list[Level]:
    """As the venues' parsers decode them."""
    return convert(rows, list[Level], strict=False)


# -- levels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows", [[["68412.40", "0.020"], ["1", "0"]], [[68412.4, 0.02], [1, 0]], [(68412.4, 0.02), (1, 0)]]
)
def test_levels_are_numbers_however_the_venue_writes_them(rows: object) -> None:
    assert levels(rows) == [(68412.4, 0.02), (1.0, 0.0)]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(["x", "1"], id="a price that is no number"),
        pytest.param(["5", "x"], id="an amount that is no number"),
        pytest.param(["NaN", "1"], id="a price not a number"),
        pytest.param(["5", "NaN"], id="an amount not a number"),
        pytest.param([float("nan"), 1.0], id="a price not a number, as a number"),
        pytest.param(["Infinity", "1"], id="an endless price"),
        pytest.param(["5", "Infinity"], id="an endless amount"),
        pytest.param(["1e400", "1"], id="a price beyond any number"),
        pytest.param(["5", "1e400"], id="an amount beyond any number"),
        pytest.param(["-5", "1"], id="a negative price"),
        pytest.param(["5", "-1"], id="a negative amount"),
        pytest.param(["0", "1"], id="a price of nothing"),
        pytest.param(["", "1"], id="an empty price"),
        pytest.param(["5", ""], id="an empty amount"),
        pytest.param([None, "1"], id="no price"),
        pytest.param(["5", None], id="no amount"),
        pytest.param(["null", "1"], id="null as a text"),
        pytest.param(["5"], id="half a level"),
        pytest.param(["5", "1", "2"], id="too much of a level"),
        pytest.param({"price": "5", "amount": "1"}, id="an object"),
        pytest.param(5, id="a number"),
        pytest.param("51", id="a text"),
    ],
)
def test_what_is_no_level_is_refused(row: object) -> None:
    with pytest.raises(MsgspecError):
        levels([["4", "1"], row])


@pytest.mark.parametrize("rows", [None, 5, {"5": "1"}, "text"])
def test_what_is_no_list_of_levels_is_refused(rows: object) -> None:
    with pytest.raises(MsgspecError):
        levels(rows)
