"""One upstream for everybody: started by the first, shared by all depths, healed when it breaks, closed at last."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import orjson
import pytest
from httpx2 import AsyncClient
from websockets.exceptions import ConnectionClosed

from tests.system import processes
from tests.system.processes import Client, until

ETH = {"exchange": "binance", "symbol": "ETH/USDT:USDT"}
ETH_STREAM = "ethusdt@aggTrade"


async def counters(control: AsyncClient, venue: str = "binance") -> dict[str, Any]:
    found: dict[str, Any] = (await control.get("/control/counters")).json()[venue]
    return found


async def test_a_hundred_clients_on_one_topic_are_one_upstream_and_none_after_they_left(
    gateway_url: str, control: AsyncClient
) -> None:
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(processes.client(gateway_url)) for _ in range(100)]
        await asyncio.gather(*(one.send(op="subscribe", channel="trades", **ETH) for one in clients))
        await asyncio.gather(*(one.expect(type="trades") for one in clients))
        watched = await counters(control)
    assert watched["subscriptions"][ETH_STREAM] == 1

    async def gone() -> bool:
        return not (await counters(control))["subscriptions"].get(ETH_STREAM)

    await until(gone)


async def test_all_depths_of_a_book_share_one_stream(gateway_url: str, control: AsyncClient) -> None:
    async with processes.client(gateway_url) as client:
        for levels in (1, 5, 20, 50, 500):
            await client.send(op="subscribe", channel="orderbook", id=levels, **ETH, params={"levels": levels})
        seen: set[int] = set()
        while seen != {1, 5, 20, 50, 500}:
            seen.add((await client.expect(type="orderbook"))["topic"]["params"]["levels"])
        assert (await counters(control))["subscriptions"]["ethusdt@depth@100ms"] == 1


@pytest.mark.parametrize(("exchange", "symbol"), [("binance", "BTC/USDT:USDT"), ("bybit", "BTC/USDT:USDT")])
async def test_a_lost_book_frame_resyncs_that_book_and_it_ends_true(
    gateway_url: str, control: AsyncClient, exchange: str, symbol: str
) -> None:
    topic = {"exchange": exchange, "symbol": symbol, "params": {"levels": 50}}
    async with processes.client(gateway_url) as client:
        await client.send(op="subscribe", channel="orderbook", **topic)
        await client.expect(type="orderbook")
        before = await resyncs(gateway_url, exchange)
        await control.post("/control/lose", json={"venue": exchange, "symbol": "BTCUSDT", "count": 1})

        async def resynced() -> bool:
            return await resyncs(gateway_url, exchange) > before

        reading = asyncio.create_task(keep_reading(client))
        await until(resynced)
        try:
            await control.post("/control/freeze", json={"frozen": True})
            truth = (await control.get(f"/control/book?venue={exchange}&symbol=BTCUSDT")).json()
            expected = [[float(price), float(amount)] for price, amount in truth["bids"][:50]]

            async def equal() -> bool:
                books = client.received(type="orderbook")
                return bool(books[-1]["data"]["bids"] == expected)

            await until(equal)
        finally:
            await control.post("/control/freeze", json={"frozen": False})
            reading.cancel()
    for book in client.received(type="orderbook"):
        assert book["data"]["bids"][0][0] < book["data"]["asks"][0][0]


async def keep_reading(client: Client) -> None:
    while True:
        await client.next()


async def resyncs(gateway_url: str, exchange: str) -> float:
    async with AsyncClient(base_url=gateway_url) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    found = [line for line in lines if line.startswith(f'gateway_book_resyncs_total{{exchange="{exchange}"')]
    return sum(float(line.rsplit(" ", 1)[1]) for line in found)


async def test_trades_go_on_after_the_venue_hung_up_and_none_is_missing_or_twice(
    simulator_url: str, control: AsyncClient
) -> None:
    with processes.gateway(simulator_url) as url:
        async with processes.client(url) as client:
            await client.send(op="subscribe", channel="trades", **ETH)
            for _ in range(5):
                await client.expect(type="trades")
            await control.post("/control/drop", json={"venue": "binance", "close_code": None})
            connects = (await counters(control))["connections_total"]
            reading = asyncio.create_task(keep_reading(client))

            async def reconnected() -> bool:
                return bool((await counters(control))["connections_total"] > connects)

            await until(reconnected)
            enough = len(client.frames) + 10

            async def flowing() -> bool:
                return len(client.frames) > enough

            await until(flowing)
            reading.cancel()
    ids = [int(trade["id"]) for frame in client.received(type="trades") for trade in frame["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_a_reader_that_stalls_is_cut_and_delays_nobody(simulator_url: str) -> None:
    with (
        processes.gateway(simulator_url, limits__stall="1", limits__pending_bytes="65536") as url,
        stalled_reader(url),
    ):
        async with processes.client(url) as client, AsyncClient(base_url=url) as http:
            await client.send(op="subscribe", channel="trades", exchange="binance", symbol="BTC/USDT:USDT")

            async def cut() -> bool:
                await client.expect(type="trades")
                return 'gateway_clients_closed_total{code="4101"} 1.0' in (await http.get("/metrics")).text

            await until(cut, patience=20.0)
            delays = [frame["ts"]["tx"] - frame["ts"]["rx"] for frame in client.received(type="trades")]
    assert sorted(delays)[len(delays) // 2] < 50


@contextmanager
def stalled_reader(url: str) -> Iterator[None]:
    """A client that subscribes to large books and never reads one."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.sendall(
            f"GET /v1/ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b" 101 " in stalled.recv(1024)  # no client may speak before; it is the last thing this one reads
        for levels in (1000, 500, 200, 100):
            topic = {"exchange": "binance", "symbol": "BTC/USDT:USDT", "params": {"levels": levels}}
            stalled.sendall(masked(orjson.dumps({"op": "subscribe", "channel": "orderbook", **topic})))
        yield


