"""A client's websocket from the venue's end: frames gathered per tick, the venue's pings, a cut without a close.

uvicorn (pinned to a minor version) gives an ASGI app no way to send a ping or to reset a connection, so its protocol
hands itself into the ASGI ``state``. Private names used: ``close_sent``, ``disconnected``, ``handle_ping``,
``handle_pong``, ``conn.send_ping``, ``conn.data_to_send``.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket
from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame

PENDING_LIMIT = 8 * 1024 * 1024  # bytes a client may leave unread before it is cut


class SimulatorProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol, known to the app as ``websocket.state.protocol``."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "protocol": self}, _loop)
        self.on_control: Callable[[], object] = lambda: None  # each ping or pong of the client
        self.heard_pong = time.monotonic()
        self.deaf = False  # what arrives is not read

    def data_received(self, data: bytes) -> None:
        if not self.deaf:
            super().data_received(data)

    def handle_ping(self) -> None:
        super().handle_ping()
        self.on_control()

    def handle_pong(self, event: Frame) -> None:
        self.heard_pong = time.monotonic()
        super().handle_pong(event)
        self.on_control()

    def send_ping(self, payload: bytes) -> None:
        self.conn.send_ping(payload)
        self.transport.write(b"".join(self.conn.data_to_send()))

    @property
    def open(self) -> bool:
        return not (self.close_sent or self.disconnected or self.transport.is_closing())


Spoil = Callable[[bytes], bytes]  # from a message's text to the frame that leaves in its place


class Connection:
    """One accepted websocket. Nothing here waits for the client."""

    def __init__(self, websocket: WebSocket) -> None:
        self.protocol: SimulatorProtocol = websocket.state.protocol
        self.deliver: Callable[[str, bytes], None] = lambda _name, payload: self.send(payload)  # the session's, if any
        self.opened = time.monotonic()
        self.silent = False  # half open: nothing leaves any more, not even a goodbye
        self.struck_by = 0  # the fault that ended it, or silenced it
        self._websocket = websocket
        self._frames: list[bytes] = []
        self._closing: asyncio.Task[None] | None = None
        self._next_ping: float | None = None

    def send(self, text: bytes, spoil: Spoil | None = None) -> None:
        """Queue a text message, or what ``spoil`` makes of it; it leaves with the next ``flush``."""
        self._frames.append(text_frame(text) if spoil is None else spoil(text))

    def flush(self) -> None:
        """Write everything queued in one go; cut a client that does not read."""
        if not self._frames:
            return
        data, self._frames = b"".join(self._frames), []
        if not self.protocol.open or self.silent:
            return
        # What it has not read, not what comes: one huge message is no sign of a client that does not read.
        if self.protocol.transport.get_write_buffer_size() > PENDING_LIMIT:
            self.abort()
            return
        self.protocol.transport.write(data)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye with a close frame, after what is queued."""
        if self.silent:
            return
        self.flush()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        with suppress(RuntimeError, OSError):  # the client was faster
            await self._websocket.close(code, reason)

    def abort(self) -> None:
        """Cut the TCP connection with no close frame: the client sees 1006."""
        self._frames.clear()
        if not self.silent:
            self.protocol.transport.abort()

    def reset(self) -> None:
        """Cut it with a TCP reset: what the client has not read yet is lost to it as well."""
        self._frames.clear()
        link = self.protocol.transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.protocol.transport.abort()

    def silence(self) -> None:
        """Half open from now on: the TCP connection stands, nothing is sent and nothing read, whatever happens."""
        self.silent = self.protocol.deaf = True

    def keep_alive(self, now_ms: int, *, every: float, pong_within: float) -> None:
        """Ping every ``every`` seconds with the time as payload; cut a client whose last pong is too old."""
        now = time.monotonic()
        if self._next_ping is None:
            self._next_ping = now + every
            self.protocol.heard_pong = now
        if now < self._next_ping or not self.protocol.open or self.silent:
            return
        self._next_ping = now + every
        if now - self.protocol.heard_pong > every + pong_within:
            self.abort()
        else:
            self.protocol.send_ping(str(now_ms).encode())


def text_frame(text: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, section 5.2)."""
    return _frame(0x81, text)


def binary_frame(data: bytes) -> bytes:
    """The same of binary data."""
    return _frame(0x82, data)


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 65_536:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload
