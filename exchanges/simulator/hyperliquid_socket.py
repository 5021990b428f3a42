"""Hyperliquid's websocket sessions: subscriptions, replies, ``post``, and the ways a connection dies without a word.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson
from starlette.responses import Response
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .hyperliquid_dialect import place_of
from .hyperliquid_info import NOT_A_REQUEST, Broken, ask
from .hyperliquid_limits import MESSAGES, SUBSCRIPTIONS, Visitor
from .hyperliquid_streams import message
from .hyperliquid_subscription import Unreadable, fill
from .sockets import Connection, Spoil
from .venue import Venue

if TYPE_CHECKING:
    from .hyperliquid import Exchange

GREETING = b"Websocket connection established."  # the one message that is not JSON
IDLE_SECONDS = 60.0  # without a message from the server, after which it cuts the connection
CUT_SECONDS = 0.1  # from a subscription to something that does not exist to the end of the connection
FIRST_SECONDS = 0.12  # from a subscription to its first data


class Session:
    """One client. Subscriptions are called by their JSON with all defaults, as the server repeats it."""

    def __init__(self, connection: Connection, exchange: "Exchange", venue: Venue, visitor: Visitor) -> None:
        self._connection = connection
        self._exchange = exchange
        self._venue = venue
        self._visitor = visitor
        self._loop = asyncio.get_running_loop()
        self._begins: dict[str, asyncio.TimerHandle] = {}  # by subscription: when its data begins
        self._sent_at = time.monotonic()
        self._idle = self._loop.call_later(IDLE_SECONDS, self._cut_if_idle)
        self._cut: asyncio.TimerHandle | None = None

    def deliver(self, name: str, payload: bytes, spoil: Spoil | None = None) -> None:
        self._send(payload, spoil)

    def handle(self, text: str) -> None:
        """Answer one message of the client."""
        if not self._visitor.messages.spend():
            self._venue.counters.refused["message"] += 1
            self._error(f"Cannot send more than {MESSAGES} messages per minute.")
            return
        try:
            self._obey(orjson.loads(text))
        except (Unreadable, ValueError):
            self._error(f"Error parsing JSON into valid websocket request: {text}")

    def close(self) -> None:
        self._idle.cancel()
        if self._cut is not None:
            self._cut.cancel()
        for name in list(self._begins):
            self._drop(name)

    def greet(self) -> None:
        self._send(GREETING)

    def _obey(self, command: Any) -> None:
        method = command.get("method") if isinstance(command, dict) else None
        if method == "ping":
            self._send(b'{"channel":"pong"}')
        elif method == "post":
            self._post(command)
        elif method in ("subscribe", "unsubscribe"):
            subscription = fill(command.get("subscription"))
            (self._subscribe if method == "subscribe" else self._unsubscribe)(subscription)
        else:
            raise Unreadable

    def _subscribe(self, subscription: dict[str, Any]) -> None:
        name = orjson.dumps(subscription).decode()
        fate = self._venue.faults.subscribing([place_of(subscription)])
        if fate == "ignore_subscribe":
            return
        if fate:
            self._cut = self._cut or self._loop.call_later(CUT_SECONDS, self._connection.abort)
        elif name in self._begins:
            self._error(f"Already subscribed: {name}")
        elif self._visitor.subscriptions >= SUBSCRIPTIONS:
            self._error(f"Cannot subscribe to more than {SUBSCRIPTIONS} channels.")
        elif not self._exchange.exists(subscription):
            self._cut = self._cut or self._loop.call_later(CUT_SECONDS, self._connection.abort)
        else:
            self._visitor.subscriptions += 1
            self._venue.counters.subscribes_total += 1
            self._venue.counters.subscriptions[name] += 1
            self._send(message("subscriptionResponse", {"method": "subscribe", "subscription": subscription}))
            self._begins[name] = self._loop.call_later(FIRST_SECONDS, self._begin, name)

    def _begin(self, name: str) -> None:
        self._venue.streams.join(name, self, self._exchange.clock.now())

    def _unsubscribe(self, subscription: dict[str, Any]) -> None:
        name = orjson.dumps(subscription).decode()
        if name not in self._begins:
            self._error(f"Already unsubscribed: {name}")
            return
        self._drop(name)
        self._send(message("subscriptionResponse", {"method": "unsubscribe", "subscription": subscription}))

    def _drop(self, name: str) -> None:
        self._begins.pop(name).cancel()
        self._venue.streams.leave(name, self)
        self._visitor.subscriptions -= 1
        self._venue.counters.subscriptions[name] -= 1
        self._venue.counters.subscriptions += {}  # Counter keeps zeros; adding drops them

    def _post(self, command: dict[str, Any]) -> None:
        """A REST request over the websocket; what REST refuses is told in text."""
        identity, request = command.get("id"), command.get("request")
        if not isinstance(identity, int) or isinstance(identity, bool) or not isinstance(request, dict):
            raise Unreadable
        if request.get("type") != "info" or "payload" not in request:
            raise Unreadable
        response: dict[str, Any]
        try:
            answer = ask(self._exchange, request["payload"])
            response = {"type": "info", "payload": {"type": request["payload"]["type"], "data": answer}}
        except Unreadable:
            response = {"type": "error", "payload": f"422 Unprocessable Entity: {NOT_A_REQUEST}"}
        except Broken:
            response = {"type": "error", "payload": "500 Internal Server Error: null"}
        self._send(message("post", {"id": identity, "response": response}))

    def _error(self, text: str) -> None:
        self._send(message("error", text))

    def _send(self, payload: bytes, spoil: Spoil | None = None) -> None:
        self._sent_at = time.monotonic()
        self._connection.send(payload, spoil)

    def _cut_if_idle(self) -> None:
        silent = time.monotonic() - self._sent_at
        if silent >= IDLE_SECONDS:
            self._connection.abort()
        else:
            self._idle = self._loop.call_later(IDLE_SECONDS - silent, self._cut_if_idle)


def socket_routes(exchange: "Exchange", venue: Venue) -> list[BaseRoute]:
    async def talk(websocket: WebSocket) -> None:
        visitor = exchange.visitor(websocket.client.host if websocket.client else "")
        if not visitor.may_connect():
            venue.counters.refused["handshake"] += 1
            await websocket.send_denial_response(Response(status_code=429))
            return
        visitor.connections += 1  # before the first await, so that two cannot share the last place
        try:
            await websocket.accept()
            await _converse(websocket, exchange, venue, visitor)
        except WebSocketDisconnect:
            pass
        finally:
            visitor.connections -= 1

    return [WebSocketRoute("/ws", talk)]


async def _converse(websocket: WebSocket, exchange: "Exchange", venue: Venue, visitor: Visitor) -> None:
    connection = venue.connected(websocket)
    session = Session(connection, exchange, venue, visitor)
    try:
        session.greet()
        connection.flush()
        while True:
            session.handle(await websocket.receive_text())
            connection.flush()
    finally:
        session.close()
        venue.connections.discard(connection)
