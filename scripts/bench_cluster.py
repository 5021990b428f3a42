"""What it costs to be several: followers, the store, workers; and how quickly a cluster gets over a loss.

    python scripts/bench_cluster.py [--parts followers,workers,failover,frozen,wander] [--quick]

    store      a process that publishes 2,000 events a second of 100 feeds, and nothing else: what storing them adds, in
               one server and in a Redis Cluster of three.
    followers  two nodes on one Redis, 100 feeds at 2,000 messages a second, a client at each. Later at the
               follower: how much later the same message came there, over all of them. CPU of each node, and of one
               alone under the same load, without Redis and with it.
    workers    one topic at 20 messages a second, each delivery a send of its own: CPU of each, by one process
               with 1,000 clients and no Redis, and by two workers with 2,000 between them, both on one core. Twice
               the one over the other is how much more two workers deliver on two cores.
    failover   the owner of three feeds is killed (-9), again and again: seconds until a client of the other node has
               something new of each.
    frozen     the owner is stopped for 30 s and goes on: what Redis refused of it, and whose the feeds are then.
    wander     20 clients wander between two nodes for 60 s with a cursor for each topic, one node is killed meanwhile
               and another started: what was lost in silence, came twice, or was another under the same cursor.

Needs Linux, two cores, a C compiler, and redis-server or the Valkey that the development dependencies bring. It is the
project's own checkout that is measured.
"""

import argparse
import asyncio
import re
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import httpx2
from bench_fanout import Case, Timing, machine, measure
from fanout.processes import LOAD_CORES, SERVER_CORES, Failed, Program, compiled, free_port, listens, program, wait_for
from fanout.servers import (
    UPSTREAM_PACE,
    Load,
    Server,
    feeder,
    feeds_live,
    gateway_commands,
    gateway_environment,
    start_gateway,
)

sys.path.insert(0, str(Path(__file__).parent.parent))

from gateway.server import loop_factory
from tests.redis_cluster import redis_cluster
from tests.redis_server import RedisServer, binaries, redis_server  # the tests' own, from the project's
from tests.system import processes
from tests.system.roamer import Record, Roamer
from topics.cluster import Cluster
from topics.key import Cursor
from topics.place import Place
from topics.redis_ring import RedisRing
from topics.ring import MemoryRing, RingBudget

TOPICS, RATE = 100, 2_000
PAYLOAD = b"x" * 660  # of an event, as long as a frame of one trade
MARK = re.compile(rb'"mark":"([0-9.]+)"')
HANDSHAKE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
BTC = [
    {"channel": "trades", "exchange": exchange, "symbol": symbol}
    for exchange, symbol in (
        ("binance", "BTC/USDT:USDT"),
        ("bybit", "BTC/USDT:USDT"),
        ("hyperliquid", "BTC/USDC:USDC"),
    )
]


@contextmanager
def redis() -> Iterator[RedisServer]:
    found = binaries()
    if not found:
        raise Failed("there is neither redis-server nor valkey-server")
    with redis_server(next(iter(found.values()))) as server:
        yield server


# -- followers ---------------------------------------------------------------------------------------------------------


class Watcher(asyncio.Protocol):
    """One client that notes when each message came. It reads with no parser: its own work is little."""

    def __init__(self) -> None:
        self.came: dict[bytes, float] = {}
        self.transport: asyncio.Transport
        self._open = False
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(HANDSHAKE)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._open:
            self._open = True
            self.transport.write(b"".join(masked(command) for command in gateway_commands(TOPICS)))
        text = self._rest + data
        end = 0
        for found in MARK.finditer(text):
            self.came.setdefault(found[1], now)
            end = found.end()
        self._rest = text[max(end, len(text) - 100) :]


def masked(text: str) -> bytes:
    """A client's frame; the mask is zero."""
    payload = text.encode()
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + payload


@contextmanager
def node(venue_port: int, name: str, **more: str) -> Iterator[tuple[Program, int]]:
    port = free_port()
    environment = gateway_environment(port, venue_port) | {"GATEWAY_NODE": name, **more}
    with program(
        name, [sys.executable, "-m", "gateway", "serve"], cores=LOAD_CORES + SERVER_CORES, environment=environment
    ) as one:
        wait_for(lambda: listens(port), one, "does not listen")
        yield one, port


