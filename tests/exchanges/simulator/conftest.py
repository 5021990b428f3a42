"""A simulator on a free port, an HTTP client for it, and websockets that speak JSON."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from exchanges.simulator.server import Simulator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    """One for a whole file: stopping a server takes a fifth of a second. What a test freezes, ``http`` thaws."""
    async with Simulator(seed=7) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(simulator: Simulator) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        yield client
    simulator.floor.thaw()


class Socket:
    """A websocket that reads and writes JSON and never waits for ever."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def send(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, str) else json.dumps(message, ensure_ascii=False))

    async def receive(self) -> Any:
        async with asyncio.timeout(5):
            return json.loads(await self.connection.recv())

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        while True:
            message = await self.receive()
            if wanted(message):
                return message

    async def ask(self, method: str, params: Any = None, *, identity: Any = 1) -> Any:
        """Send a command and return its reply; data that comes before it is dropped."""
        await self.send({"method": method, "id": identity} | ({} if params is None else {"params": params}))
        return await self.until(lambda message: "id" in message or "error" in message or "code" in message)

    async def closed(self) -> tuple[int, str]:
        """The code and reason of the close, reading away whatever still comes."""
        async with asyncio.timeout(5):
            with suppress(ConnectionClosed):
                while True:
                    await self.connection.recv()
            await self.connection.wait_closed()
        return self.connection.close_code or 0, self.connection.close_reason or ""


Dial = Callable[[str], Awaitable[Socket]]


@pytest_asyncio.fixture(loop_scope="module")
async def dial(simulator: Simulator) -> AsyncIterator[Dial]:
    opened: list[ClientConnection] = []

    async def open_one(path: str) -> Socket:
        connection = await connect(simulator.ws_url + path, max_size=None)
        opened.append(connection)
        return Socket(connection)

    yield open_one
    for connection in opened:
        await connection.close()
