"""What Binance does not document is refused: a field missing or of the wrong kind, garbage, anything at all."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.binance.parse import futures, spot
from exchanges.errors import BadMessage
from exchanges.venue import Parsed
from tests.exchanges.binance.test_parse import read

Parser = Callable[[bytes], Parsed]


def broken(file: str, *path: str, value: Any = None, absent: bool = False) -> bytes:
    """The message with one of its fields changed or left out."""
    message = json.loads(read(file))
    inner = message["data"]
    for key in path[:-1]:
        inner = inner[key]
    if absent:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return json.dumps(message).encode()


FIELDS = [
    *[("futures-agg-trade-buy", (key,)) for key in "apqTm"],
    *[("futures-trade-market", (key,)) for key in "tpqTm"],
    *[("futures-kline-forming", path) for path in [("k",), *[("k", key) for key in "tohlcvx"]]],
    *[("futures-depth", (key,)) for key in ("b", "a", "u", "pu", "T")],
]


@pytest.mark.parametrize(("file", "path"), FIELDS)
def test_a_message_without_a_field_that_is_read_is_refused(file: str, path: tuple[str, ...]) -> None:
    with pytest.raises(BadMessage):
        futures(broken(file, *path, absent=True))


@pytest.mark.parametrize("key", ["b", "a", "u", "U", "E"])
def test_a_spot_delta_without_a_field_that_is_read_is_refused(key: str) -> None:
    with pytest.raises(BadMessage):
        spot(broken("spot-depth", key, absent=True))


@pytest.mark.parametrize(
    ("file", "path", "value"),
    [
        ("futures-agg-trade-buy", ("p",), "NaN"),
        ("futures-agg-trade-buy", ("p",), "0"),
        ("futures-agg-trade-buy", ("p",), "-3117.45"),
        ("futures-agg-trade-buy", ("p",), "3117,45"),
        ("futures-agg-trade-buy", ("p",), None),
        ("futures-agg-trade-buy", ("p",), ["3117.45"]),
        ("futures-agg-trade-buy", ("q",), "Infinity"),
        ("futures-agg-trade-buy", ("q",), "1e-400"),
        ("futures-agg-trade-buy", ("q",), {}),
        ("futures-agg-trade-buy", ("T",), "1794301200341"),
        ("futures-agg-trade-buy", ("T",), None),
        ("futures-agg-trade-buy", ("T",), -1),
        ("futures-agg-trade-buy", ("T",), 10**30),
        ("futures-agg-trade-buy", ("m",), "true"),
        ("futures-agg-trade-buy", ("m",), None),
        ("futures-agg-trade-buy", ("e",), []),
        ("futures-kline-forming", ("k",), []),
        ("futures-kline-forming", ("k", "t"), None),
        ("futures-kline-forming", ("k", "h"), "NaN"),
        ("futures-kline-forming", ("k", "v"), "-1"),
        ("futures-kline-forming", ("k", "x"), "true"),
        ("futures-depth", ("T",), "soon"),
        ("futures-depth", ("T",), -1),
        ("futures-depth", ("u",), 9_921_740_027_411.5),
        ("futures-depth", ("pu",), None),
        ("futures-depth", ("b",), [["3117.40"]]),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(file: str, path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(BadMessage):
        futures(broken(file, *path, value=value))


GARBAGE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"<html><body>502</body></html>", id="html"),
    pytest.param(b'{"stream":"ethusdt@aggTrade","da', id="half a message"),
    pytest.param(b"\xff\xfe\x00", id="binary"),
    pytest.param(b"[" * 5_000, id="absurd nesting"),
    pytest.param(b'{"stream":"x","data":{"e":"depthUpdate","new":' + b"[" * 5_000, id="absurd nesting in a book"),
    pytest.param(b"null", id="null"),
    pytest.param(b"7", id="a number"),
    pytest.param(b'"text"', id="a text"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b'{"stream":"ethusdt@aggTrade"}', id="no data"),
    pytest.param(b'{"stream":"ethusdt@aggTrade","data":null}', id="null for data"),
    pytest.param(b'{"stream":["x"],"data":{"e":"trade2"}}', id="a list for the stream's name"),
    pytest.param(b'{"stream":7,"data":{"e":"trade2"}}', id="a number for the stream's name"),
    pytest.param(b'{"error":{"code":2},"id":1}', id="an error without a reason"),
    pytest.param(b'{"error":"code","id":1}', id="a text for an error"),
    pytest.param(read("futures-all-mini-tickers"), id="an array stream, which is never asked for"),
]


@pytest.mark.parametrize("parse", [futures, spot])
@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_is_refused_and_kept_for_the_log(parse: Parser, raw: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        parse(raw)
    assert (refused.value.venue, refused.value.raw) == ("binance", raw[:200])
    assert str(refused.value) == "binance sent a message that could not be read"  # what a client may see


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("eEapqTmtkxXbuU"), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(["aggTrade", "trade", "kline", "depthUpdate"]), st.dictionaries(st.text(), JSON), JSON)
def test_whatever_the_venue_sends_it_is_read_or_refused(kind: str, data: dict[str, Any], other: Any) -> None:
    for message in ({"stream": "x", "data": {**data, "e": kind, "k": other}}, {"stream": other, "data": data}, other):
        for parse in (futures, spot):
            try:
                stream, events = parse(orjson.dumps(message))
                assert isinstance(stream, str)
                assert isinstance(events, list)
            except BadMessage:
                continue
