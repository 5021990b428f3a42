"""Bybit's public websockets over real sockets: pongs, acks, refusals, limits."""

import asyncio
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from exchanges.simulator import bybit_socket
from exchanges.simulator.server import Simulator

from .conftest import Dial, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")
PUBLIC = "/bybit/v5/public"
CATEGORIES = ["linear", "inverse", "spot"]
SYMBOLS = {"linear": "BTCUSDT", "inverse": "BTCUSD", "spot": "BTCUSDT"}


async def ask(socket: Socket, op: str, args: list[str], **more: Any) -> Any:
    """Send a command and return its reply without the connection's id; data that comes before it is dropped."""
    await socket.send({"op": op, "args": args, **more})
    reply = await socket.until(lambda message: "topic" not in message)
    assert reply.pop("conn_id")
    return reply


async def bybit_counters(http: httpx2.AsyncClient) -> Any:
    return (await http.get("/control/counters")).json()["bybit"]


async def test_a_pong_has_one_of_three_shapes(dial: Dial) -> None:
    sent = {"req_id": "7", "op": "ping"}
    for category in ("linear", "inverse"):
        socket = await dial(f"{PUBLIC}/{category}")
        await socket.send(sent)
        pong = await socket.receive()
        assert list(pong) == ["success", "ret_msg", "conn_id", "req_id", "op"]
        assert (pong["success"], pong["ret_msg"], pong["req_id"], pong["op"]) == (True, "pong", "7", "ping")
        await socket.send({"op": "ping"})
        assert (await socket.receive())["req_id"] == ""
    spot = await dial(f"{PUBLIC}/spot")
    await spot.send(sent)
    assert list(await spot.receive()) == ["success", "ret_msg", "conn_id", "op"]
    option = await dial(f"{PUBLIC}/option")
    await option.send(sent)
    pong = await option.receive()
    assert (list(pong), pong["op"], pong["args"][0].isdecimal()) == (["args", "op"], "pong", True)


async def test_acks_name_the_request_and_not_the_topic(dial: Dial) -> None:
    for category, said in (("linear", ""), ("inverse", ""), ("spot", "subscribe")):
        socket = await dial(f"{PUBLIC}/{category}")
        topic = f"orderbook.50.{SYMBOLS[category]}"
        ack = await ask(socket, "subscribe", [topic], req_id="sub-17")
        assert ack == {"success": True, "ret_msg": said, "req_id": "sub-17", "op": "subscribe"}
        frame = await socket.receive()
        assert (frame["topic"], frame["type"], frame["data"]["s"]) == (topic, "snapshot", SYMBOLS[category])
        ack = await ask(socket, "unsubscribe", [topic])
        assert (ack["success"], ack["req_id"], ack["op"]) == (True, "", "unsubscribe")


async def test_option_has_acks_of_its_own(dial: Dial) -> None:
    option = await dial(f"{PUBLIC}/option")
    ack = await ask(option, "subscribe", ["publicTrade.BTC"], req_id="1")
    data = {"failTopics": ["publicTrade.BTC"], "successTopics": []}
    assert ack == {"success": False, "data": data, "type": "COMMAND_RESP"}


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize(
    "topic",
    [
        "orderbook.500.{}",  # retired
        "orderbook.50.NOPEUSDT",
        "orderbook.50.FTMUSDT",  # closed
        "liquidation.{}",  # retired
        "kline.480.{}",
        "kline.1m.{}",
        "publicTrade",
        "nonsense",
        "",
    ],
)
async def test_an_unknown_topic_is_refused(dial: Dial, category: str, topic: str) -> None:
    socket = await dial(f"{PUBLIC}/{category}")
    name = topic.format(SYMBOLS[category])
    reply = await ask(socket, "subscribe", [name], req_id="sub-18")
    reason = f"error:handler not found,topic:{name}"
    assert reply == {"success": False, "ret_msg": reason, "req_id": "sub-18", "op": "subscribe"}


async def test_a_symbol_of_another_category_is_unknown(dial: Dial) -> None:
    for category, topic in (
        ("linear", "publicTrade.BTCUSD"),
        ("inverse", "publicTrade.BTCUSDT"),
        ("spot", "publicTrade.BTCPERP"),
        ("spot", "publicTrade.spot/BTCUSDT"),
        ("linear", "publicTrade.spot/BTCUSDT"),
        ("spot", "allLiquidation.BTCUSDT"),
    ):
        socket = await dial(f"{PUBLIC}/{category}")
        reply = await ask(socket, "subscribe", [topic])
        assert reply["ret_msg"] == f"error:handler not found,topic:{topic}"


async def test_one_bad_topic_refuses_all_of_a_command(dial: Dial, http: httpx2.AsyncClient) -> None:
    before = await bybit_counters(http)
    socket = await dial(f"{PUBLIC}/linear")
    args = ["tickers.ETHUSDT", "orderbook.500.ETHUSDT", "publicTrade.ETHUSDT"]
    assert (await ask(socket, "subscribe", args))["ret_msg"] == "error:handler not found,topic:orderbook.500.ETHUSDT"
    after = await bybit_counters(http)
    assert after["subscribes_total"] == before["subscribes_total"]
    assert (await ask(socket, "subscribe", ["tickers.ETHUSDT"]))["success"]


