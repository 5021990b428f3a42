"""A made-up venue, small enough to see through, and a server of it that says and does what a test tells it.

We send ``{"op": "sub" | "unsub", "name": …}``. It sends, about a stream, ``{"on": name, "trade": [id, price]}``,
``{"on": name, "delta": [prev, last, bids, asks]}``, ``{"on": name, "snapshot": [sequence, bids, asks]}`` and
``{"on": name, "odd": kind}``; in answer ``{"ok": name}`` and ``{"no": name, "why": reason}``; and ``{"odd": kind}``
and ``{"leaving": reason}``.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from math import inf
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from exchanges.book import OrderBook
from exchanges.errors import BadMessage, SubscribeFailed
from exchanges.events import Accepted, BookDelta, BookSnapshot, Candle, Event, Leaving, Level, Refused, Trade, Unknown
from exchanges.feed import Feed, State
from exchanges.venue import Endpoint, Parsed, Stream

NOW_MS = 1_700_000_000_000
PATIENCE = 300.0  # seconds of a clock that jumps
CAPABILITIES: dict[str, Any] = {
    "markets": {},
    "market_param": "type",
    "default_market": "linear",
    "instrument_groups": (),
}


def parse(raw: bytes) -> Parsed:
    try:
        message = json.loads(raw)
        if "ok" in message:
            return f"answer to {message['ok']}", [Accepted()]
        if "no" in message:
            return f"answer to {message['no']}", [Refused(reason=message["why"])]
        kind = next(key for key in message if key != "on")
        return message.get("on", ""), [EVENTS[kind](message[kind])]
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise BadMessage("toy", repr(error), raw) from error


def trade(id: str, price: str = "100", timestamp_ms: int = NOW_MS) -> Trade:
    number = float(price)
    return Trade(id=id, timestamp_ms=timestamp_ms, taker_side="buy", price=number, amount=1.0, cost=number, raw={})


def snapshot(sequence: int, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> BookSnapshot:
    return BookSnapshot(bids=bids, asks=asks, sequence=sequence, timestamp_ms=None)


def delta(prev: int, last: int, bids: Sequence[Level] = (), asks: Sequence[Level] = ()) -> BookDelta:
    return BookDelta(bids=bids, asks=asks, prev_sequence=prev, last_sequence=last, timestamp_ms=None)


EVENTS: dict[str, Callable[[Any], Event]] = {
    "trade": lambda row: trade(*row),
    "delta": lambda row: delta(*row),
    "snapshot": lambda row: snapshot(*row),
    "odd": lambda kind: Unknown(kind=kind),
    "leaving": lambda reason: Leaving(reason=reason),
}


def endpoint(url: str, **differences: Any) -> Endpoint:
    settings = {"parse": parse, "ping": None, "ping_interval": 20.0, "idle_timeout": inf, **differences}
    return Endpoint(url=url, **settings)


def stream(name: str, on: Endpoint, **differences: Any) -> Stream:
    """The stream called ``name``; a name that starts with "book" is an order book's."""
    return Stream(
        endpoint=on,
        channel="orderbook" if name.startswith("book") else "trades",
        name=name,
        request=f"answer to {name}",
        subscribe=json.dumps({"op": "sub", "name": name}),
        unsubscribe=json.dumps({"op": "unsub", "name": name}),
        **differences,
    )


