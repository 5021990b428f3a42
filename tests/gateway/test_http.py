"""Real uvicorn, real sockets, both loops: clients that are slow, too large, too many or gone.

The clients are raw sockets, because a library would not send what this is about. A test waits for the end of its
connection, which is what a deadline brings.
"""

import asyncio
import gc
import importlib.metadata
import json
import socket
import struct
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import h11
import pytest
import uvloop
from uvicorn import Config, Server
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from gateway.http import HttpLimits, HttpProtocol, Peer, Reader, Refused, check_head
from gateway.server import listen

# What ``HttpProtocol`` uses of uvicorn's beyond ASGI and asyncio; see the module's docstring.
ATTRIBUTES = ("conn", "cycle", "client", "ws_protocol_class", "transport", "loop")
METHODS = (
    "handle_websocket_upgrade",
    "on_response_complete",
    "shutdown",
    "connection_made",
    "connection_lost",
    "data_received",
    "_unset_keepalive_if_required",
)
PATIENCE = 5.0  # seconds after which a test gives up
SOON = 0.2  # seconds, the deadline where a test waits for one
GET = b"GET /here HTTP/1.1\r\nHost: h\r\n\r\n"
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESET = struct.pack("ii", 1, 0)

Scenario = Callable[[], Awaitable[None]]


def on_each_loop(scenario: Scenario) -> Callable[..., None]:
    @pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    def test(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def within_time() -> None:
            async with asyncio.timeout(2 * PATIENCE):
                await scenario()

        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(within_time())

    return test


class Socket(WebSocketsSansIOProtocol):
    """A websocket protocol that takes over the duty to say that the connection is over."""

    def __init__(self, config: Config, server_state: Any, app_state: Any, *, left: Callable[[], None]) -> None:
        super().__init__(config, server_state, app_state)
        self._left = left

    def connection_lost(self, exc: Exception | None) -> None:
        self._left()
        super().connection_lost(exc)


@dataclass
class Gate:
    """Admits who is welcome, counts, and serves both kinds of requests."""

    limits: HttpLimits = field(default_factory=lambda: bounds())  # noqa: PLW0108  # it comes below
    unwelcome: str | None = None
    admitted: list[Peer] = field(default_factory=list)
    left: list[Peer] = field(default_factory=list)
    refused: Counter[int] = field(default_factory=Counter)
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes | None] = field(default_factory=list)  # None: the client was gone before its end
    protocols: list[weakref.ref[HttpProtocol]] = field(default_factory=list)

    def admit(self, peer: Peer) -> str | None:
        if self.unwelcome is None:
            self.admitted.append(peer)
        return self.unwelcome

    def count(self, status: int) -> None:
        self.refused[status] += 1

    def protocol(self, **given: Any) -> HttpProtocol:
        one = HttpProtocol(**given, limits=self.limits, admit=self.admit, left=self.left.append, refused=self.count)
        self.protocols.append(weakref.ref(one))
        return one

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        self.requests.append(scope["path"])
        if scope["type"] == "websocket":
            await self.echo(scope["path"], receive, send)
            return
        if scope["path"] == "/deaf":
            await respond(send, b"not interested")
            return
        body = await read(receive)
        self.bodies.append(body)
        if scope["path"] == "/crash":
            raise RuntimeError("a bug")
        await respond(send, scope["path"].encode())

    async def echo(self, path: str, receive: Any, send: Any) -> None:
        await receive()
        if path == "/shut":
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            if message["text"] == "close me":
                await send({"type": "websocket.close", "code": 4000})
            else:
                await send({"type": "websocket.send", "text": message["text"]})


async def read(receive: Any) -> bytes | None:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            return body
    return None


