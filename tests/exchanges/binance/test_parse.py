"""Every kind of message Binance documents → our events. The messages are written from docs/venues/binance.md."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exchanges.binance.parse import futures, spot, texts
from exchanges.events import Accepted, BookDelta, Candle, Event, Leaving, Refused, Trade, Unknown, VoidTrade
from exchanges.venue import Parsed

MESSAGES = Path(__file__).parent / "messages"
Parser = Callable[[bytes], Parsed]


def read(name: str) -> bytes:
    return (MESSAGES / f"{name}.json").read_bytes()


def trade(file: str, **facts: Any) -> Trade:
    return Trade(**facts, raw=json.loads(read(file))["data"])


TRADES: list[tuple[str, Parser, str, list[Event]]] = [
    (
        "futures-agg-trade-buy",
        futures,
        "ethusdt@aggTrade",
        [
            trade(
                "futures-agg-trade-buy",
                id="2210457781",
                timestamp_ms=1_794_301_200_341,
                taker_side="buy",
                price=3117.45,
                amount=0.64,
                cost=1995.168,
            )
        ],
    ),
    (
        "futures-agg-trade-sell-keys-shuffled",
        futures,
        "ethusdt@aggTrade",
        [
            trade(
                "futures-agg-trade-sell-keys-shuffled",
                id="2210457782",
                timestamp_ms=1_794_301_201_002,
                taker_side="sell",
                price=3117.47,
                amount=15.371,
                cost=47918.63137,  # exact, where the product of the floats is not
            )
        ],
    ),
    (
        "futures-agg-trade-beyond-ascii",
        futures,
        "币安人生usdt@aggTrade",
        [
            trade(
                "futures-agg-trade-beyond-ascii",
                id="881204",
                timestamp_ms=1_794_301_202_001,
                taker_side="sell",
                price=0.07319,
                amount=1204.0,
                cost=88.12076,
            )
        ],
    ),
    (
        "futures-trade-market",
        futures,
        "ethusdt@trade",
        [
            trade(
                "futures-trade-market",
                id="6604190233",
                timestamp_ms=1_794_301_200_341,
                taker_side="buy",
                price=3117.45,
                amount=0.128,
                cost=399.0336,
            )
        ],
    ),
    ("futures-trade-insurance-fund", futures, "ethusdt@trade", [VoidTrade(id="6604190301")]),
    ("futures-trade-adl", futures, "ethusdt@trade", [VoidTrade(id="6604190302")]),
    ("futures-trade-na", futures, "ethusdt@trade", [VoidTrade(id="6604190303")]),
    (
        "spot-agg-trade",
        spot,
        "ethusdt@aggTrade",
        [
            trade(
                "spot-agg-trade",
                id="771903321",
                timestamp_ms=1_794_301_205_032,
                taker_side="sell",
                price=3116.12,
                amount=0.05,
                cost=155.806,
            )
        ],
    ),
    (
        "spot-trade",
        spot,
        "ethusdt@trade",
        [
            trade(
                "spot-trade",
                id="1540022111",
                timestamp_ms=1_794_301_205_040,
                taker_side="buy",
                price=3116.13,
                amount=0.331,
                cost=1031.43903,
            )
        ],
    ),
]

CANDLES: list[tuple[str, Parser, str, Candle]] = [
    (
        "futures-kline-forming",
        futures,
        "ethusdt@kline_1m",
        Candle(
            open_time_ms=1_794_301_200_000,
            open=3115.02,
            high=3118.0,
            low=3114.77,
            close=3117.44,
            volume=402.113,
            closed=False,
        ),
    ),
    (
        "futures-kline-closed",
        futures,
        "ethusdt@kline_1m",
        Candle(
            open_time_ms=1_794_301_200_000,
            open=3115.02,
            high=3118.55,
            low=3114.77,
            close=3116.9,
            volume=977.64,
            closed=True,
        ),
    ),
    (
        "futures-kline-without-trades",
        futures,
        "ethusdt@kline_1m",
        Candle(
            open_time_ms=1_794_301_260_000,
            open=3116.9,
            high=3116.9,
            low=3116.9,
            close=3116.9,
            volume=0.0,
            closed=False,
        ),
    ),
    (
        "spot-kline",
        spot,
        "ethusdt@kline_1h",
        Candle(
            open_time_ms=1_794_301_200_000,
            open=3115.0,
            high=3119.9,
            low=3113.55,
            close=3116.13,
            volume=88.412,
            closed=False,
        ),
    ),
]

DELTAS: list[tuple[str, Parser, BookDelta]] = [
    (
        "futures-depth",  # ``U`` says nothing here: ``pu`` does
        futures,
        BookDelta(
            bids=[(3117.4, 18.25), (3109.0, 0.0)],
            asks=[(3117.45, 0.912)],
            prev_sequence=9_921_740_018_640,
            last_sequence=9_921_740_027_411,
            timestamp_ms=1_794_301_203_115,
        ),
    ),
    (
        "futures-depth-one-side-empty",
        futures,
        BookDelta(
            bids=[],
            asks=[(3120.11, 0.0)],
            prev_sequence=9_921_740_027_411,
            last_sequence=9_921_740_031_007,
            timestamp_ms=1_794_301_203_216,
        ),
    ),
    (
        "spot-depth",  # no ``pu`` and no ``T``: ``U`` and ``E`` are what there is
        spot,
        BookDelta(
            bids=[(3116.12, 4.1)],
            asks=[(3116.13, 0.0), (3116.2, 7.25)],
            prev_sequence=60_118_822_000,
            last_sequence=60_118_822_009,
            timestamp_ms=1_794_301_205_300,
        ),
    ),
]

UNKNOWN: list[tuple[str, Parser, str, str]] = [
    ("futures-book-ticker", futures, "ethusdt@bookTicker", "bookTicker"),
    ("futures-mark-price", futures, "ethusdt@markPrice@1s", "markPriceUpdate"),
    ("spot-book-ticker", spot, "ethusdt@bookTicker", "no event type"),
    ("spot-partial-depth", spot, "ethusdt@depth5", "no event type"),
    ("unwrapped", spot, "", "trade"),
]

TYPO = "Invalid request: unknown variant `SUBSCRIB`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`"
ANSWERS: list[tuple[str, str, Event]] = [
    ("ack", "3120411907", Accepted()),
    ("list-of-subscriptions", "41", Accepted()),
    ("error-nested", "3120411907", Refused(reason=TYPO)),
    ("error-flat", "3120411907", Refused(reason="Invalid request: property name must be a string")),
    ("error-of-no-request", "", Refused(reason="Too many subscriptions")),
]


@pytest.mark.parametrize(("file", "parse", "stream", "events"), TRADES, ids=[row[0] for row in TRADES])
def test_trades(file: str, parse: Parser, stream: str, events: list[Event]) -> None:
    assert parse(read(file)) == (stream, events)


@pytest.mark.parametrize(("file", "parse", "stream", "candle"), CANDLES, ids=[row[0] for row in CANDLES])
def test_candles(file: str, parse: Parser, stream: str, candle: Candle) -> None:
    assert parse(read(file)) == (stream, [candle])


@pytest.mark.parametrize(("file", "parse", "delta"), DELTAS, ids=[row[0] for row in DELTAS])
def test_book_deltas(file: str, parse: Parser, delta: BookDelta) -> None:
    raw = read(file)
    assert parse(raw) == ("ethusdt@depth@100ms", [replace(delta, raw=raw)])


@pytest.mark.parametrize("file", [row[0] for row in DELTAS])
def test_the_texts_of_a_delta_are_its_levels_as_they_were_written(file: str) -> None:
    data = json.loads(read(file))["data"]
    assert texts(read(file)) == tuple([(price, amount) for price, amount in data[side]] for side in "ba")


@pytest.mark.parametrize(("file", "parse", "stream", "kind"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_a_kind_nobody_asked_for_is_named_and_nothing_more(file: str, parse: Parser, stream: str, kind: str) -> None:
    assert parse(read(file)) == (stream, [Unknown(kind=kind)])


SHUTDOWNS = ["spot-server-shutdown", "spot-server-shutdown-unwrapped"]


@pytest.mark.parametrize("file", SHUTDOWNS)
def test_a_server_that_announces_its_end_speaks_of_the_socket_and_of_no_stream(file: str) -> None:
    assert spot(read(file)) == ("", [Leaving(reason="serverShutdown")])


@pytest.mark.parametrize("parse", [futures, spot])
@pytest.mark.parametrize(("file", "request_id", "answer"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_an_answer_names_the_request_it_belongs_to(parse: Parser, file: str, request_id: str, answer: Event) -> None:
    assert parse(read(file)) == (request_id, [answer])


def test_every_message_file_is_used() -> None:
    used = {row[0] for table in (TRADES, CANDLES, DELTAS, UNKNOWN, ANSWERS) for row in table}
    used |= set(SHUTDOWNS)
    assert used | {"futures-all-mini-tickers"} == {path.stem for path in MESSAGES.glob("*.json")}
