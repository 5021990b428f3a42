"""uvicorn with a way to a client's transport: whole frames, written without an await.

``GatewayProtocol`` is uvicorn's own websocket protocol; it passes itself into the ASGI ``state``, where the endpoint
finds it. What it touches of uvicorn 0.54 beyond the ASGI and asyncio contracts: the constructor's three keywords and
``app_state``; ``transport``, ``loop``, ``close_sent``, ``disconnected``; ``shutdown()``. A test
fails on a version without them (``tests/gateway/test_server.py``).

Interleaving is safe because uvicorn too writes whole frames and never fragments what it sends. No data frame may follow
our close frame, so every way to a close detaches the writer first.
"""

import asyncio
import socket
import struct
from typing import Any, Protocol, cast

from uvicorn import Config, Server
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from topics.frame import close_frame

HIGH_WATER = 32 * 1024
# Else the kernel takes about 4 MB for a client that reads nothing before asyncio hears of it.
NOTSENT_LOWAT = 16 * 1024
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset; abort() alone leaves the kernel sending
SHUTDOWN_GRACE = 1.0
BACKLOG = 2048


class Sink(Protocol):
    """Who is told what becomes of the connection."""

    def paused(self) -> None: ...

    def resumed(self) -> None: ...

    def gone(self) -> None: ...


class GatewayProtocol(WebSocketsSansIOProtocol):
    """Implements ``writer.Connection``; the endpoint finds it as ``state["connection"]``."""

    def __init__(self, config: Config, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._sink: Sink | None = None
        self.last_received = self.loop.time()

    def attach(self, sink: Sink) -> None:
        """From here on ``write`` may be used, until ``sink.gone()``."""
        self._sink = sink
        self.transport.set_write_buffer_limits(high=HIGH_WATER, low=HIGH_WATER // 4)
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)

    def detach(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.gone()

    def write(self, data: bytes) -> None:
        if self._sink is not None and not self.transport.is_closing():
            self.transport.write(data)

    @property
    def buffered(self) -> int:
        return 0 if self.disconnected else self.transport.get_write_buffer_size()

    def cut(self, code: int, reason: str) -> None:
        self.detach()
        if self.disconnected:
            return  # abort() after connection_lost raises
        if self.buffered == 0 and not self.close_sent and not self.transport.is_closing():
            self.transport.write(close_frame(code, reason))
        connection = self.transport.get_extra_info("socket")
        if connection is not None and self.buffered:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sink is not None:
            self._sink.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sink is not None:
            self._sink.resumed()

    def data_received(self, data: bytes) -> None:
        self.last_received = self.loop.time()
        super().data_received(data)
        if self._sink is not None and (self.close_sent or self.transport.is_closing()):
            self.detach()

    def connection_lost(self, exc: Exception | None) -> None:
        self.detach()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        self.detach()
        super().shutdown()
        # A stalled peer would hold the server's shutdown for ever.
        self.loop.call_later(SHUTDOWN_GRACE, self._abort)

    def _abort(self) -> None:
        if not self.disconnected:
            self.transport.abort()

    async def send(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            self.detach()
        await super().send(message)


def server(app: Any, *, command_bytes: int) -> Server:
    """The HTTP server for ``app``, to be run on a socket of ours (``serve(sockets=[…])``)."""
    config = Config(
        app,
        loop="none",
        http="h11",  # httptools has no limit on a request's head
        ws=cast(Any, GatewayProtocol),
        ws_max_size=command_bytes,
        ws_ping_interval=None,  # one sweep for all connections, not two timers each
        ws_per_message_deflate=False,
        h11_max_incomplete_event_size=16 * 1024,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    return Server(config)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; connections wait until a server takes them.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol number is set.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)  # who comes while the gateway starts waits, in place of being refused
    except BaseException:
        listening.close()
        raise
    listening.set_inheritable(False)
    return listening


def loop_factory() -> Any:
    """uvloop where it is installed, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415  # optional
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
