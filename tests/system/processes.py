"""Real processes for system tests: the venue simulator and the gateway, on free ports, and a client that remembers."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import IO, Any

import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect

from gateway import cli

START_TIMEOUT = 20.0
PATIENCE = 10.0  # seconds any one thing may take
MAX_KEPT = 20_000
RUNNING: dict[str, subprocess.Popen[bytes]] = {}  # by URL
OUTPUT: dict[str, IO[bytes]] = {}  # likewise
URL = re.compile(rb"http://[^\s/]+:\d+")


@contextmanager
def process(*arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ``python -m …`` until it prints its URL; gives the URL, and ends the process on leaving."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**clean, **(environment or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: url_in(output, running))
            url = url_in(output, running)
            RUNNING[url], OUTPUT[url] = running, output
            yield url
        finally:
            running.terminate()
            try:
                running.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def stop(url: str) -> None:
    """Ask the process that serves ``url`` to end."""
    RUNNING[url].terminate()


def said(url: str) -> str:
    """All that the process that serves ``url`` has printed."""
    OUTPUT[url].seek(0)
    return OUTPUT[url].read().decode()


def url_in(output: IO[bytes], running: subprocess.Popen[bytes]) -> str:
    output.seek(0)
    text = output.read()
    found = URL.search(text)
    assert found or running.poll() is None, f"ended before it said where it listens: {text.decode()}"
    return found[0].decode() if found else ""


def wait_for(condition: Callable[[], Any], patience: float = START_TIMEOUT) -> None:
    """Ask until it is so; what other processes do can only be polled."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def simulator() -> Iterator[str]:
    with process("exchanges.simulator", "--port", "0") as url:
        yield url


def simulated(simulator_url: str) -> dict[str, str]:
    """The settings that make a gateway's venues simulated ones."""
    return {
        f"GATEWAY_{venue}__{name}".upper(): url
        for venue, urls in cli.simulated(simulator_url).items()
        for name, url in urls.items()
    }


@contextmanager
def gateway(simulator_url: str, *, command: str = "gateway", **settings: str) -> Iterator[str]:
    """A gateway whose venues are simulated; ``settings`` are variables without their prefix."""
    environment = {"GATEWAY_PORT": "0", "GATEWAY_CACHE_DIR": "", "GATEWAY_LIMITS__LINGER": "1"}
    environment |= simulated(simulator_url)
    environment |= {f"GATEWAY_{name.upper()}": value for name, value in settings.items()}
    with process(command, "serve", environment=environment) as url:
        wait_for_ready(url)
        yield url


def wait_for_ready(url: str) -> None:
    with httpx2.Client(base_url=url) as http:
        wait_for(lambda: ready(http))


def ready(http: httpx2.Client) -> bool:
    try:
        return bool(http.get("/readyz").json()["status"] in ("ready", "degraded"))
    except httpx2.TransportError:
        return False


async def until(condition: Callable[[], Awaitable[Any]], patience: float = PATIENCE) -> None:
    """``wait_for`` for conditions that are awaited."""
    async with asyncio.timeout(patience):
        while not await condition():  # noqa: ASYNC110  # another process's state has no event
            await asyncio.sleep(0.05)


class Client:
    """One websocket to the gateway; ``frames`` holds everything received, as text and in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[str] = []
        self._read = 0

    async def send(self, **command: Any) -> None:
        await self.connection.send(orjson.dumps(command).decode())

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        async with asyncio.timeout(PATIENCE):
            text = await self.connection.recv()
        assert isinstance(text, str)
        self.frames.append(text)
        assert len(self.frames) < MAX_KEPT
        return orjson.loads(text)  # type: ignore[no-any-return]

    async def expect(self, **fields: Any) -> dict[str, Any]:
        """The next frame that has these fields; those before it are kept in ``frames``."""
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.next()
                if all(message.get(name) == value for name, value in fields.items()):
                    return message

    def received(self, **fields: Any) -> list[dict[str, Any]]:
        """Every frame so far that has these fields."""
        messages = [orjson.loads(text) for text in self.frames]
        return [m for m in messages if all(m.get(name) == value for name, value in fields.items())]


@asynccontextmanager
async def client(gateway_url: str, **options: Any) -> AsyncIterator[Client]:
    url = gateway_url.replace("http://", "ws://") + "/v1/ws"
    async with connect(url, compression=None, max_size=None, **options) as connection:
        yield Client(connection)
