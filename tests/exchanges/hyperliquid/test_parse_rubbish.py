"""What Hyperliquid does not document is refused: a field missing or of the wrong kind, garbage, anything at all."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.errors import BadMessage
from exchanges.hyperliquid.parse import parse
from tests.exchanges.hyperliquid.test_parse import read

Path = tuple[str | int, ...]


def broken(file: str, *path: str | int, value: Any = None, absent: bool = False) -> bytes:
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


FIELDS: list[tuple[str, Path]] = [
    *[("trades-buy", (0, key)) for key in ("coin", "side", "px", "sz", "time", "tid")],
    *[("book-fast", (key,)) for key in ("coin", "time", "levels")],
    *[("book-plain", ("levels", side)) for side in (0, 1)],
    *[("book-plain", ("levels", side, 0, key)) for side in (0, 1) for key in ("px", "sz")],
    *[("candle", (key,)) for key in "tsiohlcv"],
    *[("ack-trades", (key,)) for key in ("method", "subscription")],
    ("ack-trades", ("subscription", "type")),
    ("ack-candle", ("subscription", "interval")),
]


@pytest.mark.parametrize(("file", "path"), FIELDS)
def test_a_message_without_a_field_that_is_read_is_refused(file: str, path: Path) -> None:
    with pytest.raises(BadMessage):
        parse(broken(file, *path, absent=True))


NO_PRICE: list[Any] = ["NaN", "Infinity", "0", "-3117.4", "3117,4", "1e400", "", None, [], {}]
NO_AMOUNT: list[Any] = ["NaN", "Infinity", "-1", None, []]
BID: Path = ("levels", 0, 0)
WRONG: list[tuple[str, Path, Any]] = [
    *[("trades-buy", (0, "px"), value) for value in (*NO_PRICE, "sNaN")],
    *[("trades-buy", (0, "sz"), value) for value in (*NO_AMOUNT, "0", "1e-400")],
    ("trades-buy", (0, "side"), "b"),  # a third side is an error and no sell
    ("trades-buy", (0, "side"), None),
    ("trades-buy", (0, "side"), []),
    ("trades-buy", (0, "time"), "1794301200341"),
    ("trades-buy", (0, "time"), -1),
    ("trades-buy", (0, "time"), 1_794_301_200_341.5),
    ("trades-buy", (0,), None),
    ("trades-replay", (2, "px"), "NaN"),  # one rotten row, and the message is not trusted
    *[("book-plain", (*BID, "px"), value) for value in NO_PRICE],
    *[("book-plain", (*BID, "sz"), value) for value in NO_AMOUNT],
    ("book-plain", ("levels", 1, 1), ["3118.0", "33.9051"]),
    ("book-plain", ("levels", 1), None),
    ("book-plain", ("levels",), [[], [], []]),
    ("book-plain", ("levels",), {"bids": [], "asks": []}),
    ("book-plain", ("levels",), None),
    ("book-plain", ("time",), None),
    ("book-plain", ("time",), "soon"),
    ("book-plain", ("time",), -1),
    ("book-plain", ("time",), 10**18),
    ("book-plain", ("coin",), None),
    ("book-plain", ("coin",), 7),
    ("book-fast", ("fast",), "perhaps"),
    *[("candle", (key,), value) for key in "ohlc" for value in NO_PRICE],
    *[("candle", ("v",), value) for value in NO_AMOUNT],
    ("candle", ("t",), "1794301200000"),
    ("candle", ("t",), None),
    ("ack-trades", ("subscription",), None),
    ("ack-trades", ("subscription",), ["trades", "ETH"]),
]


@pytest.mark.parametrize(("file", "path", "value"), WRONG)
def test_a_field_of_the_wrong_kind_is_refused(file: str, path: Path, value: Any) -> None:
    with pytest.raises(BadMessage):
        parse(broken(file, *path, value=value))


DEEP = b"[" * 100_000 + b"]" * 100_000
GARBAGE = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"<html><body>502</body></html>", id="html"),
    pytest.param(b"Websocket connection closed.", id="a text that is not the greeting"),
    pytest.param(b'{"channel":"trades","da', id="half a message"),
    pytest.param(read("book-plain")[:80], id="half a book"),
    pytest.param(b"\xff\xfe\x00", id="binary"),
    pytest.param(b"null", id="null"),
    pytest.param(b"7", id="a number"),
    pytest.param(b'"text"', id="a text"),
    pytest.param(b"[]", id="a list"),
    pytest.param(b"{}", id="no channel"),
    pytest.param(b'{"channel":["trades"],"data":[]}', id="a list for a channel"),
    *[
        pytest.param(b'{"channel":"%s"%s}' % (channel, data), id=f"{channel.decode()} with {what}")
        for channel in (b"trades", b"candle", b"l2Book", b"subscriptionResponse", b"error")
        for what, data in {
            "no data": b"",
            "null for data": b',"data":null',
            "an empty object for data": b',"data":{}',
            "a number for data": b',"data":0',
        }.items()
    ],
    pytest.param(b'{"channel":"trades","data":""}', id="a text for trades"),
    pytest.param(b'{"channel":"candle","data":[]}', id="a list for a candle"),
    pytest.param(b'{"channel":"error","data":"Already subscribed: "}', id="subscribed already to nothing"),
    pytest.param(b'{"channel":"error","data":"Already subscribed: []"}', id="subscribed already to a list"),
    pytest.param(DEEP, id="absurd nesting"),
    pytest.param(b'{"channel":"trades","data":%s}' % DEEP, id="absurd nesting for trades"),
    pytest.param(b'{"channel":"l2Book","data":{"levels":%s}}' % DEEP, id="absurd nesting for levels"),
    pytest.param(b'{"new":%s,"channel":"l2Book","data":{"levels":[]}}' % DEEP, id="absurd nesting beside a book"),
]


@pytest.mark.parametrize("raw", GARBAGE)
def test_garbage_is_refused_and_kept_for_the_log(raw: bytes) -> None:
    with pytest.raises(BadMessage) as refused:
        parse(raw)
    assert (refused.value.venue, refused.value.raw) == ("hyperliquid", raw[:200])
    assert str(refused.value) == "hyperliquid sent a message that could not be read"  # what a client may see


KEYS = ("coin", "side", "px", "sz", "time", "tid", "levels", "fast", "t", "s", "i", "o", "v", "method", "subscription")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)
CHANNELS = ("trades", "l2Book", "candle", "subscriptionResponse", "error", "pong", "bbo")


@given(st.sampled_from(CHANNELS), JSON)
def test_whatever_the_venue_sends_it_is_read_or_refused(channel: str, data: Any) -> None:
    for message in ({"channel": channel, "data": data}, {"channel": data, "data": channel}, data):
        try:
            stream, events = parse(orjson.dumps(message))
            assert isinstance(stream, str)
            assert isinstance(events, list)
        except BadMessage:
            continue
