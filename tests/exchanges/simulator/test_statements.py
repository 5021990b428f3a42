"""What venues say they stated, against what clients were told: the same books at the same sequence, the same trades."""

from typing import Any

import httpx2
import pytest

from exchanges.simulator.server import Simulator
from exchanges.simulator.switchboard import Switchboard

from .conftest import Dial, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")
Side = dict[str, str]


@pytest.fixture(autouse=True)
def fresh(simulator: Simulator, faults: Switchboard) -> None:
    """No fault lasts, and an address has what it is allowed."""
    simulator.floor.venues["hyperliquid"].forgive()


async def stated(http: httpx2.AsyncClient, venue: str, symbol: str, since: int = 0) -> dict[str, Any]:
    query = {"venue": venue, "symbol": symbol, "since": since}
    told: dict[str, Any] = (await http.get("/control/truth/books", params=query)).json()
    return told


async def statement(http: httpx2.AsyncClient, venue: str, symbol: str, stream: str, sequence: int) -> dict[str, Any]:
    """What the venue says a stream stated under a number."""
    since = 0
    while True:
        told = await stated(http, venue, symbol, since)
        for book in told["books"]:
            if (book["stream"], book["sequence"]) == (stream, sequence):
                return dict(book)
        assert told["books"], f"nothing was stated on {stream} under {sequence}"
        since = told["next"]


def apply(side: Side, rows: list[list[str]]) -> None:
    for price, amount in rows:
        if float(amount):
            side[price] = amount
        else:
            side.pop(price, None)


def top(side: Side, sign: int) -> list[list[str]]:
    return sorted(([price, amount] for price, amount in side.items()), key=lambda row: sign * float(row[0]))[:25]


@pytest.mark.parametrize(
    ("venue", "path", "rest"),
    [
        ("binance", "/binance/public/ws/btcusdt@depth@100ms", "/binance/fapi/v1/depth"),
        ("binance-spot", "/binance-spot/ws/btcusdt@depth@100ms", "/binance-spot/api/v3/depth"),
    ],
)
async def test_a_book_kept_from_deltas_is_the_one_stated_at_each_number(
    dial: Dial, http: httpx2.AsyncClient, venue: str, path: str, rest: str
) -> None:
    await stated(http, venue, "BTCUSDT")
    socket = await dial(path)
    held = [await socket.receive()]
    snapshot = (await http.get(rest, params={"symbol": "BTCUSDT", "limit": 1000})).json()
    bids, asks = dict(snapshot["bids"]), dict(snapshot["asks"])
    told = await statement(http, venue, "BTCUSDT", "rest", snapshot["lastUpdateId"])
    assert (told["bids"], told["asks"]) == (snapshot["bids"][:25], snapshot["asks"][:25])

    held += [await socket.receive() for _ in range(6)]
    for event in [event for event in held if event["u"] > snapshot["lastUpdateId"]]:
        apply(bids, event["b"])
        apply(asks, event["a"])
        told = await statement(http, venue, "BTCUSDT", "depth", event["u"])
        assert (told["bids"], told["asks"]) == (top(bids, -1), top(asks, 1))
        assert told["timestamp_ms"] == event["T" if venue == "binance" else "E"]


async def test_a_bybit_book_is_stated_topic_by_topic_and_anew_after_a_restart(
    dial: Dial, http: httpx2.AsyncClient
) -> None:
    await stated(http, "bybit", "ETHUSDT")
    socket = await dial("/bybit/v5/public/linear")
    await socket.send({"op": "subscribe", "args": ["orderbook.50.ETHUSDT"]})
    bids: Side = {}
    asks: Side = {}
    for number in range(30):
        frame = await socket.until(lambda message: "topic" in message)
        if frame["type"] == "snapshot" or frame["data"]["u"] == 1:
            bids.clear()
            asks.clear()
        apply(bids, frame["data"]["b"])
        apply(asks, frame["data"]["a"])
        told = await stated(http, "bybit", "ETHUSDT")
        known = ("orderbook.50", frame["data"]["u"], frame["ts"])
        said = [each for each in told["books"] if (each["stream"], each["sequence"], each["timestamp_ms"]) == known]
        assert said  # twice where one subscriber is greeted with what the others were just told
        assert all((book["bids"], book["asks"]) == (top(bids, -1), top(asks, 1)) for book in said)
        if number == 15:
            await http.post("/control/reset", json={"venue": "bybit", "symbol": "ETHUSDT"})
    assert frame["data"]["u"] < 100


async def test_the_best_level_and_rest_of_bybit_are_stated(dial: Dial, http: httpx2.AsyncClient) -> None:
    await stated(http, "bybit", "spot/BTCUSDT")
    socket = await dial("/bybit/v5/public/spot")
    await socket.send({"op": "subscribe", "args": ["orderbook.1.BTCUSDT"]})
    data = (await socket.until(lambda message: "topic" in message))["data"]
    told = await statement(http, "bybit", "spot/BTCUSDT", "orderbook.1", data["u"])
    assert (told["bids"], told["asks"]) == (data["b"], data["a"])
    query = {"category": "spot", "symbol": "BTCUSDT", "limit": 25}
    book = (await http.get("/bybit/v5/market/orderbook", params=query)).json()["result"]
    told = await statement(http, "bybit", "spot/BTCUSDT", "rest", book["u"])
    assert (told["bids"], told["asks"]) == (book["b"], book["a"])


