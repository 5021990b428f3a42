"""Faults of handshakes and of requests over real HTTP, and a venue whose clock is wrong."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from exchanges.simulator.server import Floor, Simulator
from exchanges.simulator.switchboard import Switchboard

from .conftest import Dial

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEPTH = "/binance/public/ws/btcusdt@depth@100ms"
TIME, BOOK, TRADES = "/binance/fapi/v1/time", "/binance/fapi/v1/depth", "/binance/fapi/v1/aggTrades"
HOUR = 3_600_000


@pytest.fixture(autouse=True)
def nothing_lasts(faults: Switchboard, simulator: Simulator) -> Iterator[None]:
    """Every test here ends with no fault on, and begins with what an address is allowed."""
    simulator.floor.venues["hyperliquid"].forgive()
    yield
    faults.remove()


@pytest.mark.parametrize("status", [429, 418, 403, 503])
@pytest.mark.parametrize("path", [DEPTH, "/bybit/v5/public/linear", "/hyperliquid/ws"])
async def test_a_handshake_is_refused_and_the_next_one_is_not(
    dial: Dial, faults: Switchboard, path: str, status: int
) -> None:
    faults.inject(venue=path.split("/")[1], kind="refuse_handshake", status=status, retry_after=7)
    with pytest.raises(InvalidStatus) as refused:
        await dial(path)
    assert refused.value.response.status_code == status
    assert refused.value.response.headers["Retry-After"] == "7"
    await dial(path)


async def test_handshakes_are_counted_whatever_became_of_them(
    dial: Dial, faults: Switchboard, http: httpx2.AsyncClient
) -> None:
    before = (await http.get("/control/counters")).json()["binance"]
    faults.inject(venue="binance", kind="refuse_handshake", count=2)
    for _ in range(2):
        with pytest.raises(InvalidStatus):
            await dial(DEPTH)
    await (await dial(DEPTH)).receive()
    after = (await http.get("/control/counters")).json()["binance"]
    assert after["handshakes_total"] - before["handshakes_total"] == 3
    assert after["connections_total"] - before["connections_total"] == 1


async def test_a_handshake_may_take_its_time(dial: Dial, faults: Switchboard) -> None:
    faults.inject(venue="binance", kind="slow_handshake", delay=0.4)
    begun = time.monotonic()
    await (await dial(DEPTH)).receive()
    assert time.monotonic() - begun >= 0.4


@pytest.mark.parametrize(
    ("status", "page"), [(429, False), (418, False), (403, True), (500, True), (502, True), (503, True)]
)
async def test_a_request_is_answered_with_a_status(
    http: httpx2.AsyncClient, faults: Switchboard, status: int, page: bool
) -> None:
    faults.inject(venue="binance", kind="rest_status", status=status, retry_after=11)
    refused = await http.get(TIME)
    assert (refused.status_code, refused.headers["Retry-After"]) == (status, "11")
    assert refused.headers["Content-Type"].startswith("text/html" if page else "application/json")
    assert page or refused.json()["code"] == -1003
    assert (await http.get(TIME)).status_code == 200


async def test_without_a_time_to_wait_none_is_told(http: httpx2.AsyncClient, faults: Switchboard) -> None:
    faults.inject(venue="hyperliquid", kind="rest_status", status=429)
    refused = await http.post("/hyperliquid/info", json={"type": "allMids"})
    assert (refused.status_code, refused.text) == (429, "null")
    assert "Retry-After" not in refused.headers


async def test_requests_are_counted_whatever_became_of_them(http: httpx2.AsyncClient, faults: Switchboard) -> None:
    before = (await http.get("/control/counters")).json()["binance"]["requests_total"]
    faults.inject(venue="binance", kind="rest_status", count=2)
    for _ in range(3):
        await http.get(TIME)
    assert (await http.get("/control/counters")).json()["binance"]["requests_total"] - before == 3


REQUESTS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    # venue: path, symbol, what asks for its book, what asks for its trades
    "binance": ("/fapi/v1/", "BTCUSDT", {"url": "depth"}, {"url": "aggTrades"}),
    "binance-spot": ("/api/v3/", "BTCUSDT", {"url": "depth"}, {"url": "trades"}),
    "bybit": ("/v5/market/", "spot/BTCUSDT", {"url": "orderbook"}, {"url": "recent-trade"}),
    "hyperliquid": ("/info", "BTC", {"type": "l2Book"}, {"type": "recentTrades"}),
}


async def status(http: httpx2.AsyncClient, venue: str, asked: dict[str, Any], symbol: str) -> int:
    path = f"/{venue}{REQUESTS[venue][0]}"
    if venue == "hyperliquid":
        return (await http.post(path, json={**asked, "coin": symbol})).status_code
    category = {"category": "spot"} if symbol.startswith("spot/") else {"category": "linear"}
    query = {"symbol": symbol.removeprefix("spot/"), **(category if venue == "bybit" else {})}
    return (await http.get(path + asked["url"], params=query)).status_code


@pytest.mark.parametrize("venue", REQUESTS)
async def test_a_fault_of_requests_is_for_a_symbol_and_a_channel(
    http: httpx2.AsyncClient, faults: Switchboard, venue: str
) -> None:
    _path, symbol, book, trades = REQUESTS[venue]
    other = {"BTC": "ETH"}.get(symbol, "ETHUSDT")
    fault = faults.inject(venue=venue, kind="rest_status", symbol=symbol, channel="orderbook")
    assert await status(http, venue, trades, symbol) == 200
    assert await status(http, venue, book, other) == 200
    assert fault.injected == 0
    assert await status(http, venue, book, symbol) == 503


async def test_an_answer_may_take_its_time(http: httpx2.AsyncClient, faults: Switchboard) -> None:
    faults.inject(venue="binance", kind="rest_slow", delay=0.4)
    begun = time.monotonic()
    assert (await http.get(TIME)).status_code == 200
    assert time.monotonic() - begun >= 0.4


async def test_an_answer_may_be_no_json(http: httpx2.AsyncClient, faults: Switchboard) -> None:
    faults.inject(venue="bybit", kind="rest_garbage")
    reply = await http.get("/bybit/v5/market/time")
    assert reply.headers["Content-Type"] == "application/json"
    with pytest.raises(json.JSONDecodeError):
        reply.json()


@pytest.mark.parametrize("path", [BOOK, "/binance-spot/api/v3/depth"])
async def test_a_snapshot_may_be_true_and_old(http: httpx2.AsyncClient, faults: Switchboard, path: str) -> None:
    venue = path.split("/")[1]
    query = {"symbol": "BTCUSDT", "limit": 100}
    await http.post("/control/freeze", json={"frozen": True})
    present = (await http.get(path, params=query)).json()
    faults.inject(venue=venue, kind="stale_snapshot", symbol="BTCUSDT", age=2)
    old = (await http.get(path, params=query)).json()
    assert old["lastUpdateId"] < present["lastUpdateId"]
    assert (len(old["bids"]), len(old["asks"])) == (100, 100)
    assert old["bids"] != present["bids"]
    assert float(old["bids"][0][0]) < float(old["asks"][0][0])
    if venue == "binance":
        assert 2000 <= present["E"] - old["T"] < 2500
    assert (await http.get(path, params=query)).json() == present


async def test_a_wrong_clock_is_told_in_every_message(dial: Dial, faults: Switchboard, simulator: Simulator) -> None:
    faults.inject(venue="binance", kind="skew", ms=HOUR)
    socket = await dial("/binance/market/ws/btcusdt@aggTrade")
    trade = await socket.receive()
    now = simulator.floor.clock.now()
    assert abs(trade["T"] - now - HOUR) < 5000
    assert abs(trade["E"] - now - HOUR) < 5000
    assert trade["a"] < 4_000_000_000


class Pinged:
    """A connection that keeps the times it is pinged with."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def keep_alive(self, now_ms: int, *, every: float, pong_within: float) -> None:
        self.times.append(now_ms)


