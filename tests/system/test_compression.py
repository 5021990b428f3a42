"""Shared compression over real processes: what unpacks is what everybody else gets."""

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.system import processes
from tests.system.processes import Client

FRAMES = 40
BOOK = {"channel": "orderbook", "exchange": "binance", "symbol": "BTC/USDT:USDT", "params": {"levels": 500}}
TRADES = {"channel": "trades", "exchange": "binance", "symbol": "BTC/USDT:USDT"}
NODE_PACKAGES = (Path("node_modules"), Path(".venv-peers/node/node_modules"))
# Prints each message as it is, then the extensions that were agreed upon.
NODE_CLIENT = """
const WebSocket = require("ws");
const [url, count, ...commands] = process.argv.slice(1);
const socket = new WebSocket(url, {perMessageDeflate: true});
let left = Number(count);
socket.on("open", () => commands.forEach((command) => socket.send(command)));
socket.on("message", (data) => {
  if (left-- > 0) console.log(data.toString());
  if (left === 0) { console.log(socket.extensions); socket.close(); }
});
socket.on("error", (error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def compressing_url(simulator_url: str) -> Iterator[str]:
    with processes.gateway(simulator_url, compression="shared") as url:
        yield url


def address(url: str) -> str:
    return url.replace("http://", "ws://") + "/v1/ws"


async def subscribed(client: Client) -> None:
    for topic in (BOOK, TRADES):
        await client.send(op="subscribe", **topic)


async def follow(client: Client, count: int = FRAMES) -> None:
    while len(client.frames) < count:
        await client.next()


def by_cursor(texts: list[str]) -> dict[tuple[str, str], str]:
    messages = [(json.loads(text), text) for text in texts]
    return {(message["type"], message["cursor"]): text for message, text in messages if "cursor" in message}


def in_common(one: list[str], other: list[str]) -> int:
    """How many frames of both are of the same event; they must be the same then."""
    first, second = by_cursor(one), by_cursor(other)
    shared = first.keys() & second.keys()
    assert all(first[cursor] == second[cursor] for cursor in shared)
    return len(shared)


async def test_a_client_that_takes_compressed_frames_gets_what_every_other_client_gets(compressing_url: str) -> None:
    async with (
        connect(address(compressing_url), compression="deflate", max_size=None, proxy=None) as connection,
        processes.client(compressing_url) as plain,
    ):
        packed = Client(connection)
        for client in (packed, plain):
            await subscribed(client)
        await asyncio.gather(follow(packed), follow(plain))
        agreed = [repr(extension) for extension in connection.protocol.extensions]

    assert len(agreed) == 1
    assert "remote_no_context_takeover=True, local_no_context_takeover=True" in agreed[0]
    assert in_common(packed.frames, plain.frames) > FRAMES // 2


async def test_a_node_client_gets_what_every_other_client_gets(compressing_url: str) -> None:
    packages = [path.resolve() for path in NODE_PACKAGES if (path / "ws").is_dir()]
    node = shutil.which("node")
    if node is None or not packages:
        pytest.skip("node and its package `ws` are not installed here")
    commands = [json.dumps({"op": "subscribe", **topic}) for topic in (BOOK, TRADES)]
    async with processes.client(compressing_url) as plain:
        await subscribed(plain)
        running = await asyncio.create_subprocess_exec(
            *(node, "-e", NODE_CLIENT, address(compressing_url), str(FRAMES), *commands),
            env={"NODE_PATH": str(packages[0])},
            stdout=asyncio.subprocess.PIPE,
            limit=2**22,
        )
        ended = asyncio.create_task(running.communicate())
        while not ended.done():
            await plain.next()
        output, _ = await ended

    *texts, agreed = output.decode().splitlines()
    assert (running.returncode, agreed) == (0, "permessage-deflate")
    assert in_common(texts, plain.frames) > FRAMES // 2


async def test_nothing_is_compressed_unless_it_is_asked_for(gateway_url: str) -> None:
    async with connect(address(gateway_url), compression="deflate", proxy=None) as connection:
        await connection.send(json.dumps({"op": "ping"}))
        assert await connection.recv() == '{"type":"pong"}'
        assert connection.protocol.extensions == []
