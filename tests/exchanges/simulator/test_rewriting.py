"""Messages made wrong and times told by a wrong clock: tables of what goes in and what comes out."""

from typing import Any

import orjson
import pytest

from exchanges.simulator.binance_dialect import dialect
from exchanges.simulator.bybit_dialect import DIALECT as BYBIT
from exchanges.simulator.dialect import Dialect
from exchanges.simulator.hyperliquid_dialect import DIALECT as HYPERLIQUID
from exchanges.simulator.market import Market, Spec
from exchanges.simulator.rewriting import WRONGS, crossed, enlarged, mistyped, skewed

NOW = 1_795_000_000_000
BINANCE = dialect({"btcusdt": "BTCUSDT"}, farewell=False)
DEPTH = {"e": "depthUpdate", "E": NOW, "U": 1, "u": 2, "pu": 0, "b": [["10.1", "1.5"]], "a": [["10.2", "0.000"]]}
TRADE = {"e": "aggTrade", "E": NOW, "a": 3_470_000_001, "p": "10.1", "q": "0.5", "T": NOW, "m": True}
BYBIT_BOOK = {"topic": "orderbook.50.X", "ts": NOW, "data": {"b": [["10.1", "1.5"]], "a": [["10.2", "0"]], "u": 7}}
COIN_BOOK = {"data": {"time": NOW, "levels": [[{"px": "10.1", "sz": "1.5", "n": 3}], [{"px": "10.2", "sz": "2.0"}]]}}


@pytest.mark.parametrize(
    ("told", "shifted"),
    [
        ({"E": NOW, "s": "BTCUSDT", "u": 11_754_746_946_753}, {"E": NOW + 5000, "s": "BTCUSDT", "u": 11754746946753}),
        ([[NOW, "1.5", NOW + 59_999, 12]], [[NOW + 5000, "1.5", NOW + 64_999, 12]]),
        ({"time": f"{NOW}", "seq": "452611930290"}, {"time": f"{NOW + 5000}", "seq": "452611930290"}),
        ({"timeSecond": "1795000000", "timeNano": f"{NOW}000000"},
         {"timeSecond": "1795000005", "timeNano": f"{NOW + 5000}000000"}),
        ({"deliveryDate": NOW, "onboardDate": NOW, "tid": NOW}, {"deliveryDate": NOW, "onboardDate": NOW, "tid": NOW}),
        ({"x": True, "y": None, "z": 1.5, "T": -1}, {"x": True, "y": None, "z": 1.5, "T": -1}),
    ],
)  # fmt: skip
def test_every_time_is_shifted_and_nothing_else(told: Any, shifted: Any) -> None:
    assert orjson.loads(skewed(orjson.dumps(told), BINANCE, ms=5000, now_ms=NOW)) == shifted


def test_what_is_not_json_has_no_time() -> None:
    assert skewed(b"<html>", BINANCE, ms=5000, now_ms=NOW) == b"<html>"


@pytest.mark.parametrize("message", [DEPTH, BYBIT_BOOK, COIN_BOOK])
def test_a_crossed_book_bids_more_than_is_asked(message: dict[str, Any]) -> None:
    spec = Spec(
        base="X", quote="Y", price="10.2", tick="0.1", step="0.1", amount="1", trades_per_second=1,
        changes_per_second=1, levels=50,
    )  # fmt: skip
    market = Market(spec, seed="s", opened_ms=NOW)
    market.advance(NOW)
    wire = {id(DEPTH): BINANCE, id(BYBIT_BOOK): BYBIT, id(COIN_BOOK): HYPERLIQUID}[id(message)]
    changed = crossed(orjson.dumps(message), wire, market)
    assert changed is not None
    sides = wire.sides(orjson.loads(changed))
    assert sides is not None
    bid = sides[0][0]["px"] if wire is HYPERLIQUID else sides[0][0][0]
    assert market.prices.count(bid) > market.asks.best


@pytest.mark.parametrize(
    ("message", "wire"), [(DEPTH, BINANCE), (BYBIT_BOOK, BYBIT), (COIN_BOOK, HYPERLIQUID)]
)  # fmt: skip
def test_a_wrong_quantity_changes_one_level_only(message: Any, wire: Dialect) -> None:
    before = orjson.dumps(message)
    assert enlarged(before, wire) == before.replace(b'"1.5"', b'"15.0"')


