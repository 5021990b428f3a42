"""``python -m tests.system.echo --port 0``: the gateway's websocket server with nothing behind it but an echo.

For conformance suites, which want each message back. The server, the protocol and the writer are the gateway's own; a
message goes back on the raw path, in a frame of ``topics.frame``. Prints its URL as its first line.
"""

import argparse
import asyncio

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn import Server

from gateway.server import GatewayProtocol, listen, loop_factory, server
from gateway.writer import Writer
from topics.frame import TEXT, frame
from topics.tick import Tick

BINARY = 2
MESSAGE_BYTES = 16 * 1024 * 1024
# A suite may send many such messages before it reads one.
MAX_PENDING = 8 * MESSAGE_BYTES


def echo_server() -> Server:
    """All that depends on how the gateway sets up its server."""
    return server(Starlette(routes=[WebSocketRoute("/", echo)]), command_bytes=MESSAGE_BYTES)


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    connection: GatewayProtocol = websocket.state.connection
    writer = Writer(connection, Tick(), max_pending=MAX_PENDING, failed=lambda *_: None)
    connection.attach(writer)
    try:
        while (message := await websocket.receive())["type"] == "websocket.receive":
            writer.push(echoed(message.get("text"), message.get("bytes")))
    finally:
        writer.gone()


def echoed(text: str | None, data: bytes | None) -> bytes:
    if text is not None:
        return frame(text.encode(), TEXT)
    assert data is not None
    return frame(data, BINARY)


async def serve(port: int) -> None:
    """Run until a signal."""
    with listen("127.0.0.1", port) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        await echo_server().serve(sockets=[listening])


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.system.echo", description="Echoes each websocket message at /.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
