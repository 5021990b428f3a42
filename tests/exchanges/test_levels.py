"""Every venue's parser checks its levels: what is none (the whole list is in ``test_events.py``) reaches no book.

And it can tell how the venue wrote them.
"""

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from msgspec import MsgspecError, ValidationError, convert

from exchanges.binance import parse as binance
from exchanges.bybit import parse as bybit
from exchanges.errors import UNREADABLE, BadMessage
from exchanges.events import BookDelta, BookSnapshot, Level, UpdateNumber, integer_id
from exchanges.hyperliquid import parse as hyperliquid
from exchanges.instrument import Instrument
from exchanges.registry import VENUES, create
from exchanges.venue import Texts

Rows = list[Any]  # (price, amount), as a venue writes them
LEVELS = [
    pytest.param(("68412.40", "0.0200"), (68412.4, 0.02), id="texts"),
    pytest.param((68412.4, 0.02), (68412.4, 0.02), id="numbers"),
    pytest.param(("5.00", "0.000"), (5.0, 0.0), id="a removed one"),
]
NO_LEVELS = [
    pytest.param(("NaN", "1"), id="a price not a number"),
    pytest.param(("5", "NaN"), id="an amount not a number"),
    pytest.param(("5", "Infinity"), id="an endless amount"),
    pytest.param(("-5", "1"), id="a negative price"),
    pytest.param(("5", "-1"), id="a negative amount"),
    pytest.param(("0", "1"), id="a price of nothing"),
    pytest.param(("x", "1"), id="a price that is no number"),
    pytest.param(("5", None), id="no amount"),
]
NO_ROWS = [
    pytest.param([("5",)], id="half a level"),
    pytest.param([("5", "1", "2")], id="too much of a level"),
    pytest.param([5], id="a number for a level"),
    pytest.param({"5": "1"}, id="an object for levels"),
    pytest.param(None, id="null for levels"),
]


def binance_futures(bids: Rows, asks: Rows) -> list[Any]:
    data = {"e": "depthUpdate", "T": 1, "pu": 1, "u": 2, "b": bids, "a": asks}
    return list(binance.futures(orjson.dumps({"stream": "x@depth", "data": data}))[1])


def binance_spot(bids: Rows, asks: Rows) -> list[Any]:
    data = {"e": "depthUpdate", "E": 1, "U": 2, "u": 2, "b": bids, "a": asks}
    return list(binance.spot(orjson.dumps({"stream": "x@depth", "data": data}))[1])


def bybit_snapshot(bids: Rows, asks: Rows, kind: str = "snapshot") -> list[Any]:
    message = {"topic": "orderbook.50.X", "type": kind, "ts": 1, "data": {"u": 2, "b": bids, "a": asks}}
    return list(bybit.linear(orjson.dumps(message))[1])


def bybit_delta(bids: Rows, asks: Rows) -> list[Any]:
    return bybit_snapshot(bids, asks, "delta")


def hyperliquid_book(bids: Rows, asks: Rows) -> list[Any]:
    sides = [[{"px": price, "sz": amount, "n": 1} for price, amount in side] for side in (bids, asks)]
    message = {"channel": "l2Book", "data": {"coin": "X", "time": 1, "levels": sides}}
    return list(hyperliquid.parse(orjson.dumps(message))[1])


Stream = Callable[[Rows, Rows], list[Any]]
ARRAYS: list[Stream] = [binance_futures, binance_spot, bybit_snapshot, bybit_delta]
STREAMS = [*ARRAYS, hyperliquid_book]  # the last has objects for levels
BODIES: list[Callable[[Rows, Rows], BookSnapshot]] = [
    lambda bids, asks: binance.book({"lastUpdateId": 1, "bids": bids, "asks": asks}),
    lambda bids, asks: bybit.rest_book({"ts": 1, "b": bids, "a": asks}),
]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("row", "level"), LEVELS)
def test_a_messages_levels_come_out_as_numbers(stream: Stream, row: Any, level: Level) -> None:
    (event,) = stream([row], [row, row])
    assert isinstance(event, BookDelta | BookSnapshot)
    assert (event.bids, event.asks) == ([level], [level, level])


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("row", NO_LEVELS)
def test_a_message_with_what_is_no_level_is_refused_on_either_side(stream: Stream, row: Any) -> None:
    for bids, asks in (([("4", "1"), row], []), ([], [("6", "1"), row])):
        with pytest.raises(BadMessage):
            stream(bids, asks)


