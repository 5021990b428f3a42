"""Real uvicorn, real sockets, both loops: what a client gets when we write past ASGI, and when it is cut.

The clients that matter here are raw sockets, because a library would hide what this is about: what follows a close
frame, and what becomes of a peer that does not read.
"""

import asyncio
import importlib.metadata
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
import uvloop
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from uvicorn import Config, Server
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close, Frame, Opcode
from websockets.streams import StreamReader

from gateway import server as server_module
from gateway.connection import ClientConnection, connection_of
from gateway.http import HttpProtocol
from gateway.server import NOTSENT_LOWAT, RESET, GatewayProtocol, listen, loop_factory, server
from gateway.writer import PING_FRAME, SOFT_MARK, Writer
from topics.backlog import TradeBacklog
from topics.fanout import Fanout
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.tick import Tick

# What ``GatewayProtocol`` uses of uvicorn's protocol beyond ASGI and asyncio; see the module's docstring.
ATTRIBUTES = (
    *("app_state", "transport", "loop", "conn", "queue", "config", "close_sent", "close_timer", "disconnected"),
    *("handshake_initiated", "handshake_complete", "read_paused", "writable", "request", "response", "scope"),
)
METHODS = ("handle_ping", "handle_parser_exception", "receive", "send", "shutdown")
ASYNCIO_METHODS = ("pause_writing", "resume_writing", "data_received", "connection_lost")
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
PATIENCE = 5.0  # seconds after which a test gives up

