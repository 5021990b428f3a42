"""The peer ``picows``: its transports, written to in a loop. See servers.py for what a peer does."""

import asyncio
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

topics: dict[str, dict[WSTransport, None]] = {}


class Client(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            for name in frame.get_payload_as_ascii_text().split()[1:]:
                topics.setdefault(name, {})[transport] = None
            transport.send(WSMsgType.TEXT, b"ok")
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        for members in topics.values():
            members.pop(transport, None)


async def feed(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        payload = line[5:-1]
        for transport in topics.get(line[:4].decode(), ()):
            transport.send(WSMsgType.TEXT, payload)


async def main() -> None:
    port, feed_port = int(sys.argv[1]), int(sys.argv[2])
    await asyncio.start_server(feed, "127.0.0.1", feed_port)
    server = await ws_create_server(lambda _: Client(), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