async def test_a_wrong_clock_is_told_in_pings(faults: Switchboard) -> None:
    floor, pinged = Floor(1), Pinged()
    floor.venues["binance"].connections.add(pinged)  # type: ignore[arg-type]
    floor.faults.inject(venue="binance", kind="skew", ms=HOUR)
    floor.keep_alive()
    assert abs(pinged.times[0] - floor.clock.now() - HOUR) < 5000


async def test_a_wrong_clock_is_told_and_asked_by_over_rest(
    http: httpx2.AsyncClient, faults: Switchboard, simulator: Simulator
) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    query = {"symbol": "BTCUSDT", "limit": 5}
    true = (await http.get(TRADES, params=query)).json()
    faults.inject(venue="binance", kind="skew", ms=-HOUR)
    assert (await http.get(TIME)).json()["serverTime"] == simulator.floor.clock.now() - HOUR
    told = (await http.get(TRADES, params=query)).json()
    assert told == [{**row, "T": row["T"] - HOUR} for row in true]
    window = {"symbol": "BTCUSDT", "startTime": told[0]["T"], "endTime": told[-1]["T"]}
    assert (await http.get(TRADES, params=window)).json()[-5:] == told


async def test_a_wrong_clock_is_told_where_bodies_ask(http: httpx2.AsyncClient, faults: Switchboard) -> None:
    await http.post("/control/freeze", json={"frozen": True})

    async def candles(start: int) -> Any:
        request = {"coin": "BTC", "interval": "1m", "startTime": start}
        return (await http.post("/hyperliquid/info", json={"type": "candleSnapshot", "req": request})).json()

    now = (await http.post("/control/freeze", json={"frozen": True})).json()["time"]
    true = await candles(now - 10 * 60_000)
    faults.inject(venue="hyperliquid", kind="skew", ms=HOUR)
    assert await candles(now - 10 * 60_000 + HOUR) == [
        {**row, "t": row["t"] + HOUR, "T": row["T"] + HOUR} for row in true
    ]


async def test_bybit_tells_a_wrong_time_in_texts_too(http: httpx2.AsyncClient, faults: Switchboard) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    true = (await http.get("/bybit/v5/market/time")).json()
    faults.inject(venue="bybit", kind="skew", ms=HOUR)
    told = (await http.get("/bybit/v5/market/time")).json()
    assert told["time"] == true["time"] + HOUR
    assert int(told["result"]["timeSecond"]) == int(true["result"]["timeSecond"]) + 3600
    assert int(told["result"]["timeNano"]) == int(true["result"]["timeNano"]) + HOUR * 1_000_000
