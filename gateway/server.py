"""uvicorn with a way to a client's transport: whole frames, written without an await.

``GatewayProtocol`` is uvicorn's own websocket protocol; it passes itself into the ASGI ``state``, where the endpoint
finds it. What it touches of uvicorn 0.54 beyond the ASGI and asyncio contracts: the constructor's three keywords and
``app_state``; ``transport``, ``loop``, ``conn``, ``queue``, ``writable``, ``config``, ``close_sent``, ``close_timer``,
``disconnected``, ``handshake_initiated``, ``handshake_complete``, ``read_paused``, ``request``, ``response``,
``scope``, ``handle_ping()``, ``handle_parser_exception()``; ``receive()``, ``send()``, ``shutdown()``. A test fails
on a version without them (``tests/gateway/test_server.py``).

Interleaving is safe because uvicorn too writes whole frames and never fragments what it sends. No data frame may follow
our close frame, so every way to a close detaches the writer first.
"""

import asyncio
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol, cast

from uvicorn import Config, Server
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate, ServerPerMessageDeflateFactory

from gateway.http import HttpLimits, HttpProtocol, Peer
from gateway.meter import Breach, FrameMeter
from gateway.replies import CLOSE_TOO_BIG
from topics.frame import WINDOW_BITS, close_frame

# Else the kernel takes about 4 MB for a client that reads nothing before asyncio hears of it.
NOTSENT_LOWAT = 16 * 1024
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset; abort() alone leaves the kernel sending
SHUTDOWN_GRACE = 1.0
FAREWELL = 1.0  # seconds a client that broke a bound has to read why, before it is reset
UNREAD_PONGS = 64 * 1024  # bytes waiting for a client from which on its pings are not answered
BACKLOG = 2048


class Sink(Protocol):
    """Who is told what becomes of the connection."""

    def paused(self) -> None: ...

    def resumed(self) -> None: ...

    def gone(self) -> None: ...


class Mailbox:
    """What uvicorn needs of an ``asyncio.Queue``, for one reader, in 0.1 KB where that has 3."""

    __slots__ = ("_items", "_waiter")

    def __init__(self) -> None:
        self._items: list[Any] = []  # seldom more than one: reading is paused while there is one
        self._waiter: asyncio.Future[None] | None = None

    def put_nowait(self, item: Any) -> None:
        self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def get(self) -> Any:
        while not self._items:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._waiter = None
        return self._items.pop(0)

    def empty(self) -> bool:
        return not self._items