class Bell:
    """Rung on every change of something that is waited for."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not so():
                self._rung.clear()
                await self._rung.wait()


class Ear:
    """Listens to one feed and remembers what it was told."""

    exact = False

    def __init__(self) -> None:
        self.trades: list[str] = []
        self.candles: list[Candle] = []
        self.books: list[tuple[int, list[Any], list[Any]]] = []  # sequence, best bids, best asks
        self.changes: list[BookSnapshot | BookDelta | None] = []  # what each of the books came of
        self.states: list[tuple[State, str]] = []
        self.attempts: list[tuple[int, float | None]] = []  # and the seconds to the next, of each state
        self.unreadable = 0  # messages that may have been of this feed
        self.refusals: list[SubscribeFailed] = []
        self.leave: Callable[[], None] = lambda: None  # what a listener does once it is refused
        self._bell = Bell()
        self.until = self._bell.until

    def on_events(self, events: Sequence[Trade | Candle], received_ms: int) -> None:
        self.trades += [event.id for event in events if isinstance(event, Trade)]
        self.candles += [event for event in events if isinstance(event, Candle)]
        self._bell.ring()

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        self.books.append((book.sequence, book.bids.rows(10), book.asks.rows(10)))
        self.changes.append(event)
        self._bell.ring()

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        self.states.append((state, reason))
        self.attempts.append((attempt, retry_in))
        self._bell.ring()

    def on_unreadable(self) -> None:
        self.unreadable += 1
        self._bell.ring()

    def on_refused(self, error: SubscribeFailed) -> None:
        self.refusals.append(error)
        self.leave()
        self._bell.ring()


class RecordingCarrier:
    """A feed's socket that sends nothing."""

    def __init__(self) -> None:
        self.again: list[str] = []  # why it was asked to subscribe afresh
        self.refusals: list[str] = []
        self.abandoned: list[str] = []  # why it was asked for another connection
        self._bell = Bell()
        self.until = self._bell.until

    def resubscribe(self, feed: Feed, reason: str) -> None:
        self.again.append(reason)
        self._bell.ring()

    def refused(self, feed: Feed, reason: str) -> None:
        self.refusals.append(reason)

    def abandon(self, feed: Feed, reason: str) -> None:
        self.abandoned.append(reason)

    def now_ms(self) -> int:
        return NOW_MS


class Line:
    """The server's end of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def hear(self) -> dict[str, Any]:
        """The next message of the client."""
        async with asyncio.timeout(PATIENCE):
            message: dict[str, Any] = json.loads(await self._connection.recv())
        return message

    async def hear_subscriptions(self, count: int) -> set[str]:
        """The names in the next ``count`` messages, which must be subscriptions."""
        messages = [await self.hear() for _ in range(count)]
        assert {message["op"] for message in messages} == {"sub"}
        return {message["name"] for message in messages}

    async def say(self, message: Any) -> None:
        await self._connection.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def say_as_text(self, raw: bytes) -> None:
        """Send what a text frame must not hold."""
        await self._connection.send(raw, text=True)

    def drip(self, raw: bytes) -> None:
        """Write to the TCP connection, past the protocol."""
        self._connection.transport.write(raw)

    async def hang_up(self, code: int = 1000) -> None:
        await self._connection.close(code)

    async def reset(self) -> None:
        """End the TCP connection without a word."""
        raw = self._connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.transport.abort()

    def freeze(self) -> None:
        """Read nothing more, not even a ping."""
        self._connection.transport.pause_reading()

    async def gone(self) -> None:
        """Wait until the client has left."""
        async with asyncio.timeout(PATIENCE):
            await self._connection.wait_closed()


class ToyVenue:
    """The server. Each new connection is handed to ``manners`` if there are any, else to whoever calls ``line``."""

    def __init__(self) -> None:
        self.connections = 0
        self.handshakes: list[float] = []  # loop times of those that were tried
        self.refusal: tuple[int, dict[str, str]] | None = None  # status and headers, in the place of a websocket
        self.manners: Callable[[Line], Awaitable[None]] | None = None
        self._lines: asyncio.Queue[Line] = asyncio.Queue()
        self._server: Server

    async def __aenter__(self) -> Self:
        self._server = await serve(
            self._greet, "127.0.0.1", 0, process_request=self._admit, ping_interval=None, compression=None
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.sleep(0.1)  # on a clock that jumps: until connections on their way have come, and gone
        self._server.close()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}"

    async def line(self) -> Line:
        """The next connection."""
        async with asyncio.timeout(PATIENCE):
            return await self._lines.get()

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(asyncio.get_running_loop().time())
        if self.refusal is None:
            return None
        status, headers = self.refusal
        response = connection.respond(HTTPStatus(status), "not now")
        response.headers.update(headers)
        return response

    async def _greet(self, connection: ServerConnection) -> None:
        self.connections += 1
        line = Line(connection)
        if self.manners is not None:
            await self.manners(line)
        else:
            self._lines.put_nowait(line)
        await connection.wait_closed()
