"""The gateway over time: it keeps nothing of clients that have gone, and no client is harmed by another.

    .venv/bin/python scripts/soak.py [--minutes 30] [--rate 20] [--seed 1] [--faults]

The venue simulator and the gateway are started as processes. Then clients come and go, ``--rate`` a second: they
subscribe to random topics of every venue and channel, some greet, some pause, some unsubscribe, some send rubbish or
are no websockets at all. They live 0.1 to 10 s, and half of them vanish with a reset. Beside them are slow clients
(200 bytes a second into a small buffer) and stalled ones (they never read), who come again whenever they are cut. A few
polite ones stay from beginning to end: they check that trades and candles are numbered without a hole that no gap
declared, and measure pings. ``--faults`` lets every kind of fault strike the venues meanwhile, one after another.

Every 10 s the gateway is looked at from outside: memory, file descriptors, /metrics. Before the crowd comes and after
it has gone it is idle but for the polite ones; the two must be alike. Prints a Markdown summary; the exit status is 1
if a bound was passed, 130 on Ctrl-C. Linux only.

Pings are measured by the process that also plays the crowd: how late its own loop was stands beside them, and is the
part of the figure that is not the gateway's.
"""

import argparse
import asyncio
import os
import random
import re
import signal
import socket
import statistics
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.system import processes  # noqa: E402  # the tests' own processes and rules, from the project's folder
from tests.system.invariants import Order, read_gap  # noqa: E402
from tests.system.scenarios import SCENARIOS  # noqa: E402
from tests.system.switchboard import Switchboard  # noqa: E402

EXCHANGES = ("binance", "bybit", "hyperliquid")
LIMITS = {
    "limits__linger": "2",
    "limits__accept_rate": "1000",
    "limits__accept_burst": "2000",
    "limits__connections": "10000",
}
ASKED = (  # each REST host of the venues
    ("binance", "BTC/USDT:USDT"),
    ("binance", "ETH/BTC"),
    ("bybit", "BTC/USDT:USDT"),
    ("hyperliquid", "BTC/USDC:USDC"),
)
SAMPLED = 10.0  # seconds from one look at the gateway to the next
TOLD = 60.0  # seconds from one line of progress to the next
WARM_UP = 300.0  # seconds; a third of a run that is shorter than 15 minutes
LONG_RUN = 900.0  # seconds from which the memory's slope says something
LIFE = (0.1, 10.0)  # seconds, of one client of the crowd
SLOW, STALLED, POLITE = 3, 2, 3
SLOW_RATE = 200  # bytes a second
SLOW_BUFFER = 4096  # SO_RCVBUF
SLOW_LIFE = 90.0  # seconds, if it is not cut before
PINGED = 0.5  # seconds
FAULT_EVERY = 5.0  # seconds
PATIENCE = 30.0  # seconds for anything that must happen
SETTLING = 90.0  # seconds until the crowd is forgotten: its longest life, stalls, linger, a venue's backoff
CALM = 6.0  # seconds of idleness before it is measured; the gateway keeps REST connections for 5 s
MOST_SLOPE, MOST_FDS, MOST_PING = 1.0, 5, 100.0  # MiB in 10 minutes, descriptors, ms
# What the venues do decides when these begin to be counted; under --faults new ones are no leak.
OF_VENUES = (
    "gateway_upstream_", "gateway_book_", "gateway_topic_states", "gateway_gaps", "gateway_prime_failures",
    "gateway_held_overflows", "gateway_duplicates",
)  # fmt: skip
SCRAP = bytearray(1 << 18)  # what the crowd is sent ends here
Command = dict[str, Any]


class Failed(Exception):
    """The run cannot go on; ``str()`` says why, for people."""


