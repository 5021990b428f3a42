"""The peer ``starlette``: what one writes first, ``await send_text`` for one client after the other. Under uvicorn.

See servers.py for what a peer does. Compression is off (uvicorn's default is on, and costs about twice as much).
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

topics: dict[str, dict[WebSocket, None]] = {}


async def client(websocket: WebSocket) -> None:
    await websocket.accept()
    mine: list[str] = []
    try:
        async for command in websocket.iter_text():
            names = command.split()[1:]
            for name in names:
                topics.setdefault(name, {})[websocket] = None
            mine += names
            await websocket.send_text("ok")
    finally:
        for name in mine:
            topics[name].pop(websocket, None)


async def feed(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        text = line[5:-1].decode()
        for websocket in list(topics.get(line[:4].decode(), ())):
            await websocket.send_text(text)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with await asyncio.start_server(feed, "127.0.0.1", int(sys.argv[2])):
        yield


if __name__ == "__main__":
    app = Starlette(routes=[WebSocketRoute("/", client)], lifespan=lifespan)
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", ws_per_message_deflate=False, log_level="warning"
    )
