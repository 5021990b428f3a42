"""Which socket carries which feed: one each while the venue's budget allows, then shared ones."""

import asyncio
from collections.abc import Callable, Mapping

from exchanges.breaker import Breaker
from exchanges.budget import Budget
from exchanges.errors import UpstreamCapacity
from exchanges.feed import Feed, Listener
from exchanges.gate import Handshakes
from exchanges.socket import Socket, wall_clock_ms
from exchanges.takeover import Rotation
from exchanges.venue import Capabilities, Stream


class Pool:
    """The sockets of one venue. ``breaker`` is the one its requests heed too."""

    def __init__(
        self,
        exchange: str,
        capabilities: Capabilities,
        *,
        breaker: Breaker | None = None,
        max_streams_per_socket: int | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
        rotation: Rotation = Rotation(),  # noqa: B008  # immutable
    ) -> None:
        self.exchange = exchange
        self.max_sockets = capabilities.max_sockets
        self._share_from = capabilities.share_from
        self.max_streams = max_streams_per_socket or capabilities.max_streams_per_socket
        self.breaker = breaker or Breaker(exchange)
        self._handshakes = Handshakes(exchange, capabilities.connects, self.breaker)
        self._messages = Budget(exchange, "messages", capabilities.messages) if capabilities.messages else None
        self._rotation = rotation
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

    @property
    def budgets(self) -> Mapping[str, Budget]:
        """By pool: handshakes of each site so far, and messages where the venue counts those of all sockets."""
        messages = {} if self._messages is None else {self._messages.pool: self._messages}
        return self._handshakes.budgets | messages

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
        endpoint = stream.endpoint
        socket = Socket(
            self.exchange,
            endpoint,
            self._handshakes.gate(endpoint.site),
            clock_ms=self._clock_ms,
            messages_budget=self._messages,
            rotation=self._rotation,
        )
        self._sockets[socket] = asyncio.create_task(socket.run(), name=f"socket {self.exchange}")
        return socket
