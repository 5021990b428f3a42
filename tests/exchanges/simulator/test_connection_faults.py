"""Faults of connections: ended with and without a word, announced, too old, or standing there dead."""

import asyncio
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from exchanges.simulator.server import Simulator
from exchanges.simulator.sockets import Connection
from exchanges.simulator.switchboard import Switchboard

from .conftest import Dial, Socket

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEPTH = "/binance/public/ws/btcusdt@depth@100ms"


@pytest.fixture(autouse=True)
def nothing_lasts(faults: Switchboard) -> None:
    """Every test here ends with no fault on."""


async def listen(dial: Dial, path: str = DEPTH) -> Socket:
    """A socket that has received something."""
    socket = await dial(path)
    await socket.receive_raw()
    return socket


def connection_of(simulator: Simulator, socket: Socket, venue: str = "binance") -> Connection:
    """The venue's end of a socket."""
    port = socket.connection.local_address[1]
    return next(
        each
        for each in simulator.floor.venues[venue].connections
        if each.protocol.client is not None and each.protocol.client[1] == port
    )


async def error_of(socket: Socket) -> ConnectionClosed:
    """How the connection ended, reading away what still comes."""
    async with asyncio.timeout(5):
        while True:
            try:
                await socket.connection.recv()
            except ConnectionClosed as closed:
                return closed


async def test_a_hangup_says_its_code(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    faults.inject(venue="binance", kind="hangup", code=4321)
    assert (await socket.closed())[0] == 4321


async def test_a_hangup_of_one_takes_the_oldest(dial: Dial, faults: Switchboard) -> None:
    first, second = await listen(dial), await listen(dial)
    fault = faults.inject(venue="binance", kind="hangup", count=1)
    assert (await first.closed())[0] == 1001
    await second.receive()
    assert fault.injected == 1


async def test_a_hangup_that_lasts_takes_who_comes_as_well(dial: Dial, faults: Switchboard) -> None:
    faults.inject(venue="binance", kind="hangup", seconds=30)
    socket = await dial(DEPTH)
    assert (await socket.closed())[0] == 1001


async def test_a_hangup_that_happened_once_lets_the_next_one_in(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    faults.inject(venue="binance", kind="hangup")
    await socket.closed()
    await listen(dial)
    assert faults.state()["active"] == []


async def test_a_reset_is_a_reset_and_not_an_end(dial: Dial, faults: Switchboard) -> None:
    socket = await listen(dial)
    faults.inject(venue="binance", kind="reset")
    closed = await error_of(socket)
    assert closed.rcvd is None
    assert isinstance(closed.__cause__, ConnectionResetError)


async def test_a_half_open_connection_says_nothing_hears_nothing_and_stands(
    dial: Dial, faults: Switchboard, simulator: Simulator
) -> None:
    socket, bystander = await listen(dial), await listen(dial, "/binance-spot/ws/btcusdt@depth@100ms")
    faults.inject(venue="binance", kind="half_open")
    async with asyncio.timeout(5):
        while not await socket.silent(0.3):  # what was on its way
            pass
    pong = await socket.connection.ping()
    connection_of(simulator, socket).close(1001)
    assert await socket.silent(0.5)
    assert not pong.done()
    assert socket.connection.protocol.close_rcvd is None
    await bystander.receive()


async def test_a_half_open_connection_is_forgotten_once_the_client_gives_up(
    dial: Dial, faults: Switchboard, simulator: Simulator
) -> None:
    socket = await listen(dial)
    connection = connection_of(simulator, socket)
    faults.inject(venue="binance", kind="half_open")
    socket.connection.transport.abort()
    async with asyncio.timeout(5):
        while connection in simulator.floor.venues["binance"].connections:  # noqa: ASYNC110  # no event for this
            await asyncio.sleep(0)


async def test_new_connections_are_half_open_only_if_asked_for(dial: Dial, faults: Switchboard) -> None:
    faults.inject(venue="binance", kind="half_open", seconds=30)
    await listen(dial)
    faults.inject(venue="binance", kind="half_open", new=True)
    late = await dial(DEPTH)
    assert await late.silent()
    faults.remove()
    await listen(dial)
    assert await late.silent()  # the dead stay dead


async def test_spot_announces_its_maintenance_and_then_closes(dial: Dial, faults: Switchboard) -> None:
    raw = await listen(dial, "/binance-spot/ws/btcusdt@depth@100ms")
    wrapped = await listen(dial, "/binance-spot/stream?streams=btcusdt@depth@100ms")
    faults.inject(venue="binance-spot", kind="maintenance", notice=0.3)
    notice = await raw.until(lambda message: message["e"] == "serverShutdown")
    assert notice.keys() == {"e", "E"}
    named = await wrapped.until(lambda message: message["stream"] == "!serverShutdown")
    assert named["data"]["e"] == "serverShutdown"
    await raw.receive()  # it still speaks
    assert [(await socket.closed())[0] for socket in (raw, wrapped)] == [1012, 1012]


@pytest.mark.parametrize("path", [DEPTH, "/bybit/v5/public/linear", "/hyperliquid/ws"])
async def test_where_there_is_no_announcement_maintenance_closes_at_once(
    dial: Dial, faults: Switchboard, simulator: Simulator, path: str
) -> None:
    venue = path.split("/")[1]
    simulator.floor.venues[venue].forgive()
    socket = await dial(path)
    await connected(simulator, venue)
    faults.inject(venue=venue, kind="maintenance", notice=60)
    assert (await socket.closed())[0] == 1012


async def connected(simulator: Simulator, venue: str) -> None:
    """Until the venue knows of a connection: the handshake's answer is sent a moment before."""
    async with asyncio.timeout(5):
        while not any(each.protocol.open for each in simulator.floor.venues[venue].connections):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_the_cut_takes_all_that_are_old_and_those_that_become_it(
    dial: Dial, faults: Switchboard, simulator: Simulator
) -> None:
    old, young = await listen(dial), await listen(dial)
    connection_of(simulator, old).opened -= 86_400
    faults.inject(venue="binance", kind="cut", age=80_000, seconds=30)
    assert (await old.closed())[0] == 1001
    await young.receive()
    connection_of(simulator, young).opened -= 86_400
    assert (await young.closed())[0] == 1001


@pytest.mark.parametrize(
    ("body", "kind"), [({"close_code": None}, "reset"), ({"close_code": 1008}, "hangup")]
)  # fmt: skip
async def test_a_drop_is_one_of_these_by_its_old_name(
    dial: Dial, http: httpx2.AsyncClient, faults: Switchboard, body: dict[str, Any], kind: str
) -> None:
    socket = await listen(dial)
    before = faults.state()["injected"]["binance"].get(kind, 0)
    reply = await http.post("/control/drop", json={"venue": "binance", **body})
    assert reply.json() == {"dropped": 1}
    assert (await socket.closed())[0] == (1006 if kind == "reset" else 1008)
    assert faults.state()["injected"]["binance"][kind] == before + 1
