"""The simulator as a whole: control endpoint, freezing, dropping, losing, stalled clients, start and stop."""

import asyncio
import json
import socket as sockets
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import httpx2
import pytest
import pytest_asyncio

from exchanges.simulator import sockets as simulator_sockets
from exchanges.simulator.binance_rest import Weights
from exchanges.simulator.clock import Clock
from exchanges.simulator.server import Simulator
from exchanges.simulator.venue import Counters

from .conftest import Dial

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEPTH = "/binance/public/ws/btcusdt@depth@100ms"


@pytest_asyncio.fixture(loop_scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    """One for each test here: they count what happened."""
    async with Simulator(seed=7) as running:
        yield running


async def test_freezing_brings_every_subscriber_to_the_final_state(dial: Dial, http: httpx2.AsyncClient) -> None:
    depth = await dial(DEPTH)
    tape = await dial("/binance/market/ws/btcusdt@aggTrade")
    candles = await dial("/binance/market/ws/btcusdt@kline_1m")
    first, aggregate = await depth.receive(), await tape.receive()
    assert (await http.post("/control/freeze", json={"frozen": True})).json()["frozen"] is True
    book = (await http.get("/control/book", params={"venue": "binance", "symbol": "BTCUSDT"})).json()
    ledger = (await http.get("/control/trades", params={"venue": "binance", "symbol": "BTCUSDT", "limit": 1})).json()

    last = (await http.get("/binance/fapi/v1/trades", params={"symbol": "BTCUSDT", "limit": 1})).json()[0]
    assert last["time"] == ledger[0]["timestamp_ms"]
    event = first
    while event["u"] != book["sequence"]:
        event = await depth.receive()
    while aggregate["l"] != last["id"]:
        aggregate = await tape.receive()
    await candles.until(lambda event: event["k"]["L"] == last["id"])

    again = (await http.get("/control/book", params={"venue": "binance", "symbol": "BTCUSDT"})).json()
    assert again == book
    await http.post("/control/freeze", json={"frozen": False})
    assert (await depth.receive())["pu"] == book["sequence"]


async def test_market_time_goes_on_where_it_stood() -> None:
    clock = Clock()
    stop = clock.now() + 1
    clock.freeze(stop)
    await asyncio.sleep(0.05)
    assert clock.now() == stop
    clock.thaw()
    assert stop <= clock.now() < stop + 40


async def test_market_time_stands_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before, wall = clock.now(), time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: wall + 8 * 3600 * 10**9)
    assert clock.now() == before
    monkeypatch.setattr(time, "time_ns", lambda: wall + 8 * 3600 * 10**9 + 5 * 10**6)
    assert clock.now() == before + 5


@pytest.mark.parametrize(("wanted", "code"), [(1001, 1001), (None, 1006)])
async def test_connections_can_be_dropped_with_and_without_a_close(
    dial: Dial, http: httpx2.AsyncClient, wanted: int | None, code: int
) -> None:
    clients = [await dial(DEPTH) for _ in range(3)]
    for client in clients:
        await client.receive()
    body = (await http.post("/control/drop", json={"venue": "binance", "close_code": wanted})).json()
    assert body == {"dropped": 3}
    assert [(await client.closed())[0] for client in clients] == [code] * 3


async def test_a_lost_event_is_lost_for_everyone_and_only_once(dial: Dial, http: httpx2.AsyncClient) -> None:
    clients = [await dial(DEPTH), await dial(DEPTH)]
    newest = [await client.receive() for client in clients]
    await http.post("/control/lose", json={"venue": "binance", "symbol": "BTCUSDT", "count": 1})
    for client, first in zip(clients, newest, strict=True):
        events = [first] + [await client.receive() for _ in range(10)]
        holes = [after for before, after in pairwise(events) if after["pu"] != before["u"]]
        assert len(holes) == 1


async def test_weight_is_counted_and_the_limit_answers_429_and_then_418(
    http: httpx2.AsyncClient, simulator: Simulator
) -> None:
    await simulator.floor.freeze()  # the minute cannot roll over
    counters = simulator.floor.venues["binance"].counters
    reply = await http.get("/binance/fapi/v1/depth", params={"symbol": "BTCUSDT", "limit": 1000})
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "20"
    reply = await http.get("/binance/fapi/v1/depth", params={"symbol": "BTCUSDT"})
    assert reply.headers["X-MBX-USED-WEIGHT-1M"] == "21"  # 500 levels for 1 when no limit is named

    counters.weight = 2400
    refused = await http.get("/binance/fapi/v1/ping")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert refused.json()["code"] == -1003
    replies = [await http.get("/binance/fapi/v1/ping") for _ in range(31)]
    assert [reply.status_code for reply in replies[28:]] == [429, 418, 418]
    assert replies[-1].headers["Retry-After"] == "120"
    counted = (await http.get("/control/counters")).json()["binance"]
    assert counted["requests"]["/fapi/v1/ping"] == counted["refused"]["request"] == 32
    assert counted["weight"] == counters.weight
    await http.post("/control/forgive", json={"venue": "binance"})
    assert (await http.get("/binance/fapi/v1/ping")).status_code == 200


