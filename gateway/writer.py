"""A client's socket as a topic's ``Subscriber``: one joined write a turn, bounded, cut when it stalls.

It writes to the transport itself (see ``server.py``), because an ASGI ``send`` is an await and a write per message.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from exchanges.errors import GatewayError
from gateway import metrics
from gateway.replies import CLOSE_NO_PONG, CLOSE_SLOW
from topics.fanout import Tick
from topics.frame import PING, frame
from topics.key import TopicKey

PING_FRAME = frame(b"", PING)


class Connection(Protocol):
    """What a writer needs of the server's protocol object."""

    last_received: float  # loop time of the last byte from the client

    def write(self, data: bytes) -> None: ...

    def cut(self, code: int, reason: str) -> None:
        """End the connection now: a close frame if it would go out at once, then a reset."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken."""
        ...


class Writer:
    """Implements ``topics.fanout.Subscriber`` for one client."""

    peak = 0  # most bytes ever owed to one client of this process

    def __init__(
        self,
        connection: Connection,
        tick: Tick,
        *,
        max_pending: int,
        failed: Callable[[TopicKey, GatewayError, bool], None],
    ) -> None:
        self._connection = connection
        self._tick = tick
        self._max_pending = max_pending
        self._failed = failed
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._scheduled = False
        self.paused_at: float | None = None  # loop time since which the client takes nothing
        self.sent_at = asyncio.get_running_loop().time()
        self.closed = False
        self.extended = False  # it said hello

    def push(self, frames: bytes) -> None:
        if self.closed:
            return
        self._pending.append(frames)
        self._pending_bytes += len(frames)
        owed = self._pending_bytes + self._connection.buffered
        if owed > Writer.peak:
            Writer.peak = owed
            metrics.PENDING_PEAK.set(owed)
        if owed > self._max_pending:
            self.cut(CLOSE_SLOW, "more is owed than this client may fall behind")
        elif not self._scheduled and self.paused_at is None:
            self._schedule()

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        self._failed(key, error, gone)

    def paused(self) -> None:
        """The transport's buffer is full."""
        self.paused_at = asyncio.get_running_loop().time()

    def resumed(self) -> None:
        self.paused_at = None
        if self._pending and not self._scheduled and not self.closed:
            self._schedule()

    def gone(self) -> None:
        """The connection has ended; nothing is written any more."""
        self.closed = True
        self._pending.clear()
        self._pending_bytes = 0

    def cut(self, code: int, reason: str) -> None:
        if not self.closed:
            metrics.CLOSED.labels(code).inc()
            self._connection.cut(code, reason)  # calls gone()

    def check(self, now: float, *, stall: float, ping_interval: float, ping_timeout: float) -> None:
        """Once a second: cut who stalls or is silent, ping the others. Times are seconds of the loop's clock."""
        silent = now - self._connection.last_received
        if self.paused_at is not None and now - self.paused_at >= stall:
            self.cut(CLOSE_SLOW, f"nothing was read for {stall:g} s")
        elif silent >= ping_interval + ping_timeout:
            self.cut(CLOSE_NO_PONG, f"no pong for {ping_timeout:g} s")
        elif silent >= ping_interval and not self.closed:
            self._connection.write(PING_FRAME)

    def _schedule(self) -> None:
        self._scheduled = True
        self._tick.write(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if not self._pending or self.paused_at is not None or self.closed:
            return
        pending, self._pending = self._pending, []
        self._pending_bytes = 0
        data = pending[0] if len(pending) == 1 else b"".join(pending)
        metrics.WRITES.inc()
        metrics.BYTES_OUT.inc(len(data))
        self.sent_at = asyncio.get_running_loop().time()
        self._connection.write(data)
