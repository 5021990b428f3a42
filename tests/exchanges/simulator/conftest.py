"""A simulator on a free port, an HTTP client for it, and websockets that speak JSON."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from exchanges.simulator.server import Simulator
from exchanges.simulator.switchboard import Switchboard


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    """One for a whole file: stopping a server takes a fifth of a second. What a test freezes, ``http`` thaws.

    Faults that a test leaves on are its own to remove: see ``faults``.
    """
    async with Simulator(seed=7) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(simulator: Simulator) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=simulator.url) as client:
        yield client
    simulator.floor.thaw()


@pytest.fixture
def faults(simulator: Simulator) -> Iterator[Switchboard]:
    """The simulator's switch; everything is off before and after."""
    yield simulator.floor.faults
    simulator.floor.faults.remove()


class Socket:
    """A websocket that reads and writes JSON and never waits for ever."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._kept: deque[Any] = deque()

    async def send(self, message: Any) -> None:
        await self.connection.send(message if isinstance(message, str) else json.dumps(message, ensure_ascii=False))

    async def receive(self) -> Any:
        return self._kept.popleft() if self._kept else json.loads(await self.receive_raw())

    async def receive_raw(self) -> str | bytes:
        """The next message as it is."""
        async with asyncio.timeout(5):
            return await self.connection.recv()

    async def silent(self, seconds: float = 0.4) -> bool:
        """Whether nothing comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.connection.recv()
        except TimeoutError:
            return True
        return False

    async def acknowledged(self, wanted: Callable[[Any], bool], count: int) -> None:
        """Wait for ``count`` such messages; whatever comes among them is received afterwards."""
        others = []
        while count:
            message = await self.receive()
            count -= wanted(message)
            others += [] if wanted(message) else [message]
        self._kept.extend(others)

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
        connection = await connect(simulator.ws_url + path, max_size=None, close_timeout=0.2)
        opened.append(connection)
        return Socket(connection)

    yield open_one
    for connection in opened:
        await connection.close()