def masked(payload: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


async def test_an_unreachable_venue_is_said_and_the_gateway_serves_on(simulator_url: str) -> None:
    nowhere = {"binance__rest_url": "http://127.0.0.1:9", "binance__spot_rest_url": "http://127.0.0.1:9"}
    with processes.gateway(simulator_url, **nowhere) as url:
        async with processes.client(url) as client, AsyncClient(base_url=url) as http:
            await client.send(op="subscribe", channel="trades", **ETH)
            refused = await client.expect(type="error")
            await client.send(op="subscribe", channel="trades", exchange="bybit", symbol="BTC/USDT:USDT")
            await client.expect(type="trades")
            answer = await http.post("/v1/fetchTrades", json=ETH)
            ready = (await http.get("/readyz")).json()
    assert (refused["code"], refused["retryable"]) == ("UPSTREAM_ERROR", True)
    assert (answer.status_code, answer.json()["code"]) == (502, "UPSTREAM_ERROR")
    assert ready == {"status": "degraded", "reasons": ["binance: no catalogue"]}


async def test_a_socket_that_cannot_be_opened_is_told_after_ten_seconds_and_the_subscription_stays(
    simulator_url: str,
) -> None:
    with processes.gateway(simulator_url, binance__ws_url="ws://127.0.0.1:9") as url:
        async with processes.client(url) as client:
            await client.send(op="subscribe", channel="trades", id=1, **ETH)
            acknowledged = await client.expect(type="subscribed")
            async with asyncio.timeout(15):
                error = orjson.loads(await client.connection.recv())
            await client.send(op="list", id=2)
            listed = await client.expect(type="subscriptions")
    assert acknowledged["state"] == "connecting"
    assert (error["code"], error["retryable"]) == ("UPSTREAM_ERROR", True)
    assert len(listed["topics"]) == 1


async def test_the_server_going_away_closes_its_clients(simulator_url: str) -> None:
    with processes.gateway(simulator_url) as url:
        async with processes.client(url) as client:
            await client.send(op="subscribe", channel="trades", **ETH)
            await client.expect(type="trades")
            processes.stop(url)
            with pytest.raises(ConnectionClosed):
                await keep_reading(client)
