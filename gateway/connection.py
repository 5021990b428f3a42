"""A client's connection as its session's writer sees it, whichever server holds it.

Behind our own server it is the protocol object itself (``server.py``): a frame is written to the transport. Behind any
other ASGI server, or Starlette's test client, ``AsgiConnection`` sends the same frames message by message, which costs
an await each and a task a client.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from gateway.writer import SOFT_MARK, Connection
from topics.frame import TEXT, unframed

FAREWELL = 1.0  # seconds that a close frame may take


class Sink(Protocol):
    """Who is told what becomes of the connection."""

    def paused(self) -> None: ...

    def resumed(self) -> None: ...

    def gone(self) -> None: ...


class ClientConnection(Connection, Protocol):
    def attach(self, sink: Sink) -> None:
        """From here on frames may be written, until ``sink.gone()``."""
        ...

    async def receive(self) -> Any:
        """The next ASGI message; a disconnect also when we ended the connection."""
        ...

    async def end(self) -> None:
        """Nothing is written any more."""
        ...


def connection_of(scope: Scope, receive: Receive, send: Send) -> ClientConnection:
    """The way to the client of an accepted websocket."""
    found: ClientConnection | None = scope.get("state", {}).get("connection")
    if found is not None:
        return found
    return AsgiConnection(receive, send)


class AsgiConnection:
    """Implements ``ClientConnection`` with nothing but ASGI. Pings are its server's business."""

    deflated = False
    descriptor = -1  # the socket is its server's

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._sink: Sink | None = None
        self._queue: deque[tuple[int, bytes]] = deque()
        self._some = asyncio.Event()
        self._stuck = asyncio.Event()  # it is to end, and takes no close frame
        self._close: tuple[int, str] | None = None
        self._paused = False
        self.buffered = 0
        self._sending = asyncio.create_task(self._run())

    @property
    def last_received(self) -> float:
        """It cannot be known here: the server answers for the client being alive."""
        return asyncio.get_running_loop().time()

    @property
    def write(self) -> Callable[[bytes | memoryview], object]:
        return self._write

    def attach(self, sink: Sink) -> None:
        self._sink = sink

    def cut(self, code: int, reason: str) -> None:
        self._close = code, reason
        if self.buffered > SOFT_MARK:
            self._queue.clear()
            self._sending.cancel()
            self._stuck.set()
        self._some.set()
        self._tell_gone()

    def dismiss(self, code: int, reason: str) -> None:
        self.cut(code, reason)

    async def receive(self) -> Any:
        asking, stuck = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._stuck.wait())
        try:
            await asyncio.wait((asking, stuck), return_when=asyncio.FIRST_COMPLETED)
            return asking.result() if asking.done() else {"type": "websocket.disconnect", "code": 1006}
        finally:
            asking.cancel()
            stuck.cancel()

    async def end(self) -> None:
        self._tell_gone()
        if self._close is None:
            self._sending.cancel()
        await asyncio.wait((self._sending,), timeout=FAREWELL)
        self._sending.cancel()

    def _write(self, data: bytes | memoryview) -> None:
        for opcode, payload in unframed(bytes(data)):
            if opcode == TEXT:
                self._queue.append((opcode, payload))
                self.buffered += len(payload)
        self._some.set()
        if self.buffered > SOFT_MARK and not self._paused and self._sink is not None:
            self._paused = True
            self._sink.paused()

    async def _run(self) -> None:
        try:
            while self._queue or self._close is None:
                if not self._queue:
                    self._some.clear()
                    await self._some.wait()
                    continue
                _, payload = self._queue.popleft()
                await self._send({"type": "websocket.send", "text": payload.decode()})
                self.buffered -= len(payload)
                if self._paused and self.buffered <= SOFT_MARK // 4:
                    self._paused = False
                    if self._sink is not None:
                        self._sink.resumed()
            code, reason = self._close
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:  # the client has left; the server tells the session
            self._tell_gone()

    def _tell_gone(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.gone()