async def test_a_second_subscription_is_refused_and_brings_no_snapshot(dial: Dial) -> None:
    socket = await dial(f"{PUBLIC}/linear")
    topic = "orderbook.200.10000LADYSUSDT"
    await ask(socket, "subscribe", [topic])
    snapshot = await socket.receive()
    reply = await ask(socket, "subscribe", [topic, "publicTrade.BTCUSDT"], req_id="sub-19")
    assert reply["ret_msg"] == f"error:already subscribed,topic:{topic}"
    assert (await socket.receive())["type"] == "delta"
    await ask(socket, "unsubscribe", [topic])
    await ask(socket, "subscribe", [topic])
    again = await socket.until(lambda message: message["type"] == "snapshot")
    assert again["data"]["u"] >= snapshot["data"]["u"]


@pytest.mark.parametrize("sent", ['{"op":"noop"}', "[]", "nonsense", '"text"', '{"args":["tickers.BTCUSDT"]}'])
async def test_anything_else_is_an_invalid_op(dial: Dial, sent: str) -> None:
    socket = await dial(f"{PUBLIC}/linear")
    await socket.send(sent)
    reply = await socket.receive()
    assert (reply["success"], reply["ret_msg"], reply["req_id"]) == (False, "error:invalid op", "")


async def test_spot_takes_ten_topics_at_a_time_and_futures_more(dial: Dial) -> None:
    kinds = ["orderbook.1", "orderbook.50", "orderbook.200", "publicTrade", "kline.1", "kline.5"]
    topics = [f"{kind}.{symbol}" for kind in kinds for symbol in ("BTCUSDT", "ETHUSDT")]
    spot, linear = await dial(f"{PUBLIC}/spot"), await dial(f"{PUBLIC}/linear")
    assert (await ask(spot, "subscribe", topics[:11]))["ret_msg"] == "args size >10"
    assert (await ask(spot, "subscribe", topics[:10]))["success"]
    assert (await ask(spot, "subscribe", topics[10:]))["success"]
    assert (await ask(linear, "subscribe", topics))["success"]
    for socket in (spot, linear):  # nothing is left unread, so closing need not wait for it
        assert (await ask(socket, "unsubscribe", topics))["success"]


async def test_all_topics_of_a_connection_have_21000_characters_at_the_most(dial: Dial) -> None:
    socket = await dial(f"{PUBLIC}/linear")
    await ask(socket, "subscribe", ["publicTrade.ZENUSDT"])
    reply = await ask(socket, "subscribe", ["publicTrade.BTCUSDT", "x" * (21_000 - 38)])
    assert reply["ret_msg"].startswith("error:handler not found,topic:x")
    reply = await ask(socket, "subscribe", ["publicTrade.BTCUSDT", "x" * (21_000 - 37)])
    assert "length" in reply["ret_msg"]


async def test_data_may_come_before_the_ack(dial: Dial) -> None:
    socket = await dial(f"{PUBLIC}/linear")
    firsts = []
    for depth in (1, 50, 200, 1000):
        topic = f"orderbook.{depth}.ZENUSDT"
        await socket.send({"op": "subscribe", "args": [topic], "req_id": topic})
        first = await socket.until(lambda m, t=topic: m.get("req_id") == t or m.get("topic") == t)
        firsts.append("topic" in first)
        await socket.until(lambda m, t=topic, data=firsts[-1]: m.get("req_id") == t if data else m.get("topic") == t)
    assert firsts == [False, False, False, True]


async def test_unsubscribing_stops_the_topic_and_forgets_it(dial: Dial, http: httpx2.AsyncClient) -> None:
    spot = await dial(f"{PUBLIC}/spot")
    await ask(spot, "subscribe", ["orderbook.50.BTCUSDT", "orderbook.50.ETHUSDT"])
    subscriptions = (await bybit_counters(http))["subscriptions"]
    assert (subscriptions["spot/orderbook.50.BTCUSDT"], subscriptions["spot/orderbook.50.ETHUSDT"]) == (1, 1)
    await ask(spot, "unsubscribe", ["orderbook.50.BTCUSDT"])
    assert {(await spot.receive())["topic"] for _ in range(10)} == {"orderbook.50.ETHUSDT"}
    assert "spot/orderbook.50.BTCUSDT" not in (await bybit_counters(http))["subscriptions"]


async def test_other_paths_are_refused_before_the_handshake(dial: Dial) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await dial(f"{PUBLIC}/nonsense")
    assert refused.value.response.status_code == 403


async def test_too_many_new_connections_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bybit_socket, "CONNECTS", 2)
    async with Simulator(seed=7) as simulator:
        for _ in range(2):
            async with connect(f"{simulator.ws_url}{PUBLIC}/linear"):
                pass
        with pytest.raises(InvalidStatus):
            async with connect(f"{simulator.ws_url}{PUBLIC}/linear"):
                pass


async def test_silence_on_both_sides_ends_a_connection(dial: Dial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bybit_socket, "IDLE_SECONDS", 0.3)
    silent, hearing, pinging = [await dial(f"{PUBLIC}/linear") for _ in range(3)]
    await ask(hearing, "subscribe", ["orderbook.50.BTCUSDT"])
    listening = asyncio.ensure_future(silent.receive())
    while not listening.done():
        await pinging.send({"op": "ping"})
        assert (await pinging.receive())["ret_msg"] == "pong"
        await hearing.receive()
    with pytest.raises(ConnectionClosedError):
        await listening
    await hearing.receive()
