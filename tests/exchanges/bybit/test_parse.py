"""Every kind of message Bybit documents → our events. The messages are written from docs/venues/bybit.md."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exchanges.bybit.parse import inverse, linear, texts
from exchanges.events import Accepted, BookDelta, BookSnapshot, Candle, Event, Refused, Trade, Unknown
from exchanges.venue import Parsed

MESSAGES = Path(__file__).parent / "messages"
Parser = Callable[[bytes], Parsed]


def read(name: str) -> bytes:
    return (MESSAGES / f"{name}.json").read_bytes()


def trade(file: str, row: int = 0, **facts: Any) -> Trade:
    return Trade(**facts, raw=json.loads(read(file))["data"][row])


TRADES: list[tuple[str, Parser, str, list[Event]]] = [
    (
        "linear-trade-buy",
        linear,
        "publicTrade.ETHUSDT",
        [
            trade(
                "linear-trade-buy",
                id="9b07c1de-3f42-5a58-8d11-0c4e7d2a6f01",
                timestamp_ms=1_794_301_200_341,  # the match's, not the frame's
                taker_side="buy",
                price=3117.45,
                amount=0.128,
                cost=399.0336,
            )
        ],
    ),
    (
        "linear-trades-block-and-rpi-keys-shuffled",
        linear,
        "publicTrade.ETHUSDT",
        [
            trade(
                "linear-trades-block-and-rpi-keys-shuffled",
                0,
                id="4c61e0aa-7d0b-5e02-b7d4-5a8fd0c3e902",
                timestamp_ms=1_794_301_201_002,
                taker_side="sell",
                price=3117.47,
                amount=15.371,
                cost=47918.63137,  # exact, where the product of the floats is not
            ),
            trade(
                "linear-trades-block-and-rpi-keys-shuffled",
                1,
                id="e8d2fb35-90c6-5b9d-a1f3-71b6ce4da803",
                timestamp_ms=1_794_301_201_002,
                taker_side="buy",
                price=3117.4,
                amount=0.05,
                cost=155.87,
            ),
        ],
    ),
    (
        "linear-trade-dated",
        linear,
        "publicTrade.SOLUSDT-25DEC26",
        [
            trade(
                "linear-trade-dated",
                id="0d5f6e7c-1b2a-5c3d-9e4f-8a7b6c5d4e04",
                timestamp_ms=1_794_301_202_014,
                taker_side="sell",
                price=148.11,
                amount=2.7,
                cost=399.897,
            )
        ],
    ),
    (
        "spot-trade",
        linear,
        "publicTrade.ETHUSDT",
        [
            trade(
                "spot-trade",
                id="2290000000913377285",
                timestamp_ms=1_794_301_205_040,
                taker_side="buy",
                price=3116.13,
                amount=0.331,
                cost=1031.43903,
            )
        ],
    ),
    (
        "inverse-trade",
        inverse,
        "publicTrade.ETHUSD",
        [
            trade(
                "inverse-trade",
                id="b3a92c48-55d7-5f60-8c19-e2d4f6a8b005",
                timestamp_ms=1_794_301_206_099,
                taker_side="sell",
                price=3117.45,
                amount=2500.0,
                cost=0.8019374809539825,  # ether: 2500 times the reciprocal of the price, cut to 18 digits
            )
        ],
    ),
    ("no-trades", linear, "publicTrade.ETHUSDT", []),
]

FORMING = Candle(
    open_time_ms=1_794_301_200_000,
    open=3115.02,
    high=3118.0,
    low=3114.77,
    close=3117.44,
    volume=402.113,
    closed=False,
)
NEXT = Candle(
    open_time_ms=1_794_304_800_000, open=3121.6, high=3121.6, low=3121.6, close=3121.6, volume=0.0, closed=False
)
CLOSED = Candle(
    open_time_ms=1_794_301_200_000,
    open=3115.02,
    high=3124.15,
    low=3109.9,
    close=3121.6,
    volume=20117.405,
    closed=True,
)
DAY = Candle(
    open_time_ms=1_794_268_800_000,
    open=3090.55,
    high=3131.2,
    low=3077.01,
    close=3116.13,
    volume=88120.41207,
    closed=False,
)
INVERSE = Candle(
    open_time_ms=1_794_301_200_000,
    open=3116.1,
    high=3117.8,
    low=3116.05,
    close=3117.45,
    volume=59.16244813,  # ether, as CCXT counts it: the venue's volume is dollars
    closed=True,
)
CANDLES: list[tuple[str, Parser, str, list[Candle]]] = [
    ("linear-kline-forming", linear, "kline.1.ETHUSDT", [FORMING]),
    ("linear-kline-closed-and-next", linear, "kline.60.ETHUSDT", [NEXT, CLOSED]),  # in the venue's order
    ("spot-kline", linear, "kline.D.ETHUSDT", [DAY]),
    ("inverse-kline", inverse, "kline.1.ETHUSD", [INVERSE]),
]

SNAPSHOT = BookSnapshot(
    bids=[(3117.4, 18.25), (3117.39, 0.07)],
    asks=[(3117.45, 0.912), (3117.6, 44.1)],
    sequence=7_740_318,
    timestamp_ms=1_794_301_203_115,
)
DELTA = BookDelta(
    bids=[(3117.39, 0.0), (3117.4, 17.5)],
    asks=[(3117.52, 3.004)],
    prev_sequence=7_740_318,
    last_sequence=7_740_319,
    timestamp_ms=1_794_301_203_215,
)
ONE_SIDED = BookDelta(
    bids=[],
    asks=[(3117.6, 0.0)],
    prev_sequence=7_740_319,
    last_sequence=7_740_320,
    timestamp_ms=1_794_301_203_315,
)
RESTART = BookSnapshot(
    bids=[(3116.0, 5.5)], asks=[(3116.05, 1.2)], sequence=1, timestamp_ms=1_794_301_211_000
)  # although its type is delta
SPOT_BOOK = BookSnapshot(
    bids=[(3116.12, 4.1)], asks=[(3116.2, 7.25)], sequence=60_118_822, timestamp_ms=1_794_301_205_300
)
DEEP = BookDelta(
    bids=[(3117.0, 120000.0)],
    asks=[],
    prev_sequence=515_202,
    last_sequence=515_203,
    timestamp_ms=1_794_301_204_003,
)
DELISTED = BookSnapshot(bids=[], asks=[], sequence=1, timestamp_ms=1_794_301_299_000)
BOOKS: list[tuple[str, str, BookSnapshot | BookDelta]] = [
    ("linear-book-snapshot", "orderbook.200.ETHUSDT", SNAPSHOT),
    ("linear-book-delta", "orderbook.200.ETHUSDT", DELTA),
    ("linear-book-delta-one-side-empty", "orderbook.200.ETHUSDT", ONE_SIDED),
    ("linear-book-restart", "orderbook.200.ETHUSDT", RESTART),
    ("linear-book-delisted", "orderbook.200.ETHUSDT", DELISTED),
    ("inverse-book-delta-keys-shuffled", "orderbook.1000.ETHUSD", DEEP),
    ("spot-book-snapshot-times-as-text", "orderbook.200.ETHUSDT", SPOT_BOOK),
]

UNKNOWN: list[tuple[str, str, str]] = [
    ("ticker-snapshot", "tickers.ETHUSDT", "tickers"),
    ("ticker-delta", "tickers.ETHUSDT", "tickers"),
    ("liquidation", "allLiquidation.ETHUSDT", "allLiquidation"),
    ("price-limit", "priceLimit.ETHUSDT", "priceLimit"),
    ("system-status", "system.status", "system"),
    ("ack-options", "", "None"),
]

NO_TRADES = Refused(reason="error:handler not found,topic:publicTrade.NOSUCHUSDT")
NO_BOOK = Refused(reason="error:handler not found,topic:orderbook.500.ETHUSDT")
NO_END = Refused(reason="error:handler not found,topic:publicTrade.ETHUSDT")
ANSWERS: list[tuple[str, str, Event]] = [
    ("ack-contracts", "publicTrade.ETHUSDT", Accepted()),
    ("ack-spot", "kline.D.ETHUSDT", Accepted()),
    ("ack-book", "orderbook.200.ETHUSDT", Accepted()),  # not taken for the book itself
    ("refused-as-subscribed", "publicTrade.ETHUSDT", Accepted()),
    ("refused-topic", "publicTrade.NOSUCHUSDT", NO_TRADES),
    ("refused-book", "orderbook.500.ETHUSDT", NO_BOOK),
    ("refused-unsubscribe", "-publicTrade.ETHUSDT", NO_END),  # the name of no stream
    ("refused-command", "", Refused(reason="error:invalid op")),
]
SILENT = ["pong-contracts", "pong-spot", "pong-options", "ack-unsubscribe"]
both = pytest.mark.parametrize("parse", [linear, inverse])


@pytest.mark.parametrize(("file", "parse", "topic", "events"), TRADES, ids=[row[0] for row in TRADES])
def test_trades(file: str, parse: Parser, topic: str, events: list[Event]) -> None:
    assert parse(read(file)) == (topic, events)


@pytest.mark.parametrize(("file", "parse", "topic", "candles"), CANDLES, ids=[row[0] for row in CANDLES])
def test_candles(file: str, parse: Parser, topic: str, candles: list[Candle]) -> None:
    assert parse(read(file)) == (topic, candles)


@both
@pytest.mark.parametrize(("file", "topic", "book"), BOOKS, ids=[row[0] for row in BOOKS])
def test_books(parse: Parser, file: str, topic: str, book: BookSnapshot | BookDelta) -> None:
    raw = read(file)
    assert parse(raw) == (topic, [replace(book, raw=raw)])


@pytest.mark.parametrize("file", [row[0] for row in BOOKS])
def test_the_texts_of_a_book_are_its_levels_as_they_were_written(file: str) -> None:
    data = json.loads(read(file))["data"]
    assert texts(read(file)) == tuple([(price, amount) for price, amount in data[side]] for side in "ba")


@both
@pytest.mark.parametrize(("file", "topic", "kind"), UNKNOWN, ids=[row[0] for row in UNKNOWN])
def test_a_kind_nobody_asked_for_is_named_and_nothing_more(parse: Parser, file: str, topic: str, kind: str) -> None:
    assert parse(read(file)) == (topic, [Unknown(kind=kind)])


@both
@pytest.mark.parametrize(("file", "request_id", "answer"), ANSWERS, ids=[row[0] for row in ANSWERS])
def test_an_answer_names_the_request_it_belongs_to(parse: Parser, file: str, request_id: str, answer: Event) -> None:
    assert parse(read(file)) == (request_id, [answer])


@both
@pytest.mark.parametrize("file", SILENT)
def test_pongs_and_the_end_of_a_subscription_say_nothing(parse: Parser, file: str) -> None:
    assert parse(read(file)) == ("", [])


@pytest.mark.parametrize(
    ("price", "contracts", "cost"),
    [
        ("3117.45", "1", 0.000320774992381593),
        ("0.62170", "81234", 130664.30754383143),
        ("68405.50", "999999", 14.61869294135644),
    ],
)
def test_an_inverse_trade_costs_what_ccxt_says_to_the_last_digit(price: str, contracts: str, cost: float) -> None:
    message = json.loads(read("inverse-trade"))
    message["data"][0] |= {"p": price, "v": contracts}
    (event,) = inverse(json.dumps(message).encode())[1]
    assert isinstance(event, Trade)
    assert event.cost == cost


def test_every_message_file_is_used() -> None:
    used = {row[0] for table in (TRADES, CANDLES, BOOKS, UNKNOWN, ANSWERS) for row in table}
    assert used | {*SILENT, "book-rpi"} == {path.stem for path in MESSAGES.glob("*.json")}