def main() -> None:
    arguments = parser().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # everything started is stopped on the way out
    processes.RUNNING.clear()
    try:
        with (
            processes.process("exchanges.simulator", "--port", "0", "--seed", str(arguments.seed)) as simulator_url,
            processes.gateway(simulator_url, **LIMITS) as gateway_url,
        ):
            report = asyncio.run(run(arguments, simulator_url, gateway_url))
    except (Failed, TimeoutError) as failure:
        sys.exit(f"soak: {failure or 'it took too long'}")
    except KeyboardInterrupt:
        sys.exit(130)
    for line in summary(report):
        print(line)
    sys.exit(1 if any(bound.broken for bound in bounds(report)) else 0)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--minutes", type=float, default=30.0, help="of the crowd; starting and settling come on top")
    made.add_argument("--rate", type=float, default=20.0, help="clients that connect, a second")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--faults", action="store_true", help="let faults strike the venues")
    return made


# -- what is noted -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What our own clients did and saw."""

    served: Counter[str] = field(default_factory=Counter)  # handshakes that succeeded, by who made them
    ended: Counter[str] = field(default_factory=Counter)  # how clients of the crowd ended
    harmed: Counter[str] = field(default_factory=Counter)  # what befell clients that had done nothing wrong
    violations: Counter[str] = field(default_factory=Counter)  # of the order in which polite ones are told things
    evidence: list[str] = field(default_factory=list)
    frames: Counter[str] = field(default_factory=Counter)  # that polite ones got, by type
    pings: list[float] = field(default_factory=list)  # ms
    late: list[float] = field(default_factory=list)  # ms that our own loop was late
    faults: Counter[str] = field(default_factory=Counter)

    def wrong(self, what: str, evidence: object) -> None:
        self.violations[what] += 1
        if len(self.evidence) < 10:
            self.evidence.append(f"{time.strftime('%H:%M:%S')} {what}: {evidence}"[:400])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the gateway. ``closed``: connections it ended, by code."""

    at: float  # seconds, monotonic
    rss: float  # MiB
    rings: float  # MiB of payloads, which fill up to their bounds for as long as markets trade
    fds: int
    series: frozenset[str]
    clients: int
    subscriptions: int
    feeds: int
    sockets: int  # to the venues
    closed: dict[str, int]
    cpu: float  # seconds
    queued: float  # seconds that it could run and had no core


@dataclass(slots=True, kw_only=True)
class Report:
    seconds: float
    rate: float
    faults: bool
    warm_up: float
    begun: float  # monotonic
    before: Sample
    after: Sample
    settled: bool
    settling: float  # seconds until the crowd was forgotten, and of calm
    loaded: list[Sample]
    tally: Tally

    @property
    def warm(self) -> list[Sample]:
        """The samples after the warm-up; never none, as the last is taken at the very end."""
        return [one for one in self.loaded if one.at - self.begun >= self.warm_up]

    @property
    def slope(self) -> float:
        """MiB in 10 minutes without what the rings took, by least squares."""
        if len(self.warm) < 3:
            return 0.0
        sizes = [one.rss - one.rings for one in self.warm]
        return statistics.linear_regression([one.at for one in self.warm], sizes).slope * 600

    @property
    def new_series(self) -> list[str]:
        first, last = self.warm[0].series, self.warm[-1].series
        return sorted(one for one in first ^ last if not one.startswith(OF_VENUES))


class Watch:
    """Looks at the gateway from outside."""

    def __init__(self, pid: int, http: httpx2.AsyncClient) -> None:
        self._proc = Path(f"/proc/{pid}")
        self._http = http

    async def sample(self) -> Sample:
        try:
            status = (self._proc / "status").read_text()
            fds = len(list((self._proc / "fd").iterdir()))
            queued = int((self._proc / "schedstat").read_text().split()[1]) / 1e9
            reply = await self._http.get("/metrics")
        except (OSError, httpx2.TransportError) as error:
            raise Failed(f"the gateway cannot be looked at any more: {error!r}") from error
        resident = re.search(r"VmRSS:\s+(\d+) kB", status)
        if resident is None:
            raise Failed("the gateway has ended")
        values = dict(line.rsplit(" ", 1) for line in reply.text.splitlines() if not line.startswith("#"))

        def total(name: str) -> float:
            return sum(float(value) for series, value in values.items() if series.partition("{")[0] == name)

        return Sample(
            at=time.monotonic(),
            rss=int(resident[1]) / 1024,
            rings=total("gateway_ring_bytes") / 1024 / 1024,
            fds=fds,
            series=frozenset(sys.intern(name) for name in values),
            clients=int(total("gateway_clients")),
            subscriptions=int(total("gateway_subscriptions")),
            feeds=int(total("gateway_feeds")),
            sockets=int(total("gateway_upstream_sockets")),
            closed={
                found[1]: int(float(value))
                for series, value in values.items()
                if (found := re.fullmatch(r'gateway_clients_closed_total\{code="(\w+)"\}', series))
            },
            cpu=total("process_cpu_seconds_total"),
            queued=queued,
        )

    async def settle(self, so: Callable[[Sample], bool], patience: float) -> tuple[Sample, bool]:
        """Wait until it is ``so``, and then for calm; the sample of that, and whether it ever was so."""
        end = time.monotonic() + patience
        while not (met := so(await self.sample())) and time.monotonic() < end:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.5)
        await asyncio.sleep(CALM)
        await self._stir()
        return await self.sample(), met

    async def _stir(self) -> None:
        """Have every venue asked something: only then are REST connections let go that are kept no longer."""
        for exchange, symbol in ASKED:
            question = {"exchange": exchange, "symbol": symbol, "timeframe": "1h", "limit": 2}
            await self._http.post("/v1/fetchOHLCV", json=question)  # whatever the answer


# -- the crowd ---------------------------------------------------------------------------------------------------------


def frame(payload: bytes, opcode: int = 0x1) -> bytes:
    """A client's frame. A mask of zeros is a mask, and leaves the payload as it is."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