class Gate:
    """What uvicorn needs of an ``asyncio.Event``, likewise; made when somebody first has to wait."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: asyncio.Event | None = None

    def clear(self) -> None:
        self._closed = self._closed or asyncio.Event()

    def set(self) -> None:
        closed, self._closed = self._closed, None
        if closed is not None:
            closed.set()

    async def wait(self) -> None:
        if self._closed is not None:
            await self._closed.wait()


class GatewayProtocol(WebSocketsSansIOProtocol):
    """Implements ``writer.Connection``; the endpoint finds it as ``state["connection"]``."""

    def __init__(
        self,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: Any = None,
        *,
        left: Callable[[], None] = lambda: None,
        breached: Callable[[str], None] = lambda kind: None,
    ) -> None:
        """Take over from HTTP.

        Args:
            left: to be called once, when the connection is over.
            breached: told the kind of bound that a client broke.
        """
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.queue, self.writable = cast(Any, Mailbox()), cast(Any, Gate())
        self._sink: Sink | None = None
        self._over = False  # it was told why it is dismissed: what still comes is thrown away
        self._left = left
        self._breached = breached
        self._meter = FrameMeter(self.loop.time, max_message=config.ws_max_size)
        self.last_received = self.loop.time()
        if config.ws_per_message_deflate:  # uvicorn's own keeps a history for each client: 34 KB, and no shared frame
            self.conn.available_extensions = [
                ServerPerMessageDeflateFactory(
                    server_no_context_takeover=True,
                    client_no_context_takeover=True,
                    server_max_window_bits=WINDOW_BITS,
                    client_max_window_bits=WINDOW_BITS,
                    compress_settings={"memLevel": 5},
                )
            ]

    @property
    def deflated(self) -> bool:
        """It negotiated compressed frames that share nothing; known after the handshake."""
        return any(
            isinstance(one, PerMessageDeflate)
            and one.local_no_context_takeover
            and one.local_max_window_bits >= WINDOW_BITS
            for one in self.conn.extensions
        )

    @property
    def write(self) -> Callable[[bytes | memoryview], object]:
        """The transport's own ``write``, from ``attach`` until ``sink.gone()``."""
        return self.transport.write

    @property
    def descriptor(self) -> int:
        """For writes past the transport, whose memory is seldom near the processor: that is a tenth of their cost.

        It cannot become another connection's before ``sink.gone()``: a transport closes its socket after
        ``connection_lost``.
        """
        if self.disconnected or sys.platform == "win32":  # where a socket is no file
            return -1
        return cast(int, self.transport.get_extra_info("socket").fileno())

    def attach(self, sink: Sink) -> None:
        """From here on ``write`` may be used, until ``sink.gone()``."""
        if self.disconnected:
            sink.gone()
            return
        self._sink = sink
        self.transport.set_write_buffer_limits(high=0)  # paused: something waits; not paused: nothing does
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, NOTSENT_LOWAT)
        # Nobody asks for the handshake any more, and it is 7 KB a connection.
        self.request = self.response = cast(Any, None)
        self.scope["headers"] = []

    def detach(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.gone()

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

    def dismiss(self, code: int, reason: str) -> None:
        """Say why, and let go without a reset, which would eat the reason: what still comes is thrown away."""
        self.detach()
        if self.disconnected or self.close_sent or self.transport.is_closing():
            return
        self.conn.fail(code, reason)
        self._let_go(code, reason)

    async def end(self) -> None:
        self.detach()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._sink is not None:
            self._sink.paused()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._sink is not None:
            self._sink.resumed()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self.last_received = self.loop.time()
        # The first call brings the handshake, which is no frame.
        if self.handshake_initiated and (breach := self._meter.feed(data)) is not None:
            self._end(breach)
            return
        super().data_received(data)
        if self.close_sent or self.transport.is_closing():
            self.detach()
            if self.close_timer is None and not self.disconnected:
                # A close waits for what is buffered, and a peer may never take it.
                self.close_timer = self.loop.call_later(FAREWELL, self.transport.abort)

    def handle_ping(self) -> None:
        if self.buffered < UNREAD_PONGS:
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the pong, for one who does not read

    def handle_parser_exception(self) -> None:
        """uvicorn closes at once, and with a reset if the client is still sending."""
        close = self.conn.close_sent
        self.detach()
        if self.close_sent or self.transport.is_closing():
            self.transport.abort()  # it breaks the rules after our close frame
            return
        self._breached("too_big" if close is not None and close.code == CLOSE_TOO_BIG else "protocol")
        if close is None or not self.handshake_complete:
            self.transport.abort()
        else:
            self._let_go(close.code, close.reason)

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        self.detach()
        super().connection_lost(exc)

    def _end(self, breach: Breach) -> None:
        if self.close_sent or self.transport.is_closing():
            return
        self._breached(breach.kind)
        if self.handshake_complete:
            self.dismiss(breach.code, breach.reason)
        else:
            self.detach()
            self.transport.abort()

    def _let_go(self, code: int, reason: str) -> None:
        self._over = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.close_timer = self.loop.call_later(FAREWELL, self.transport.abort)

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


class DrainingServer(Server):
    """uvicorn's, which lets nobody in any more and then waits before it ends who is there."""

    def __init__(self, config: Config, drain: Callable[[Callable[[], bool]], Awaitable[None]]) -> None:
        super().__init__(config)
        self._drain = drain

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for door in (*self.servers, *(sockets or ())):
            door.close()
        await self._drain(lambda: self.force_exit)
        await super().shutdown(sockets)


async def at_once(hurry: Callable[[], bool]) -> None:
    """No drain."""


def server(
    app: Any,
    *,
    command_bytes: int,
    compression: bool = False,
    http: HttpLimits | None = None,
    admit: Callable[[Peer], str | None] = lambda peer: None,
    left: Callable[[Peer], None] = lambda peer: None,
    refused: Callable[[int], None] = lambda status: None,
    breached: Callable[[str], None] = lambda kind: None,
    drain: Callable[[Callable[[], bool]], Awaitable[None]] = at_once,
) -> Server:
    """The HTTP server for ``app``, to be run on a socket of ours (``serve(sockets=[…])``).

    Args:
        command_bytes: of one websocket message.
        compression: offer compressed frames, shared by all who take them.
        http: bounds of a request, see ``http.py``.
        admit: asked once for each TCP connection; gives why it is refused, None: it is not.
        left: told once, when an admitted connection is over.
        refused: told the HTTP status of each refusal that the app does not see.
        breached: told the kind of bound that a websocket client broke.
        drain: awaited at the end, when nobody new is let in and all others are still served; given what says whether
            somebody has lost patience.
    """
    config = Config(
        app,
        loop="none",
        http=cast(Any, partial(HttpProtocol, limits=http or HttpLimits(), admit=admit, left=left, refused=refused)),
        ws=cast(Any, partial(GatewayProtocol, breached=breached)),
        ws_max_size=command_bytes,
        ws_ping_interval=None,  # one sweep for all connections, not two timers each
        ws_per_message_deflate=compression,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=5,
    )
    return DrainingServer(config, drain)


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens; connections wait until a server takes them.

    ``shared``: others that say so may listen there too, and the system deals out who is given which connection.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delay off only where the protocol number is set.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
