"""What a client may send, and how it is told what it may not."""

from typing import Any

import pytest

from exchanges.errors import GatewayError
from gateway import commands
from gateway.commands import MAX_REWIND, Batch, Hello, One, Ping, Plain, TopicRequest


def refusal(message: dict[str, Any]) -> tuple[str, Any, Any]:
    """Code, field and what is allowed, of a command that must not pass."""
    with pytest.raises(GatewayError) as caught:
        commands.parse(message)
    details = caught.value.details
    return caught.value.code, details.get("field"), details.get("allowed")


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"op": "ping"}, Ping(op="ping")),
        ({"op": "ping", "id": 1, "t": 1.5}, Ping(op="ping", id=1, t=1.5)),
        ({"op": "list", "id": "a"}, Plain(op="list", id="a")),
        ({"op": "unsubscribeAll"}, Plain(op="unsubscribeAll")),
        ({"op": "hello", "client": "acme/1.2", "token": "t"}, Hello(op="hello", client="acme/1.2", token="t")),
        (
            {"op": "subscribe", "channel": "trades", "exchange": "bybit", "symbol": "BTC/USDT", "params": {"a": 1}},
            One(op="subscribe", channel="trades", exchange="bybit", symbol="BTC/USDT", params={"a": 1}),
        ),
        (
            {"op": "subscribe", "channel": "ohlcv", "rewind": 5, "snapshot": False, "since": "1-2"},
            One(op="subscribe", channel="ohlcv", rewind=5, snapshot=False, since="1-2"),
        ),
        ({"op": "unsubscribe", "channel": "orderbook"}, One(op="unsubscribe", channel="orderbook")),
        ({"op": "snapshot", "channel": "orderbook"}, One(op="snapshot", channel="orderbook")),
        ({"op": "subscribe", "topics": []}, Batch(op="subscribe", topics=[])),
        ({"op": "unsubscribe", "id": 3, "topics": [None, 5]}, Batch(op="unsubscribe", id=3, topics=[None, 5])),
    ],
)
def test_a_command_is_what_was_sent(message: dict[str, Any], command: commands.Command) -> None:
    assert commands.parse(message) == command


def test_what_a_subscription_does_not_say_has_the_contracts_defaults() -> None:
    request = commands.parse_topic({"channel": "trades"})

    assert request == TopicRequest(
        channel="trades", exchange=None, symbol=None, params={}, since=None, rewind=0, snapshot=None
    )


