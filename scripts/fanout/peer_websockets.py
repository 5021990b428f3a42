"""The peer ``websockets``: the library's own ``broadcast``, compression off. See servers.py for what a peer does."""

import asyncio
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

topics: dict[str, set[ServerConnection]] = {}


async def client(connection: ServerConnection) -> None:
    mine: list[str] = []
    try:
        async for command in connection:
            names = str(command).split()[1:]
            for name in names:
                topics.setdefault(name, set()).add(connection)
            mine += names
            await connection.send("ok")
    finally:
        for name in mine:
            topics[name].discard(connection)


async def feed(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        broadcast(topics.get(line[:4].decode(), ()), line[5:-1], text=True)


async def main() -> None:
    port, feed_port = int(sys.argv[1]), int(sys.argv[2])
    await asyncio.start_server(feed, "127.0.0.1", feed_port)
    async with serve(client, "127.0.0.1", port, compression=None, backlog=2048) as server:
        await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