def followers(seconds: float) -> None:
    alone = load_of(seconds, nodes=1, kept=False)
    kept = load_of(seconds, nodes=1, kept=True)
    together = load_of(seconds, nodes=2, kept=True)
    later = sorted(together.later)
    print(
        f"followers: {TOPICS} feeds, {together.rate:,.0f} messages/s, {len(later):,} compared: later at the follower "
        f"by p50 {statistics.median(later):.2f} ms, p99 {later[int(len(later) * 0.99)]:.2f} ms, most {later[-1]:.1f} "
        f"ms; missing there: {together.missing}"
    )
    owner, follower = together.cpu
    print(
        f"nodes: CPU of a message: one node alone {alone.cpu[0]:.1f} µs, with Redis {kept.cpu[0]:.1f} µs, with a "
        f"follower {owner:.1f} µs; the follower {follower:.1f} µs"
    )


# -- the store ---------------------------------------------------------------------------------------------------------


def store(seconds: float, rounds: int) -> None:
    with redis() as server:
        alone = [loop_factory_run(storing(server.url, seconds)) for _ in range(rounds)]
    with redis_cluster(next(iter(binaries().values())), replicas=False) as servers:
        spread = [loop_factory_run(storing(servers.url, seconds)) for _ in range(rounds)]
    print(
        f"store: {RATE} events/s of {TOPICS} feeds: {statistics.median(alone):.1f} µs of CPU for each event stored in "
        f"one server, {statistics.median(spread):.1f} µs in a Redis Cluster of three"
    )


def loop_factory_run(work: Coroutine[Any, Any, float]) -> float:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(work)


