"""A client that remembers what it was sent, and the turns of the loop in which a feed makes it be sent something."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from errno import EBADF
from typing import Any

import orjson
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.protocol import State
from websockets.uri import parse_uri

from exchanges.errors import GatewayError
from exchanges.venue import Channel
from tests.topics.scripted_venue import EPOCH_MS, SYMBOL, trades
from topics.key import TopicKey
from topics.manager import Manager
from topics.tick import Tick
from topics.upstream import Upstream


class Reader:
    """One client; implements ``topics.subscriber.Subscriber``."""

    def __init__(self, *, extended: bool = False, deflated: bool = False) -> None:
        self.extended, self.deflated = extended, deflated  # it said hello; it takes compressed frames
        self.stopped = False
        self.descriptor = -1
        self.pushes = 0
        self.payloads: list[bytes] = []  # the JSON of each frame
        self.errors: list[tuple[TopicKey, GatewayError, bool]] = []
        # The library's own parser, so that our framing is not its own judge.
        self._parser = parser(deflated=deflated)

    def write(self, frames: bytes | memoryview) -> None:
        self.pushes += 1
        self._parser.receive_data(bytes(frames))
        self.payloads += [bytes(frame.data) for frame in self._parser.events_received()]

    def broke(self, error: Exception) -> None:
        raise error

    async def ready(self) -> None:
        """It takes everything at once, until a test replaces this."""

    def failed(self, key: TopicKey, error: GatewayError, *, gone: bool) -> None:
        self.errors.append((key, error, gone))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [orjson.loads(payload) for payload in self.payloads]

    @property
    def ids(self) -> list[int]:
        """The trades it was sent, by number, in order."""
        return [int(row["id"]) for message in self.messages for row in message.get("data", [])]

    @property
    def seqs(self) -> list[int]:
        """Of the events it was sent, gaps included."""
        return [int(message["cursor"].partition("-")[2]) for message in self.messages if "cursor" in message]


def parser(*, deflated: bool = False) -> ClientProtocol:
    """A client's end of a connection; ``deflated``: it negotiated what ``topics.frame.deflated`` makes."""
    client = ClientProtocol(parse_uri("ws://127.0.0.1/"), state=State.OPEN, max_size=None)
    if deflated:
        client.extensions = [PerMessageDeflate(True, True, 12, 12)]
    return client


class Clock:
    """Counts how often it is read, which a topic does once for each encoding."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self) -> int:
        self.reads += 1
        return EPOCH_MS + self.reads


class Turns:
    """The loop's turns and its time for a ``Tick``, taken by the test."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []
        self._later: list[tuple[float, Callable[[], None]]] = []
        self.now = 1_000.0
        self.sockets: dict[int, Callable[[bytes], int]] = {}  # by descriptor: gives how many bytes are taken
        self.tick = Tick(self, clock=lambda: self.now, try_write=self._try_write)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._later.append((self.now + delay, callback))

    def _try_write(self, descriptor: int, data: bytes) -> int:
        if descriptor not in self.sockets:
            raise OSError(EBADF, "Bad file descriptor")
        return self.sockets[descriptor](data)

    def take(self) -> bool:
        """Run what was due; False if nothing was."""
        due = self._due[:]
        self._due.clear()
        for callback in due:
            callback()
        return bool(due)

    def take_all(self) -> int:
        """Take turns until nothing is due; gives their number."""
        count = 0
        while self.take():
            count += 1
        return count

    def wait(self, seconds: float) -> None:
        """Let time pass; what is due then is due in the next turn."""
        self.now += seconds
        self._due += [callback for at, callback in self._later if at <= self.now]
        self._later = [(at, callback) for at, callback in self._later if at > self.now]


async def turns(count: int = 6) -> None:
    """Let the loop run whatever is ready, and what that makes ready; no time passes."""
    for _ in range(count):
        await asyncio.sleep(0)


def numbers(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(row["id"]) for row in rows]


async def join(upstream: Upstream, *, snapshot: bool = False, rewind: int = 0, extended: bool = False) -> Reader:
    reader = Reader(extended=extended)
    await upstream.audience.join(upstream.key, reader, snapshot=snapshot, rewind=rewind)
    return reader


async def go_live(upstream: Upstream) -> None:
    upstream.on_state("live", "")
    await turns()


async def say(upstream: Upstream, first: int, last: int) -> None:
    """Trades ``first`` to ``last``, in one message."""
    upstream.on_events(trades(first, last), EPOCH_MS)
    await turns()


async def broken(upstream: Upstream) -> None:
    upstream.on_state("reconnecting", "closed")
    await turns()


async def live(manager: Manager, channel: Channel = "trades") -> Upstream:
    """The running feed of a topic somebody has."""
    key, instrument = manager.resolve(channel, None, SYMBOL, {})
    upstream = manager.start(key, instrument)
    await upstream.audience.join(key, Reader(), snapshot=False, rewind=0)
    upstream.on_state("live", "")
    await turns()
    return upstream