@pytest.mark.parametrize(("fast", "levels", "stream"), [(True, 5, "l2Book:fast"), (False, 20, "l2Book")])
async def test_a_hyperliquid_book_is_stated_by_its_time(
    dial: Dial, http: httpx2.AsyncClient, fast: bool, levels: int, stream: str
) -> None:
    await stated(http, "hyperliquid", "BTC")
    socket = await subscribed(dial, {"type": "l2Book", "coin": "BTC", "fast": fast})
    book = (await socket.until(lambda message: message["channel"] == "l2Book"))["data"]
    told = await statement(http, "hyperliquid", "BTC", stream, book["time"])
    sides = [[[level["px"], level["sz"]] for level in side] for side in book["levels"]]
    assert sides == [told["bids"][:levels], told["asks"][:levels]]
    assert len(told["bids"]) == 25


async def subscribed(dial: Dial, subscription: dict[str, Any]) -> Socket:
    socket = await dial("/hyperliquid/ws")
    await socket.receive_raw()  # the greeting
    await socket.send({"method": "subscribe", "subscription": subscription})
    return socket


async def test_a_statement_is_what_was_said_before_any_fault_and_by_the_clock_that_was_told(
    dial: Dial, http: httpx2.AsyncClient, faults: Switchboard
) -> None:
    begin = (await stated(http, "binance", "ETHUSDT"))["next"]
    faults.inject(venue="binance", kind="skew", ms=3_600_000)
    fault = faults.inject(venue="binance", kind="drop", symbol="ETHUSDT")
    socket = await dial("/binance/public/ws/ethusdt@depth@100ms")
    event = await socket.receive()
    told = (await stated(http, "binance", "ETHUSDT", begin))["books"]
    assert fault.injected == 1
    assert told[0]["sequence"] < event["U"]
    (seen,) = [book for book in told if book["sequence"] == event["u"]]
    assert seen["timestamp_ms"] == event["T"]


TRADES: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "aggTrade": ("binance", "/binance/market/ws/btcusdt@aggTrade", None),
    "trade": ("binance", "/binance/public/ws/btcusdt@trade", None),
    "publicTrade": (
        "bybit",
        "/bybit/v5/public/linear",
        {"op": "subscribe", "args": ["publicTrade.BTCUSDT"]},
    ),
    "trades": (
        "hyperliquid",
        "/hyperliquid/ws",
        {"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}},
    ),
}


def rows_of(stream: str, message: Any) -> list[tuple[Any, ...]]:
    """(id, price, amount, taker side, time) of the trades in a message; those that are no book trades left out."""
    if stream == "publicTrade":
        found = message.get("data", []) if "topic" in message else []
        return [(row["i"], row["p"], row["v"], row["S"].lower(), row["T"]) for row in found]
    if stream == "trades":
        found = message["data"] if message["channel"] == "trades" else []
        side = {"B": "buy", "A": "sell"}
        return [(row["tid"], row["px"], row["sz"], side[row["side"]], row["time"]) for row in found]
    if message.get("X", "MARKET") != "MARKET":
        return []
    number = message["a" if stream == "aggTrade" else "t"]
    return [(number, message["p"], message["q"], "sell" if message["m"] else "buy", message["T"])]


@pytest.mark.parametrize("stream", TRADES)
async def test_the_ledger_of_trades_is_what_a_client_was_told(
    dial: Dial, http: httpx2.AsyncClient, stream: str
) -> None:
    venue, path, command = TRADES[stream]
    socket = await dial(path)
    if venue == "hyperliquid":
        await socket.receive_raw()  # the greeting
    if command is not None:
        await socket.send(command)
    seen: list[tuple[Any, ...]] = []
    while len(seen) < 30:
        seen += rows_of(stream, await socket.receive())
    query = {"venue": venue, "symbol": "BTC" if venue == "hyperliquid" else "BTCUSDT", "stream": stream}
    told = await ledger(http, query)
    keys = ("id", "price", "amount", "taker_side", "timestamp_ms")
    rows = [tuple(trade[key] for key in keys) for trade in told]
    first = rows.index(seen[0])
    assert rows[first : first + len(seen)] == seen
    assert [trade["n"] for trade in told] == list(range(told[0]["n"], told[0]["n"] + len(told)))


async def ledger(http: httpx2.AsyncClient, query: dict[str, str]) -> list[dict[str, Any]]:
    """All of it, page by page."""
    rows: list[dict[str, Any]] = []
    since = 0
    while page := (told := (await http.get("/control/truth/trades", params={**query, "since": since})).json())[
        "trades"
    ]:
        rows += page
        since = told["next"]
    return rows


async def test_a_stream_that_states_no_trades_is_refused(http: httpx2.AsyncClient) -> None:
    query = {"venue": "binance", "symbol": "BTCUSDT", "stream": "bookTicker"}
    refused = await http.get("/control/truth/trades", params=query)
    assert (refused.status_code, refused.json()["error"]) == (
        400, "stream 'bookTicker' is unknown; allowed: aggTrade, trade",
    )  # fmt: skip
