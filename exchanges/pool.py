"""Which socket carries which feed: one each while the venue's budget allows, then shared ones."""

import asyncio
from collections.abc import Callable

from exchanges.errors import UpstreamCapacity
from exchanges.feed import Feed, Listener
from exchanges.socket import Socket, wall_clock_ms
from exchanges.venue import Capabilities, Stream


class Pool:
    """The sockets of one venue."""

    def __init__(
        self,
        exchange: str,
        capabilities: Capabilities,
        *,
        max_streams_per_socket: int | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self.exchange = exchange
        self.max_sockets = capabilities.max_sockets
        self._share_from = capabilities.share_from
        self.max_streams = max_streams_per_socket or capabilities.max_streams_per_socket
        self._clock_ms = clock_ms
        self._sockets: dict[Socket, asyncio.Task[None]] = {}
        self._carriers: dict[Feed, Socket] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def sockets(self) -> int:
        return len(self._sockets)

    @property
    def connected(self) -> int:
        return sum(socket.connected for socket in self._sockets)

    def open(self, stream: Stream, listener: Listener) -> Feed:
        """Subscribe; ``listener`` is told what comes of it.

        Raises:
            UpstreamCapacity: every socket the venue allows is full.
        """
        feed = Feed(self.exchange, stream, listener)
        socket = self._choose(stream)
        self._carriers[feed] = socket
        socket.add(feed)
        return feed

    def close(self, feed: Feed) -> None:
        """Unsubscribe; a socket without feeds is closed."""
        socket = self._carriers.pop(feed)
        socket.remove(feed)
        if not len(socket):
            task = self._sockets.pop(socket)
            task.cancel()
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        """Unsubscribe everything, and wait until every socket has said goodbye."""
        for feed in list(self._carriers):
            self.close(feed)
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _choose(self, stream: Stream) -> Socket:
        if len(self._sockets) < self._share_from:
            return self._open_socket(stream)
        alike = [s for s in self._sockets if s.endpoint.url == stream.endpoint.url and len(s) < self.max_streams]
        if alike:
            return min(alike, key=len)
        if len(self._sockets) < self.max_sockets:
            return self._open_socket(stream)
        raise UpstreamCapacity(
            f"{self.exchange} allows {self.max_sockets} connections and all are full", retry_after=30.0
        )

    def _open_socket(self, stream: Stream) -> Socket:
        socket = Socket(self.exchange, stream.endpoint, clock_ms=self._clock_ms)
        self._sockets[socket] = asyncio.create_task(socket.run(), name=f"socket {self.exchange}")
        return socket
