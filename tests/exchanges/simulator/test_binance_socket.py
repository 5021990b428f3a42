"""Binance's websockets over real sockets: routes, replies, silence, limits, and a client that keeps a book."""

import asyncio
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from .conftest import Dial

pytestmark = pytest.mark.asyncio(loop_scope="module")
PUBLIC, MARKET, LEGACY, SPOT = "/binance/public", "/binance/market", "/binance", "/binance-spot"


async def test_raw_paths_send_raw_frames_and_stream_paths_wrapped_ones(dial: Dial) -> None:
    raw = await dial(f"{PUBLIC}/ws/btcusdt@depth@100ms/btcusdt@bookTicker")
    assert {(await raw.receive())["e"] for _ in range(30)} == {"depthUpdate", "bookTicker"}

    wrapped = await dial(f"{MARKET}/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s")
    frame = await wrapped.until(lambda message: message["stream"] == "btcusdt@aggTrade")
    assert frame["data"]["s"] == "BTCUSDT"


async def test_a_stream_on_the_wrong_route_is_acked_and_silent(dial: Dial) -> None:
    market = await dial(f"{MARKET}/stream")
    wrong = ["btcusdt@depth@100ms", "btcusdt@trade", "BTCUSDT@aggTrade", "nopeusdt@aggTrade", "btcusdt@depth@250ms"]
    assert await market.ask("SUBSCRIBE", wrong, identity=1) == {"result": None, "id": 1}
    assert await market.ask("SUBSCRIBE", ["btcusdt@aggTrade"], identity=2) == {"result": None, "id": 2}
    assert {(await market.receive())["stream"] for _ in range(5)} == {"btcusdt@aggTrade"}
    assert (await market.ask("LIST_SUBSCRIPTIONS", identity=3))["result"] == [*wrong, "btcusdt@aggTrade"]


async def test_the_path_from_before_the_split_delivers_the_public_class_only(dial: Dial) -> None:
    legacy = await dial(f"{LEGACY}/stream?streams=btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@kline_1m")
    assert {(await legacy.receive())["stream"] for _ in range(20)} == {"btcusdt@bookTicker"}


async def test_symbols_in_other_scripts_work_as_they_are(dial: Dial) -> None:
    socket = await dial(f"{PUBLIC}/stream")
    await socket.ask("SUBSCRIBE", ["币安人生usdt@depth"])
    frame = await socket.receive()
    assert frame["stream"] == "币安人生usdt@depth"
    assert frame["data"]["s"] == "币安人生USDT"
    by_path = await dial(f"{PUBLIC}/ws/{quote('币安人生usdt@depth', safe='@')}")
    assert (await by_path.receive())["s"] == "币安人生USDT"


async def test_wrapping_can_be_switched(dial: Dial) -> None:
    socket = await dial(f"{PUBLIC}/ws/btcusdt@bookTicker")
    assert (await socket.ask("GET_PROPERTY", ["combined"]))["result"] is False
    assert (await socket.ask("SET_PROPERTY", ["combined", True], identity=2)) == {"result": None, "id": 2}
    assert "stream" in await socket.receive()


BAD_COMMANDS = {
    "nonsense": 3,
    '{"params":["btcusdt@trade"],"id":1}': 2,
    '{"method":"FOO","id":1}': 2,
    '{"method":"SUBSCRIBE","params":["a@trade"],"id":1.5}': 2,
    '{"method":"SUBSCRIBE","params":["a@trade"],"id":-1}': 2,
    '{"method":"GET_PROPERTY","params":["other"],"id":1}': 0,
    '{"method":"SET_PROPERTY","params":["combined","yes"],"id":1}': 1,
    '{"method":"SET_PROPERTY","params":["combined",true,1],"id":1}': 2,
    '{"method":"GET_PROPERTY","params":[5],"id":1}': 2,
}


async def test_errors_are_nested_on_futures_and_flat_on_spot(dial: Dial) -> None:
    for command, code in BAD_COMMANDS.items():
        futures, spot = await dial(f"{PUBLIC}/ws"), await dial(f"{SPOT}/ws")
        await futures.send(command)
        assert (await futures.receive())["error"]["code"] == code, command
        await spot.send(command)
        assert (await spot.receive())["code"] == code, command


async def test_a_string_is_no_id_on_futures(dial: Dial) -> None:
    futures = await dial(f"{PUBLIC}/ws")
    reply = await futures.ask("LIST_SUBSCRIPTIONS", identity="abc")
    assert reply["error"]["code"] == 2


async def test_spot_ids_may_be_strings_or_null(dial: Dial) -> None:
    spot = await dial(f"{SPOT}/ws")
    assert await spot.ask("LIST_SUBSCRIPTIONS", identity="abc") == {"result": [], "id": "abc"}
    assert await spot.ask("LIST_SUBSCRIPTIONS", identity=None) == {"result": [], "id": None}


