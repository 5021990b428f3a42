"""``/v1/ws``: one session per client, which lives as long as its connection and takes its subscriptions with it.

Commands are handled one at a time in order; every answer goes through the client's writer, so answers and data keep
the order in which they were made: an acknowledgement always stands before the first frame of its topic.
"""

import asyncio
import logging
from secrets import token_hex
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from exchanges.errors import (
    GatewayError,
    Internal,
    InvalidCommand,
    InvalidMessage,
    NotSubscribed,
    RateLimited,
    SubscriptionLimit,
    ValidationFailed,
)
from exchanges.venue import CHANNELS
from gateway import commands, metrics
from gateway.commands import Batch, Hello, One, Ping, Plain, Rest, TopicRequest
from gateway.connection import ClientConnection, connection_of
from gateway.limits import Commands
from gateway.replies import CLOSE_BAD_COMMANDS, CLOSE_COMMAND_RATE, error_body
from gateway.state import Gateway
from gateway.writer import Writer
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.upstream import Upstream

log = logging.getLogger("gateway.socket")

PROTOCOL = 1
SNAPSHOT_INTERVAL = 1.0  # seconds between two snapshots of one topic on request


async def serve(gateway: Gateway, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one client, whose handshake may be accepted, until it leaves."""
    await send({"type": "websocket.accept"})
    connection = connection_of(scope, receive, send)
    session = Session(gateway, connection)
    gateway.sessions.add(session)
    metrics.CLIENTS.inc()
    try:
        # What a client sent before it was cut is not carried out after it.
        while not session.writer.closed and (message := await connection.receive())["type"] != "websocket.disconnect":
            await session.handle(message.get("text") or message.get("bytes") or b"")
    finally:
        metrics.CLIENTS.dec()
        gateway.sessions.discard(session)
        session.close()
        await connection.end()


class Session:
    """One client's subscriptions."""

    __slots__ = ("_asleep", "_bad", "_gateway", "_keys", "_rate", "_snapshots", "name", "writer")

    def __init__(self, gateway: Gateway, connection: ClientConnection) -> None:
        limits = gateway.limits
        self.name = f"c_{token_hex(6)}"
        self._gateway = gateway
        self._keys: dict[TopicKey, Upstream] = {}
        self._asleep: set[TopicKey] = set()
        self._snapshots: dict[TopicKey, float] = {}  # loop time of the last one asked for
        self._bad = 0  # commands in a row
        self._rate = Commands(
            rate=limits.command_rate,
            burst=limits.command_burst,
            delays=limits.command_delays,
            refusals=limits.command_refusals,
            clock=asyncio.get_running_loop().time,
        )
        self.writer = Writer(connection, gateway.manager.tick, max_pending=limits.pending_bytes, failed=self._failed)
        connection.attach(self.writer)

    async def handle(self, text: str | bytes) -> None:
        """Carry out one command and answer it, whatever it is."""
        wait = self._rate.take()
        if wait:
            metrics.DELAYED.inc()
            await asyncio.sleep(wait)
        received_ms = self._gateway.clock_ms()
        message: Any = None
        about: dict[str, Any] = {}
        try:
            message = commands.read(text)
            about = {"id": commands.identity(message), "op": message.get("op")}
            if wait is None:
                raise RateLimited("too many commands", retry_after=self._rate.retry_after)
            command = commands.parse(message)
            metrics.COMMANDS.labels(command.op).inc()
            await self._carry_out(command, received_ms)
            self._bad = 0
        except GatewayError as error:
            self._error(error, **_concerning(message, about))
            self._bad += isinstance(error, (InvalidMessage, InvalidCommand))
        except Exception:
            reference = token_hex(8)
            log.exception("command_failed", extra={"connection": self.name, "ref": reference})
            self._error(Internal("something went wrong on our side", ref=reference), **about)
        if self._rate.hopeless:
            self.writer.dismiss(CLOSE_COMMAND_RATE, "too many commands")
        elif self._bad >= self._gateway.limits.bad_commands:
            self.writer.dismiss(CLOSE_BAD_COMMANDS, "too many bad commands")

    def close(self) -> None:
        for key in list(self._keys):
            self._leave(key)
        self.writer.gone()

    def check(self, now: float) -> None:
        """Once a second: heartbeat, ping, and the end of a client that stalls. ``now`` is loop time."""
        limits = self._gateway.limits
        self.writer.check(
            now,
            stall=limits.stall,
            lag=limits.lag,
            ping_interval=limits.ping_interval,
            ping_timeout=limits.ping_timeout,
        )
        if self.writer.extended and now - self.writer.sent_at >= limits.heartbeat:
            self._send(type="heartbeat", time=self._gateway.clock_ms())

    def go_away(self, grace: float, delay: float) -> None:
        """The node ends in ``grace`` seconds: the client is to find another one in ``delay`` seconds."""
        self._send(type="goaway", reason="DEPLOY", graceMs=round(grace * 1000), delayMs=round(delay * 1000))

    async def _carry_out(self, command: commands.Command, received_ms: int) -> None:
        match command:
            case One(op="subscribe"):
                await self._subscribe(command, id=command.id)
            case One(op="unsubscribe"):
                self._unsubscribe(command, id=command.id)
            case One():
                await self._snapshot(command)
            case Batch():
                await self._batch(command)
            case Plain(op="unsubscribeAll"):
                self._unsubscribe_all(command.id)
            case Plain():
                self._list(command.id)
            case Rest():
                self._rest(command)
            case Ping():
                self._pong(command, received_ms)
            case Hello():
                self._hello(command.id)

    # -- topics --------------------------------------------------------------------------------------------------------

    def _resolve(self, request: TopicRequest) -> Any:
        return self._gateway.manager.resolve(request.channel, request.exchange, request.symbol, request.params)

    async def _subscribe(self, request: TopicRequest, **echo: Any) -> None:
        since = None if request.since is None else Cursor.parse(request.since)
        key, instrument = self._resolve(request)
        if key in self._keys:
            self._about(key, self._keys[key], type="alreadySubscribed", **echo)
            return
        limit = self._gateway.limits.subscriptions_per_connection
        if len(self._keys) >= limit:
            raise SubscriptionLimit(f"a connection has at most {limit} subscriptions", limit=limit)
        upstream = self._gateway.manager.start(key, instrument)
        key = upstream.content.topic(key).key  # one for all clients, not one for each
        self._keys[key] = upstream  # before the await, so that close() takes it along
        metrics.SUBSCRIPTIONS.labels(key.channel).inc()
        if since is not None:
            echo["resume"] = (await upstream.audience.judge(since)).fields
        self._about(key, upstream, type="subscribed", **echo)
        snapshot = request.channel != "trades" if request.snapshot is None else request.snapshot
        await upstream.audience.join(key, self.writer, snapshot=snapshot, rewind=request.rewind, since=since)

    def _unsubscribe(self, request: TopicRequest, **echo: Any) -> None:
        key, _ = self._resolve(request)
        if key not in self._keys:
            raise NotSubscribed("this connection has no such subscription", topic=key.topic)
        self._leave(key)
        self._send(type="unsubscribed", channel=key.channel, topic=key.topic, **echo)

    async def _snapshot(self, request: One) -> None:
        key, _ = self._resolve(request)
        if key not in self._keys:
            raise NotSubscribed("this connection has no such subscription", topic=key.topic)
        now = asyncio.get_running_loop().time()
        wait = self._snapshots.get(key, -SNAPSHOT_INTERVAL) + SNAPSHOT_INTERVAL - now
        if wait > 0:
            raise RateLimited(f"one snapshot of a topic every {SNAPSHOT_INTERVAL:g} s", retry_after=wait)
        self._snapshots[key] = now
        await self._keys[key].audience.snapshot(key, self.writer)

    def _rest(self, command: Rest) -> None:
        """Pause or resume the given topics, or all."""
        keys = list(self._keys)
        if command.topics is not None:
            keys = [self._resolve(commands.parse_topic(item))[0] for item in command.topics]
        if unknown := [key for key in keys if key not in self._keys]:
            raise NotSubscribed("this connection has no such subscription", topic=unknown[0].topic)
        for key in keys:
            if command.op == "pause" and key not in self._asleep:
                self._asleep.add(key)
                self._keys[key].audience.sleep(key, self.writer)
            elif command.op == "resume" and key in self._asleep:
                self._asleep.discard(key)
                self._keys[key].audience.wake(key, self.writer)
        if self.writer.extended:
            topics = [{"channel": key.channel, "topic": key.topic} for key in keys]
            self._send(type=f"{command.op.removesuffix('e')}ed", id=command.id, topics=topics)

    async def _batch(self, command: Batch) -> None:
        limit = self._gateway.limits.topics_per_batch
        if len(command.topics) > limit:
            raise ValidationFailed(f"a batch has at most {limit} topics", field="topics", limit=limit)
        failed = 0
        for index, item in enumerate(command.topics):
            try:
                request = commands.parse_topic(item)
                if command.op == "subscribe":
                    await self._subscribe(request, id=command.id, index=index)
                else:
                    self._unsubscribe(request, id=command.id, index=index)
            except GatewayError as error:
                failed += 1
                self._error(error, **_concerning(item, {"id": command.id, "op": command.op, "index": index}))
        self._batch_done(command.id, len(command.topics) - failed, failed)

    def _unsubscribe_all(self, id: str | int | None) -> None:
        keys = list(self._keys)
        for key in keys:
            self._leave(key)
            self._send(type="unsubscribed", channel=key.channel, topic=key.topic, id=id)
        self._batch_done(id, len(keys), 0)

    def _batch_done(self, id: str | int | None, done: int, failed: int) -> None:
        if self.writer.extended:
            self._send(type="batch", id=id, ok=done, failed=failed)

    def _leave(self, key: TopicKey) -> None:
        del self._keys[key]
        self._asleep.discard(key)
        self._snapshots.pop(key, None)
        metrics.SUBSCRIPTIONS.labels(key.channel).dec()
        self._gateway.manager.leave(key, self.writer)

    def _failed(self, key: TopicKey, error: GatewayError, gone: bool) -> None:
        if gone and self._keys.pop(key, None) is not None:
            self._asleep.discard(key)
            metrics.SUBSCRIPTIONS.labels(key.channel).dec()
        self._error(error, channel=key.channel, topic=key.topic)

    # -- the rest ------------------------------------------------------------------------------------------------------

    def _list(self, id: str | int | None) -> None:
        topics = [
            {"channel": key.channel, "topic": key.topic, "state": upstream.state, "cursor": str(upstream.cursor)}
            for key, upstream in self._keys.items()
        ]
        self._send(type="subscriptions", id=id, topics=topics)

    def _pong(self, command: Ping, received_ms: int) -> None:
        if command.id is None and command.t is None:
            self._send(type="pong")
        else:
            self._send(type="pong", id=command.id, t=command.t, rx=received_ms, tx=self._gateway.clock_ms())

    def _hello(self, id: str | int | None) -> None:
        self.writer.knows_more()
        gateway = self._gateway
        self._send(
            type="hello",
            id=id,
            protocol=PROTOCOL,
            server=gateway.server,
            node=gateway.node,
            connection=self.name,
            time=gateway.clock_ms(),
            heartbeatMs=round(gateway.limits.heartbeat * 1000),
            limits=gateway.limits.stated,
            channels=CHANNELS,
            exchanges=list(gateway.manager.exchanges),
        )

    def _about(self, key: TopicKey, upstream: Upstream, **fields: Any) -> None:
        self._send(**fields, channel=key.channel, topic=key.topic, state=upstream.state)

    def _error(self, error: GatewayError, **about: Any) -> None:
        metrics.ERRORS.labels(error.code).inc()
        self._send(type="error", **error_body(error), **about)

    def _send(self, **message: Any) -> None:
        self.writer.push(frame(orjson.dumps({k: v for k, v in message.items() if k == "t" or v is not None})))


def _concerning(message: Any, about: dict[str, Any]) -> dict[str, Any]:
    """What an error is about, in the client's own words, as far as they are short enough to repeat."""
    if not isinstance(message, dict):
        return about
    about = {**about, "channel": _short(message.get("channel"))}
    if isinstance(message.get("symbol"), str):
        names = {name: _short(message.get(name)) for name in ("exchange", "symbol")}
        about["topic"] = {name: value for name, value in names.items() if value is not None}
    about["op"] = _short(about.get("op"))
    return about


def _short(value: Any) -> str | None:
    return value[:64] if isinstance(value, str) else None