async def respond(send: Any, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bounds(**changed: Any) -> HttpLimits:
    """The limits as they are by default, with deadlines that no test lives to see."""
    never = {"head_seconds": 1_000.0, "body_seconds": 1_000.0, "farewell_seconds": 1_000.0}
    return HttpLimits(**{**never, **changed})


@asynccontextmanager
async def serving(gate: Gate, app: Any = None, *, keep_alive: float = 1_000.0) -> AsyncIterator[int]:
    """uvicorn with ``gate`` before it, and behind it too unless there is an ``app``; gives its port."""
    config = Config(
        app or gate.app,
        interface="asgi3",
        loop="none",
        http=cast(Any, gate.protocol),
        ws=cast(Any, Socket),
        ws_ping_interval=None,
        timeout_keep_alive=cast(int, keep_alive),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    with listen("127.0.0.1", 0) as listening:
        server = Server(config)
        task = asyncio.create_task(server.serve(sockets=[listening]))
        await until(lambda: server.started)
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # the server has no events for what is waited for here
            await asyncio.sleep(0.001)


class Client:
    """A socket, and what came from it."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._loop = asyncio.get_running_loop()
        self.received = b""

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def more(self) -> bool:
        data = await self._loop.sock_recv(self.socket, 65_536)
        self.received += data
        return bool(data)

    async def end(self) -> bytes:
        """All that came until the server was done. A reset, which would have eaten some of it, is an error."""
        while await self.more():
            pass
        return self.received

    async def answer(self) -> tuple[int, Any]:
        """The status and body of one response."""
        while b"\r\n\r\n" not in self.received:
            assert await self.more()
        head, _, rest = self.received.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        while len(rest) < length:
            assert await self.more()
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return int(head.split()[1]), rest[:length]

    async def refusal(self) -> int:
        """The status of the only answer, which is an error of the gateway's shape and the end of the connection."""
        head, _, body = (await self.end()).partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert {b"content-type: application/json", b"connection: close"} <= set(lines)
        assert f"content-length: {len(body)}".encode() in lines
        error = json.loads(body)
        assert {"code", "message", "retryable"} <= set(error)
        status = int(head.split()[1])
        assert error["code"] == ("SERVER_BUSY" if status == 503 else "VALIDATION_ERROR")
        return status

    async def drip(self, data: bytes) -> None:
        """Send ``data`` again and again, byte by byte, until the server has had enough."""
        ended = asyncio.create_task(self.end())
        try:
            while not ended.done():
                for byte in data:
                    await self.send(bytes([byte]))
                    await asyncio.wait({ended}, timeout=SOON / 20)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was done while we wrote
        await ended


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    with socket.socket() as connection:
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        yield Client(connection)


def post(*headers: str, path: str = "/here") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: h", *headers, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


CHUNKED = post("Transfer-Encoding: chunked")


# -- uvicorn -----------------------------------------------------------------------------------------------------------


async def test_this_uvicorn_has_the_names_that_the_protocol_relies_on() -> None:
    gate = Gate()
    config = Config(gate.app, log_config=None)
    config.load()
    protocol = gate.protocol(config=config, server_state=ServerState(), app_state={}, _loop=None)

    lost = [name for name in ATTRIBUTES if not hasattr(protocol, name)]
    lost += [name for name in METHODS if not callable(getattr(H11Protocol, name, None))]
    cycle = RequestResponseCycle.__init__.__code__.co_names
    lost += [name for name in ("response_complete", "disconnected", "message_event") if name not in cycle]

    version = importlib.metadata.version("uvicorn")
    assert not lost, f"uvicorn {version} has no {', '.join(lost)}: see gateway/http.py before raising its version"


def test_uvicorn_takes_the_protocol_with_its_arguments_bound() -> None:
    gate = Gate()
    bound = partial(HttpProtocol, limits=gate.limits, admit=gate.admit, left=gate.left.append, refused=gate.count)
    config = Config(gate.app, http=cast(Any, bound), log_config=None)

    config.load()

    assert config.http_protocol_class is bound


# -- deadlines ---------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_client_that_sends_nothing_is_told_that_it_took_too_long() -> None:
    gate = Gate(bounds(head_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        assert await one.refusal() == 408
    assert gate.refused == {408: 1}


@on_each_loop
async def test_a_head_that_drips_has_no_more_time_than_another() -> None:
    gate = Gate(bounds(head_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.drip(b"GET /here HTTP/1.1\r\n" + b"X-Slow: 1\r\n" * 20)

        assert await one.refusal() == 408
    assert (gate.refused, gate.requests) == ({408: 1}, [])


@on_each_loop
async def test_the_second_head_of_a_connection_has_a_deadline_too() -> None:
    gate = Gate(bounds(head_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.send(GET)
        assert (await one.answer())[0] == 200

        await one.drip(b"GET /here HTTP/1.1\r\n" + b"X-Slow: 1\r\n" * 20)

        assert await one.refusal() == 408


@on_each_loop
async def test_half_a_head_that_came_with_the_first_request_has_a_deadline_too() -> None:
    gate = Gate(bounds(head_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.send(GET + GET[:20])
        assert (await one.answer())[0] == 200

        assert await one.refusal() == 408


@on_each_loop
async def test_half_a_head_behind_a_body_that_nobody_read_has_a_deadline_too() -> None:
    gate = Gate(bounds(head_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.send(post("Content-Length: 10", path="/deaf"))
        assert (await one.answer())[0] == 200

        await one.send(b"x" * 10 + GET[:20])

        assert await one.refusal() == 408


@on_each_loop
async def test_a_body_that_drips_has_no_more_time_than_another() -> None:
    gate = Gate(bounds(body_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.send(post("Content-Length: 60000"))
        await one.drip(b"x")

        assert await one.refusal() == 408
        await until(lambda: gate.bodies == [None])  # the application hears that nobody waits for it any more
    assert gate.refused == {408: 1}


@on_each_loop
async def test_a_body_that_stops_after_the_answer_ends_the_connection_without_a_second_one() -> None:
    gate = Gate(bounds(body_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.send(post("Content-Length: 10", path="/deaf") + b"x")
        assert await one.answer() == (200, b"not interested")

        assert await one.end() == b""
    assert gate.refused == {408: 1}


@on_each_loop
async def test_an_answer_that_takes_its_time_is_not_the_clients_fault() -> None:
    gate = Gate(bounds(head_seconds=SOON / 4, body_seconds=SOON / 4))
    answering = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await read(receive)
        loop.call_later(SOON, answering.set)
        await answering.wait()
        await respond(send, b"at last")

    async with serving(gate, slow) as port, client(port) as one:
        await one.send(post("Content-Length: 3") + b"now")

        assert await one.answer() == (200, b"at last")
    assert gate.refused == {}


# -- heads -------------------------------------------------------------------------------------------------------------


def lines(number: int) -> bytes:
    return b"GET /here HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * (number - 1) + b"\r\n"


def head(size: int) -> bytes:
    start = b"GET /here HTTP/1.1\r\nHost: h\r\nX: "
    return start + b"y" * (size - len(start) - 4) + b"\r\n\r\n"


def path(size: int) -> bytes:
    return b"GET /" + b"p" * (size - 1) + b" HTTP/1.1\r\nHost: h\r\n\r\n"


HEADS = {
    "of the full size": (head(16_384), None),
    "a byte too large": (head(16_385), 431),
    "of 200 KiB": (head(200 * 1024), 431),
    "of 200 KiB and no end": (head(200 * 1024)[:-4], 431),
    "padded with spaces": (b"GET /here HTTP/1.1\r\nHost: h\r\nX: " + b" " * 20_000 + b"y\r\n\r\n", 431),
    "a hundred lines": (lines(100), None),
    "a hundred and one": (lines(101), 431),
    "a hundred and one and no end": (lines(102)[:-2], 431),
    "30,000 lines": (lines(30_000), 431),
    "bare line feeds": (lines(101).replace(b"\r", b""), 431),
    "a path of the full length": (path(8_192), None),
    "a path a byte too long": (path(8_193), 414),
    "a query that long": (path(20_000).replace(b"/p", b"/?"), 414),
    "a path without an end": (path(9_000)[:8_500], 414),
    "two heads that are too large together": (head(10_000) * 2, None),
    "a small head before much else": (GET + b"x" * 50_000, None),
    "nothing": (b"", None),
    "no head at all": (b"\x16\x03\x01\x00", None),  # h11's to refuse
}


@pytest.mark.parametrize(("data", "status"), HEADS.values(), ids=HEADS)
def test_a_head_is_judged_before_it_is_parsed(data: bytes, status: int | None) -> None:
    try:
        check_head(data, HttpLimits())
    except Refused as refused:
        assert refused.status == status
    else:
        assert status is None


@on_each_loop
async def test_a_head_beyond_a_limit_is_refused_however_it_comes() -> None:
    gate = Gate()
    async with serving(gate) as port:
        refused = [data for data, status in HEADS.values() if status]
        expected = [status for _, status in HEADS.values() if status]
        statuses = []
        for data in refused:
            async with client(port) as one:
                await one.send(data)
                statuses.append(await one.refusal())

    assert statuses == expected
    assert (gate.refused, gate.requests) == (Counter(expected), [])


@on_each_loop
async def test_heads_of_the_full_size_are_served() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        for data in (head(16_384), lines(100), path(8_192)):
            await one.send(data)
            assert (await one.answer())[0] == 200

    assert gate.refused == {}


@on_each_loop
async def test_what_is_no_request_is_refused_in_our_words() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        await one.send(b"\x16\x03\x01\x00 this is another protocol\r\n\r\n")

        assert await one.refusal() == 400
    assert gate.refused == {400: 1}


# -- bodies ------------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_body_of_the_full_size_is_read_whole() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        await one.send(post("Content-Length: 65536") + b"x" * 65_536)
        assert (await one.answer())[0] == 200
        await one.send(CHUNKED + chunk(b"x" * 65_536) + chunk(b""))
        assert (await one.answer())[0] == 200

    assert (gate.bodies, gate.refused) == ([b"x" * 65_536] * 2, {})


@on_each_loop
async def test_a_body_that_is_declared_too_large_is_refused_before_the_application_runs() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        await one.send(post("Content-Length: 65537"))

        assert await one.refusal() == 413
    assert (gate.requests, gate.refused) == ([], {413: 1})


@on_each_loop
async def test_a_client_that_sends_its_large_body_at_once_can_read_why_it_was_refused() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        await one.send(post(f"Content-Length: {2**20}") + b"x" * 2**20)

        assert await one.refusal() == 413


@on_each_loop
async def test_chunks_beyond_the_limit_end_the_request() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        await one.send(CHUNKED + chunk(b"x" * 65_536))
        await until(lambda: gate.requests == ["/here"])
        await one.send(chunk(b"x"))

        assert await one.refusal() == 413
        await until(lambda: gate.bodies == [None])
    assert gate.refused == {413: 1}


@on_each_loop
async def test_chunks_of_nearly_nothing_are_bounded_by_their_number() -> None:
    gate = Gate()
    async with serving(gate) as port:
        async with client(port) as one:
            await one.send(CHUNKED + chunk(b"x") * 1_024 + chunk(b""))
            assert (await one.answer())[0] == 200
        async with client(port) as two:
            await two.send(CHUNKED + chunk(b"x") * 1_025)
            assert await two.refusal() == 413


def test_trailers_that_come_in_one_read_are_bounded_too() -> None:
    refused: list[Refused] = []
    reader = Reader(HttpLimits(), began=lambda: None, read=lambda: None, refuse=refused.append)

    reader.receive_data(CHUNKED + b"0\r\n" + b"X: y\r\n" * 30_000 + b"\r\n")
    events = [reader.next_event() for _ in range(2)]

    assert isinstance(events[0], h11.Request)
    assert (events[1], [one.status for one in refused]) == (h11.NEED_DATA, [400])


def test_a_small_read_does_not_overtake_a_large_one() -> None:
    reader = Reader(HttpLimits(), began=lambda: None, read=lambda: None, refuse=lambda _: None)

    reader.receive_data(post("Content-Length: 40010") + b"x" * 40_000)
    reader.receive_data(b"y" * 10)

    events = [reader.next_event() for _ in range(10)]

    assert b"".join(event.data for event in events if isinstance(event, h11.Data)) == b"x" * 40_000 + b"y" * 10


@on_each_loop
async def test_bodies_sent_without_waiting_are_each_read_whole() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        sending = asyncio.create_task(one.send((post("Content-Length: 60000") + b"x" * 60_000) * 10))
        for _ in range(10):
            assert await one.answer() == (200, b"/here")
        await sending

    assert gate.bodies == [b"x" * 60_000] * 10


# -- what must still work ----------------------------------------------------------------------------------------------


@on_each_loop
async def test_requests_one_after_the_other_share_a_connection() -> None:
    gate = Gate()
    async with serving(gate) as port, client(port) as one:
        for _ in range(5):
            await one.send(GET)
            assert await one.answer() == (200, b"/here")
            await one.send(post("Content-Length: 5") + b"hello")
            assert await one.answer() == (200, b"/here")

    assert (gate.bodies, len(gate.admitted)) == ([b"", b"hello"] * 5, 1)


@on_each_loop
async def test_requests_sent_without_waiting_are_answered_in_order() -> None:
    gate = Gate()
    paths = [f"/{number}" for number in range(20)]
    async with serving(gate) as port, client(port) as one:
        await one.send(b"".join(post("Content-Length: 3", path=path) + b"abc" for path in paths))

        answers = [await one.answer() for _ in paths]

    assert answers == [(200, path.encode()) for path in paths]
    assert gate.refused == {}


@on_each_loop
async def test_a_connection_that_was_refused_is_no_longer_kept_alive_by_uvicorn() -> None:
    gate, loop = Gate(), asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    async with serving(gate, keep_alive=SOON) as port, client(port) as one, client(port) as two:
        await one.send(GET + post("Content-Length: 99999"))
        assert await one.answer() == (200, b"/here")
        assert await one.refusal() == 413

        end = loop.time() + 2 * SOON
        while loop.time() < end:  # until uvicorn's timer would have rung
            await two.send(GET)
            assert await two.answer() == (200, b"/here")

    assert errors == []


@on_each_loop
async def test_a_websocket_outlives_the_deadlines_of_its_handshake() -> None:
    gate = Gate(bounds(head_seconds=SOON, body_seconds=SOON))
    loop = asyncio.get_running_loop()
    async with serving(gate) as port, connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as one:
        end = loop.time() + 2 * SOON
        while loop.time() < end:
            await one.send("still there?")
            assert await one.recv() == "still there?"

    assert gate.refused == {}


@on_each_loop
async def test_a_websocket_may_follow_requests_on_the_same_connection() -> None:
    gate = Gate(bounds(head_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        await one.send(GET + HANDSHAKE)
        assert await one.answer() == (200, b"/here")
        assert (await one.answer())[0] == 101

        await one.send(Frame(Opcode.TEXT, b"hello").serialize(mask=True))
        while not one.received.endswith(b"hello"):
            assert await one.more()
    assert gate.refused == {}


@on_each_loop
async def test_no_timer_and_no_websocket_keeps_the_http_protocol_alive() -> None:
    gate = Gate()  # deadlines far away: a timer that were left would hold what it calls
    async with serving(gate) as port:
        async with connect(f"ws://127.0.0.1:{port}/ws", proxy=None) as one:
            await one.send("hello")
            await one.recv()
            await until(lambda: gone(gate))
        for bad in (GET, post("Content-Length: 9"), GET[:9], post("Content-Length: 99999"), b"\0"):
            async with client(port) as two:
                await two.send(bad)
                if bad == GET:
                    await two.answer()
                    await reset(two)
        await until(lambda: len(gate.left) == 6)
        await until(lambda: gone(gate))


def gone(gate: Gate) -> bool:
    gc.collect()
    return all(protocol() is None for protocol in gate.protocols)


# -- the door ----------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_an_unwelcome_client_is_told_to_come_back_and_nothing_it_sends_is_parsed() -> None:
    gate = Gate(unwelcome="all places are taken")
    async with serving(gate) as port, client(port) as one:
        await one.send(b"\0 this is no request at all" * 10_000)
        answer = await one.end()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert {b"Retry-After: 1", b"Connection: close"} <= set(head.split(b"\r\n"))
    message = {"code": "SERVER_BUSY", "message": "all places are taken", "retryable": True, "retryAfterMs": 1000}
    assert json.loads(body).items() >= message.items()
    assert (gate.refused, gate.requests, gate.admitted, gate.left) == ({503: 1}, [], [], [])


@on_each_loop
async def test_an_unwelcome_client_that_sends_nothing_is_not_kept_either() -> None:
    gate = Gate(bounds(head_seconds=SOON), unwelcome="all places are taken")
    async with serving(gate) as port, client(port) as one:
        assert await one.refusal() == 503

    assert gate.refused == {503: 1}


@on_each_loop
async def test_a_refused_client_that_does_not_leave_is_shown_out() -> None:
    gate = Gate(bounds(head_seconds=SOON, farewell_seconds=SOON))
    async with serving(gate) as port, client(port) as one:
        assert await one.refusal() == 408  # it has read the end, and stays

        await until(lambda: len(gate.left) == 1)


async def leave(one: Client) -> None:
    one.socket.close()


async def reset(one: Client) -> None:
    one.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    one.socket.close()


async def be_refused(one: Client) -> None:
    await one.send(b"\0")
    await one.end()


async def be_answered_last(one: Client) -> None:
    await one.send(b"GET /here HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    await one.end()


async def crash(one: Client) -> None:
    await one.send(GET.replace(b"/here", b"/crash"))
    await one.end()


async def leave_within_a_body(one: Client) -> None:
    await one.send(post("Content-Length: 9") + b"x")
    one.socket.close()


async def reset_after_an_answer(one: Client) -> None:
    await one.send(GET)
    await one.answer()
    await reset(one)


async def upgrade_and_leave(one: Client) -> None:
    await one.send(HANDSHAKE)
    await one.answer()
    one.socket.close()


async def upgrade_and_reset(one: Client) -> None:
    await one.send(HANDSHAKE)
    await one.answer()
    await reset(one)


async def upgrade_and_be_closed(one: Client) -> None:
    await one.send(HANDSHAKE)
    await one.answer()
    await one.send(Frame(Opcode.TEXT, b"close me").serialize(mask=True))
    await one.more()
    await one.send(Frame(Opcode.CLOSE, b"\x0f\xa0").serialize(mask=True))
    await one.end()


async def upgrade_and_be_turned_away(one: Client) -> None:
    await one.send(HANDSHAKE.replace(b"/ws", b"/shut"))
    await one.end()


async def upgrade_wrongly(one: Client) -> None:
    await one.send(HANDSHAKE.replace(b"Version: 13", b"Version: 1"))
    await one.end()


async def upgrade_with_a_header_that_only_websockets_minds(one: Client) -> None:
    await one.send(HANDSHAKE[:-2] + b"X: " + b"y" * 9_000 + b"\r\n\r\n")
    assert await one.refusal() == 400


async def upgrade_with_a_body(one: Client) -> None:
    await one.send(HANDSHAKE[:-2] + b"Content-Length: 4\r\n\r\n")
    assert await one.refusal() == 400


ENDS = (
    leave,
    reset,
    be_refused,
    be_answered_last,
    crash,
    leave_within_a_body,
    reset_after_an_answer,
    upgrade_and_leave,
    upgrade_and_reset,
    upgrade_and_be_closed,
    upgrade_and_be_turned_away,
    upgrade_wrongly,
    upgrade_with_a_header_that_only_websockets_minds,
    upgrade_with_a_body,
)


@on_each_loop
async def test_a_place_is_given_back_once_in_whatever_way_a_connection_ends() -> None:
    gate = Gate()
    async with serving(gate) as port:
        for number, end in enumerate(ENDS, 1):
            async with client(port) as one:
                peer = one.socket.getsockname()
                await until(lambda number=number: len(gate.admitted) == number)
                await end(one)
            await until(lambda number=number: len(gate.left) >= number)
            assert gate.left[-1] == peer, end.__name__

    assert gate.left == gate.admitted


@on_each_loop
async def test_a_shutdown_gives_every_place_back_and_waits_for_no_refused_client() -> None:
    gate, loop = Gate(), asyncio.get_running_loop()
    async with AsyncExitStack() as clients:
        async with serving(gate) as port:
            silent, idle, upgraded, refused, late = [await clients.enter_async_context(client(port)) for _ in range(5)]
            await until(lambda: len(gate.admitted) == 5)
            gate.unwelcome = "all places are taken"
            await clients.enter_async_context(client(port))  # and says nothing
            await silent.send(b"")
            await late.send(GET[:9])
            await idle.send(GET)
            await idle.answer()
            await upgraded.send(HANDSHAKE)
            await upgraded.answer()
            await refused.send(post("Content-Length: 99999"))
            await refused.end()
            began = loop.time()
        assert loop.time() - began < 1.0

    assert sorted(map(str, gate.left)) == sorted(map(str, gate.admitted))
