"""Every kind of message Hyperliquid sends → our events. The messages are written from docs/venues/hyperliquid.md."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exchanges.events import Accepted, BookSnapshot, Candle, Trade, Unknown
from exchanges.hyperliquid.parse import parse, texts

MESSAGES = Path(__file__).parent / "messages"


def read(name: str) -> bytes:
    return (MESSAGES / f"{name}.json").read_bytes()


TRADES: list[tuple[str, str, list[dict[str, Any]]]] = [
    (
        "trades-buy",
        "trades:ETH",
        [
            {
                "id": "651204417733092",
                "timestamp_ms": 1_794_301_200_341,
                "taker_side": "buy",
                "price": 3117.4,
                "amount": 0.2043,
                "cost": 636.88482,
            }
        ],
    ),
    (
        "trades-sell-keys-shuffled",
        "trades:ETH",
        [
            {
                "id": "18220514407712",
                "timestamp_ms": 1_794_301_201_002,
                "taker_side": "sell",
                "price": 3117.44,
                "amount": 12.007,
                "cost": 37431.10208,  # exact, where the product of the floats is not
            }
        ],
    ),
    (
        "trades-replay",  # oldest first; two fills of one order, the ids in no order; a hash of zeros
        "trades:kPEPE",
        [
            {
                "id": "902117340055861",
                "timestamp_ms": 1_794_301_181_550,
                "taker_side": "sell",
                "price": 0.013207,
                "amount": 40180.0,
                "cost": 530.65726,
            },
            {
                "id": "104420887316530",
                "timestamp_ms": 1_794_301_181_550,
                "taker_side": "sell",
                "price": 0.013206,
                "amount": 7721.0,
                "cost": 101.963526,
            },
            {
                "id": "330158200914407",
                "timestamp_ms": 1_794_301_199_020,
                "taker_side": "buy",
                "price": 0.013208,
                "amount": 915.0,
                "cost": 12.08532,
            },
        ],
    ),
    (
        "trades-of-a-dex",
        "trades:xyz:SP500",
        [
            {
                "id": "551209983310027",
                "timestamp_ms": 1_794_301_203_115,
                "taker_side": "buy",
                "price": 7108.2,
                "amount": 0.114,
                "cost": 810.3348,
            }
        ],
    ),
    (
        "trades-spot",
        "trades:@107",
        [
            {
                "id": "77120436655190",
                "timestamp_ms": 1_794_301_203_777,
                "taker_side": "sell",
                "price": 44.871,
                "amount": 31.52,
                "cost": 1414.33392,
            }
        ],
    ),
    ("trades-none", "", []),
]

BOOKS: list[tuple[str, str, BookSnapshot]] = [
    (
        "book-plain",
        "l2Book:ETH",
        BookSnapshot(
            bids=[(3117.4, 18.25), (3117.3, 2.0031), (3109.0, 140.5)],
            asks=[(3117.5, 0.912), (3118.0, 33.9051)],
            sequence=0,
            timestamp_ms=1_794_301_200_546,
        ),
    ),
    (
        "book-fast",
        "l2Book:ETH:fast",
        BookSnapshot(bids=[(3117.4, 17.9)], asks=[(3117.5, 1.204)], sequence=0, timestamp_ms=1_794_301_201_080),
    ),
    (
        "book-not-fast-keys-shuffled",
        "l2Book:kPEPE",
        BookSnapshot(bids=[(0.013206, 40180.0)], asks=[(0.013208, 915.0)], sequence=0, timestamp_ms=1_794_301_201_599),
    ),
    (
        "book-aggregated",  # never asked for, and a book all the same
        "l2Book:ETH",
        BookSnapshot(bids=[(3110.0, 512.04)], asks=[(3120.0, 498.7)], sequence=0, timestamp_ms=1_794_301_206_002),
    ),
    (
        "book-delisted",
        "l2Book:MATIC",
        BookSnapshot(bids=[], asks=[], sequence=0, timestamp_ms=1_794_301_206_002),
    ),
    (
        "book-one-side-empty",
        "l2Book:xyz:SP500:fast",
        BookSnapshot(bids=[], asks=[(7108.4, 0.52)], sequence=0, timestamp_ms=1_794_301_206_540),
    ),
]

CANDLES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "candle",
        "candle:ETH:1m",
        {"open_time_ms": 1_794_301_200_000, "open": 3115.0, "high": 3118.5, "low": 3114.7, "close": 3117.4}
        | {"volume": 402.113},
    ),
    (
        "candle-month",
        "candle:@107:1M",
        {"open_time_ms": 1_793_491_200_000, "open": 39.02, "high": 47.3, "low": 36.115, "close": 44.871}
        | {"volume": 81_204_410.55},
    ),
    (
        "candle-without-trades",
        "candle:xyz:SP500:1m",
        {"open_time_ms": 1_794_301_260_000, "open": 7108.2, "high": 7108.2, "low": 7108.2, "close": 7108.2}
        | {"volume": 0.0},
    ),
]

ACCEPTED = [
    ("ack-trades", "trades:ETH"),
    ("ack-book-fast", "l2Book:ETH:fast"),
    ("ack-book-plain", "l2Book:ETH"),
    ("ack-candle", "candle:kPEPE:15m"),
    ("ack-of-no-coin", "allMids:"),
    ("error-already-subscribed-book", "l2Book:ETH"),
    ("error-already-subscribed-candle", "candle:xyz:SP500:1h"),
]
NOTHING = ["pong", "ack-unsubscribe", "error-already-unsubscribed"]
UNKNOWN = [
    ("error-parsing", "error Error parsing JSON into valid websocket "),
    ("error-too-many-channels", "error Cannot subscribe to more than 1000 chann"),
    ("error-too-many-messages", "error Cannot send more than 2000 messages per "),
    ("error-invalid-subscription", 'error Invalid subscription {"type":"trades","c'),
    ("bbo", "bbo"),
    ("context-perp", "activeAssetCtx"),
    ("context-spot", "activeSpotAssetCtx"),
    ("all-mids", "allMids"),
    ("fast-contexts", "fastAssetCtxs"),
    ("post-unknown-coin", "post"),
]


@pytest.mark.parametrize(("file", "stream", "rows"), TRADES, ids=[row[0] for row in TRADES])
def test_trades(file: str, stream: str, rows: list[dict[str, Any]]) -> None:
    raw = json.loads(read(file))["data"]
    assert parse(read(file)) == (stream, [Trade(**row, raw=own) for row, own in zip(rows, raw, strict=True)])


@pytest.mark.parametrize(("file", "stream", "book"), BOOKS, ids=[row[0] for row in BOOKS])
def test_every_book_is_a_whole_one_and_only_its_flag_tells_the_fast_from_the_plain(
    file: str, stream: str, book: BookSnapshot
) -> None:
    raw = read(file)
    assert parse(raw) == (stream, [replace(book, raw=raw)])


@pytest.mark.parametrize("file", [row[0] for row in BOOKS])
def test_the_texts_of_a_book_are_its_levels_as_they_were_written(file: str) -> None:
    sides = json.loads(read(file))["data"]["levels"]
    assert texts(read(file)) == tuple([(level["px"], level["sz"]) for level in side] for side in sides)


@pytest.mark.parametrize(("file", "stream", "facts"), CANDLES, ids=[row[0] for row in CANDLES])
def test_a_candle_is_never_said_to_be_closed_or_open(file: str, stream: str, facts: dict[str, Any]) -> None:
    assert parse(read(file)) == (stream, [Candle(**facts, closed=None)])


@pytest.mark.parametrize(("file", "request_name"), ACCEPTED, ids=[row[0] for row in ACCEPTED])
def test_an_answer_names_the_subscription_it_accepts(file: str, request_name: str) -> None:
    assert parse(read(file)) == (request_name, [Accepted()])


@pytest.mark.parametrize("file", NOTHING)
def test_what_needs_no_action_says_nothing(file: str) -> None:
    assert parse(read(file)) == ("", [])


def test_the_greeting_is_no_json_and_says_nothing() -> None:
    assert parse(b"Websocket connection established.") == ("", [])


@pytest.mark.parametrize(("file", "kind"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_a_kind_nobody_asked_for_is_named_and_nothing_more(file: str, kind: str) -> None:
    assert parse(read(file)) == ("", [Unknown(kind=kind)])


def test_every_message_file_is_used() -> None:
    used = {row[0] for table in (TRADES, BOOKS, CANDLES, ACCEPTED, UNKNOWN) for row in table}
    assert used | set(NOTHING) == {path.stem for path in MESSAGES.glob("*.json")}
