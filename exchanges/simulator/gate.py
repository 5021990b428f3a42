"""The front of a venue: counts handshakes and requests, and lets the faults that are meant for them happen.

An ASGI app around the venue's own: a venue never knows that a handshake was refused or an answer replaced.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .faults import Fault, Place
from .rewriting import skewed

if TYPE_CHECKING:
    from .venue import Venue

TIMES_ASKED = ("startTime", "endTime", "start", "end")
NO_ANSWER = b"<html><head><title>%d</title></head><body><center><h1>%d</h1></center></body></html>"
GARBAGE = b'{"code":0,"data":[[1,'


class Gate:
    """Between the server and one venue."""

    def __init__(self, app: ASGIApp, venue: "Venue") -> None:
        self._app = app
        self._venue = venue
        self._faults = venue.faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handshake = scope["type"] == "websocket"
        counters = self._venue.counters
        counters.handshakes_total += handshake
        counters.requests_total += not handshake
        if not self._faults.busy:
            await self._app(scope, receive, send)
        elif handshake:
            await self._shake(scope, receive, send)
        else:
            await self._answer(scope, receive, send)

    async def _shake(self, scope: Scope, receive: Receive, send: Send) -> None:
        for fault in self._faults.of("handshake"):
            self._faults.spend(fault)
            if fault.kind == "slow_handshake":
                await asyncio.sleep(fault.parameters["delay"])
                continue
            await self._refusal(fault)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        place = self._place(request, body)
        for fault in self._faults.of("request", place):
            self._faults.spend(fault)
            if fault.kind == "rest_slow":
                await asyncio.sleep(fault.parameters["delay"])
                continue
            wrong = Response(GARBAGE, media_type="application/json")
            await (self._refusal(fault) if fault.kind == "rest_status" else wrong)(scope, receive, send)
            return
        if skew := self._faults.skew_ms:
            query = urlencode([(name, _asked(name, value, skew)) for name, value in request.query_params.multi_items()])
            scope, body = {**scope, "query_string": query.encode()}, _asked_in(body, skew)
            send = self._telling(skew, send)
        await self._app(scope, _replay(body, receive), send)

    def _place(self, request: Request, body: bytes) -> Place:
        parameters: Mapping[str, Any] = request.query_params
        if body:
            try:
                read = orjson.loads(body)
            except orjson.JSONDecodeError:
                read = None
            parameters = read if isinstance(read, dict) else {}
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        return self._venue.dialect.request(path, parameters)

    def _refusal(self, fault: Fault) -> Response:
        """429 and 418 in the venue's own words; the others come from what stands before it, as a page."""
        status, wait = int(fault.parameters["status"]), fault.parameters["retry_after"]
        headers = {} if wait is None else {"Retry-After": str(int(wait))}
        if status in (429, 418):
            return Response(self._venue.dialect.busy, status, headers, "application/json")
        return Response(NO_ANSWER % (status, status), status, headers, "text/html")

    def _telling(self, skew: int, send: Send) -> Send:
        """``send`` with every time in the body shifted; answers are JSON and come whole."""
        start: Message = {}
        parts: list[bytes] = []

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            body = skewed(b"".join(parts), self._venue.dialect, ms=skew, now_ms=self._venue.markets.now())
            others = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
            start["headers"] = [*others, (b"content-length", str(len(body)).encode())]
            await send(start)
            await send({"type": "http.response.body", "body": body})

        return tell


def _asked(name: str, value: Any, skew: int) -> Any:
    """A time in a query, as the venue's true clock has it."""
    if name not in TIMES_ASKED or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value - skew
    return str(int(value) - skew) if isinstance(value, str) and value.isdecimal() else value


def _asked_in(body: bytes, skew: int) -> bytes:
    """The same within a JSON body, however deep."""

    def shift(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: shift(inner, key) for key, inner in value.items()}
        return _asked(name, value, skew)

    try:
        return orjson.dumps(shift(orjson.loads(body), ""))
    except orjson.JSONDecodeError:
        return body


def _replay(body: bytes, receive: Receive) -> Receive:
    """``receive`` for an app that reads the body for the first time."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again
