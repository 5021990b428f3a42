"""What a venue's message costs from the read to its parser: handed over directly, and by ``recv()`` of websockets.

    python scripts/bench_receive.py [--messages 50000]

The bytes are given to the protocol as a loop would, one read a turn, with one or ten messages in each; no socket, so
that the system's share, equal for both, is left out. Rounds of both take turns; the median of three is printed.
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop
from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from exchanges.direct import DirectConnection
from topics.frame import frame

MESSAGE = frame(b'{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade"' + b" " * 200 + b"}}")
ROUNDS = 3


class Nowhere(asyncio.Transport):
    """Takes what is written."""

    def write(self, data: Any) -> None: ...

    def is_closing(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


def opened(kind: type[ClientConnection]) -> ClientConnection:
    connection = kind(ClientProtocol(parse_uri("ws://venue/"), state=State.OPEN), ping_interval=None, max_queue=None)
    connection.connection_made(Nowhere())
    connection.response = Response(101, "Switching Protocols", Headers())
    return connection


async def read(connection: ClientConnection, reads: int, data: bytes, done: Callable[[], bool]) -> float:
    """Seconds of CPU until everything has arrived."""
    began = time.process_time()
    for _ in range(reads):
        connection.data_received(data)
        await asyncio.sleep(0)
    while not done():  # noqa: ASYNC110  # a turn more
        await asyncio.sleep(0)
    return time.process_time() - began


async def direct(messages: int, together: int) -> float:
    connection, count = opened(DirectConnection), 0
    assert isinstance(connection, DirectConnection)

    def take(message: bytes) -> None:
        nonlocal count
        count += 1

    connection.listen(take)
    return await read(connection, messages // together, MESSAGE * together, lambda: count == messages)


async def by_recv(messages: int, together: int) -> float:
    connection, count = opened(ClientConnection), 0

    async def receive() -> None:
        nonlocal count
        while count < messages:
            await connection.recv(decode=False)
            count += 1

    receiving = asyncio.create_task(receive())
    seconds = await read(connection, messages // together, MESSAGE * together, receiving.done)
    await receiving
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=50_000)
    messages = parser.parse_args().messages
    ways: dict[str, Callable[[int, int], Awaitable[float]]] = {"direct": direct, "recv()": by_recv}
    for together in (1, 10):
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    costs[name].append(runner.run(way(messages, together)) / messages * 1e6)  # type: ignore[arg-type]
        words = ", ".join(f"{name} {statistics.median(found):.1f} µs" for name, found in costs.items())
        print(f"{together} a read: {words}")


if __name__ == "__main__":
    main()
