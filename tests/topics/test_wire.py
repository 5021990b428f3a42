"""The bytes a client gets, to the letter: CCXT's shapes and key order, and the envelope around them."""

import time

import orjson
import pytest

from exchanges.book import OrderBook
from exchanges.events import BookSnapshot, Candle, Trade
from tests.topics.scripted_venue import EPOCH_MS, SYMBOL, candle, topic_key
from topics.key import Cursor, TopicKey
from topics.wire import DataEncoder, book_view, candle_json, iso8601, rows_of, snapshot_view, trade_row

TRADE = Trade(
    id="7",
    timestamp_ms=1_700_000_000_007,
    taker_side="sell",
    price=35_000.1,
    amount=0.25,
    cost=8_750.025,
    raw={"a": 7, "p": "35000.1"},
)
BOOK = BookSnapshot(
    bids=[(100.5, 2.0), (100.0, 1.5)], asks=[(101.0, 0.001), (101.5, 3.0)], sequence=77, timestamp_ms=1_500
)


def test_a_trade_is_ccxts_letter_by_letter() -> None:
    assert orjson.dumps(trade_row(TRADE, SYMBOL)) == (
        b'{"info":{"a":7,"p":"35000.1"},"id":"7","timestamp":1700000000007,"datetime":"2023-11-14T22:13:20.007Z",'
        b'"symbol":"BTC/USDT:USDT","order":null,"type":null,"side":"sell","takerOrMaker":null,"price":35000.1,'
        b'"amount":0.25,"cost":8750.025,"fee":null,"fees":[]}'
    )


def test_a_candle_is_ccxts_row_by_open_time() -> None:
    row = candle_json(Candle(open_time_ms=60_000, open=1.0, high=2.5, low=0.5, close=2.0, volume=10.25, closed=True))

    assert (row.open_time_ms, row.payload) == (60_000, b"[60000,1.0,2.5,0.5,2.0,10.25]")


def test_a_candle_whose_volume_the_venue_does_not_say_has_null() -> None:
    row = candle_json(Candle(open_time_ms=0, open=1.0, high=1.0, low=1.0, close=1.0, volume=None, closed=None))

    assert orjson.loads(row.payload) == [0, 1.0, 1.0, 1.0, 1.0, None]


def test_a_book_is_ccxts_letter_by_letter() -> None:
    assert orjson.dumps(snapshot_view(BOOK, SYMBOL, levels=20)) == (
        b'{"symbol":"BTC/USDT:USDT","bids":[[100.5,2.0],[100.0,1.5]],"asks":[[101.0,0.001],[101.5,3.0]],'
        b'"timestamp":1500,"datetime":"1970-01-01T00:00:01.500Z","nonce":77}'
    )


def test_a_book_of_a_venue_without_sequence_or_time_says_null() -> None:
    silent = BookSnapshot(bids=[(1.0, 1.0)], asks=[(2.0, 1.0)], sequence=0, timestamp_ms=None)

    view = snapshot_view(silent, SYMBOL, levels=1)

    assert (view["nonce"], view["timestamp"], view["datetime"]) == (None, None, None)


@pytest.mark.parametrize(
    ("levels", "bids", "asks"),
    [(1, [[100.5, 2.0]], [[101.0, 0.001]]), (5, [[100.5, 2.0], [100.0, 1.5]], [[101.0, 0.001], [101.5, 3.0]])],
)
def test_a_view_has_the_best_levels_of_each_side(levels: int, bids: list[list[float]], asks: list[list[float]]) -> None:
    view = orjson.loads(orjson.dumps(book_view(OrderBook(BOOK), SYMBOL, levels=levels)))

    assert (view["bids"], view["asks"]) == (bids, asks)


def test_rest_and_websocket_write_the_same_book() -> None:
    assert snapshot_view(BOOK, SYMBOL, levels=2) == book_view(OrderBook(BOOK), SYMBOL, levels=2)


def test_a_data_frame_is_the_contracts_letter_by_letter() -> None:
    encoder = DataEncoder(topic_key("orderbook", levels=5, type="spot"))

    frame = encoder.encode(Cursor(EPOCH_MS, 3), [1], event_ms=10, received_ms=11, now_ms=12)

    assert frame == (
        b'{"type":"orderbook","channel":"orderbook","topic":{"exchange":"scripted","symbol":"BTC/USDT:USDT",'
        b'"params":{"levels":5,"type":"spot"}},"cursor":"1700000000000-3","ts":{"ex":10,"rx":11,"tx":12},"data":[1]}'
    )


def test_an_event_the_venue_does_not_date_has_null() -> None:
    frame = DataEncoder(topic_key("ohlcv")).encode(Cursor(1, 1), [], event_ms=None, received_ms=2, now_ms=3)

    assert orjson.loads(frame)["ts"] == {"ex": None, "rx": 2, "tx": 3}


def test_an_event_at_time_zero_is_dated() -> None:
    frame = DataEncoder(topic_key("trades")).encode(Cursor(1, 1), [], event_ms=0, received_ms=2, now_ms=3)

    assert orjson.loads(frame)["ts"]["ex"] == 0


def test_a_symbol_with_quotes_stays_inside_its_string() -> None:
    hostile = TopicKey("scripted", "trades", 'A"}/B\\', ())

    frame = DataEncoder(hostile).encode(Cursor(1, 1), [], event_ms=None, received_ms=0, now_ms=0)

    assert orjson.loads(frame)["topic"] == {"exchange": "scripted", "symbol": 'A"}/B\\', "params": {}}


def test_the_rows_of_a_frame_are_its_data() -> None:
    rows = [orjson.Fragment(candle_json(candle(n)).payload) for n in (1, 2)]
    frame = DataEncoder(topic_key("ohlcv")).encode(Cursor(1, 1), rows, event_ms=None, received_ms=0, now_ms=0)

    assert [row[0] for row in rows_of(frame)] == [EPOCH_MS + 60_000, EPOCH_MS + 120_000]


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (1_000, "1970-01-01T00:00:01.000Z"),
        (1_709_164_799_999, "2024-02-28T23:59:59.999Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (1_709_164_800_050, "2024-02-29T00:00:00.050Z"),  # the second is remembered, its milliseconds are not
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_iso_8601_in_utc_with_milliseconds(timestamp_ms: int, text: str) -> None:
    assert iso8601(timestamp_ms) == text


def test_times_do_not_depend_on_where_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        assert iso8601(1_710_000_000_000) == "2024-03-09T16:00:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()
