"""The simulated Hyperliquid's websocket: replies, refusals, and deaths without a word."""

import asyncio
import json
import time
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from exchanges.simulator import hyperliquid_socket
from exchanges.simulator.server import Simulator

from .conftest import Dial, Socket

PATH = "/hyperliquid/ws"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def fresh_allowance(simulator: Simulator) -> None:
    """The simulator is one for the whole file, what it allows an address in a minute is for each test."""
    simulator.floor.venues["hyperliquid"].forgive()


async def greeted(dial: Dial) -> Socket:
    """A socket that has read the greeting."""
    socket = await dial(PATH)
    async with asyncio.timeout(5):
        assert await socket.connection.recv() == "Websocket connection established."
    return socket


async def subscribe(socket: Socket, method: str = "subscribe", **subscription: Any) -> Any:
    """Send it and return the reply; data that comes before it is dropped."""
    await socket.send({"method": method, "subscription": subscription})
    return await socket.until(lambda message: message["channel"] in ("subscriptionResponse", "error"))


async def alive(socket: Socket) -> bool:
    await socket.send({"method": "ping"})
    return bool(await socket.until(lambda message: message["channel"] == "pong"))


async def connected(http: httpx2.AsyncClient, count: int) -> None:
    """Until so many are left: the server hears of a close a moment after the client."""
    async with asyncio.timeout(5):
        while (await http.get("/control/counters")).json()["hyperliquid"]["connections"] != count:
            pass


async def test_the_greeting_is_not_json(dial: Dial) -> None:
    socket = await dial(PATH)
    greeting = await socket.connection.recv()
    with pytest.raises(ValueError):
        json.loads(greeting)


async def test_a_subscription_is_repeated_with_its_defaults_before_its_data(dial: Dial) -> None:
    socket = await greeted(dial)
    await socket.send({"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC"}})
    filled = {"type": "l2Book", "coin": "BTC", "nSigFigs": None, "mantissa": None, "fast": False}
    acknowledged = {"method": "subscribe", "subscription": filled}
    assert await socket.receive() == {"channel": "subscriptionResponse", "data": acknowledged}
    asked = time.monotonic()
    assert (await socket.receive())["channel"] == "l2Book"
    assert 0.08 < time.monotonic() - asked < 2
    assert (await subscribe(socket, type="candle", coin="BTC", interval="1m"))["data"]["subscription"] == {
        "type": "candle", "coin": "BTC", "interval": "1m",
    }  # fmt: skip


async def test_subscribing_twice_is_told_and_harmless(dial: Dial, http: httpx2.AsyncClient) -> None:
    await connected(http, 0)
    socket = await greeted(dial)
    await subscribe(socket, type="l2Book", coin="SOL")
    filled = '{"type":"l2Book","coin":"SOL","nSigFigs":null,"mantissa":null,"fast":false}'
    # The same subscription in other words: fields at their defaults.
    again = await subscribe(socket, type="l2Book", coin="SOL", fast=False, nSigFigs=None)
    assert again == {"channel": "error", "data": f"Already subscribed: {filled}"}
    assert (await http.get("/control/counters")).json()["hyperliquid"]["subscriptions"] == {filled: 1}
    assert (await socket.until(lambda message: message["channel"] == "l2Book"))["data"]["coin"] == "SOL"


async def test_unsubscribing_must_describe_the_same_subscription(dial: Dial, http: httpx2.AsyncClient) -> None:
    await connected(http, 0)
    socket = await greeted(dial)
    await subscribe(socket, type="l2Book", coin="BTC", fast=True)
    refused = await subscribe(socket, "unsubscribe", type="l2Book", coin="BTC")
    assert refused["data"].startswith('Already unsubscribed: {"type":"l2Book","coin":"BTC"')
    accepted = await subscribe(socket, "unsubscribe", type="l2Book", coin="BTC", fast=True)
    assert accepted["data"]["method"] == "unsubscribe"
    assert (await http.get("/control/counters")).json()["hyperliquid"]["subscriptions"] == {}
    await socket.send({"method": "ping"})
    assert (await socket.receive()) == {"channel": "pong"}  # and no data before it


@pytest.mark.parametrize(
    "frame",
    [
        "nonsense",
        "[1]",
        '{"method":"foo"}',
        '{"method":"subscribe"}',
        '{"method":"subscribe","subscription":{"type":"ticker","coin":"BTC"}}',
        '{"method":"subscribe","subscription":{"type":"trades","coin":["BTC","ETH"]}}',
        '{"method":"subscribe","subscription":[{"type":"trades","coin":"BTC"}]}',
        '{"method":"subscribe","subscription":{"type":"trades"}}',
        '{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC","fast":1}}',
        '{"method":"post","request":{"type":"info","payload":{"type":"allMids"}}}',
    ],
)
async def test_what_cannot_be_read_is_repeated_and_the_socket_lives(dial: Dial, frame: str) -> None:
    socket = await greeted(dial)
    await socket.send(frame)
    assert await socket.receive() == {
        "channel": "error",
        "data": f"Error parsing JSON into valid websocket request: {frame}",
    }
    assert await alive(socket)