async def test_a_429_ends_with_the_minute_and_a_ban_does_not() -> None:
    weights = Weights(10, Counters())
    now = 1_795_000_040_000  # 40 s before the minute ends
    assert weights.spend(10, now) is None
    assert weights.spend(1, now) == (429, 40)
    assert weights.spend(1, now + 39_500) == (429, 1)
    assert weights.spend(1, now + 40_000) is None
    assert [weights.spend(10, now + 40_000) for _ in range(31)] == [(429, 60)] * 30 + [(418, 120)]
    assert weights.spend(1, now + 100_000) == (418, 60)
    assert weights.spend(1, now + 160_000) is None


async def test_leaving_takes_the_subscriptions_along(dial: Dial, simulator: Simulator) -> None:
    client = await dial(DEPTH)
    await client.receive()
    venue = simulator.floor.venues["binance"]
    assert venue.counters.subscriptions == {"btcusdt@depth@100ms": 1}
    await client.connection.close()
    async with asyncio.timeout(5):
        while venue.connections:  # noqa: ASYNC110  # the server offers no event for this
            await asyncio.sleep(0)
    assert venue.counters.subscriptions == {}
    assert venue.counters.connections_total == 1


async def test_unsubscribing_stops_the_stream_and_forgets_it(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await dial("/binance/public/stream")
    await socket.ask("SUBSCRIBE", ["btcusdt@bookTicker", "ethusdt@bookTicker"])
    counted = (await http.get("/control/counters")).json()["binance"]
    assert counted["subscriptions"] == {"btcusdt@bookTicker": 1, "ethusdt@bookTicker": 1}
    assert counted["connections"] == 1

    assert await socket.ask("UNSUBSCRIBE", ["btcusdt@bookTicker", "never@asked"], identity=2) == {
        "result": None,
        "id": 2,
    }
    assert {(await socket.receive())["stream"] for _ in range(10)} == {"ethusdt@bookTicker"}
    counted = (await http.get("/control/counters")).json()["binance"]
    assert counted["subscriptions"] == {"ethusdt@bookTicker": 1}
    assert counted["subscribes_total"] == 2


async def test_the_server_pings_and_cuts_a_client_that_never_answers(dial: Dial, simulator: Simulator) -> None:
    socket = await dial("/binance/public/ws")
    await socket.ask("LIST_SUBSCRIPTIONS")
    (connection,) = simulator.floor.venues["binance"].connections
    heard = asyncio.Event()
    connection.protocol.on_control = heard.set
    connection.keep_alive(simulator.floor.clock.now(), every=0.0, pong_within=60)  # begins the schedule
    connection.keep_alive(simulator.floor.clock.now(), every=0.0, pong_within=60)
    async with asyncio.timeout(5):
        await heard.wait()

    connection.protocol.heard_pong -= 61
    connection.keep_alive(simulator.floor.clock.now(), every=0.0, pong_within=60)
    assert (await socket.closed())[0] == 1006


async def test_a_client_that_does_not_read_is_cut(
    dial: Dial, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await dial("/binance/public/ws")
    await client.ask("LIST_SUBSCRIPTIONS")
    (connection,) = simulator.floor.venues["binance"].connections
    connection.protocol.transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, 4096)
    monkeypatch.setattr(simulator_sockets, "PENDING_LIMIT", 100_000)
    client.connection.transport.pause_reading()
    for _ in range(400):
        connection.send(json.dumps("x" * 60_000).encode())
        connection.flush()
        if not connection.protocol.open:
            break
    assert not connection.protocol.open
    client.connection.transport.resume_reading()
    assert (await client.closed())[0] == 1006


async def test_it_stops_with_clients_connected_and_leaves_no_task() -> None:
    before = asyncio.all_tasks()
    async with Simulator(seed=3) as simulator, httpx2.AsyncClient(base_url=simulator.url) as http:
        assert (await http.get("/binance/fapi/v1/ping")).json() == {}
        assert (await http.get("/control/counters")).json()["binance-spot"]["connections"] == 0
    assert asyncio.all_tasks() == before
