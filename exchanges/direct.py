"""A websocket whose messages are handed over within the read that brought them, with no queue and no task between.

``websockets`` shakes hands, answers pings and closes. Its way of a message from the socket to whoever awaits ``recv()``
costs more than all that a gateway does with it (``scripts/bench_receive.py``), so whole frames, which nearly all are,
are cut out of a read here; the first one that is anything else, and what follows it in the read, are left to the
library.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame
from websockets.http11 import Response
from websockets.protocol import State

AT_ONCE = 64  # messages handed over without giving the loop a turn
MAX_WAITING = 4 * 1024 * 1024  # bytes of messages that wait for a turn, from which on nothing more is read
WHOLE = (0x81, 0x82)  # a text or a binary message in a single frame


class DirectConnection(ClientConnection):
    """Use ``listen`` in place of ``recv``, which waits for the end of the connection only."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._take: Callable[[bytes], None] | None = None
        self._waiting: deque[bytes] = deque()  # came before somebody listened, or too many at once
        self._waiting_bytes = 0
        self._paused = False
        self._parts: list[bytes] = []  # of a message in several frames
        self._taken = 0  # of this read

    def listen(self, take: Callable[[bytes], None]) -> None:
        """Hand every message to ``take``, which must not raise, beginning with those that have come."""
        if self._take is None and self._waiting:
            self.loop.call_soon(self._work_off)
        self._take = take

    async def end(self) -> None:
        """Wait until the connection has ended and its last message has been handed over.

        Raises:
            ConnectionClosed: always; says how it ended.
        """
        try:
            await self.recv()
        finally:
            while self._waiting and self._take is not None:  # noqa: ASYNC110  # each turn hands some of them over
                await asyncio.sleep(0)

    def data_received(self, data: bytes) -> None:
        self._taken = 0
        # What the library has begun to read it must read to its end.
        if self.response is not None and not self._parts and not self.protocol.reader.buffer:
            data = self._cut(data) if self.protocol.state is State.OPEN else data
        if data:
            super().data_received(data)

    def process_event(self, event: Frame | Response) -> None:  # type: ignore[override]  # a client gets no requests
        if not isinstance(event, Frame) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._parts.append(bytes(event.data))
        if event.fin:
            parts, self._parts = self._parts, []
            self._hand_over(parts[0] if len(parts) == 1 else b"".join(parts))

    def _cut(self, data: bytes) -> bytes:
        """Hand over the whole messages at the beginning of ``data``; gives the rest."""
        position, end = 0, len(data)
        while position + 4 <= end and data[position] in WHOLE:
            size, head = data[position + 1], position + 2
            if size == 126:
                size, head = data[head] << 8 | data[head + 1], head + 2
            elif size > 126:  # huge, or masked, which is wrong
                break
            if head + size > end:
                break
            position = head + size
            self._hand_over(data[head:position])
        return data[position:] if position else data

    def _hand_over(self, message: bytes) -> None:
        if self._take is not None and self._taken < AT_ONCE and not self._waiting:
            self._taken += 1
            self._take(message)
            return
        if not self._waiting and self._take is not None:
            self.loop.call_soon(self._work_off)
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        if self._waiting_bytes > MAX_WAITING and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _work_off(self) -> None:
        assert self._take is not None
        for _ in range(min(AT_ONCE, len(self._waiting))):
            message = self._waiting.popleft()
            self._waiting_bytes -= len(message)
            self._take(message)
        if self._waiting:
            self.loop.call_soon(self._work_off)
        elif self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