@pytest.mark.parametrize(
    "subscription",
    [
        {"type": "trades", "coin": "NOPE"},
        {"type": "l2Book", "coin": "btc"},
        {"type": "bbo", "coin": "XYZ:SP500"},
        {"type": "bbo", "coin": "SP500"},
        {"type": "activeAssetCtx", "coin": "KPEPE"},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 6},
        {"type": "l2Book", "coin": "BTC", "mantissa": 2},
        {"type": "l2Book", "coin": "BTC", "nSigFigs": 4, "mantissa": 5},
    ],
)
async def test_one_bad_coin_kills_the_whole_socket_without_a_word(dial: Dial, subscription: dict[str, Any]) -> None:
    socket = await greeted(dial)
    bystander = await greeted(dial)
    await subscribe(socket, type="trades", coin="ZEN")
    await socket.send({"method": "subscribe", "subscription": subscription})
    asked = time.monotonic()
    assert await socket.closed() == (1006, "")
    assert 0.09 <= time.monotonic() - asked < 2
    assert await alive(bystander)


async def test_no_reply_comes_for_a_bad_coin(dial: Dial) -> None:
    socket = await greeted(dial)
    await socket.send({"method": "subscribe", "subscription": {"type": "trades", "coin": "NOPE"}})
    with pytest.raises(Exception, match="no close frame"):
        await socket.receive()


async def test_a_bad_coin_among_posts_is_safe(dial: Dial) -> None:
    socket = await greeted(dial)
    request = {"type": "info", "payload": {"type": "l2Book", "coin": "NOPE"}}
    await socket.send({"method": "post", "id": 41, "request": request})
    assert await socket.receive() == {
        "channel": "post",
        "data": {"id": 41, "response": {"type": "info", "payload": {"type": "l2Book", "data": None}}},
    }
    request["payload"] = {"type": "l2Book", "coin": "BTC"}
    await socket.send({"method": "post", "id": 42, "request": request})
    data = (await socket.receive())["data"]["response"]["payload"]["data"]
    assert (data["coin"], [len(side) for side in data["levels"]]) == ("BTC", [20, 20])
    request["payload"] = {"type": "nothing"}
    await socket.send({"method": "post", "id": 43, "request": request})
    assert (await socket.receive())["data"]["response"]["type"] == "error"


async def test_a_connection_that_is_told_nothing_is_cut(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyperliquid_socket, "IDLE_SECONDS", 0.8)
    silent, busy = await greeted(dial), await greeted(dial)
    await subscribe(busy, type="l2Book", coin="MATIC", fast=True)
    closing = asyncio.create_task(silent.closed())
    while not closing.done():
        assert await busy.until(lambda message: message["channel"] == "l2Book")  # empty, and something all the same
    assert await closing == (1006, "")


async def test_the_eleventh_connection_of_an_address_is_refused(dial: Dial, http: httpx2.AsyncClient) -> None:
    sockets = [await greeted(dial) for _ in range(10)]
    with pytest.raises(InvalidStatus) as refused:
        await dial(PATH)
    assert refused.value.response.status_code == 429
    await sockets[0].connection.close()
    await connected(http, 9)
    assert await alive(await greeted(dial))


async def test_the_31st_new_connection_in_a_minute_is_refused(simulator: Simulator, http: httpx2.AsyncClient) -> None:
    async def come_and_go() -> None:
        async with connect(simulator.ws_url + PATH) as connection:
            await connection.recv()

    for _ in range(3):
        await asyncio.gather(*(come_and_go() for _ in range(9)))
        await connected(http, 0)
    for _ in range(3):
        await come_and_go()
    await connected(http, 0)
    with pytest.raises(InvalidStatus):
        await come_and_go()


async def test_subscriptions_are_counted_over_all_sockets(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hyperliquid_socket, "SUBSCRIPTIONS", 3)
    one, other = await greeted(dial), await greeted(dial)
    for coin in ("BTC", "ETH"):
        await subscribe(one, type="bbo", coin=coin)
    assert (await subscribe(other, type="bbo", coin="BTC"))["channel"] == "subscriptionResponse"
    refused = await subscribe(other, type="bbo", coin="ETH")
    assert refused == {"channel": "error", "data": "Cannot subscribe to more than 3 channels."}
    await subscribe(one, "unsubscribe", type="bbo", coin="ETH")
    assert (await subscribe(other, type="bbo", coin="ETH"))["channel"] == "subscriptionResponse"


async def test_the_2001st_message_in_a_minute_is_refused(dial: Dial) -> None:
    one, other = await greeted(dial), await greeted(dial)
    for socket in (one, other):
        for _ in range(1000):
            await socket.send('{"method":"ping"}')
        for _ in range(1000):
            assert await socket.receive() == {"channel": "pong"}
    await one.send('{"method":"ping"}')
    assert (await one.receive())["data"] == "Cannot send more than 2000 messages per minute."


async def test_what_an_address_has_used_and_was_refused_is_told(dial: Dial, http: httpx2.AsyncClient) -> None:
    before = (await http.get("/control/counters")).json()["hyperliquid"]["refused"]
    sockets = [await greeted(dial) for _ in range(10)]
    await subscribe(sockets[0], type="bbo", coin="BTC")
    assert await alive(sockets[1])
    with pytest.raises(InvalidStatus):
        await dial(PATH)
    for _ in range(61):
        await http.post("/hyperliquid/info", json={"type": "meta"})
    told = (await http.get("/control/counters")).json()["hyperliquid"]
    assert told["usage"] == {
        "127.0.0.1": {"connections": 10, "subscriptions": 1, "new_connections": 10, "messages": 2, "weight": 1200}
    }
    assert {kind: count - before.get(kind, 0) for kind, count in told["refused"].items()} == {
        **dict.fromkeys(before, 0), "handshake": 1, "request": 1,
    }  # fmt: skip


async def test_a_drop_can_be_asked_for(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await greeted(dial)
    await http.post("/control/drop", json={"venue": "hyperliquid", "close_code": None})
    assert (await socket.closed())[0] == 1006
