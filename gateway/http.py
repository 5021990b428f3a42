"""uvicorn's HTTP protocol with what it lacks: deadlines, bounds on what is read, and a door that can be shut.

What it touches of uvicorn 0.54 beyond the ASGI and asyncio contracts: the constructor's keywords; ``conn``, which is
replaced before the first byte; ``cycle`` with ``response_complete``, ``disconnected`` and ``message_event``;
``client``, ``ws_protocol_class``; ``handle_websocket_upgrade()``, ``on_response_complete()``, ``shutdown()`` and
``_unset_keepalive_if_required()``. A test fails on a version without them (``tests/gateway/test_http.py``).
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, cast
from uuid import uuid4

import h11
import orjson
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from exchanges.errors import ServerBusy, ValidationFailed
from gateway.replies import error_body

Peer = tuple[str, int] | None  # None: a peer without an address, as on a Unix socket

BLANK_LINE = re.compile(rb"\n\r?\n")  # as h11 finds the end of a head
SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
RETRY_AFTER = 1.0
NO_REQUEST = "not a valid HTTP request"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one connection may ask of us; durations are seconds."""

    head_seconds: float = 10.0
    head_bytes: int = 16 * 1024
    head_lines: int = 100
    target_bytes: int = 8 * 1024
    body_seconds: float = 15.0
    body_bytes: int = 64 * 1024
    body_chunks: int = 1_024  # a chunk of one byte costs as much as any
    # For a refused client to read why: to close while it still sends is to reset, which throws away what we said.
    farewell_seconds: float = 1.0


REFUSALS = (400, 408, 413, 414, 431, 503)  # every status with which a request ends here