Way = Literal["raw", "asgi"]  # our own protocol's writes, or the fallback for any other server
Scenario = Callable[[], Awaitable[None]]
EACH_LOOP = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def on_each_loop(scenario: Scenario) -> Callable[..., None]:
    @EACH_LOOP
    def test(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        run(scenario, loop)

    return test


def in_each_way(scenario: Callable[[Way], Awaitable[None]]) -> Callable[..., None]:
    """The scenario on each loop, over our protocol and over the fallback."""

    @EACH_LOOP
    @pytest.mark.parametrize("way", ["raw", "asgi"])
    def test(way: Way, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        run(partial(scenario, way), loop)

    return test


def run(scenario: Scenario, loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def within_time() -> None:
        async with asyncio.timeout(2 * PATIENCE):
            await scenario()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(within_time())


class Door:
    """An endpoint whose clients all get what is sent to one topic; a text they send is echoed the ASGI way."""

    def __init__(self) -> None:
        self.tick = Tick()
        self.topic = Fanout(self.tick, TradeBacklog(TopicKey("scripted", "trades", "BTC/USDT", ())))
        self.sent = 0  # events
        self.writers: list[Writer] = []
        self.connections: list[ClientConnection] = []
        self.ended = 0  # endpoints that have returned
        self.busy = asyncio.Event()  # set while an endpoint is busy with a command
        self.done = asyncio.Event()  # set by a test to end that
        self.breaches: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        connection = connection_of(scope, receive, send)
        writer = Writer(connection, self.tick, max_pending=1024 * 1024, failed=lambda *_: None)
        connection.attach(writer)
        self.topic.add(writer)
        self.writers.append(writer)
        self.connections.append(connection)
        try:
            while not writer.closed and (message := await connection.receive())["type"] != "websocket.disconnect":
                await self.answer(writer, send, message["text"])
        finally:
            self.topic.remove(writer)
            writer.gone()
            await connection.end()
            self.ended += 1

    async def answer(self, writer: Writer, send: Send, text: str) -> None:
        match text:
            case "close me":
                await send({"type": "websocket.close", "code": 4000})
                await push_for_a_while(self)
            case "dismiss me":
                writer.push(frame(b"why"))
                writer.dismiss(4103, "too many commands")
            case "be busy":
                self.busy.set()
                await self.done.wait()
            case _:
                await send({"type": "websocket.send", "text": text})

    def send(self, text: str) -> None:
        self.sent += 1
        self.topic.send(Cursor(1, self.sent), frame(text.encode()))

    def breached(self, kind: str) -> None:
        self.breaches[kind] += 1


@asynccontextmanager
async def serving(
    door: Door, way: Way = "raw", *, command_bytes: int = 65_536, compression: bool = False
) -> AsyncIterator[int]:
    """A gateway's HTTP server with ``door`` behind it, or uvicorn's own; gives its port."""
    with listen("127.0.0.1", 0) as listening:
        app = Starlette(routes=[WebSocketRoute("/ws", door)])
        if way == "raw":
            running = server(app, command_bytes=command_bytes, compression=compression, breached=door.breached)
        else:
            running = plain_server(app)
        task = asyncio.create_task(running.serve(sockets=[listening]))
        await until(lambda: running.started)
        try:
            yield listening.getsockname()[1]
        finally:
            running.should_exit = True
            await task


def plain_server(app: Any) -> Server:
    config = Config(
        app,
        loop="none",
        ws=WebSocketsSansIOProtocol,
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        log_config=None,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    return Server(config)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # the server has no events for what is waited for here
            await asyncio.sleep(0.001)


def protocol_of(door: Door) -> GatewayProtocol:
    """The only client's."""
    (connection,) = door.connections
    assert isinstance(connection, GatewayProtocol)
    return connection


def client(port: int, compression: str | None = "deflate") -> connect:
    return connect(f"ws://127.0.0.1:{port}/ws", proxy=None, compression=compression)


class RawClient:
    """A socket that has shaken hands and reads when it is told to."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self.received = bytearray()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._socket, data)

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()

    async def drain(self) -> bool:
        """Read to the end; whether that was a reset."""
        try:
            while data := await self._loop.sock_recv(self._socket, 65_536):
                self.received += data
        except ConnectionResetError:
            return True
        return False

    @property
    def frames(self) -> list[tuple[Opcode, bytes]]:
        """Every frame that came, also those after a close frame, which a whole client would throw away."""
        reader, frames = StreamReader(), list[tuple[Opcode, bytes]]()
        reader.feed_data(bytes(self.received))
        while reader.buffer:
            try:
                next(Frame.parse(reader.read_exact, mask=False, max_size=None))
            except StopIteration as parsed:
                frames.append((parsed.value.opcode, bytes(parsed.value.data)))
            else:
                raise AssertionError("the connection ended within a frame")
        return frames

    @property
    def kinds(self) -> list[Opcode]:
        return [kind for kind, _ in self.frames]


@asynccontextmanager
async def raw_client(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        await loop.sock_sendall(connection, HANDSHAKE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(connection, 1)
        assert head.startswith(b"HTTP/1.1 101 ")
        yield RawClient(connection)


def masked(payload: bytes, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)


# -- uvicorn -----------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_this_uvicorn_has_the_names_that_the_raw_path_relies_on() -> None:
    lost: list[str] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        protocol = scope["state"]["connection"]
        lost.extend(name for name in ATTRIBUTES if not hasattr(protocol, name))
        methods = (*METHODS, *ASYNCIO_METHODS)
        lost.extend(name for name in methods if not callable(getattr(WebSocketsSansIOProtocol, name, None)))
        await receive()
        await send({"type": "websocket.accept"})

    async with serving(Looking(look)) as port, client(port) as one:
        await one.wait_closed()

    version = importlib.metadata.version("uvicorn")
    assert not lost, f"uvicorn {version} has no {', '.join(lost)}: see gateway/server.py before raising its version"


class Looking(Door):
    """A door behind which another endpoint is."""

    def __init__(self, endpoint: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        super().__init__()
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope, receive, send)


def test_every_name_that_the_module_says_it_uses_is_looked_for() -> None:
    told = (server_module.__doc__ or "").partition("beyond the ASGI")[2].partition("A test fails")[0]

    named = set(re.findall(r"``(\w+)(?:\(\))?``", told))

    assert named == {*ATTRIBUTES, *METHODS}


async def test_the_protocol_passes_itself_to_the_endpoint_beside_the_state_of_the_lifespan() -> None:
    config = Config(Starlette(), log_config=None)
    config.load()
    state = {"shared": 1}

    protocol = GatewayProtocol(config=config, server_state=ServerState(), app_state=state, _loop=None)

    assert protocol.app_state == {"shared": 1, "connection": protocol}
    assert state == {"shared": 1}


def test_the_server_is_set_up_for_what_a_gateway_meets() -> None:
    config = server(Starlette(), command_bytes=1_234).config
    config.load()
    http, websocket = cast(Any, config.http_protocol_class), cast(Any, config.ws_protocol_class)

    assert (config.ws_max_size, config.ws_ping_interval, config.ws_per_message_deflate) == (1_234, None, False)
    assert (http.func, websocket.func) == (HttpProtocol, GatewayProtocol)
    assert http.keywords["limits"].head_bytes == 16_384


def test_compression_is_offered_only_where_it_is_asked_for() -> None:
    assert server(Starlette(), command_bytes=1_234, compression=True).config.ws_per_message_deflate is True


# -- writing -----------------------------------------------------------------------------------------------------------


@in_each_way
async def test_raw_frames_asgi_messages_and_pongs_do_not_disturb_each_other(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, client(port) as one:
        await until(lambda: len(door.writers) == 1)
        got: list[str | bytes] = []
        for number in range(100):
            door.send(f"raw {number}" + "x" * (number * 700 % 70_000))
            await one.send(f"asgi {number}")
            got += [await one.recv(), await one.recv()]
            if number % 2:  # more of them would be a flood
                await (await one.ping())

    assert [text.partition("x")[0] for text in got if isinstance(text, str) and text.startswith("raw")] == [
        f"raw {number}" for number in range(100)
    ]
    assert [text for text in got if isinstance(text, str) and text.startswith("asgi")] == [
        f"asgi {number}" for number in range(100)
    ]


@in_each_way
async def test_all_clients_get_all_frames_in_order(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, client(port) as one, client(port) as two:
        await until(lambda: len(door.writers) == 2)
        for number in range(300):
            door.send(str(number))
            if number % 7 == 0:
                await asyncio.sleep(0)

        got = [[await each.recv() for _ in range(300)] for each in (one, two)]

    assert got == [[str(number) for number in range(300)]] * 2


@on_each_loop
async def test_one_frame_serves_those_who_take_it_compressed_and_those_who_do_not() -> None:
    door = Door()
    texts = [f"{number}" + "x" * (number * 50) for number in range(60)]  # the first ones are not worth it
    async with (
        serving(door, compression=True) as port,
        client(port) as one,
        client(port) as two,
        client(port, compression=None) as plain,
    ):
        await until(lambda: len(door.writers) == 3)
        deflated = [writer.deflated for writer in door.writers]
        got: list[list[str | bytes]] = [[], [], []]
        for text in texts:
            door.send(text)
            for number, each in enumerate((one, two, plain)):
                got[number].append(await each.recv())

    assert deflated == [True, True, False]
    assert got == [texts] * 3


@on_each_loop
async def test_nothing_is_compressed_where_it_is_not_asked_for() -> None:
    door = Door()
    async with serving(door) as port, client(port) as one:
        await until(lambda: len(door.writers) == 1)

        assert (one.protocol.extensions, door.writers[0].deflated) == ([], False)


@on_each_loop
async def test_a_small_frame_does_not_wait_for_the_clients_acknowledgement() -> None:
    door = Door()
    async with serving(door) as port, client(port):
        await until(lambda: len(door.writers) == 1)

        transport = protocol_of(door).transport.get_extra_info("socket")

        assert transport.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@on_each_loop
async def test_a_clients_answer_to_a_ping_counts_as_a_sign_of_life() -> None:
    door = Door()
    async with serving(door) as port, client(port):
        await until(lambda: len(door.writers) == 1)
        connection = protocol_of(door)
        connection.last_received = 0.0

        connection.write(PING_FRAME)
        await until(lambda: connection.last_received > 0.0)

        assert connection.last_received <= asyncio.get_running_loop().time()


# -- ends --------------------------------------------------------------------------------------------------------------


@in_each_way
async def test_a_client_that_reads_nothing_is_cut_and_does_not_hold_up_another(way: Way) -> None:
    door, sent = Door(), 0
    async with serving(door, way) as port, raw_client(port, receive_buffer=4_096) as stalled, client(port) as reading:
        await until(lambda: len(door.writers) == 2)
        while door.writers[0].stopped_at is None or sent < 20:
            door.send(f"{sent}" + "x" * 20_000)
            sent += 1
            async with asyncio.timeout(1.0):  # while the other is stuck, each frame arrives at once
                assert str(await reading.recv()).rstrip("x") == str(sent - 1)

        check(door.writers[0], stopped=10.0)
        assert door.writers[0].closed
        await until(lambda: door.ended == 1)  # although it still reads nothing
        was_reset = way == "asgi" or await stalled.drain()
        door.send("still there")
        assert await reading.recv() == "still there"

    assert was_reset


@on_each_loop
async def test_a_client_that_does_not_read_is_noticed_after_kilobytes_and_not_megabytes() -> None:
    door, sent = Door(), 0
    async with serving(door) as port, raw_client(port, receive_buffer=4_096):
        await until(lambda: len(door.writers) == 1)
        (writer,) = door.writers
        while writer.stopped_at is None:
            door.send("x" * 1_000)
            sent += 1_000
            await asyncio.sleep(0)

        assert NOTSENT_LOWAT < sent < 512 * 1024
        assert SOFT_MARK < door.connections[0].buffered < SOFT_MARK + 1_005
        door.connections[0].cut(4101, "enough")


@in_each_way
async def test_a_client_that_reads_again_gets_everything_it_was_owed(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, raw_client(port, receive_buffer=4_096) as one:
        await until(lambda: len(door.writers) == 1)
        numbers = 0
        while door.writers[0].stopped_at is None or numbers % 10:
            door.send(f"{numbers}" + "x" * 5_000)
            numbers += 1
            await asyncio.sleep(0)

        reading = asyncio.create_task(one.drain())
        await until(lambda: door.writers[0].stopped_at is None)
        door.send("last")
        await until(lambda: one.received.endswith(b"last"))
        reading.cancel()

    texts = [data for kind, data in one.frames if kind is Opcode.TEXT]
    assert [int(text.rstrip(b"x")) for text in texts[:-1]] == list(range(numbers))


def check(writer: Writer, *, stopped: float) -> None:
    """The round of every second, so many seconds after its socket took no more."""
    assert writer.stopped_at is not None
    writer.check(writer.stopped_at + stopped, stall=10.0, lag=30.0, ping_interval=20.0, ping_timeout=20.0)


@in_each_way
async def test_a_client_that_is_dismissed_reads_what_was_said_and_the_code(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, client(port) as one:
        await one.send("dismiss me")

        assert await one.recv() == "why"
        with pytest.raises(ConnectionClosedError) as caught:
            await one.recv()
        await until(lambda: door.ended == 1)

    assert caught.value.rcvd == Close(4103, "too many commands")


OFFENCES = {
    "a command too large": (lambda: masked(b"x" * 3_000), 1009, "too_big"),
    "a frame without a mask": (lambda: frame(b"x"), 1002, "protocol"),
    "a text that is none": (lambda: masked(b"\xff"), 1007, "protocol"),
    "too many pings": (lambda: masked(b"", Opcode.PING) * 100, 1008, "control"),
    "too many commands": (lambda: masked(b"dismiss me"), 4103, None),
}


@on_each_loop
async def test_who_breaks_a_rule_in_the_midst_of_sending_can_read_why() -> None:
    door = Door()
    async with serving(door, command_bytes=2_000) as port:
        for offence, code, kind in OFFENCES.values():
            async with raw_client(port) as one:
                sending = asyncio.create_task(one.send(offence() + masked(b"more" * 400) * 2_000))
                was_reset = await one.drain()
                sending.cancel()
            said = [Close.parse(data).code for opcode, data in one.frames if opcode is Opcode.CLOSE]
            assert (said, was_reset) == ([code], False)
            assert kind is None or door.breaches[kind] > 0
        await until(lambda: door.ended == len(OFFENCES))


@in_each_way
async def test_a_client_that_is_cut_while_it_reads_is_told_the_code(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, client(port) as one:
        await until(lambda: len(door.writers) == 1)

        door.writers[0].cut(4100, "no pong for 20 s")

        with pytest.raises(ConnectionClosedError) as caught:
            await one.recv()
        await until(lambda: door.ended == 1)

    assert caught.value.rcvd == Close(4100, "no pong for 20 s")


@in_each_way
async def test_no_data_follows_the_close_frame_of_the_application(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, raw_client(port) as one:
        await until(lambda: len(door.writers) == 1)
        door.send("before")
        await one.send(masked(b"close me"))
        await until(lambda: door.ended == 1)
        await one.send(masked(Close(4000, "").serialize(), Opcode.CLOSE))
        await one.drain()

    assert one.kinds.index(Opcode.CLOSE) == len(one.kinds) - 1


@in_each_way
async def test_no_data_follows_the_answer_to_the_clients_close_frame(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port, raw_client(port) as one:
        await until(lambda: len(door.writers) == 1)
        door.send("before")
        await one.send(masked(Close(1000, "").serialize(), Opcode.CLOSE))
        pushing = asyncio.create_task(push_for_a_while(door))
        await one.drain()
        await pushing

    assert one.kinds.index(Opcode.CLOSE) == len(one.kinds) - 1


@on_each_loop
async def test_no_data_follows_the_close_frame_of_a_shutdown() -> None:
    door = Door()
    async with AsyncExitStack() as clients:
        async with serving(door) as port:
            one = await clients.enter_async_context(raw_client(port))
            await until(lambda: len(door.writers) == 1)
            pushing = asyncio.create_task(push_for_a_while(door, until_gone=True))
            await until(lambda: door.writers[0].sent_at > 0)
        await one.drain()
        await pushing

    assert one.kinds == [Opcode.TEXT] * (len(one.kinds) - 1) + [Opcode.CLOSE]
    assert Close.parse(one.frames[-1][1]).code == 1012


async def push_for_a_while(door: Door, *, until_gone: bool = False) -> None:
    """Send something in each of many turns, to whoever is still there."""
    turns = 0
    while turns < 50 or (until_gone and not door.writers[0].closed):
        door.send("after")
        turns += 1
        await asyncio.sleep(0)


@on_each_loop
async def test_a_command_over_the_limit_closes_with_1009() -> None:
    door = Door()
    async with serving(door, command_bytes=2_000) as port, client(port) as one:
        await one.send("x" * 2_000)
        assert await one.recv() == "x" * 2_000

        await one.send("x" * 2_001)

        with pytest.raises(ConnectionClosedError) as caught:
            await one.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


@on_each_loop
async def test_a_command_over_the_limit_in_fragments_closes_with_1009_too() -> None:
    door = Door()
    async with serving(door, command_bytes=2_000) as port, client(port) as one:
        await one.send(["x" * 900] * 3)

        with pytest.raises(ConnectionClosedError) as caught:
            await one.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


@in_each_way
async def test_a_client_that_vanishes_takes_its_endpoint_with_it(way: Way) -> None:
    door = Door()
    async with serving(door, way) as port:
        async with raw_client(port):
            await until(lambda: len(door.writers) == 1)

        await until(lambda: door.ended == 1)


@on_each_loop
async def test_a_clients_descriptor_is_its_own_until_its_writer_knows_that_it_is_gone() -> None:
    """Else what is written past the transport would reach whoever connects next."""
    door, open_then = Door(), list[bool]()

    def note_end(writer: Writer) -> None:
        descriptor, gone = writer.descriptor, writer.gone

        def note() -> None:
            open_then.append(os.fstat(descriptor).st_mode > 0)
            gone()

        protocol_of(door)._sink = SimpleNamespace(paused=writer.paused, resumed=writer.resumed, gone=note)

    async with serving(door) as port:
        for end in ("it leaves", "it vanishes", "it breaks a rule", "we cut it", "we dismiss it"):
            door.writers, door.connections = [], []
            async with raw_client(port) as one:
                await until(lambda: len(door.writers) == 1)
                note_end(door.writers[0])
                match end:
                    case "it leaves":
                        await one.send(masked(Close(1000, "").serialize(), Opcode.CLOSE))
                    case "it vanishes":
                        one.reset()
                    case "it breaks a rule":
                        await one.send(frame(b"unmasked"))
                    case "we cut it":
                        door.writers[0].cut(4100, "no pong")
                    case _:
                        door.writers[0].dismiss(4103, "enough")
                await until(lambda: door.writers[0].closed)
                assert door.writers[0].descriptor == -1

    assert open_then == [True] * 5


@on_each_loop
async def test_a_client_that_vanished_before_it_is_attached_is_gone_at_once() -> None:
    door = Door()
    async with serving(door) as port:
        async with raw_client(port):
            await until(lambda: len(door.writers) == 1)
        await until(lambda: door.ended == 1)
        connection, told = protocol_of(door), list[str]()

        connection.attach(SimpleNamespace(paused=None, resumed=None, gone=lambda: told.append("gone")))

        assert (connection.descriptor, told) == (-1, ["gone"])


@on_each_loop
async def test_nothing_is_written_to_a_client_that_vanished_while_its_endpoint_is_busy() -> None:
    door = Door()
    async with serving(door) as port:
        async with raw_client(port) as one:
            await one.send(masked(b"be busy"))
            await door.busy.wait()
            (writer,), connection = door.writers, protocol_of(door)

        await until(lambda: writer.closed)
        writer.push(b"nobody is there")
        writer.cut(4101, "nobody is there")
        connection.dismiss(4101, "nobody is there")
        connection.cut(4101, "nobody is there")

        assert (door.ended, connection.buffered) == (0, 0)
        door.done.set()
        await until(lambda: door.ended == 1)


@on_each_loop
async def test_a_shutdown_is_not_held_up_by_a_client_that_reads_nothing() -> None:
    door, loop = Door(), asyncio.get_running_loop()
    async with AsyncExitStack() as clients:
        async with serving(door) as port:
            await clients.enter_async_context(raw_client(port, receive_buffer=4_096))
            await until(lambda: len(door.writers) == 1)
            while door.writers[0].stopped_at is None:
                door.send("x" * 5_000)
                await asyncio.sleep(0)
            began = loop.time()

        assert loop.time() - began < 3.0  # uvicorn alone would wait out its own grace of 5 s


# -- listening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_a_host_is_listened_on_in_its_own_family(host: str, family: socket.AddressFamily) -> None:
    with listen(host, 0) as listening:
        assert (listening.family, listening.getsockname()[0]) == (family, host)


def test_a_taken_port_is_an_error_and_leaves_no_socket_open() -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()

        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", taken.getsockname()[1])


def test_uvloop_is_used_where_it_is_installed() -> None:
    assert loop_factory() is uvloop.new_event_loop


def test_asyncio_is_used_where_uvloop_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as the import system marks what is not there

    assert loop_factory() is asyncio.new_event_loop
