"""Binance's websocket sessions: subscriptions, replies, limits, and the ways it stays silent.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
and https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .clock import Clock
from .sockets import Connection, Spoil
from .venue import Venue

MAX_STREAMS = 1024
METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How futures and spot sessions differ."""

    burst: int  # messages at once before the server closes
    per_second: float  # messages for ever
    counts_control: bool  # whether the client's pings and pongs count as messages
    nested_errors: bool  # {"error":{...},"id":..} on futures, flat on spot
    text_ids: bool  # spot also takes short strings and null


FUTURES_MANNERS = Manners(burst=15, per_second=10, counts_control=False, nested_errors=True, text_ids=False)
SPOT_MANNERS = Manners(burst=5, per_second=5, counts_control=True, nested_errors=False, text_ids=True)


class Refusal(Exception):
    """A command that is answered with an error; the session goes on."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Session:
    """One client. ``serves`` says whether this path delivers a stream; a name it does not is acked and stays silent."""

    def __init__(
        self, connection: Connection, venue: Venue, clock: Clock, manners: Manners, serves: Callable[[str], bool]
    ) -> None:
        self.names: dict[str, None] = {}  # in the order of subscribing, good and bad alike
        self.combined = False
        self._connection = connection
        self._venue = venue
        self._clock = clock
        self._manners = manners
        self._serves = serves
        self._allowance = float(manners.burst)
        self._counted = time.monotonic()
        connection.deliver = self.deliver

    def deliver(self, name: str, payload: bytes, spoil: Spoil | None = None) -> None:
        if self.combined:
            payload = b'{"stream":%b,"data":%b}' % (orjson.dumps(name), payload)
        self._connection.send(payload, spoil)

    def subscribe(self, names: list[str]) -> None:
        for name in names:
            self._venue.counters.subscribes_total += 1
            if name in self.names:
                continue
            self.names[name] = None
            self._venue.counters.subscriptions[name] += 1
            if self._serves(name):
                self._venue.streams.join(name, self, self._clock.now())

    def unsubscribe(self, names: list[str]) -> None:
        for name in names:
            if name in self.names:
                del self.names[name]
                self._venue.streams.leave(name, self)
                self._venue.counters.subscriptions[name] -= 1
                self._venue.counters.subscriptions += {}  # Counter keeps zeros; adding drops them

    def too_many_messages(self) -> bool:
        """Count one message of the client against its allowance."""
        now = time.monotonic()
        refill = (now - self._counted) * self._manners.per_second
        self._allowance = min(self._manners.burst, self._allowance + refill) - 1
        self._counted = now
        return self._allowance < 0

    def refused(self) -> None:
        self._venue.counters.refused["message"] += 1

    def handle(self, text: str) -> bool:
        """Answer one command; False when the session must end because of it."""
        identity: Any = None
        try:
            try:
                command = orjson.loads(text)
            except ValueError:
                raise Refusal(3, "Invalid JSON: expected value at line 1 column 1") from None
            identity = self._check(command)
            if command["method"] == "SUBSCRIBE" and self._is_ignored(command.get("params")):
                return True
            result = self._obey(command["method"], command.get("params"))
            self._connection.send(orjson.dumps({"result": result, "id": identity}))
        except Refusal as refusal:
            self._connection.send(self._error(refusal, identity))
            return refusal.code != 4
        return True

    def _check(self, command: Any) -> Any:
        """The id of a well-formed command."""
        if not isinstance(command, dict):
            raise Refusal(2, "Invalid request: request must be a JSON object")
        identity = command.get("id")
        is_number = isinstance(identity, int) and not isinstance(identity, bool) and identity >= 0
        is_text = self._manners.text_ids and (identity is None or (isinstance(identity, str) and len(identity) <= 36))
        if not (is_number or is_text):
            raise Refusal(2, "Invalid request: request ID must be an unsigned integer")
        if "method" not in command:
            raise Refusal(2, "Invalid request: missing field `method` at line 1 column 1")
        if command["method"] not in METHODS:
            listed = ", ".join(f"`{method}`" for method in METHODS)
            raise Refusal(2, f"Invalid request: unknown variant `{command['method']}`, expected one of {listed}")
        return identity

    def _is_ignored(self, params: Any) -> bool:
        """Whether a fault swallows a subscribe command; one that refuses it raises Refusal."""
        names = [name for name in params if isinstance(name, str)] if isinstance(params, list) else []
        fate = self._venue.faults.subscribing([self._venue.dialect.place(name) for name in names])
        if fate == "refuse_subscribe":
            raise Refusal(2, "Invalid request: subscriptions are not possible at the moment")
        return fate == "ignore_subscribe"

    def _obey(self, method: str, params: Any) -> Any:
        if method == "LIST_SUBSCRIPTIONS":
            return list(self.names)
        if not isinstance(params, list):
            raise Refusal(2, "Invalid request: invalid type: expected a sequence")
        if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
            if not all(isinstance(name, str) for name in params):
                raise Refusal(2, "Invalid request: invalid type: expected a string")
            if method == "UNSUBSCRIBE":
                self.unsubscribe(params)
            else:
                if len(self.names.keys() | set(params)) > MAX_STREAMS:
                    raise Refusal(4, "Too many subscriptions")
                self.subscribe(params)
            return None
        return self._property(method, params)

    def _property(self, method: str, params: list[Any]) -> bool | None:
        setting = method == "SET_PROPERTY"
        if not params or not isinstance(params[0], str):
            raise Refusal(2, "Invalid request: property name must be a string")
        if len(params) > (2 if setting else 1):
            raise Refusal(2, "Invalid request: too many parameters")
        if params[0] != "combined":
            raise Refusal(0, "Unknown property")
        if not setting:
            return self.combined
        if len(params) < 2 or not isinstance(params[1], bool):
            raise Refusal(1, "Invalid value type: expected Boolean")
        self.combined = params[1]
        return None

    def _error(self, refusal: Refusal, identity: Any) -> bytes:
        body = {"code": refusal.code, "msg": refusal.message}
        if not self._manners.nested_errors:
            return orjson.dumps(body)
        return orjson.dumps({"error": body} if identity is None else {"error": body, "id": identity})


def socket_routes(
    prefix: str, venue: Venue, clock: Clock, manners: Manners, serves: Callable[[str], bool]
) -> list[BaseRoute]:
    """``{prefix}/ws[/stream...]`` with raw frames and ``{prefix}/stream[?streams=a/b]`` with wrapped ones."""

    async def talk(websocket: WebSocket) -> None:
        await websocket.accept()
        connection = venue.connected(websocket)
        session = Session(connection, venue, clock, manners, serves)
        session.combined = websocket.url.path.endswith("/stream")
        named = (
            websocket.query_params.get("streams", "") if session.combined else websocket.path_params.get("names", "")
        )
        if manners.counts_control:
            connection.protocol.on_control = lambda: _count(session, connection)
        try:
            names = [name for name in named.split("/") if name]
            if not venue.faults.subscribing([venue.dialect.place(name) for name in names]):
                session.subscribe(names)  # else they stay silent: names in the path are never answered
            while True:
                text = await websocket.receive_text()
                if not _count(session, connection):
                    continue  # closing; what still comes is not read
                if not session.handle(text):
                    connection.close(1008, "Invalid request")
                connection.flush()
        except WebSocketDisconnect:
            pass
        finally:
            session.unsubscribe(list(session.names))
            venue.connections.discard(connection)

    paths = (f"{prefix}/ws", f"{prefix}/ws/{{names:path}}", f"{prefix}/stream")
    return [WebSocketRoute(path, talk) for path in paths]


def _count(session: Session, connection: Connection) -> bool:
    if session.too_many_messages():
        session.refused()
        connection.close(1008, "Too many requests")
        return False
    return True
