"""A client's socket as a topic's ``Subscriber``: what it is owed is bounded, and it is cut when it stalls.

Frames go to the transport itself (see ``server.py``), because an ASGI ``send`` is an await and a write per message. A
socket that takes no more is told to the tick, which keeps what its topics bring meanwhile; so all that a stalled client
holds here is what its transport had when it stopped, and the direct answers it asked for since.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from exchanges.errors import GatewayError
from gateway import metrics
from gateway.replies import CLOSE_NO_PONG, CLOSE_SLOW
from topics.frame import PING, frame
from topics.key import TopicKey
from topics.tick import Tick

log = logging.getLogger("gateway.writer")

PING_FRAME = frame(b"", PING)
SOFT_MARK = 32 * 1024  # bytes waiting in its transport from which on a client is behind


class Connection(Protocol):
    """What a writer needs of the server's protocol object."""

    @property
    def last_received(self) -> float:
        """Loop time of the last byte from the client."""
        ...

    @property
    def deflated(self) -> bool:
        """It negotiated compressed frames."""
        ...

    @property
    def write(self) -> Callable[[bytes | memoryview], object]:
        """Takes frames while the connection is attached."""
        ...

    @property
    def descriptor(self) -> int:
        """Of the socket, which may be written to while nothing is buffered, until ``sink.gone()``; -1: it may not."""
        ...

    def cut(self, code: int, reason: str) -> None:
        """End the connection now: a close frame if it would go out at once, then a reset."""
        ...

    def dismiss(self, code: int, reason: str) -> None:
        """End the connection so that a client which is still sending can read why."""
        ...

    @property
    def buffered(self) -> int:
        """Bytes written that the kernel has not taken."""
        ...


class Writer:
    """Implements ``topics.subscriber.Subscriber`` for one client."""

    __slots__ = (
        "_buffered",
        "_connection",
        "_drained",
        "_failed",
        "_max_pending",
        "_progress_at",
        "_tick",
        "closed",
        "deflated",
        "descriptor",
        "extended",
        "stopped_at",
    )

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
        self.descriptor = connection.descriptor  # -1 also while something waits in the transport
        self.stopped_at: float | None = None  # loop time since which it is behind
        self._buffered, self._progress_at = 0, 0.0
        self._drained: asyncio.Event | None = None
        self.closed = False
        self.extended = False  # it said hello
        self.deflated = connection.deflated

    @property
    def stopped(self) -> bool:
        return self.stopped_at is not None

    @property
    def sent_at(self) -> float:
        """Loop time of the last write."""
        return self._tick.sent_at(self)

    def write(self, data: bytes | memoryview) -> None:
        """Give ``data`` to the transport, which buffers what its socket does not take."""
        self._connection.write(data)
        if self.descriptor == -1 and self.stopped_at is None:
            self._consider_stopping()

    def push(self, frames: bytes) -> None:
        """Write whole frames at the end of this turn; they wait for nothing."""
        if self.closed:
            return
        self._tick.push(self, frames)
        if self.stopped and self._owed(len(frames)) > self._max_pending:
            self.cut(CLOSE_SLOW, "more is owed than this client may fall behind")

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        self._failed(key, error, gone)

    def broke(self, error: Exception) -> None:
        log.warning("write_failed", extra={"error": repr(error)})
        self.cut(CLOSE_SLOW, "the connection broke")

    def knows_more(self) -> None:
        """It said hello."""
        if not self.extended:
            self.extended = True
            self._tick.changed(self)

    def paused(self) -> None:
        """Something waits in the transport: all that follows has to wait behind it."""
        if not self.closed:
            self.descriptor = -1
            self._tick.rerouted(self)
            self._consider_stopping()

    def resumed(self) -> None:
        """Nothing waits any more."""
        if self.closed:
            return
        self.descriptor = self._connection.descriptor
        self._tick.rerouted(self)
        if self.stopped_at is not None:
            self._moving()
            self._tick.drained(self)

    def gone(self) -> None:
        """The connection has ended; nothing is written any more."""
        self.closed = True
        self.descriptor = -1  # soon another client's
        self._tick.forget(self)
        if self.stopped_at is not None:
            self._moving()

    def cut(self, code: int, reason: str) -> None:
        if not self.closed:
            metrics.CLOSED.labels(code).inc()
            self._connection.cut(code, reason)  # calls gone()

    def dismiss(self, code: int, reason: str) -> None:
        """As ``cut``, of one that may be in the midst of sending: what was pushed and the code reach it."""
        if not self.closed:
            metrics.CLOSED.labels(code).inc()
            self._tick.write_now(self)
            self._connection.dismiss(code, reason)

    async def ready(self) -> None:
        """Wait until what was pushed is written and its socket takes more, or it has ended."""
        while not self.closed:
            if self.stopped_at is not None:
                if self._drained is None:
                    self._drained = asyncio.Event()
                await self._drained.wait()
            elif self._tick.pending(self):
                await asyncio.sleep(0)  # until the end of the turn
            else:
                return

    def needs_look(self, now: float, quiet: float) -> bool:
        """Whether ``check`` could find anything; asked of every client every second."""
        return self.extended or self.stopped_at is not None or now - self._connection.last_received >= quiet

    def check(self, now: float, *, stall: float, lag: float, ping_interval: float, ping_timeout: float) -> None:
        """Once a second: cut who stalls or is silent, ping the others. Times are seconds of the loop's clock."""
        silent = now - self._connection.last_received
        if self.stopped_at is not None and self._stalls(now, stall, lag):
            return
        if silent >= ping_interval + ping_timeout:
            self.cut(CLOSE_NO_PONG, f"no pong for {ping_timeout:g} s")
        elif silent >= ping_interval and not self.closed:
            self.write(PING_FRAME)

    def _consider_stopping(self) -> None:
        buffered = self._connection.buffered
        if buffered > SOFT_MARK and self.stopped_at is None and not self.closed:
            self.stopped_at = self._progress_at = asyncio.get_running_loop().time()
            self._buffered = buffered
            metrics.STOPPED.inc()
            self._tick.stop(self)

    def _stalls(self, now: float, stall: float, lag: float) -> bool:
        owed = self._owed(0)
        if owed < self._buffered:
            self._progress_at = now
        self._buffered = owed
        if now - self._progress_at >= stall:
            self.cut(CLOSE_SLOW, f"nothing was read for {stall:g} s")
        elif self.stopped_at is not None and now - self.stopped_at >= lag:
            self.cut(CLOSE_SLOW, f"behind for {lag:g} s")
        elif owed > self._max_pending:
            self.cut(CLOSE_SLOW, "more is owed than this client may fall behind")
        return self.closed

    def _owed(self, more: int) -> int:
        owed = self._connection.buffered + more
        if owed > Writer.peak:
            Writer.peak = owed
            metrics.PENDING_PEAK.set(owed)
        return owed

    def _moving(self) -> None:
        self.stopped_at = None
        metrics.STOPPED.dec()
        if self._drained is not None:
            self._drained.set()
            self._drained = None