async def storing(url: str, seconds: float) -> float:
    """CPU of an event, µs, beyond what the same costs where nothing is stored."""
    keeping = Cluster(url, "bench", clock_ms=lambda: time.time_ns() // 1_000_000)
    keeping.start()
    while keeping.problem is not None:  # noqa: ASYNC110  # another process's state has no event
        await asyncio.sleep(0.01)
    places = [Place(*(f"bench:{{{number}}}:{name}" for name in Place._fields)) for number in range(TOPICS)]
    budget = RingBudget()
    kept = [RedisRing(budget, keeping, place) for place in places]
    for ring in kept:
        ring.own(1)
        ring.write_until(inf)
    spent = await publishing(kept, seconds) - await publishing([MemoryRing(budget) for _ in places], seconds)
    await keeping.aclose()
    return spent


async def publishing(rings: Sequence[MemoryRing], seconds: float) -> float:
    """CPU of an event, µs."""
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    while (now := time.perf_counter() - began) < seconds:
        for number in range(count, int(now * RATE)):
            rings[number % TOPICS].append(Cursor(1, number + 1), PAYLOAD)
        count = int(now * RATE)
        await asyncio.sleep(0.001)
    return (time.process_time() - cpu) / count * 1e6


class Loaded:
    """What a window showed. CPU is in µs a message, of each node; ``later`` in ms."""

    def __init__(self, rate: float, cpu: list[float], later: list[float], missing: int) -> None:
        self.rate, self.cpu, self.later, self.missing = rate, cpu, later, missing


def load_of(seconds: float, *, nodes: int, kept: bool) -> Loaded:
    with ExitStack() as stack:
        fed = stack.enter_context(feeder("venue", 0, Load(topics=TOPICS, size=0, padding=0)))
        venue_port = int(fed.read()["port"])
        more = {"GATEWAY_REDIS_URL": stack.enter_context(redis()).url} if kept else {}
        running = [stack.enter_context(node(venue_port, f"node-{number}", **more)) for number in range(nodes)]
        return asyncio.run(watch(fed, running, seconds))


async def watch(fed: Program, running: Sequence[tuple[Program, int]], seconds: float) -> Loaded:
    loop, watchers = asyncio.get_running_loop(), []
    for process, port in running:  # one after the other: the first owns all feeds
        watchers.append((await loop.create_connection(Watcher, "127.0.0.1", port))[1])
        patience = 60 + UPSTREAM_PACE * TOPICS
        await asyncio.to_thread(
            wait_for, lambda port=port: feeds_live(port) == TOPICS, process, "has not all streams", timeout=patience
        )
    await asyncio.to_thread(fed.ask, f"start {RATE}")
    await asyncio.sleep(3.0)
    for watcher in watchers:
        watcher.came.clear()
    before, began = [process.cpu() for process, _ in running], time.perf_counter()
    await asyncio.sleep(seconds)
    spent = [process.cpu() - cpu for (process, _), cpu in zip(running, before, strict=True)]
    took, count = time.perf_counter() - began, len(watchers[0].came)
    await asyncio.to_thread(fed.ask, "stop")
    await asyncio.sleep(1.0)
    first, last = watchers[0], watchers[-1]
    both = first.came.keys() & last.came.keys()
    for watcher in watchers:
        watcher.transport.abort()
    # Those in flight when the counting began are in one of the two only.
    missing = len([mark for mark, at in first.came.items() if mark not in both and at > began + 0.5])
    later = [(last.came[mark] - first.came[mark]) * 1000 for mark in both]
    return Loaded(count / took, [cpu / count * 1e6 for cpu in spent], later, missing)


# -- workers -----------------------------------------------------------------------------------------------------------


def workers(seconds: float, rounds: int) -> None:
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        sink = compiled("sink.c", Path(directory))
        for _ in range(rounds):
            for name, clients in (("one", 1_000), ("two", 2_000)):
                with redis() as server:  # a new one: the venue's trades begin anew, too
                    several = {"GATEWAY_WORKERS": "2", "GATEWAY_REDIS_URL": server.url} if name == "two" else {}
                    case = Case(clients, rates=(20,))
                    for result in measure(
                        gateway_server(name, several), case, Load(1, 0, 0), sink, Timing(window=seconds)
                    ):
                        if result.remarks:
                            raise Failed(f"{name}: {'; '.join(result.remarks)}")
                        found.setdefault(name, []).append(result.numbers["cpu"])
    one, two = (statistics.median(found[name]) for name in ("one", "two"))
    print(
        f"workers: 1,000 clients each, 20 messages/s: CPU of a delivered message {one:.2f} µs by one process, "
        f"{two:.2f} µs by two workers: on two cores they deliver {2 * one / two:.2f} times as much"
    )


def gateway_server(name: str, more: dict[str, str]) -> Server:
    return Server(
        name,
        "",
        lambda: None,
        lambda load: start_gateway(load, **more),
        lambda topics: ("/v1/ws", str(topics), '"type":"subscribed"'),
        gateway_commands,
    )


# -- failover ----------------------------------------------------------------------------------------------------------


def failover(times: int) -> None:
    with processes.simulator() as simulator_url, redis() as server:
        waits = [asyncio.run(kill_the_owner(simulator_url, server)) for _ in range(times)]
    print(
        f"failover: {times} owners killed: something new of all three feeds after "
        f"{', '.join(f'{wait:.1f}' for wait in waits)} s; median {statistics.median(waits):.1f}, most {max(waits):.1f}"
    )


async def kill_the_owner(simulator_url: str, server: RedisServer) -> float:
    with two_nodes(simulator_url, server) as (one, two):
        async with processes.client(one) as first, processes.client(two) as client:
            await follow(first)
            await follow(client)
            processes.RUNNING[one].kill()
            killed = time.monotonic()
            await new_epochs(client)
            return time.monotonic() - killed


@contextmanager
def two_nodes(simulator_url: str, server: RedisServer) -> Iterator[list[str]]:
    with ExitStack() as stack:
        names = ("one", "two")
        yield [stack.enter_context(processes.gateway(simulator_url, redis_url=server.url, node=name)) for name in names]


async def follow(client: processes.Client) -> None:
    """Until it has had something of each feed."""
    await client.send(op="hello")
    for topic in BTC:
        await client.send(op="subscribe", **topic)
    while len({message["topic"]["exchange"] for message in client.received(type="trades")}) < len(BTC):
        await client.next()


async def new_epochs(client: processes.Client) -> None:
    """Until it has had something of the next owner's of each feed."""
    before = epochs(client)
    while any(epoch == before[exchange] for exchange, epoch in epochs(client).items()):
        await client.next()


def epochs(client: processes.Client) -> dict[str, str]:
    messages = client.received(type="trades")
    return {message["topic"]["exchange"]: message["cursor"].partition("-")[0] for message in messages}


def frozen(seconds: float) -> None:
    with processes.simulator() as simulator_url, redis() as server:
        print(asyncio.run(stop_the_owner(simulator_url, server, seconds)))


async def stop_the_owner(simulator_url: str, server: RedisServer, seconds: float) -> str:
    with two_nodes(simulator_url, server) as (one, two):
        async with processes.client(one) as first, processes.client(two) as client:
            await follow(first)
            await follow(client)
            processes.RUNNING[one].send_signal(signal.SIGSTOP)
            began = time.monotonic()
            await new_epochs(client)
            took = time.monotonic() - began
            while time.monotonic() - began < seconds:
                await client.next()
            processes.RUNNING[one].send_signal(signal.SIGCONT)
            await new_epochs(first)
            async with httpx2.AsyncClient(base_url=one) as http:
                feeds = (await http.get("/v1/status")).json()["feeds"]
                metrics = (await http.get("/metrics")).text
    (refused,) = re.findall(r"^gateway_redis_writes_fenced_total (\S+)", metrics, re.MULTILINE)
    ours, theirs = by_cursor(first), by_cursor(client)
    differ = [key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]]
    return (
        f"frozen: stopped for {seconds:g} s; the other took over after {took:.1f} s; awake again: {float(refused):.0f} "
        f"claims or writes refused, the owners are {sorted({feed['owner'] for feed in feeds})}, "
        f"{len(differ)} cursors with two contents"
    )