@pytest.mark.parametrize("stream", ARRAYS)
@pytest.mark.parametrize("rows", NO_ROWS)
def test_a_message_without_a_list_of_levels_is_refused_on_either_side(stream: Stream, rows: Any) -> None:
    for bids, asks in ((rows, []), ([], rows)):
        with pytest.raises(BadMessage):
            stream(bids, asks)


@pytest.mark.parametrize("body", BODIES, ids=["binance", "bybit"])  # Hyperliquid's is that of its stream
@pytest.mark.parametrize("row", NO_LEVELS)
def test_a_rest_book_with_what_is_no_level_is_refused_on_either_side(
    body: Callable[[Rows, Rows], BookSnapshot], row: Any
) -> None:
    for bids, asks in (([("4", "1"), row], []), ([], [("6", "1"), row])):
        with pytest.raises(MsgspecError):
            body(bids, asks)


# -- the venue's own decimals ------------------------------------------------------------------------------------------

READERS: list[tuple[Stream, Callable[[Any], Texts]]] = [
    (binance_futures, binance.texts),
    (binance_spot, binance.texts),
    (bybit_snapshot, bybit.texts),
    (bybit_delta, bybit.texts),
    (hyperliquid_book, hyperliquid.texts),
]
WRITTEN = ([("68412.40", "0.0200"), ("68412.10", "1E+2")], [("68412.50", "0.000")])


@pytest.mark.parametrize(("stream", "texts"), READERS)
def test_the_texts_of_a_message_are_its_levels_in_their_order(stream: Stream, texts: Callable[[Any], Texts]) -> None:
    (event,) = stream(*WRITTEN)
    assert texts(event.raw) == WRITTEN
    assert [(float(price), float(amount)) for price, amount in texts(event.raw)[0]] == event.bids


@pytest.mark.parametrize(("body", "texts"), list(zip(BODIES, [binance.texts, bybit.texts], strict=True)))
def test_the_texts_of_a_rest_book_are_its_levels_in_their_order(
    body: Callable[[Rows, Rows], BookSnapshot], texts: Callable[[Any], Texts]
) -> None:
    assert texts(body(*([list(row) for row in side] for side in WRITTEN)).raw) == WRITTEN


@pytest.mark.parametrize(("stream", "texts"), READERS)
def test_levels_that_are_no_texts_are_said_to_be_unreadable(stream: Stream, texts: Callable[[Any], Texts]) -> None:
    (event,) = stream([(68412.4, 0.02)], [])
    with pytest.raises(UNREADABLE):
        texts(event.raw)


@pytest.mark.parametrize("name", VENUES)
@pytest.mark.parametrize(("channel", "params"), [("orderbook", {"levels": 20}), ("trades", {})])
def test_a_books_stream_can_read_its_texts_and_no_other_can(name: str, channel: Any, params: Any) -> None:
    perp = Instrument(
        exchange=name,
        market=create(name).capabilities.default_market,
        symbol="BTC/USDT:USDT",
        venue_symbol="BTCUSDT",
        base="BTC",
        quote="USDT",
        settle="USDT",
        kind="perp",
        active=True,
        tick_size=None,
        min_order_size=None,
        contract_size=1.0,
        info={},
    )
    assert (create(name).stream(channel, perp, params).texts is not None) is (channel == "orderbook")


# -- numbers that no frame could carry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2**63, -2, None, "x"])
def test_an_update_number_that_no_frame_could_carry_is_refused(number: object) -> None:
    with pytest.raises(ValidationError):
        convert(number, UpdateNumber, strict=False)


@pytest.mark.parametrize("number", [-1, 0, 2**63 - 1])
def test_an_update_number_a_venue_gives_is_taken(number: int) -> None:
    assert convert(number, UpdateNumber, strict=False) == number


@pytest.mark.parametrize("number", [None, "5", 5.0, True, [5]])
def test_an_id_that_is_no_integer_is_refused_and_never_becomes_a_text(number: object) -> None:
    with pytest.raises(ValueError, match="not an id"):
        integer_id(number)