async def test_the_1025th_stream_ends_the_connection(dial: Dial) -> None:
    socket = await dial(f"{PUBLIC}/ws")
    names = [f"s{number}usdt@trade" for number in range(1025)]
    for start in range(0, 1000, 200):
        assert (await socket.ask("SUBSCRIBE", names[start : start + 200]))["result"] is None
    assert (await socket.ask("SUBSCRIBE", names[1000:1024]))["result"] is None
    assert (await socket.ask("SUBSCRIBE", names[1024:]))["error"] == {"code": 4, "msg": "Too many subscriptions"}
    assert await socket.closed() == (1008, "Invalid request")


@pytest.mark.parametrize(("path", "answered"), [(f"{MARKET}/ws", 15), (f"{SPOT}/ws", 5)])
async def test_too_many_messages_end_the_connection(dial: Dial, path: str, answered: int) -> None:
    socket = await dial(path)
    for number in range(40):
        await socket.send({"method": "LIST_SUBSCRIPTIONS", "id": number})
    replies = [await socket.receive() for _ in range(answered)]
    assert [reply["id"] for reply in replies] == list(range(answered))
    assert await socket.closed() == (1008, "Too many requests")


async def test_spot_counts_pings_as_messages(dial: Dial) -> None:
    socket = await dial(f"{SPOT}/ws")
    for number in range(8):
        await socket.connection.ping(f"{number}")
    assert await socket.closed() == (1008, "Too many requests")


class Keeper:
    """A client's book, kept as Binance's documentation says; independent of every parser in this project."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}
        self.last = -1

    def start(self, snapshot: dict[str, Any]) -> None:
        self.sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
        self.last = snapshot["lastUpdateId"]

    def apply(self, event: dict[str, Any], *, first: bool) -> None:
        if first:
            assert event["U"] <= self.last <= event["u"] or event["pu"] == self.last
        else:
            assert event["pu"] == self.last
        for key, side in self.sides.items():
            for price, amount in event[key]:
                side[price] = amount
                if not float(amount):
                    del side[price]
        self.last = event["u"]

    def top(self, key: str, count: int) -> list[list[str]]:
        best_first = sorted(self.sides[key].items(), key=lambda level: float(level[0]), reverse=key == "b")
        return [list(level) for level in best_first[:count]]


@pytest.mark.parametrize(("symbol", "levels"), [("BTCUSDT", 500), ("1000PEPEUSDT", 10_000)])
async def test_a_client_that_follows_the_documentation_ends_with_the_true_book(
    dial: Dial, http: httpx2.AsyncClient, symbol: str, levels: int
) -> None:
    socket = await dial(f"{PUBLIC}/ws/{symbol.lower()}@depth@100ms")
    buffered = [await socket.receive() for _ in range(2)]
    keeper = Keeper()
    keeper.start((await http.get("/binance/fapi/v1/depth", params={"symbol": symbol, "limit": 1000})).json())
    buffered += [await socket.receive() for _ in range(5)]
    await http.post("/control/freeze", json={"frozen": True})
    truth = (await http.get("/control/book", params={"venue": "binance", "symbol": symbol})).json()
    first = True
    while keeper.last != truth["sequence"]:
        event = buffered.pop(0) if buffered else await socket.receive()
        if event["u"] >= keeper.last:
            keeper.apply(event, first=first)
            first = False
    assert keeper.top("b", levels) == truth["bids"][:levels]
    assert keeper.top("a", levels) == truth["asks"][:levels]


async def test_snapshots_fall_inside_events(dial: Dial, http: httpx2.AsyncClient) -> None:
    """How often depends on where between two events a machine happens to ask."""
    socket = await dial(f"{PUBLIC}/ws/btcusdt@depth@100ms")
    inside = 0
    async with asyncio.timeout(15):
        while inside < 3:
            await socket.receive()
            await asyncio.sleep(0.03)  # not to wait for anything: to ask at another place between two events
            snapshot = (await http.get("/binance/fapi/v1/depth", params={"symbol": "BTCUSDT", "limit": 5})).json()
            event = await socket.until(lambda message, at=snapshot["lastUpdateId"]: message["u"] >= at)
            inside += event["U"] <= snapshot["lastUpdateId"] < event["u"]


async def test_a_second_candle_is_closed_and_equals_its_row(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await dial(f"{SPOT}/ws/btcusdt@kline_1s")
    closed = (await socket.until(lambda message: message["k"]["x"]))["k"]
    params = {"symbol": "BTCUSDT", "interval": "1s", "startTime": closed["t"], "limit": 1}
    row = (await http.get("/binance-spot/api/v3/klines", params=params)).json()[0]
    assert row[:6] == [closed["t"], closed["o"], closed["h"], closed["l"], closed["c"], closed["v"]]
    assert row[7:11] == [closed["q"], closed["n"], closed["V"], closed["Q"]]