def by_cursor(client: processes.Client) -> dict[tuple[str, str], object]:
    return {(m["topic"]["exchange"], m["cursor"]): m["data"] for m in client.received(type="trades")}


# -- wanderers ---------------------------------------------------------------------------------------------------------


def wander(seconds: float, clients: int) -> None:
    with processes.simulator() as simulator_url, redis() as server:
        record = asyncio.run(wandering(simulator_url, server, seconds, clients))
    print(
        f"wander: {clients} clients, {seconds:g} s, {record.counts['visits']} visits, {record.counts['trades']:,} "
        f"frames of trades, {record.counts['caughtUp']} times caught up; longest without a new event "
        f"{max(record.longest.values()):.1f} s; gaps told: {dict(record.said)}; silent gaps, duplicates and second "
        f"contents: {len(record.findings)}; trades twice under other cursors: {record.counts['trade again']}"
    )
    for finding in record.findings:
        print(f"  {finding[:300]}")


async def wandering(simulator_url: str, server: RedisServer, seconds: float, clients: int) -> Record:
    record = Record()
    with ExitStack() as stack:

        def start(name: str) -> str:
            return stack.enter_context(processes.gateway(simulator_url, redis_url=server.url, node=name))

        nodes = {name: start(name) for name in ("one", "two")}
        topics = [*BTC, {"channel": "ohlcv", "exchange": "binance", "symbol": "BTC/USDT:USDT"}]
        crowd = [Roamer(lambda: list(nodes.values()), topics, record, seed) for seed in range(clients)]
        tasks = [asyncio.create_task(one.run(stay=(0.5, 8.0))) for one in crowd]
        await asyncio.sleep(seconds / 3)
        async with httpx2.AsyncClient(base_url=nodes["one"]) as http:
            owner = (await http.get("/v1/status")).json()["feeds"][0]["owner"]
        processes.RUNNING[nodes.pop(owner)].kill()
        await asyncio.sleep(seconds / 3)
        nodes["three"] = await asyncio.to_thread(start, "three")
        await asyncio.sleep(seconds / 3)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                record.find(f"a client failed: {ended!r}")
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="store,followers,workers,failover,frozen,wander", help="with commas")
    parser.add_argument("--quick", action="store_true", help="a smoke test, not a measurement")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # everything started is stopped on the way out
    quick = options.quick
    parts: dict[str, Callable[[], None]] = {
        "store": lambda: store(*((1.0, 1) if quick else (5.0, 3))),
        "followers": lambda: followers(3.0 if quick else 20.0),
        "workers": lambda: workers(1.0 if quick else 6.0, 1 if quick else 3),
        "failover": lambda: failover(1 if quick else 7),
        "frozen": lambda: frozen(8.0 if quick else 30.0),
        "wander": lambda: wander(*((18.0, 8) if quick else (60.0, 20))),
    }
    for line in machine():
        print(line, flush=True)
    try:
        for part in options.parts.split(","):
            parts[part]()
    except Failed as failure:
        sys.exit(f"bench_cluster: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
