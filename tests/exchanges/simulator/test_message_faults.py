"""Faults of messages over a real socket: what a client reads, on a raw and on a wrapped path, on every venue."""

import asyncio
import json
from itertools import pairwise
from typing import Any

import httpx2
import orjson
import pytest

from exchanges.simulator.server import Simulator
from exchanges.simulator.switchboard import Switchboard

from .conftest import Dial, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEPTH = "/binance/public/ws/btcusdt@depth@100ms"
WRAPPED = "/binance/public/stream?streams=btcusdt@depth@100ms"
HOLES = {
    "drop": {"count": 2},
    "garbage": {},
    "truncate": {},
    "binary": {},
    "freeze": {"count": 3},
}  # the kinds that leave one hole in a chain of books


async def listen(dial: Dial, path: str = DEPTH) -> Socket:
    """A socket that has received something."""
    socket = await dial(path)
    await socket.receive_raw()
    return socket


async def books(socket: Socket, count: int) -> list[dict[str, Any]]:
    """The next ``count`` messages that are readable."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        raw = await socket.receive_raw()
        try:
            found.append(orjson.loads(raw))
        except orjson.JSONDecodeError:
            continue
    return found


@pytest.mark.parametrize("kind", HOLES)
async def test_what_is_missing_or_unreadable_leaves_one_hole(dial: Dial, faults: Switchboard, kind: str) -> None:
    socket = await listen(dial)
    events = await books(socket, 1)
    fault = faults.inject(venue="binance", kind=kind, symbol="BTCUSDT", channel="orderbook", **HOLES[kind])
    events += await books(socket, 6)
    assert sum(after["pu"] != before["u"] for before, after in pairwise(events)) == 1
    assert (fault.injected, fault.left) == (HOLES[kind].get("count", 1), 0)


@pytest.mark.parametrize("path", [DEPTH, WRAPPED])
@pytest.mark.parametrize("kind", ["garbage", "truncate", "binary"])
async def test_an_unreadable_message_is_no_json(dial: Dial, faults: Switchboard, kind: str, path: str) -> None:
    socket = await listen(dial, path)
    faults.inject(venue="binance", kind=kind)
    raw = await unreadable(socket)
    assert isinstance(raw, bytes) == (kind == "binary")
    if kind == "truncate":
        assert str(raw).startswith('{"stream":"btcusdt@depth' if path is WRAPPED else '{"e":"depthUpdate"')
    if isinstance(raw, bytes):
        with pytest.raises(UnicodeDecodeError):
            raw.decode()


async def unreadable(socket: Socket) -> str | bytes:
    while True:
        raw = await socket.receive_raw()
        try:
            orjson.loads(raw)
        except orjson.JSONDecodeError:
            return raw


async def test_garbage_may_come_beside_a_message(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    events = await books(socket, 1)
    faults.inject(venue="binance", kind="garbage", beside=True)
    texts = [await socket.receive_raw() for _ in range(5)]
    events += [orjson.loads(text) for text in texts if not str(text).startswith("<html>")]
    assert len(events) == 5
    assert all(after["pu"] == before["u"] for before, after in pairwise(events))


async def test_a_duplicate_is_the_same_message_again(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    faults.inject(venue="binance", kind="duplicate")
    events = await books(socket, 4)
    assert sum(one == after for one, after in pairwise(events)) == 1


async def test_two_messages_change_places(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    before = (await books(socket, 1))[0]
    faults.inject(venue="binance", kind="reorder")
    events = [before, *await books(socket, 5)]
    assert sum(after["u"] < one["u"] for one, after in pairwise(events)) == 1
    in_order = sorted(events, key=lambda event: event["u"])
    assert all(after["pu"] == one["u"] for one, after in pairwise(in_order))


@pytest.mark.parametrize("how", ["null", "word", "missing", "negative", "nan"])
async def test_a_number_of_the_right_json_is_none(dial: Dial, faults: Switchboard, how: str) -> None:
    socket = await listen(dial, "/binance/market/ws/btcusdt@aggTrade")
    faults.inject(venue="binance", kind="types", how=how, channel="trades")
    wrong = {"null": None, "word": "twelve", "nan": "NaN"}

    def is_wrong(trade: dict[str, Any]) -> bool:
        values = [trade.get(key, "missing") for key in ("p", "q", "a", "T")]
        if how in ("missing", "negative"):
            return "missing" in values if how == "missing" else any(str(value).startswith("-") for value in values)
        return wrong[how] in values

    assert is_wrong(await socket.until(is_wrong))
    assert not is_wrong(await socket.receive())


VENUES = {
    "binance": (DEPTH, None, "BTCUSDT"),
    "binance-spot": ("/binance-spot/ws/btcusdt@depth@100ms", None, "BTCUSDT"),
    "bybit": ("/bybit/v5/public/linear", {"op": "subscribe", "args": ["orderbook.50.BTCUSDT"]}, "BTCUSDT"),
    "hyperliquid": (
        "/hyperliquid/ws",
        {"method": "subscribe", "subscription": {"type": "l2Book", "coin": "BTC", "fast": True}},
        "BTC",
    ),
}


def best_bid(venue: str, message: Any) -> tuple[int, float]:
    """The number of a book message, and the highest bid it tells; (0, 0): it tells none."""
    if venue == "hyperliquid":
        data = message["data"] if message.get("channel") == "l2Book" else {"time": 0, "levels": [[]]}
        return data["time"], max((float(level["px"]) for level in data["levels"][0]), default=0.0)
    body = message.get("data", message)
    return body.get("u", 0), max((float(price) for price, amount in body.get("b", []) if float(amount)), default=0.0)


@pytest.mark.parametrize("venue", VENUES)
async def test_a_corrupt_book_bids_more_than_the_venue_asks(
    dial: Dial, faults: Switchboard, simulator: Simulator, venue: str
) -> None:
    path, command, symbol = VENUES[venue]
    stated = simulator.floor.venues[venue].books(symbol)
    stated.read(0)
    socket = await dial(path)
    if command is not None:
        await socket.send(command)
    await socket.receive_raw()
    faults.inject(venue=venue, kind="corrupt", symbol=symbol, channel="orderbook")
    crossed = 0
    for _ in range(5):
        number, bid = best_bid(venue, json.loads(await socket.receive_raw()))
        asks = [book["asks"][0][0] for book in stated.read(0)["books"] if book["sequence"] == number]
        crossed += bool(asks) and bid >= float(asks[0])
    assert crossed == 1


async def test_a_huge_message_is_the_same_json_with_room_after_it(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    faults.inject(venue="binance", kind="huge", bytes=20 * 1024 * 1024)
    raw = await socket.receive_raw()
    while len(raw) < 100_000:
        raw = await socket.receive_raw()
    assert len(raw) == 20 * 1024 * 1024
    assert json.loads(raw)["e"] == "depthUpdate"


async def test_a_frozen_channel_is_silent_while_the_socket_answers(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    faults.inject(venue="binance", kind="freeze", symbol="BTCUSDT", channel="orderbook", seconds=30)
    pong = await socket.connection.ping()
    async with asyncio.timeout(5):
        await pong
    reply = await socket.ask("SUBSCRIBE", ["ethusdt@depth@100ms"], identity=5)
    assert reply == {"result": None, "id": 5}
    assert {event["s"] for event in await books(socket, 5)} == {"ETHUSDT"}


async def test_a_freeze_that_is_over_has_swallowed_what_was_in_it(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    before = (await books(socket, 1))[0]
    fault = faults.inject(venue="binance", kind="freeze", symbol="BTCUSDT", seconds=30)
    async with asyncio.timeout(5):
        while fault.injected < 2:  # noqa: ASYNC110  # the switch offers no event
            await asyncio.sleep(0)
    faults.remove(identity=fault.id)
    after = (await books(socket, 4))[-1]
    assert after["pu"] > before["u"]


async def test_dripping_messages_come_late_in_order_and_all(
    dial: Dial, faults: Switchboard, simulator: Simulator
) -> None:
    socket = await listen(dial)
    events = await books(socket, 1)
    faults.inject(venue="binance", kind="drip", delay=0.5, count=3)
    events += await books(socket, 1)
    while simulator.floor.clock.now() - events[-1]["E"] < 480:
        events += await books(socket, 1)
    events += await books(socket, 8)
    assert all(after["pu"] == before["u"] for before, after in pairwise(events))


async def test_what_is_late_never_comes_to_who_has_unsubscribed(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    fault = faults.inject(venue="binance", kind="drip", delay=0.4, seconds=30)
    async with asyncio.timeout(5):
        while fault.injected < 2:  # noqa: ASYNC110  # the switch offers no event
            await asyncio.sleep(0)
    await socket.ask("UNSUBSCRIBE", ["btcusdt@depth@100ms"])
    assert await socket.silent(0.6)


async def test_a_fault_of_one_venue_leaves_the_others_alone(dial: Dial, faults: Switchboard) -> None:
    faults.inject(venue="binance-spot", kind="freeze", seconds=30)
    socket = await listen(dial)
    events = await books(socket, 4)
    assert all(after["pu"] == before["u"] for before, after in pairwise(events))


async def test_a_lost_book_is_a_dropped_message_by_its_old_name(dial: Dial, http: httpx2.AsyncClient) -> None:
    await listen(dial)
    before = (await http.get("/control/faults")).json()["injected"]["binance"].get("drop", 0)
    await http.post("/control/lose", json={"venue": "binance", "symbol": "BTCUSDT", "count": 2})
    (active,) = (await http.get("/control/faults")).json()["active"]
    assert (active["kind"], active["channel"]) == ("drop", "orderbook")
    async with asyncio.timeout(5):
        while (await http.get("/control/faults")).json()["active"]:
            pass
    assert (await http.get("/control/faults")).json()["injected"]["binance"]["drop"] == before + 2