class Refused(Exception):
    """The request is not read any further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HttpProtocol(H11Protocol):
    """One TCP connection until it ends or becomes a websocket.

    ``admit`` is asked once and answers why not, or None; ``left`` is told once of each that was admitted, also when it
    ended as a websocket: the websocket protocol gets that duty as its keyword ``left`` and calls it when it is lost.
    """

    def __init__(
        self,
        config: Config,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
        admit: Callable[[Peer], str | None],
        left: Callable[[Peer], None],
        refused: Callable[[int], None],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = self._reader = Reader(limits, began=self._began, read=self._read, refuse=self._refuse)
        self._limits = limits
        self._admit = admit
        self._left = left
        self._refused = refused
        self._leave: Callable[[], None] | None = None  # if we have a place to give back
        self._unwelcome: Refused | None = None
        self._over = False  # refused: what still comes is thrown away
        self._timer: asyncio.TimerHandle | None = None  # of the phase: head, body, farewell

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        reason = self._admit(self.client)
        if reason is None:
            self._leave = partial(self._left, self.client)
        else:
            self._unwelcome = Refused(503, reason)
        self._start(self._limits.head_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._unset_keepalive_if_required()  # uvicorn forgets it after a reset
        if self._leave is not None:
            self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        if self._unwelcome is not None:
            self._refuse(self._unwelcome)
            return
        super().data_received(data)
        self._await_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._await_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._stop()
        # From here on the loss of the connection is told to the other and not to us, who need not outlive this call.
        self.ws_protocol_class = cast(Any, partial(cast(Any, self.ws_protocol_class), left=self._leave))
        super().handle_websocket_upgrade(event)
        protocol = cast(WebSocketsSansIOProtocol, self.transport.get_protocol())
        if not protocol.handshake_initiated:
            # h11 took it for a request and websockets did not (a body, a long line): it would stay open, unanswered.
            self._refused(400)
            self.transport.write(response(Refused(400, NO_REQUEST), self._reader.request_id))
            self.transport.close()

    def shutdown(self) -> None:
        if self._over:
            self.transport.close()  # h11 is in no state to be told
        else:
            super().shutdown()

    # -- phases: a head, then a body; between requests the time is uvicorn's -------------------------------------------

    def _await_head(self) -> None:
        # A first head has its time from the start; a later one from its first byte, or from the end of what it follows.
        if self._timer is None and self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._start(self._limits.head_seconds, self._late)

    def _began(self) -> None:
        self._start(self._limits.body_seconds, self._late)

    def _read(self) -> None:
        self._stop()

    def _late(self) -> None:
        self._refuse(self._unwelcome or Refused(408, "the request took too long"))

    def _start(self, delay: float, then: Callable[[], None]) -> None:
        self._stop()
        self._timer = self.loop.call_later(delay, then)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the end -------------------------------------------------------------------------------------------------------

    def _refuse(self, refused: Refused) -> None:
        """Say why, unless the application has begun to answer, and end the connection so that the peer can read it."""
        self._over = True
        self._refused(refused.status)
        self._unset_keepalive_if_required()  # uvicorn does so when it sees a request, and this one it never saw
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._start(self._limits.farewell_seconds, self.transport.abort)
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        self.transport.write(response(refused, self._reader.request_id))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()


class Reader(h11.Connection):
    """h11's parser, of which uvicorn sees only what is within ``limits``; ``refuse`` is told of the rest.

    h11 gets a large read in slices, each when it asks for more. It bounds only what is incomplete, and would spend a
    tenth of a second on the 40,000 trailers that fit into one read.
    """

    def __init__(
        self,
        limits: HttpLimits,
        *,
        began: Callable[[], None],
        read: Callable[[], None],
        refuse: Callable[[Refused], None],
    ) -> None:
        super().__init__(h11.SERVER, limits.head_bytes)
        self._limits = limits
        self._told_began, self._told_read, self._refuse = began, read, refuse
        self.request_id = sane_request_id("")  # of the request at hand
        self._unfed = bytearray()
        self._body_bytes = self._body_chunks = 0

    def receive_data(self, data: bytes) -> None:
        if self._unfed or len(data) > self._limits.head_bytes:
            self._unfed += data
        else:
            super().receive_data(data)

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            event = self._parse()
            while event is h11.NEED_DATA and self._unfed:
                part = bytes(self._unfed[: self._limits.head_bytes])
                del self._unfed[: self._limits.head_bytes]
                super().receive_data(part)
                event = self._parse()
            self._check(event)
        except h11.RemoteProtocolError:
            self._refuse(Refused(400, NO_REQUEST))
            return h11.NEED_DATA
        except Refused as refused:
            self._refuse(refused)
            return h11.NEED_DATA
        return event

    def _parse(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        if self.their_state is h11.IDLE:
            check_head(self.trailing_data[0], self._limits)
        return super().next_event()

    def _check(self, event: object) -> None:
        if isinstance(event, h11.Request):
            self._body_bytes = self._body_chunks = 0
            given = next((value for name, value in event.headers if name == b"x-request-id"), b"")
            self.request_id = sane_request_id(given.decode("latin-1"))
            self._check_body(declared(event))
            self._told_began()
        elif isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            self._body_chunks += event.chunk_start
            self._check_body(self._body_bytes)
        elif isinstance(event, h11.EndOfMessage):
            self._told_read()

    def _check_body(self, length: int) -> None:
        if length > self._limits.body_bytes:
            raise Refused(413, f"a body has at most {self._limits.body_bytes} bytes")
        if self._body_chunks > self._limits.body_chunks:
            raise Refused(413, f"a body has at most {self._limits.body_chunks} chunks")


def check_head(data: bytes, limits: HttpLimits) -> None:
    """Look at a head before it is parsed, all of it or what has come so far; more may follow it.

    Raises:
        Refused: it is too large already.
    """
    complete = BLANK_LINE.search(data, 0, limits.head_bytes)
    end = complete.end() if complete else min(len(data), limits.head_bytes)
    target = data[:end].partition(b"\n")[0].partition(b" ")[2].partition(b" ")[0]
    if len(target) > limits.target_bytes:
        raise Refused(414, f"a path with its query has at most {limits.target_bytes} bytes")
    if data.count(b"\n", 0, end) > limits.head_lines + (2 if complete else 1):
        raise Refused(431, f"a request has at most {limits.head_lines} header lines")
    if not complete and len(data) >= limits.head_bytes:
        raise Refused(431, f"a request's head has at most {limits.head_bytes} bytes")


def sane_request_id(given: str) -> str:
    """The client's own name for its request if it is a sane one, else a new one."""
    return given if SANE_REQUEST_ID.fullmatch(given) else uuid4().hex


def declared(request: h11.Request) -> int:
    """The body's length as the head has it, 0 where it says none; h11 has seen that it is a number."""
    return max((int(value) for name, value in request.headers if name == b"content-length"), default=0)


def response(refused: Refused, request_id: str) -> bytes:
    """The whole of an answer that ends the connection."""
    busy = refused.status == HTTPStatus.SERVICE_UNAVAILABLE
    message = str(refused)
    error = ServerBusy(message, retry_after=RETRY_AFTER) if busy else ValidationFailed(message)
    body = orjson.dumps({**error_body(error), "requestId": request_id})
    lines = [f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", f"X-Request-Id: {request_id}"]
    if error.retry_after is not None:
        lines.append(f"Retry-After: {max(1, round(error.retry_after))}")
    return "\r\n".join([*lines, "", ""]).encode() + body