def text(command: Command) -> bytes:
    return frame(orjson.dumps(command))


BYE = frame(struct.pack(">H", 1000), 0x8)
HUGE = b"\x81\xff" + struct.pack(">Q", 1 << 30) + bytes(4)  # only announced
# By what they come to: an error told, or a close code.
RUBBISH: dict[str, bytes] = {
    "no JSON": frame(b"{nonsense"),
    "no object": frame(b"[1, 2, 3]"),
    "no such op": text({"op": "fly", "id": 1}),
    "no such field": text({"op": "subscribe", "channel": "trades", "exchange": "binance", "wings": 2}),
    "no such symbol": text({"op": "subscribe", "channel": "trades", "exchange": "bybit", "symbol": "NOPE"}),
    "no such exchange": text({"op": "subscribe", "channel": "trades", "exchange": "tulips", "symbol": "BTCUSDT"}),
    "not subscribed": text({"op": "unsubscribe", "channel": "trades", "exchange": "binance", "symbol": "BTCUSDT"}),
    "binary": frame(b"\xff\xfe\x00", 0x2),
    "no UTF-8": frame(b"\xff\xfe\xfd"),
    "bad on and on": frame(b"{") * 60,
    "too big": HUGE,
    "too many pings": frame(b"", 0x9) * 80,
    "unmasked": b"\x81\x02{}",
    "no opcode": frame(b"{}", 0x5),
    "noise": bytes(range(256)),
}
STRANGERS: dict[str, bytes] = {  # no websockets at all; {n} is never the same twice
    "silence": b"",
    "half a head": b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgra",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no such path": b"GET /nowhere/{n} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "no key": b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "half a body": b"POST /v1/fetchTrades HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n\r\n{",
}


class Raw:
    """The least websocket client: sends frames, and throws away what it gets."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self._loop = asyncio.get_running_loop()

    async def greet(self) -> str:
        """Ask for a websocket: the answer's first line."""
        await self.send(
            b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := await self._loop.sock_recv(self.socket, 1024)):
                raise ConnectionResetError("closed before it answered")
            head += more
        return head.partition(b"\r\n")[0].decode()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def receive(self, size: int) -> bytes:
        return await self._loop.sock_recv(self.socket, size)

    async def drain(self) -> None:
        """Read as fast as it comes, to the end."""
        with suppress(ConnectionError):
            while await self._loop.sock_recv_into(self.socket, SCRAP):
                pass

    @property
    def broken(self) -> bool:
        """A reset has come, seen without reading."""
        return self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

    def vanish(self) -> None:
        """With a reset in place of a close."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def leave(self) -> None:
        """With a close frame, as one should."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self.send(BYE)
                await self.drain()


@asynccontextmanager
async def dial(port: int, *, buffer: int = 0) -> AsyncIterator[Raw]:
    with socket.socket() as made:
        made.setblocking(False)
        if buffer:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
        yield Raw(made)


@dataclass(slots=True)
class Visit:
    """What one client of the crowd is going to do."""

    behaved: bool  # it may count on not being cut
    life: float  # seconds
    vanishes: bool
    steps: list[tuple[float, bytes]]  # when, in seconds of its life, and what it sends


class Crowd:
    """Clients that come and go, and those that are slow on purpose."""

    def __init__(self, port: int, symbols: dict[str, list[str]], tally: Tally, seed: int) -> None:
        self._port = port
        self._symbols = symbols
        self._tally = tally
        self._rng = random.Random(seed)
        self._numbered = 0
        self._rubbish = cycle(RUBBISH.values())  # in turn: whatever can be counted is counted before the warm-up ends
        self._strangers = cycle(STRANGERS.items())

    async def churn(self, rate: float, end: float) -> None:
        """``rate`` visits a second until ``end``; those that have begun then may go on to their own."""
        due = time.monotonic()
        async with asyncio.TaskGroup() as visits:
            while due < end:
                await asyncio.sleep(due - time.monotonic())
                visits.create_task(self._come())
                due += self._rng.expovariate(rate)

    async def dawdle(self, kind: Literal["slow", "stalled"], end: float) -> None:
        """Read hardly or not at all; come again when cut."""
        while time.monotonic() < end:
            with suppress(ConnectionError, TimeoutError):
                async with dial(self._port, buffer=SLOW_BUFFER) as raw:
                    await self._greeted(raw, kind)
                    raw.vanish()
                    for exchange in EXCHANGES:  # the biggest there are, to be behind soon
                        levels = 20 if exchange == "hyperliquid" else 1000
                        await raw.send(text(self._topic("orderbook", exchange) | {"params": {"levels": levels}}))
                        await raw.send(text(self._topic("trades", exchange)))
                    await self._crawl(raw, kind, min(end, time.monotonic() + SLOW_LIFE))
            await asyncio.sleep(1)

    async def _crawl(self, raw: Raw, kind: str, until: float) -> None:
        while time.monotonic() < until and not raw.broken:
            await asyncio.sleep(0.1)
            if kind == "slow":
                async with asyncio.timeout(PATIENCE):
                    if not await raw.receive(SLOW_RATE // 10):
                        return

    async def _come(self) -> None:
        if self._rng.random() < 0.05:
            await self._trespass()
            return
        visit = self._visit()
        try:
            async with dial(self._port) as raw:
                await self._greeted(raw, "crowd")
                cut = await self._live(raw, visit)
                self._tally.ended["cut" if cut else "vanished" if visit.vanishes else "left"] += 1
                if cut and visit.behaved:
                    self._tally.harmed["cut for no reason"] += 1
        except (ConnectionError, TimeoutError) as error:
            if visit.behaved:
                self._tally.harmed[f"connection failed: {error!r}"] += 1

    async def _greeted(self, raw: Raw, who: str) -> None:
        async with asyncio.timeout(PATIENCE):
            answer = await raw.greet()
        if " 101 " not in answer:
            self._tally.harmed[f"refused: {answer}"] += 1
            raise ConnectionRefusedError(answer)
        self._tally.served[who] += 1

    async def _live(self, raw: Raw, visit: Visit) -> bool:
        """Do what is planned; whether the gateway ended it before."""
        begun = time.monotonic()
        reading = asyncio.create_task(raw.drain())
        try:
            for at, data in [*visit.steps, (visit.life, b"")]:
                await asyncio.wait({reading}, timeout=max(0.0, begun + at - time.monotonic()))
                if reading.done():
                    return True
                with suppress(ConnectionError):
                    await raw.send(data)
        finally:
            reading.cancel()
            await asyncio.wait({reading})  # the loop must have let go of the socket before it is closed or read again
        if visit.vanishes:
            raw.vanish()
        else:
            await raw.leave()
        return False

    async def _trespass(self) -> None:
        kind, data = next(self._strangers)
        life, self._numbered = self._rng.uniform(*LIFE), self._numbered + 1
        self._tally.served["strangers"] += 1
        with suppress(ConnectionError, TimeoutError):
            async with dial(self._port) as raw, asyncio.timeout(life):
                raw.vanish()
                await raw.send(data.replace(b"{n}", b"%d" % self._numbered))
                await raw.drain()
        self._tally.ended[f"stranger: {kind}"] += 1

    def _visit(self) -> Visit:
        rng = self._rng
        life = rng.uniform(*LIFE)
        steps = [(0.0, text({"op": "hello", "id": 1, "client": "soak"}))] if rng.random() < 0.5 else []
        topics = [self._topic() for _ in range(rng.randint(1, 5))]
        if rng.random() < 0.3:
            items = [{name: value for name, value in topic.items() if name != "op"} for topic in topics]
            steps.append((0.0, text({"op": "subscribe", "id": "b", "topics": items})))
        else:
            steps += [(0.0, text(topic)) for topic in topics]
        if rng.random() < 0.3:
            steps += [(life * 0.3, text({"op": "pause"})), (life * 0.6, text({"op": "resume"}))]
        if rng.random() < 0.3:
            steps.append((life * 0.8, text({"op": "unsubscribeAll", "id": 2})))
        behaved = rng.random() < 0.8
        if not behaved:
            steps += [(life * 0.4, next(self._rubbish)) for _ in range(rng.randint(1, 3))]
        steps.sort(key=lambda step: step[0])
        return Visit(behaved, life, rng.random() < 0.5, steps)

    def _topic(self, channel: str = "", exchange: str = "") -> Command:
        rng = self._rng
        channel = channel or rng.choice(("trades", "orderbook", "ohlcv"))
        exchange = exchange or rng.choice(EXCHANGES)
        params: dict[str, Any] = {}
        how: dict[str, Any] = {}
        if channel == "orderbook":
            params = {"levels": rng.choice((5, 20) if exchange == "hyperliquid" else (5, 20, 100))}
            params |= rng.choice(({}, {"throttleMs": 250}, {"mode": "delta"}))
        elif channel == "ohlcv":
            params = {"timeframe": rng.choice(("1m", "5m", "1h"))}
        else:
            how = rng.choice(({}, {"rewind": 100}, {"snapshot": True}))
        where = {"channel": channel, "exchange": exchange, "symbol": rng.choice(self._symbols[exchange])}
        return {"op": "subscribe", **where, "params": params, **how}


# -- the polite ones ---------------------------------------------------------------------------------------------------


class Polite:
    """One client that stays, reads everything, and holds the gateway to its word."""

    TOPICS = tuple(
        {"channel": channel, "exchange": exchange, "symbol": symbol, "params": params}
        for exchange, symbols in (
            ("binance", ("BTC/USDT:USDT", "ETH/USDT:USDT")),
            ("bybit", ("BTC/USDT:USDT", "ETH/USDT:USDT")),
            ("hyperliquid", ("BTC/USDC:USDC", "ETH/USDC:USDC")),
        )
        for symbol in symbols
        for channel, params in (("trades", {}), ("ohlcv", {"timeframe": "1m"}), ("orderbook", {"throttleMs": 250}))
    )

    def __init__(self, connection: ClientConnection, tally: Tally, *, faults: bool) -> None:
        self.heard: set[str] = set()  # topics that have begun
        self._connection = connection
        self._tally = tally
        self._faults = faults
        self._orders: dict[str, Order] = {}
        self._pong: asyncio.Future[None] | None = None
        self._pinged = 0

    async def read(self) -> None:
        await self._send(op="hello", client="polite")
        for topic in self.TOPICS:
            await self._send(op="subscribe", **topic)
        with suppress(ConnectionClosed):
            async for message in self._connection:
                self._take(orjson.loads(message))
        self._tally.harmed[f"a polite client was cut: {self._connection.close_code}"] += 1

    async def ping(self) -> None:
        while True:
            await asyncio.sleep(PINGED)
            self._pinged += 1
            self._pong = asyncio.get_running_loop().create_future()
            begun = time.perf_counter()
            try:
                await self._send(op="ping", id=self._pinged)
                async with asyncio.timeout(PATIENCE):
                    await self._pong
            except TimeoutError:
                self._tally.wrong("no pong", f"in {PATIENCE:g} s")
            except ConnectionClosed:
                return  # ``read`` has told
            self._tally.pings.append((time.perf_counter() - begun) * 1000)

    def _take(self, message: Command) -> None:
        kind = message["type"]
        self._tally.frames[kind] += 1
        if kind in ("trades", "ohlcv", "orderbook"):
            self.heard.add(self._name(message))
        if kind in ("trades", "ohlcv"):
            self._order(message).take(message["cursor"])
        elif kind == "gap":
            gap = read_gap(message, self._wrong(message), at=time.time())
            self._order(message).skip(gap, message.get("cursor"))
        elif kind == "pong":
            if self._pong and message["id"] == self._pinged and not self._pong.done():
                self._pong.set_result(None)
        elif kind == "error" and not (self._faults and message["code"] == "UPSTREAM_ERROR"):
            self._tally.wrong("an error told to a polite client", message)

    def _order(self, message: Command) -> Order:
        name = self._name(message)
        if name not in self._orders:
            self._orders[name] = Order(self._wrong(message), told=True)
        return self._orders[name]

    def _wrong(self, message: Command) -> Callable[[str, object], None]:
        name = self._name(message)
        return lambda what, evidence: self._tally.wrong(what, f"{name} {evidence}")

    async def _send(self, **command: Any) -> None:
        await self._connection.send(orjson.dumps(command).decode())

    @staticmethod
    def _name(message: Command) -> str:
        topic = message["topic"]
        return f"{message['channel']} {topic['exchange']} {topic['symbol']}"


# -- the run -----------------------------------------------------------------------------------------------------------


async def run(arguments: argparse.Namespace, simulator_url: str, gateway_url: str) -> Report:
    seconds, tally = arguments.minutes * 60, Tally()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(seconds + 2 * SETTLING + 4 * PATIENCE))
        http = await stack.enter_async_context(httpx2.AsyncClient(base_url=gateway_url, timeout=PATIENCE))
        venues = await stack.enter_async_context(httpx2.AsyncClient(base_url=simulator_url, timeout=PATIENCE))
        watch = Watch(processes.RUNNING[gateway_url].pid, http)
        crowd = Crowd(httpx2.URL(gateway_url).port or 0, await symbols(http), tally, arguments.seed)
        polite = []
        for _ in range(POLITE):
            url = gateway_url.replace("http://", "ws://") + "/v1/ws"
            connection = await stack.enter_async_context(connect(url, compression=None, max_size=None))
            polite.append(Polite(connection, tally, faults=arguments.faults))
        background = await stack.enter_async_context(running())  # ends before the connections are closed
        background += [asyncio.create_task(one.read()) for one in polite]
        await begun(polite)
        before, _ = await watch.settle(lambda one: one.clients == POLITE, PATIENCE)
        background += [asyncio.create_task(one.ping()) for one in polite]
        background.append(asyncio.create_task(lateness(tally)))

        start = time.monotonic()
        end = start + seconds
        samples: list[Sample] = []
        async with asyncio.TaskGroup() as work:
            work.create_task(crowd.churn(arguments.rate, end))
            for kind, count in (("slow", SLOW), ("stalled", STALLED)):
                for _ in range(count):
                    work.create_task(crowd.dawdle(kind, end))
            if arguments.faults:
                work.create_task(strike(venues, tally, arguments.seed, end))
            work.create_task(look(watch, samples, tally, start, end))
        over = time.monotonic()
        after, settled = await watch.settle(lambda one: alike(one, before), SETTLING)
        settling = after.at - over
    return Report(
        seconds=seconds, rate=arguments.rate, faults=arguments.faults, warm_up=min(WARM_UP, seconds / 3), begun=start,
        before=before, after=after, settled=settled, settling=settling, loaded=samples, tally=tally,
    )  # fmt: skip


def alike(one: Sample, before: Sample) -> bool:
    """Only the polite ones are left, and what they watch."""
    mine = (one.clients, one.subscriptions, one.feeds)
    return mine == (before.clients, before.subscriptions, before.feeds) and one.sockets <= before.sockets


@asynccontextmanager
async def running() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks that end with the run. One that failed is a fault of this program, and is raised."""
    tasks: list[asyncio.Task[None]] = []
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


async def symbols(http: httpx2.AsyncClient) -> dict[str, list[str]]:
    found = {}
    for exchange in EXCHANGES:
        reply = await http.post("/v1/fetchMarkets", json={"exchange": exchange})
        reply.raise_for_status()
        found[exchange] = [market["symbol"] for market in reply.json()["markets"]]
    return found


async def begun(polite: Sequence[Polite]) -> None:
    """Wait until every polite client has heard of every topic."""
    end = time.monotonic() + PATIENCE
    while any(len(one.heard) < len(Polite.TOPICS) for one in polite):
        if time.monotonic() > end:
            raise Failed(f"not every topic began: {[len(one.heard) for one in polite]} of {len(Polite.TOPICS)}")
        await asyncio.sleep(0.1)


async def look(watch: Watch, samples: list[Sample], tally: Tally, start: float, end: float) -> None:
    """A sample every so often, the last at the very end, and a word about it now and then."""
    due, told = start + SAMPLED, start
    while True:
        await asyncio.sleep(min(due, end) - time.monotonic())
        samples.append(one := await watch.sample())
        if one.at - told >= TOLD:
            told = one.at
            note = f"{one.rss:.1f} MiB, {one.fds} fds, {len(one.series)} series, {one.clients} clients"
            print(
                f"{(one.at - start) / 60:.0f} min: {note}, {one.feeds} feeds, {sum(tally.served.values())} served, "
                f"{sum(tally.violations.values())} violations",
                file=sys.stderr,
                flush=True,
            )
        if one.at >= end:
            return
        due += SAMPLED


async def lateness(tally: Tally) -> None:
    while True:
        due = time.perf_counter() + 0.05
        await asyncio.sleep(0.05)
        tally.late.append((time.perf_counter() - due) * 1000)


async def strike(http: httpx2.AsyncClient, tally: Tally, seed: int, end: float) -> None:
    """One fault after another, each kind at each venue in turn; none is left over."""
    board, rng = Switchboard(http), random.Random(seed)
    plan = [(scenario, venue) for scenario in SCENARIOS for venue in scenario.venues if not scenario.outage]
    rng.shuffle(plan)
    while time.monotonic() < end:
        scenario, venue = plan[tally.faults.total() % len(plan)]
        for kind, how in scenario.faults:
            await board.inject(venue, kind, **how)
        tally.faults[scenario.name] += 1
        await asyncio.sleep(min(FAULT_EVERY, max(0.0, end - time.monotonic())))
    for venue in {venue for _, venue in plan}:
        (await http.delete("/control/faults", params={"venue": venue})).raise_for_status()


# -- what is printed ---------------------------------------------------------------------------------------------------


class Bound(NamedTuple):
    what: str
    found: str
    allowed: str
    broken: bool


def bounds(report: Report) -> Iterator[Bound]:
    tally, before, after = report.tally, report.before, report.after
    judged = report.seconds >= LONG_RUN
    allowed = f"≤ {MOST_SLOPE:g} MiB" if judged else f"(not judged below {LONG_RUN / 60:g} min)"
    yield Bound(
        "RSS slope in 10 min, rings apart", f"{report.slope:+.2f} MiB", allowed, judged and report.slope > MOST_SLOPE
    )
    fds = after.fds - before.fds
    yield Bound("fds, idle after less idle before", f"{fds:+d}", f"± {MOST_FDS}", abs(fds) > MOST_FDS)
    fresh = report.new_series
    yield Bound("series, end against warm-up", f"{len(fresh)} differ", "0", bool(fresh))
    yield Bound("crowd forgotten", f"{report.settled} ({report.settling:.0f} s)", "True", not report.settled)
    violations = tally.violations.total()
    yield Bound("violations seen by polite clients", str(violations), "0", violations > 0)
    harmed = tally.harmed.total()
    yield Bound("well-behaved clients refused or cut", str(harmed), "0", harmed > 0)
    ping = percentile(tally.pings, 0.99)
    yield Bound("ping p99", f"{ping:.1f} ms", f"≤ {MOST_PING:g} ms", ping > MOST_PING)


def summary(report: Report) -> Iterator[str]:
    tally, before, after, loaded = report.tally, report.before, report.after, report.loaded
    warm = report.warm
    with_faults = f", {tally.faults.total()} faults" if report.faults else ""
    yield f"### soak: {report.seconds / 60:g} minutes, {report.rate:g} clients/s{with_faults}\n"
    yield f"- {time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
    yield f"- {len(warm)} samples after a warm-up of {report.warm_up:.0f} s count\n"
    yield "| bound | found | allowed | |"
    yield "|---|---:|---:|---|"
    for bound in bounds(report):
        yield f"| {bound.what} | {bound.found} | {bound.allowed} | {'**BROKEN**' if bound.broken else 'ok'} |"
    yield ""
    yield "| | idle before | after warm-up | end | least | most | idle after |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    columns: list[tuple[str, Callable[[Sample], float], str]] = [
        ("RSS, MiB", lambda one: one.rss, ".1f"),
        ("rings in it, MiB", lambda one: one.rings, ".1f"),
        ("fds", lambda one: one.fds, "d"),
        ("series", lambda one: len(one.series), "d"),
        ("clients", lambda one: one.clients, "d"),
        ("subscriptions", lambda one: one.subscriptions, "d"),
        ("feeds", lambda one: one.feeds, "d"),
        ("upstream sockets", lambda one: one.sockets, "d"),
    ]
    for name, value, form in columns:
        values = [value(one) for one in loaded]
        cells = [value(before), value(warm[0]), value(warm[-1]), min(values), max(values), value(after)]
        yield f"| {name} | " + " | ".join(format(cell, form) for cell in cells) + " |"
    yield ""
    span = (loaded[-1].at - before.at) / 100
    used, queued = (loaded[-1].cpu - before.cpu) / span, (loaded[-1].queued - before.queued) / span
    yield f"- clients served: {tally.served.total():,} ({listed(tally.served)})"
    yield f"- the gateway used {used:.0f} % of a core, and waited for one {queued:.0f} % of the time"
    yield f"- how the crowd ended: {listed(tally.ended)}"
    yield f"- closed by the gateway, by code: {listed(after.closed)}"
    yield f"- polite clients got: {listed(tally.frames)}"
    for name, values in (("ping, ms", tally.pings), ("of it our own loop late, ms", tally.late)):
        figures = [f"{word} {percentile(values, part):.1f}" for word, part in (("p50", 0.5), ("p99", 0.99), ("max", 1))]
        yield f"- {name}: {', '.join(figures)} ({len(values):,})"
    if report.faults:
        yield f"- faults: {listed(tally.faults)}"
    for what, counts in (("harmed", tally.harmed), ("violations", tally.violations)):
        if counts:
            yield f"- {what}: {listed(counts)}"
    yield from (f"  - {line}" for line in tally.evidence)
    yield from (f"- series that came or went: `{one}`" for one in report.new_series[:30])


def listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def percentile(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))] if values else 0.0


if __name__ == "__main__":
    main()
