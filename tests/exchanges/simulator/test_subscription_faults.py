"""Subscriptions that a venue refuses in its own way, or swallows; and what the control endpoint says of faults."""

from typing import Any

import httpx2
import pytest

from exchanges.simulator.faults import KINDS
from exchanges.simulator.server import Simulator
from exchanges.simulator.switchboard import Switchboard

from .conftest import Dial, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")
BINANCE, SPOT, BYBIT, COINS = "/binance/market/ws", "/binance-spot/ws", "/bybit/v5/public/linear", "/hyperliquid/ws"

NOT_NOW = "Invalid request: subscriptions are not possible at the moment"


def command(path: str, symbol: str) -> dict[str, Any]:
    """A subscription to a symbol's trades as the venue behind a path wants it."""
    if path is BYBIT:
        return {"op": "subscribe", "req_id": "7", "args": [f"publicTrade.{symbol}USDT"]}
    if path is COINS:
        return {"method": "subscribe", "subscription": {"type": "trades", "coin": symbol}}
    return {"method": "SUBSCRIBE", "params": [f"{symbol.lower()}usdt@aggTrade"], "id": 7}


def symbol_of(path: str, base: str) -> str:
    return base if path is COINS else f"{base}USDT"


@pytest.fixture(autouse=True)
def fresh(simulator: Simulator, faults: Switchboard) -> None:
    """No fault lasts, and an address has what it is allowed."""
    simulator.floor.venues["hyperliquid"].forgive()


async def connected(dial: Dial, path: str) -> Socket:
    socket = await dial(path)
    if path is COINS:
        await socket.receive_raw()  # the greeting
    return socket


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (BINANCE, {"error": {"code": 2, "msg": NOT_NOW}, "id": 7}),
        (SPOT, {"code": 2, "msg": NOT_NOW}),
        (BYBIT, {"success": False, "ret_msg": "error:handler not found,topic:publicTrade.BTCUSDT", "op": "subscribe"}),
    ],
)  # fmt: skip
async def test_a_refusal_is_the_venues_own(dial: Dial, faults: Switchboard, path: str, told: dict[str, Any]) -> None:
    socket = await connected(dial, path)
    faults.inject(venue=path.split("/")[1], kind="refuse_subscribe", symbol="BTCUSDT", channel="trades")
    await socket.send(command(path, "BTC"))
    assert told.items() <= (await socket.receive()).items()
    await socket.send(command(path, "BTC"))
    assert not told.items() <= (await socket.receive()).items()


async def test_hyperliquid_refuses_without_a_word(dial: Dial, faults: Switchboard) -> None:
    socket = await connected(dial, COINS)
    faults.inject(venue="hyperliquid", kind="refuse_subscribe", symbol="BTC")
    await socket.send(command(COINS, "BTC"))
    assert await socket.closed() == (1006, "")


@pytest.mark.parametrize("path", [BINANCE, SPOT, BYBIT, COINS])
async def test_a_subscription_that_is_ignored_is_never_heard_of_again(
    dial: Dial, faults: Switchboard, simulator: Simulator, path: str
) -> None:
    socket = await connected(dial, path)
    venue = path.split("/")[1]
    before = dict(simulator.floor.venues[venue].counters.subscriptions)
    faults.inject(venue=venue, kind="ignore_subscribe", symbol=symbol_of(path, "BTC"))
    await socket.send(command(path, "BTC"))
    assert await socket.silent()
    assert simulator.floor.venues[venue].counters.subscriptions == before
    await socket.send(command(path, "BTC"))
    await socket.receive()


@pytest.mark.parametrize("path", [BINANCE, BYBIT, COINS])
async def test_another_symbol_is_served_meanwhile(dial: Dial, faults: Switchboard, path: str) -> None:
    socket = await connected(dial, path)
    faults.inject(venue=path.split("/")[1], kind="ignore_subscribe", symbol=symbol_of(path, "BTC"), seconds=30)
    await socket.send(command(path, "ETH"))
    await socket.receive()


@pytest.mark.parametrize("kind", ["refuse_subscribe", "ignore_subscribe"])
async def test_streams_named_in_the_path_stay_silent(dial: Dial, faults: Switchboard, kind: str) -> None:
    faults.inject(venue="binance", kind=kind, channel="trades")
    socket = await dial(f"{BINANCE}/btcusdt@aggTrade")
    assert await socket.silent()


async def test_the_switch_is_worked_over_http(http: httpx2.AsyncClient) -> None:
    body = {"venue": "binance", "kind": "freeze", "symbol": "BTCUSDT", "channel": None, "count": None, "seconds": 30}
    first = (await http.post("/control/faults", json=body)).json()["id"]
    second = (await http.post("/control/faults", json={"venue": "bybit", "kind": "skew", "ms": -5})).json()["id"]
    state = (await http.get("/control/faults")).json()
    rows = {row["id"]: row for row in state["active"]}
    assert rows.keys() == {first, second}
    assert rows[first]["symbol"] == "BTCUSDT"
    assert 29 < rows[first]["seconds"] <= 30
    assert (rows[second]["ms"], rows[second]["injected"]) == (-5, 0)
    assert state["kinds"].keys() == KINDS.keys()
    assert state["kinds"]["drip"]["delay"] == {"default": 1.0, "from": 0, "to": 600}
    assert (await http.delete("/control/faults", params={"id": first})).json() == {"removed": 1}
    assert (await http.delete("/control/faults", params={"venue": "binance"})).json() == {"removed": 0}
    assert (await http.delete("/control/faults")).json() == {"removed": 1}
    assert (await http.get("/control/faults")).json()["active"] == []


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b"[]", b'{"venue":"binance","kind":"nope"}', b'{"venue":"binance","self":1}']
)
async def test_what_is_not_allowed_is_a_400_that_says_what_is(http: httpx2.AsyncClient, body: bytes) -> None:
    refused = await http.post("/control/faults", content=body)
    assert refused.status_code == 400
    assert refused.json()["error"]


@pytest.mark.parametrize("query", [{"id": "x"}, {"venue": "kraken"}, {"kind": "drop"}])
async def test_removing_what_cannot_be_is_a_400(http: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert (await http.delete("/control/faults", params=query)).status_code == 400
