"""Every check of the smoke script finds the fault it is for: good answers pass, and each planted fault is told."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from scripts import smoke_checks as checks
from scripts.smoke_checks import Transcript, Wrong

SYMBOL = "BTC/USDT:USDT"
Plant = Callable[[Any], Any]


def trade(number: int) -> dict[str, Any]:
    return {
        "info": {"a": number},
        "id": str(number),
        "timestamp": 1_795_000_000_007 + number,
        "datetime": f"2026-11-18T11:06:40.{7 + number:03d}Z",
        "symbol": SYMBOL,
        "order": None,
        "type": None,
        "side": "buy",
        "takerOrMaker": None,
        "price": 68_400.5,
        "amount": 0.25,
        "cost": 17_100.125,
        "fee": None,
        "fees": [],
    }


def book() -> dict[str, Any]:
    return {
        "symbol": SYMBOL,
        "bids": [[100.0, 1.0], [99.0, 2.0]],
        "asks": [[101.0, 1.0], [102.0, 2.0]],
        "timestamp": 1_795_000_000_007,
        "datetime": "2026-11-18T11:06:40.007Z",
        "nonce": 5,
    }


def candles() -> list[list[Any]]:
    return [[1_794_999_960_000, 10.0, 12.0, 9.0, 11.0, 5.0], [1_795_000_020_000, 11.0, 11.5, 10.5, 11.2, None]]


def market(symbol: str, kind: str = "perp", *, native: str = "X") -> dict[str, Any]:
    pair, _, settle = symbol.partition(":")
    base, quote = pair.split("/")
    return {
        "exchange": "venue",
        "symbol": symbol,
        "unifiedSymbol": symbol,
        "base": base,
        "quote": quote,
        "settle": settle or None,
        "type": kind,
        "active": True,
        "marketId": f"venue:{kind}:{native}",
        "exchangeMarketId": native,
        "minOrderSize": None,
        "tickSize": None,
        "contractSize": None,
        "info": {},
    }


def put(*path: Any, value: Any) -> Plant:
    """A fault: ``value`` in the place that ``path`` leads to."""

    def plant(content: Any) -> Any:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value
        return content

    return plant


TRADE_FAULTS = {
    "id is 7": put(0, "id", value=7),
    "symbol is ETH/USDT:USDT": put(0, "symbol", value="ETH/USDT:USDT"),
    "side is 'Buy'": put(0, "side", value="Buy"),
    "price, amount or cost is not above 0": put(1, "amount", value=0.0),
    "info is empty": put(0, "info", value={}),
    "takerOrMaker is 'taker' on a public trade": put(0, "takerOrMaker", value="taker"),
    "fees are [1] on a public trade": put(0, "fees", value=[1]),
    "timestamp is 1795000000007.0": put(0, "timestamp", value=1_795_000_000_007.0),
    "datetime 2026-11-18 is not timestamp 1795000000007": put(0, "datetime", value="2026-11-18"),
    "missing or unknown: best": put(1, "best", value=1),
    "missing or unknown: cost": lambda rows: rows[1].pop("cost"),
    "not oldest first": lambda rows: rows.reverse(),
    "0 rows, 2 asked for": lambda rows: rows.clear(),
    "3 rows, 2 asked for": lambda rows: rows.append(trade(2)),
}


@pytest.mark.parametrize("problem", TRADE_FAULTS)
def test_a_fault_in_fetched_trades_is_told(problem: str) -> None:
    rows = [trade(0), trade(1)]
    assert checks.trades(rows, SYMBOL, 2) == "2 rows"
    TRADE_FAULTS[problem](rows)
    with pytest.raises(Wrong) as told:
        checks.trades(rows, SYMBOL, 2)
    assert str(told.value) == problem


CANDLE_FAULTS = {
    "open time is 1795000020001": put(1, 0, value=1_795_000_020_001),
    "open times do not rise": put(1, 0, value=1_794_999_960_000),
    "prices are 10.0, 12.0, 9.0, 12.5": put(0, 4, value=12.5),
    "prices are 8.5, 12.0, 9.0, 11.0": put(0, 1, value=8.5),
    "prices are 10.0, 12.0, 0.0, 11.0": put(0, 3, value=0.0),
    "volume is -5.0": put(0, 5, value=-5.0),
    "0 rows, 2 asked for": lambda rows: rows.clear(),
}


@pytest.mark.parametrize("problem", CANDLE_FAULTS)
def test_a_fault_in_candles_is_told(problem: str) -> None:
    rows = candles()
    assert checks.candles(rows, 2) == "2 rows"
    CANDLE_FAULTS[problem](rows)
    with pytest.raises(Wrong) as told:
        checks.candles(rows, 2)
    assert str(told.value) == problem


BOOK_FAULTS = {
    "symbol is ETH/USDT:USDT": put("symbol", value="ETH/USDT:USDT"),
    "0 bids, 2 asked for": put("bids", value=[]),
    "3 asks, 2 asked for": put("asks", value=[[101.0, 1.0], [102.0, 1.0], [103.0, 1.0]]),
    "bids are not best first": put("bids", value=[[99.0, 1.0], [100.0, 1.0]]),
    "asks are not best first": put("asks", value=[[101.0, 1.0], [101.0, 2.0]]),
    "asks hold an empty level": put("asks", 1, value=[102.0, 0.0]),
    "the best bid is not below the best ask": put("bids", 0, value=[101.0, 1.0]),
    "timestamp is None": put("timestamp", value=None),
    "missing or unknown: nonce": lambda content: content.pop("nonce"),
}


@pytest.mark.parametrize("problem", BOOK_FAULTS)
def test_a_fault_in_a_book_is_told(problem: str) -> None:
    content = book()
    assert checks.book(content, SYMBOL, 2) == "2 bids, 2 asks"
    BOOK_FAULTS[problem](content)
    with pytest.raises(Wrong) as told:
        checks.book(content, SYMBOL, 2)
    assert str(told.value) == problem


def test_a_book_of_a_venue_that_tells_no_time_is_right() -> None:
    assert checks.book({**book(), "timestamp": None, "datetime": None}, SYMBOL, 2)


MARKET_FAULTS = {
    "exchange is other": put("exchange", value="other"),
    "timestamp is 1.5": put("timestamp", value=1.5),
    "no market is listed": put("markets", value=[]),
    "missing or unknown: lot": put("markets", 0, "lot", value=1),
    "BTC/USDT:USDT is also BTCUSDT": put("markets", 0, "unifiedSymbol", value="BTCUSDT"),
}


@pytest.mark.parametrize("problem", MARKET_FAULTS)
def test_a_fault_in_the_list_of_markets_is_told(problem: str) -> None:
    content = {"exchange": "venue", "timestamp": 5, "markets": [market(SYMBOL)]}
    assert checks.markets(content, "venue") == "1 markets"
    MARKET_FAULTS[problem](content)
    with pytest.raises(Wrong) as told:
        checks.markets(content, "venue")
    assert str(told.value) == problem


LISTED = [
    market("ETH/USDT:USDT", native="ETHUSDT"),
    market("BTC/USDT:USDT-261225", "future", native="BTCUSDT_261225"),
    market("BTC/USD:BTC", native="BTCUSD"),
    market("BTC/USDC:USDC", native="BTCUSDC"),
    market("BTC/USDT:USDT", native="BTCUSDT"),
    market("BTC/USDT", "spot", native="BTCUSDT"),
]


@pytest.mark.parametrize(
    ("listed", "wanted", "chosen"),
    [
        (LISTED, None, ("BTC/USDT:USDT", "BTC/USDT:USDT")),
        (LISTED[:4], None, ("BTC/USDC:USDC", "BTC/USDC:USDC")),
        (LISTED[:3], None, ("BTC/USD:BTC", "BTC/USD:BTC")),
        (LISTED[:2], None, ("ETH/USDT:USDT", "ETH/USDT:USDT")),
        (LISTED, "BTC/USDT", ("BTC/USDT", "venue:spot:BTCUSDT")),
        (LISTED, "venue:perp:BTCUSD", ("BTC/USD:BTC", "BTC/USD:BTC")),
        (LISTED, "BTCUSDC", ("BTC/USDC:USDC", "BTC/USDC:USDC")),
    ],
)
def test_the_market_is_the_named_one_or_the_best_bitcoin_perpetual(
    listed: list[dict[str, Any]], wanted: str | None, chosen: tuple[str, str]
) -> None:
    assert checks.choose(listed, wanted) == chosen


TOPIC = {"exchange": "venue", "symbol": SYMBOL, "params": {"levels": 2}}
FRAMES = [
    {"type": "subscribed", "id": "orderbook", "channel": "orderbook", "topic": TOPIC},
    {"type": "orderbook", "channel": "orderbook", "topic": TOPIC, "cursor": "9-1", "data": book()},
    {"type": "orderbook", "channel": "orderbook", "topic": TOPIC, "cursor": "9-4", "data": book()},
    {"type": "unsubscribed", "id": "orderbook", "channel": "orderbook", "topic": TOPIC},
    {"type": "pong"},
]
CHECKS: dict[str, Callable[[Transcript], str]] = {
    "acknowledged": lambda t: checks.acknowledged(t, "orderbook"),
    "first data": lambda t: checks.first_data(t, "orderbook"),
    "shape": lambda t: checks.shape(t, "orderbook", SYMBOL),
    "topic": lambda t: checks.topic(t, "orderbook", "venue", SYMBOL),
    "cursor": lambda t: checks.cursor(t, "orderbook"),
    "unsubscribed": lambda t: checks.unsubscribed(t, "orderbook"),
    "pong": checks.pong,
    "only base": checks.only_base,
}
REFUSAL = {"type": "error", "id": "orderbook", "code": "BAD_SYMBOL", "message": "no such symbol"}
STREAM_FAULTS: dict[str, tuple[str, Plant, str]] = {
    "data before the ack": ("acknowledged", lambda f: f.insert(0, f.pop(1)), "the first frame is orderbook"),
    "refused": ("acknowledged", put(0, value=REFUSAL), "the first frame is BAD_SYMBOL: no such symbol"),
    "another id": ("acknowledged", put(0, "id", value=1), "the acknowledgement does not echo the id"),
    "silence": ("acknowledged", lambda f: f.clear(), "no answer"),
    "no data": ("first data", lambda f: f.__delitem__(slice(1, 3)), "0 data frames in 5 s"),
    "an error for data": (
        "first data",
        put(slice(1, 3), value=[REFUSAL]),
        "0 data frames in 5 s; BAD_SYMBOL: no such symbol",
    ),
    "a crossed book": ("shape", put(2, "data", "asks", 0, 0, value=99.5), "the best bid is not below the best ask"),
    "a deeper book": ("shape", put(1, "topic", "params", "levels", value=1), "2 bids, 1 asked for"),
    "more in the topic": (
        "topic",
        put(0, "topic", value={**TOPIC, "channel": "orderbook"}),
        "it has exchange, symbol, params, channel",
    ),
    "another symbol": ("topic", put(0, "topic", value={**TOPIC, "symbol": "X"}), "symbol is X"),
    "another exchange": ("topic", put(0, "topic", value={**TOPIC, "exchange": "X"}), "exchange is X"),
    "data of another topic": (
        "topic",
        put(2, "topic", value={**TOPIC, "params": {"levels": 5}}),
        "data and acknowledgement name different topics",
    ),
    "the same cursor": ("cursor", put(2, "cursor", value="9-1"), "cursors are 9-1, 9-1"),
    "another epoch": ("cursor", put(2, "cursor", value="10-2"), "the epoch changed: 9-1, 10-2"),
    "no cursor at all": ("cursor", put(2, "cursor", value="5"), "cursors are 9-1, 5"),
    "one frame only": ("cursor", lambda f: f.pop(2), "1 data frames in 5 s"),
    "data afterwards": ("unsubscribed", lambda f: f.insert(3, f.pop(2)), "data came after it"),
    "no unsubscribed": ("unsubscribed", lambda f: f.pop(3), "no answer"),
    "no pong": ("pong", lambda f: f.pop(4), "no answer"),
    "a heartbeat": ("only base", lambda f: f.append({"type": "heartbeat"}), "without a hello came heartbeat"),
}


def transcript(frames: list[dict[str, Any]], broken: str = "") -> Transcript:
    return Transcript(5.0, [(0.25 * n, frame) for n, frame in enumerate(frames)], broken)


@pytest.mark.parametrize("name", CHECKS)
def test_a_good_transcript_passes_every_check(name: str) -> None:
    assert isinstance(CHECKS[name](transcript(FRAMES)), str)


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_a_fault_in_a_transcript_is_told(fault: str) -> None:
    name, plant, problem = STREAM_FAULTS[fault]
    frames = deepcopy(FRAMES)
    plant(frames)
    with pytest.raises(Wrong) as told:
        CHECKS[name](transcript(frames))
    assert str(told.value) == problem


@pytest.mark.parametrize("channel", ["trades", "ohlcv"])
def test_where_nothing_may_be_left_out_the_cursor_rises_by_exactly_one(channel: str) -> None:
    frames = [{"type": channel, "channel": channel, "cursor": f"9-{seq}"} for seq in (4, 5, 7)]
    assert checks.cursor(transcript(frames[:2]), channel) == "2 frames up to 9-5"
    with pytest.raises(Wrong, match="cursors are 9-4, 9-5, 9-7"):
        checks.cursor(transcript(frames), channel)


@pytest.mark.parametrize("name", CHECKS)
def test_why_a_connection_failed_is_told_by_every_check(name: str) -> None:
    with pytest.raises(Wrong, match="refused by the host"):
        CHECKS[name](transcript([], broken="refused by the host"))
