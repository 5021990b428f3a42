"""A client's websocket from the venue's end: frames gathered per tick, the venue's pings, a cut without a close.

uvicorn (pinned to a minor version) gives an ASGI app no way to send a ping or to reset a connection, so its protocol
hands itself into the ASGI ``state``. Private names used: ``close_sent``, ``disconnected``, ``handle_ping``,
``handle_pong``, ``conn.send_ping``, ``conn.data_to_send``.
"""

import asyncio
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


class Connection:
    """One accepted websocket. Nothing here waits for the client."""

    def __init__(self, websocket: WebSocket) -> None:
        self.protocol: SimulatorProtocol = websocket.state.protocol
        self._websocket = websocket
        self._frames: list[bytes] = []
        self._closing: asyncio.Task[None] | None = None
        self._next_ping: float | None = None

    def send(self, text: bytes) -> None:
        """Queue a text message; it leaves with the next ``flush``."""
        self._frames.append(text_frame(text))

    def flush(self) -> None:
        """Write everything queued in one go; cut a client that does not read."""
        if not self._frames:
            return
        data, self._frames = b"".join(self._frames), []
        if not self.protocol.open:
            return
        if self.protocol.transport.get_write_buffer_size() + len(data) > PENDING_LIMIT:
            self.abort()
            return
        self.protocol.transport.write(data)

    def close(self, code: int, reason: str = "") -> None:
        """Say goodbye with a close frame, after what is queued."""
        self.flush()
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close(code, reason))

    async def _close(self, code: int, reason: str) -> None:
        with suppress(RuntimeError, OSError):  # the client was faster
            await self._websocket.close(code, reason)

    def abort(self) -> None:
        """Cut the TCP connection with no close frame: the client sees 1006."""
        self._frames.clear()
        self.protocol.transport.abort()

    def keep_alive(self, now_ms: int, *, every: float, pong_within: float) -> None:
        """Ping every ``every`` seconds with the time as payload; cut a client whose last pong is too old."""
        now = time.monotonic()
        if self._next_ping is None:
            self._next_ping = now + every
            self.protocol.heard_pong = now
        if now < self._next_ping or not self.protocol.open:
            return
        self._next_ping = now + every
        if now - self.protocol.heard_pong > every + pong_within:
            self.abort()
        else:
            self.protocol.send_ping(str(now_ms).encode())


def text_frame(text: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455, section 5.2)."""
    length = len(text)
    if length < 126:
        return bytes((0x81, length)) + text
    if length < 65_536:
        return b"\x81\x7e" + length.to_bytes(2, "big") + text
    return b"\x81\x7f" + length.to_bytes(8, "big") + text
