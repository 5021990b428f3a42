"""Bybit's public websocket sessions: commands, acks, refusals, pongs; one socket is one category.

Source: https://bybit-exchange.github.io/docs/v5/ws/connect
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

import orjson
from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .bybit_dialect import place
from .bybit_listings import key_of
from .bybit_rest import Allowance
from .clock import Clock
from .sockets import Connection, Spoil
from .venue import Venue

IDLE_SECONDS = 600.0  # without a message of the client and without data
ARGS_CHARACTERS = 21_000  # of all topics of one connection
SPOT_ARGS = 10  # topics in one command
CONNECTS, CONNECTS_WITHIN = 500, 300.0  # seconds
CONNECTIONS = UUID("0970e817-57b1-5d35-9e0c-0000b1b17000")
DATA_FIRST_EVERY = 4  # of so many subscribe commands, one is acked after its first data


class Session:
    """One client of one category. ``serves`` says whether there is such a topic at all."""

    def __init__(
        self, connection: Connection, venue: Venue, clock: Clock, category: str, serves: Callable[[str], bool]
    ) -> None:
        self.topics: dict[str, None] = {}  # in the order of subscribing
        self.active = time.monotonic()  # when something was last said, either way
        self._connection = connection
        self._venue = venue
        self._clock = clock
        self._category = category
        self._serves = serves
        self._subscribes = 0
        self._conn_id = str(uuid5(CONNECTIONS, f"{venue.counters.connections_total}"))

    def deliver(self, name: str, payload: bytes, spoil: Spoil | None = None) -> None:
        self.active = time.monotonic()
        self._connection.send(payload, spoil)

    def handle(self, text: str) -> None:
        """Answer one command."""
        self.active = time.monotonic()
        try:
            command = orjson.loads(text)
        except ValueError:
            command = None
        if not isinstance(command, dict):
            command = {}
        op, request = str(command.get("op", "")), str(command.get("req_id", ""))
        if op == "ping":
            self._reply(self._pong(command))
        elif op in ("subscribe", "unsubscribe"):
            args = command.get("args")
            names = [name for name in args if isinstance(name, str)] if isinstance(args, list) else []
            (self._subscribe if op == "subscribe" else self._unsubscribe)(names, request)
        else:
            self._refuse("error:invalid op", request, op)

    def close(self) -> None:
        self._leave(list(self.topics))

    def _pong(self, command: dict[str, Any]) -> dict[str, Any]:
        """Three shapes; on the two common ones the pong's op is "ping"."""
        if self._category == "option":
            return {"args": [str(self._clock.now())], "op": "pong"}
        pong: dict[str, Any] = {"success": True, "ret_msg": "pong", "conn_id": self._conn_id}
        if self._category != "spot":
            pong["req_id"] = str(command.get("req_id", ""))
        return pong | {"op": "ping"}

    def _subscribe(self, names: list[str], request: str) -> None:
        """All or nothing: one bad topic refuses every other in the command."""
        fate = self._venue.faults.subscribing([place(key_of(self._category, name)) for name in names])
        if fate:
            if fate == "refuse_subscribe":
                self._refuse(f"error:handler not found,topic:{names[0]}", request, "subscribe")
            return None
        if self._category == "option":
            good = [name for name in names if self._serves(name) and name not in self.topics]
            self._option_ack(good, [name for name in names if name not in good])
            return self._join(good)
        reason = self._objection(names)
        if reason:
            return self._refuse(reason, request, "subscribe")
        self._subscribes += 1
        data_first = self._subscribes % DATA_FIRST_EVERY == 0
        if data_first:
            self._join(names)
        self._ack(request, "subscribe")
        if not data_first:
            self._join(names)
        return None

    def _objection(self, names: list[str]) -> str | None:
        if self._category == "spot" and len(names) > SPOT_ARGS:
            return f"args size >{SPOT_ARGS}"
        if sum(map(len, [*self.topics, *names])) > ARGS_CHARACTERS:
            return f"error:args length exceeds {ARGS_CHARACTERS}"  # the documentation gives the limit, not the words
        seen = set(self.topics)
        for name in names:
            if not self._serves(name):
                return f"error:handler not found,topic:{name}"
            if name in seen:
                return f"error:already subscribed,topic:{name}"
            seen.add(name)
        return None

    def _unsubscribe(self, names: list[str], request: str) -> None:
        unknown = next((name for name in names if not self._serves(name)), None)
        if self._category == "option":
            self._option_ack(names, [])
        elif unknown is not None:
            return self._refuse(f"error:handler not found,topic:{unknown}", request, "unsubscribe")
        else:
            self._ack(request, "unsubscribe")
        return self._leave(names)

    def _join(self, names: list[str]) -> None:
        for name in names:
            key = key_of(self._category, name)
            self.topics[name] = None
            self._venue.counters.subscribes_total += 1
            self._venue.streams.join(key, self, self._clock.now())
            self._venue.counters.subscriptions[key] += 1

    def _leave(self, names: list[str]) -> None:
        for name in names:
            if name in self.topics:
                key = key_of(self._category, name)
                del self.topics[name]
                self._venue.streams.leave(key, self)
                self._venue.counters.subscriptions[key] -= 1
                self._venue.counters.subscriptions += {}  # Counter keeps zeros; adding drops them

    def _ack(self, request: str, op: str) -> None:
        said = op if self._category == "spot" else ""
        reply = {"success": True, "ret_msg": said, "conn_id": self._conn_id, "req_id": request, "op": op}
        self._reply(reply)

    def _option_ack(self, good: list[str], bad: list[str]) -> None:
        data = {"failTopics": bad, "successTopics": good}
        self._reply({"success": not bad, "conn_id": self._conn_id, "data": data, "type": "COMMAND_RESP"})

    def _refuse(self, reason: str, request: str, op: str) -> None:
        self._reply({"success": False, "ret_msg": reason, "conn_id": self._conn_id, "req_id": request, "op": op})

    def _reply(self, reply: dict[str, Any]) -> None:
        self._connection.send(orjson.dumps(reply))


def socket_routes(venue: Venue, clock: Clock, serves: Callable[[str, str], bool]) -> list[BaseRoute]:
    """``/v5/public/{category}``. Nothing trades on ``option``: its replies are there, for their other shape."""
    connects = Allowance(CONNECTS, CONNECTS_WITHIN)

    async def talk(websocket: WebSocket) -> None:
        category = websocket.path_params["category"]
        if category not in ("linear", "inverse", "spot", "option") or not connects.take():
            venue.counters.refused["handshake"] += 1
            await websocket.close()  # before it is accepted: HTTP 403
            return
        await websocket.accept()
        connection = venue.connected(websocket)
        session = Session(connection, venue, clock, category, lambda topic: serves(category, topic))
        try:
            while True:
                text = await _next_command(websocket, session)
                if text is None:
                    connection.abort()
                    return
                session.handle(text)
                connection.flush()
        except WebSocketDisconnect:
            pass
        finally:
            session.close()
            venue.connections.discard(connection)

    return [WebSocketRoute("/v5/public/{category}", talk)]


async def _next_command(websocket: WebSocket, session: Session) -> str | None:
    """The client's next message; None when neither side has said anything for too long."""
    while True:
        try:
            async with asyncio.timeout(session.active + IDLE_SECONDS - time.monotonic()):
                return await websocket.receive_text()
        except TimeoutError:
            if time.monotonic() - session.active >= IDLE_SECONDS:
                return None