@pytest.mark.parametrize("text", ['{"op":"ping"}', b'{"op":"ping"}', ' {"op" : "ping"}\n'])
def test_a_message_is_one_json_object_as_text_or_bytes(text: str | bytes) -> None:
    assert commands.read(text) == {"op": "ping"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        b"",
        "ping",
        "[]",
        '"ping"',
        "5",
        "null",
        "{",
        '{"op":"ping"}{"op":"ping"}',
        '{"op":NaN}',
        b"\xff\xfe",
        b'{"op":"\xff"}',
        "[" * 5_000,
        '{"a":' * 2_000,
        "\ud800",
    ],
)
def test_anything_else_is_no_message(text: str | bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        commands.read(text)

    assert caught.value.code == "INVALID_MESSAGE"


@pytest.mark.parametrize("op", [None, "", "Subscribe", "wake", 5, ["ping"], {"op": "ping"}, True])
def test_an_unknown_operation_is_refused_with_the_known_ones(op: Any) -> None:
    allowed = ["hello", "list", "pause", "ping", "resume", "snapshot", "subscribe", "unsubscribe", "unsubscribeAll"]

    assert refusal({"op": op}) == ("INVALID_COMMAND", "op", allowed)


def test_a_command_without_an_operation_is_refused() -> None:
    assert refusal({"channel": "trades"})[:2] == ("INVALID_COMMAND", "op")


@pytest.mark.parametrize(
    ("message", "allowed"),
    [
        ({"op": "ping", "x": 1}, ["id", "op", "t"]),
        ({"op": "list", "x": 1}, ["id", "op"]),
        ({"op": "hello", "x": 1}, ["client", "id", "op", "token"]),
        ({"op": "subscribe", "topics": [], "x": 1}, ["id", "op", "topics"]),
        (
            {"op": "subscribe", "channel": "trades", "x": 1},
            ["channel", "exchange", "id", "op", "params", "rewind", "since", "snapshot", "symbol"],
        ),
    ],
)
def test_an_unknown_field_is_refused_with_the_known_ones(message: dict[str, Any], allowed: list[str]) -> None:
    assert refusal(message) == ("INVALID_COMMAND", "x", allowed)


def test_snapshots_are_not_asked_for_in_batches() -> None:
    code, field, _ = refusal({"op": "snapshot", "channel": "orderbook", "topics": []})

    assert (code, field) == ("INVALID_COMMAND", "topics")


@pytest.mark.parametrize("channel", [None, "trade", "ticker", 5, ["trades"]])
def test_an_unknown_channel_is_refused_with_the_known_ones(channel: Any) -> None:
    assert refusal({"op": "subscribe", "channel": channel}) == (
        "INVALID_TOPIC",
        "channel",
        ["trades", "orderbook", "ohlcv"],
    )


def test_a_topic_without_a_channel_is_refused_with_the_channels() -> None:
    assert refusal({"op": "subscribe"}) == ("INVALID_TOPIC", "channel", ["trades", "orderbook", "ohlcv"])


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"symbol": ""}, "INVALID_TOPIC", "symbol"),
        ({"symbol": 5}, "INVALID_TOPIC", "symbol"),
        ({"symbol": "x" * 65}, "INVALID_TOPIC", "symbol"),
        ({"exchange": ["bybit"]}, "INVALID_TOPIC", "exchange"),
        ({"params": None}, "INVALID_TOPIC", "params"),
        ({"params": []}, "INVALID_TOPIC", "params"),
        ({"rewind": -1}, "VALIDATION_ERROR", "rewind"),
        ({"rewind": MAX_REWIND + 1}, "VALIDATION_ERROR", "rewind"),
        ({"rewind": 5.0}, "VALIDATION_ERROR", "rewind"),
        ({"rewind": "5"}, "VALIDATION_ERROR", "rewind"),
        ({"rewind": True}, "VALIDATION_ERROR", "rewind"),
        ({"snapshot": 1}, "VALIDATION_ERROR", "snapshot"),
        ({"snapshot": "yes"}, "VALIDATION_ERROR", "snapshot"),
        ({"since": 5}, "VALIDATION_ERROR", "since"),
        ({"id": "x" * 65}, "VALIDATION_ERROR", "id"),
        ({"id": 1.5}, "VALIDATION_ERROR", "id"),
        ({"id": True}, "VALIDATION_ERROR", "id"),
        ({"id": []}, "VALIDATION_ERROR", "id"),
    ],
)
def test_a_field_of_a_wrong_kind_is_refused_by_name(change: dict[str, Any], code: str, field: str) -> None:
    assert refusal({"op": "subscribe", "channel": "trades", **change})[:2] == (code, field)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"op": "ping", "t": "now"}, "t"),
        ({"op": "ping", "t": True}, "t"),
        ({"op": "hello", "client": "x" * 129}, "client"),
        ({"op": "hello", "token": "x" * 4_097}, "token"),
        ({"op": "subscribe", "topics": {}}, "topics"),
        ({"op": "unsubscribe", "topics": None}, "topics"),
    ],
)
def test_the_other_commands_fields_are_checked_too(message: dict[str, Any], field: str) -> None:
    assert refusal(message)[:2] == ("VALIDATION_ERROR", field)


@pytest.mark.parametrize(
    "item", [None, 5, "trades", [], {}, {"channel": "x"}, {"channel": "trades", "op": "subscribe"}]
)
def test_an_item_of_a_batch_that_is_no_topic_is_refused_alone(item: Any) -> None:
    with pytest.raises(GatewayError) as caught:
        commands.parse_topic(item)

    assert caught.value.code in ("INVALID_COMMAND", "INVALID_TOPIC", "VALIDATION_ERROR")


def test_a_refusal_repeats_an_unknown_name_only_in_part() -> None:
    assert refusal({"op": "ping", "x" * 1_000: 1})[1] == "x" * 64


@pytest.mark.parametrize("value", [{"token": 5}, {"token": ["s3cret"]}])
def test_a_refusal_never_repeats_a_value(value: dict[str, Any]) -> None:
    with pytest.raises(GatewayError) as caught:
        commands.parse({"op": "hello", **value})

    assert "s3cret" not in f"{caught.value} {caught.value.details}"


@pytest.mark.parametrize(
    ("message", "identity"),
    [
        ({"id": 7}, 7),
        ({"id": 0}, 0),
        ({"id": "a"}, "a"),
        ({"id": ""}, ""),
        ({"id": "x" * 64}, "x" * 64),
        ({"id": "x" * 65}, None),
        ({"id": True}, None),
        ({"id": 1.5}, None),
        ({"id": None}, None),
        ({"id": [1]}, None),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_the_id_to_echo_is_a_short_string_or_an_integer(message: Any, identity: Any) -> None:
    assert commands.identity(message) == identity