def test_what_is_no_book_cannot_be_corrupted() -> None:
    assert enlarged(orjson.dumps(TRADE), BINANCE) is None
    assert enlarged(orjson.dumps({**DEPTH, "b": [["10.1", "0.000"]]}), BINANCE) is None  # deletions have no quantity


@pytest.mark.parametrize(
    ("how", "wrong"),
    [
        ("null", [None, "1.5"]),
        ("word", ["twelve", "1.5"]),
        ("missing", ["1.5"]),
        ("negative", ["-10.1", "1.5"]),
        ("nan", ["NaN", "1.5"]),
    ],
)
def test_a_number_that_is_none(how: str, wrong: list[Any]) -> None:
    changed = mistyped(orjson.dumps(DEPTH), BINANCE, how=how, nth=0)
    assert changed is not None
    assert orjson.loads(changed) == {**DEPTH, "b": [wrong]}


def test_any_wrong_goes_round_all_of_them_and_all_numbers() -> None:
    seen = {mistyped(orjson.dumps(TRADE), BINANCE, how="any", nth=nth) for nth in range(50)}
    assert None not in seen
    # null, a word and nothing for four numbers, negative and NaN for the two that are decimals
    assert len(seen) == 4 * 3 + 2 * 2


@pytest.mark.parametrize("how", WRONGS)
def test_a_message_without_a_number_that_matters_stays_as_it_is(how: str) -> None:
    assert mistyped(b'{"e":"status","E":1795000000000}', BINANCE, how=how, nth=3) is None


@pytest.mark.parametrize(
    ("wire", "name", "symbol", "channel"),
    [
        (BINANCE, "btcusdt@depth@100ms", "BTCUSDT", "orderbook"),
        (BINANCE, "btcusdt@depth20", "BTCUSDT", "orderbook"),
        (BINANCE, "btcusdt@aggTrade", "BTCUSDT", "trades"),
        (BINANCE, "btcusdt@trade", "BTCUSDT", "trades"),
        (BINANCE, "btcusdt@kline_15m", "BTCUSDT", "ohlcv"),
        (BINANCE, "btcusdt@bookTicker", "BTCUSDT", ""),
        (BINANCE, "btcusdt@markPrice@1s", "BTCUSDT", ""),
        (BINANCE, "nope@depth", "", "orderbook"),
        (BYBIT, "orderbook.200.BTCUSDT", "BTCUSDT", "orderbook"),
        (BYBIT, "spot/kline.60.BTCUSDT", "spot/BTCUSDT", "ohlcv"),
        (BYBIT, "publicTrade.BTCUSDT-21FEB25", "BTCUSDT-21FEB25", "trades"),
        (BYBIT, "tickers.BTCUSDT", "BTCUSDT", ""),
        (HYPERLIQUID, '{"type":"l2Book","coin":"xyz:SP500"}', "xyz:SP500", "orderbook"),
        (HYPERLIQUID, '{"type":"candle","coin":"BTC"}', "BTC", "ohlcv"),
        (HYPERLIQUID, '{"type":"allMids"}', "", ""),
    ],
)
def test_a_stream_belongs_to_a_symbol_and_a_channel(wire: Dialect, name: str, symbol: str, channel: str) -> None:
    assert wire.place(name) == (symbol, channel)


@pytest.mark.parametrize(
    ("wire", "path", "parameters", "symbol", "channel"),
    [
        (BINANCE, "/fapi/v1/depth", {"symbol": "btcusdt"}, "BTCUSDT", "orderbook"),
        (BINANCE, "/api/v3/aggTrades", {"symbol": "BTCUSDT"}, "BTCUSDT", "trades"),
        (BINANCE, "/fapi/v1/exchangeInfo", {}, "", ""),
        (BYBIT, "/v5/market/kline", {"symbol": "ETHUSDT"}, "ETHUSDT", "ohlcv"),
        (BYBIT, "/v5/market/recent-trade", {"category": "spot", "symbol": "X"}, "spot/X", "trades"),
        (HYPERLIQUID, "/info", {"type": "candleSnapshot", "req": {"coin": "BTC"}}, "BTC", "ohlcv"),
        (HYPERLIQUID, "/info", {"type": "l2Book", "coin": "BTC"}, "BTC", "orderbook"),
        (HYPERLIQUID, "/info", {"type": "meta"}, "", ""),
    ],
)  # fmt: skip
def test_a_request_belongs_to_a_symbol_and_a_channel(
    wire: Dialect, path: str, parameters: dict[str, Any], symbol: str, channel: str
) -> None:
    assert wire.request(path, parameters) == (symbol, channel)
