"""What Bybit does not document is refused: a field missing or of the wrong kind, garbage, anything at all."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.bybit.parse import inverse, linear
from exchanges.errors import BadMessage
from exchanges.events import Candle, Trade, Unknown
from exchanges.venue import Parsed
from tests.exchanges.bybit.test_parse import read

Parser = Callable[[bytes], Parsed]
Path = tuple[str | int, ...]


def broken(file: str, *path: str | int, value: Any = None, absent: bool = False) -> bytes:
    """The message with one of its fields changed or left out."""
    message = json.loads(read(file))
    inner = message
    for key in path[:-1]:
        inner = inner[key]
    if absent:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(message).encode()


def row(*keys: str) -> list[Path]:
    return [("data", 0, key) for key in keys]


FIELDS: list[tuple[Parser, str, Path]] = [
    *[(linear, "linear-trade-buy", path) for path in [("data",), *row("i", "T", "S", "p", "v")]],
    *[(inverse, "inverse-trade", path) for path in row("i", "T", "S", "p", "v")],
    *[(linear, "linear-kline-forming", path) for path in row("start", "open", "high", "low", "close", "confirm")],
    (linear, "linear-kline-forming", ("data", 0, "volume")),
    (inverse, "inverse-kline", ("data", 0, "turnover")),
    *[(linear, "linear-book-delta", (key,)) for key in ("type", "ts", "data")],
    *[(inverse, "linear-book-snapshot", ("data", key)) for key in ("u", "b", "a")],
    (linear, "ack-contracts", ("success",)),
    (linear, "refused-topic", ("ret_msg",)),
]


@pytest.mark.parametrize(("parse", "file", "path"), FIELDS)
def test_a_message_without_a_field_that_is_read_is_refused(parse: Parser, file: str, path: Path) -> None:
    with pytest.raises(BadMessage):
        parse(broken(file, *path, absent=True))


NO_PRICE: list[Any] = ["NaN", "sNaN", "Infinity", "0", "-3117.4", "3117,4", "1e400", "1e999999", "", None, [], {}]
NO_AMOUNT: list[Any] = ["NaN", "Infinity", "-1", "", None, []]
TRADE, CANDLE, BOOK = "linear-trade-buy", "linear-kline-forming", "linear-book-delta"
WRONG: list[tuple[str, Path, Any]] = [
    *[(TRADE, ("data", 0, "p"), value) for value in NO_PRICE],
    *[(TRADE, ("data", 0, "v"), value) for value in (*NO_AMOUNT, "0", "1e-400")],
    *[(TRADE, ("data", 0, "S"), value) for value in ("buy", "None", "", None, [])],  # a third side is no sell
    *[(TRADE, ("data", 0, "T"), value) for value in ("1794301200341", -1, 1_794_301_200_341.5, 10**30, None)],
    *[(TRADE, ("data", 0, "i"), value) for value in (None, 7, [], {})],
    *[(TRADE, ("data",), value) for value in (None, 0, {"p": "1"}, [None], ["row"], [[]])],
    ("linear-trades-block-and-rpi-keys-shuffled", ("data", 1, "p"), "NaN"),  # one rotten row, and none is trusted
    *[(CANDLE, ("data", 0, key), value) for key in ("open", "high", "low", "close") for value in NO_PRICE],
    *[(CANDLE, ("data", 0, "volume"), value) for value in NO_AMOUNT],
    *[(CANDLE, ("data", 0, "start"), value) for value in ("1794301200000", -1, None)],
    *[(CANDLE, ("data", 0, "confirm"), value) for value in ("true", 1, None, [])],
    *[(BOOK, ("data", "b", 0, 0), value) for value in NO_PRICE],
    *[(BOOK, ("data", "a", 0, 1), value) for value in NO_AMOUNT],
    *[(BOOK, ("data", "b"), value) for value in (None, {}, "b", [["3117.40"]], [["3117.40", "1", "2"]], ["3117.40"])],
    *[(BOOK, ("data", "u"), value) for value in (None, "next", 7_740_319.5, True, [])],
    *[(BOOK, ("data",), value) for value in (None, [], 7)],
    *[(BOOK, ("ts",), value) for value in (None, "soon", -1, 10**18)],
    *[(BOOK, ("type",), value) for value in (None, "", "Delta", "auction", 7)],  # a third type is no delta
    *[(BOOK, ("topic",), value) for value in (7, ["orderbook.200.ETHUSDT"])],
]


@pytest.mark.parametrize(("file", "path", "value"), WRONG)
def test_a_field_of_the_wrong_kind_is_refused(file: str, path: Path, value: Any) -> None:
    with pytest.raises(BadMessage):
        linear(broken(file, *path, value=value))


@pytest.mark.parametrize("price", NO_PRICE)
def test_an_inverse_trade_without_a_price_has_no_reciprocal_and_is_refused(price: Any) -> None:
    with pytest.raises(BadMessage):
        inverse(broken("inverse-trade", "data", 0, "p", value=price))


@pytest.mark.parametrize("change", [{"absent": True}, {"value": None}], ids=["absent", "null"])
def test_data_without_a_topic_is_about_no_stream(change: dict[str, Any]) -> None:
    assert linear(broken(BOOK, "topic", **change)) == ("", [Unknown(kind="None")])


NESTED = b"[" * 100_000 + b"]" * 100_000
GARBAGE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"<html><body>502</body></html>", id="html"),
    pytest.param(read("linear-trade-buy")[:80], id="half a message"),
    pytest.param(read("linear-book-snapshot")[:80], id="half a book"),
    pytest.param(b"\xff\xfe\x00", id="binary"),
    pytest.param(b"null", id="null"),
    pytest.param(b"7", id="a number"),
    pytest.param(b'"text"', id="a text"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"topic":7,"data":[]}', id="a number for a topic"),
    pytest.param(b'{"topic":["publicTrade.ETHUSDT"],"data":[]}', id="a list for a topic"),
    pytest.param(b'{"topic":"publicTrade.ETHUSDT"}', id="no data"),
    pytest.param(read("book-rpi"), id="levels of three numbers, which are never asked for"),
    pytest.param(NESTED, id="absurd nesting"),
    pytest.param(b'{"topic":"publicTrade.ETHUSDT","data":%s}' % NESTED, id="absurd nesting for trades"),
    pytest.param(b'{"topic":"orderbook.200.X","type":"delta","data":{"b":%s}}' % NESTED, id="absurd nesting for bids"),
    pytest.param(b'{"new":%s,"topic":"orderbook.200.X"}' % NESTED, id="absurd nesting beside a book"),
]


@pytest.mark.parametrize("parse", [linear, inverse])
@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_is_refused_and_kept_for_the_log(parse: Parser, raw: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        parse(raw)
    assert (refused.value.venue, refused.value.raw) == ("bybit", raw[:200])
    assert str(refused.value) == "bybit sent a message that could not be read"  # what a client may see


KEYS = ("T", "S", "v", "p", "i", "start", "open", "confirm", "u", "b", "a", "ts", "type", "success", "op", "ret_msg")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
TOPICS = ("publicTrade.X", "kline.1.X", "orderbook.200.X", "tickers.X", "", "subscribe")


@given(st.sampled_from(TOPICS), JSON, JSON)
def test_whatever_the_venue_sends_it_is_read_or_refused(topic: str, data: Any, other: Any) -> None:
    messages: list[Any] = [
        {"topic": topic, "type": "delta", "ts": other, "data": data},
        {"topic": data, "data": topic},
        {"op": topic, "success": other, "req_id": data, "ret_msg": other},
        data,
    ]
    for message in messages:
        for parse in (linear, inverse):
            try:
                name, events = parse(orjson.dumps(message))
                assert isinstance(name, str)
                assert isinstance(events, list)
            except BadMessage:
                continue


SOME = st.sampled_from(["1", "0.5", "Buy", "Sell", "x", 7, 7.5, 0, True, None, 10**13, "1794301200000", [], {}])


@given(st.sampled_from([TRADE, CANDLE]), st.data())
def test_what_is_read_has_the_types_it_promises(file: str, data: st.DataObject) -> None:
    message = json.loads(read(file))
    row = message["data"][0]
    row |= data.draw(st.dictionaries(st.sampled_from(sorted(row)), SOME, max_size=2))
    try:
        (event,) = linear(json.dumps(message).encode())[1]
    except BadMessage:
        return
    assert isinstance(event, Trade | Candle)
    if isinstance(event, Trade):
        assert (type(event.id), type(event.cost)) == (str, float)
    else:
        assert (type(event.closed), type(event.volume)) == (bool, float)
