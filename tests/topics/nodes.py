"""Nodes of a cluster in one process: each with a manager and scripted feeds of its own, all at one real Redis."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

from exchanges.venue import Channel
from tests.redis_cluster import RedisCluster
from tests.redis_server import RedisServer
from tests.topics.reader import Reader
from tests.topics.scripted_venue import (
    EPOCH_MS,
    SYMBOL,
    ScriptedPool,
    ScriptedVenue,
    exchange,
    trades,
)
from topics.cluster import Cluster, Shard
from topics.manager import Manager
from topics.place import Place
from topics.upstream import Upstream

PATIENCE = 3.0
LEASE = 0.6  # seconds
LINGER = 0.0  # a feed nobody has ends with the next check


class Node:
    """One process's share of the cluster. All of them ask the same venue."""

    def __init__(self, name: str, venue: ScriptedVenue, manager: Manager, cluster: Cluster, pool: ScriptedPool) -> None:
        self.name, self.venue, self.manager, self.cluster, self.pool = name, venue, manager, cluster, pool

    @property
    def runs(self) -> bool:
        """It has a feed of its own."""
        return bool(self.pool.listeners)

    @property
    def shard(self) -> Shard:
        """The one, of a Redis that is one server."""
        (only,) = self.cluster.shards
        return only

    def start(self, channel: Channel = "trades") -> Upstream:
        return self.manager.start(*self.manager.resolve(channel, None, SYMBOL, {}))

    async def join(self, channel: Channel = "trades", *, extended: bool = True, **wish: Any) -> Reader:
        key, instrument = self.manager.resolve(channel, None, SYMBOL, {})
        reader = Reader(extended=extended)
        wish.setdefault("snapshot", channel == "orderbook")
        await self.manager.start(key, instrument).audience.join(key, reader, **wish)
        return reader

    def leave(self, reader: Reader, channel: Channel = "trades") -> None:
        self.manager.leave(self.manager.resolve(channel, None, SYMBOL, {})[0], reader)

    def kill(self) -> None:
        """It does nothing any more, and says no goodbye."""
        shards = self.cluster.shards
        readers = [task for shard in shards for task in shard.follower._readers.values()]
        for task in [*self.cluster._tasks, *(task for shard in shards for task in shard._tasks), *readers]:
            task.cancel()

    def say(self, first: int, last: int | None = None) -> None:
        """The venue sends trades; it tells of them by REST, too."""
        said = trades(first, last or first)
        self.venue.trades += [one for one in said if one not in self.venue.trades]
        self.pool.listeners[self.start().stream.name].on_events(said, EPOCH_MS)

    async def go_live(self, channel: Channel | None = None) -> None:
        """The only feed that it runs, or that of a channel."""
        name = None if channel is None else self.start(channel).stream.name
        await until(lambda: self.runs if name is None else name in self.pool.listeners)
        (listener,) = self.pool.listeners.values() if name is None else [self.pool.listeners[name]]
        listener.on_state("live", "")

    def place(self, channel: Channel = "trades") -> Place:
        """Of a feed that it has."""
        (tenure,) = (one.tenure for one in self.manager._running.values() if one.upstream.stream.channel == channel)
        assert tenure is not None
        return tenure.place


@asynccontextmanager
async def nodes(
    server: RedisServer | RedisCluster, number: int = 2, *, lease: float = LEASE
) -> AsyncIterator[list[Node]]:
    clock = count(EPOCH_MS)
    async with AsyncExitStack() as stack:
        started, venue = [], ScriptedVenue()
        for name in "abcdef"[:number]:
            pool = ScriptedPool()
            cluster = Cluster(server.url, name, clock_ms=lambda: next(clock), lease_seconds=lease, probe_every=0.05)
            cluster.start()
            stack.push_async_callback(cluster.aclose)
            manager = Manager(
                {venue.name: await exchange(venue, pool)},
                cluster=cluster,
                linger=LINGER,
                clock_ms=lambda: next(clock),
            )
            stack.push_async_callback(manager.aclose)
            started.append(Node(name, venue, manager, cluster, pool))
        yield started


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # another process's state has no event
            await asyncio.sleep(0.005)


async def until_so(condition: Callable[[], Awaitable[object]]) -> None:
    """``until`` for what has to be asked of the server."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def owned_by(owner: Node, channel: Channel = "trades") -> Reader:
    """A client of ``owner``, whose feed is live."""
    reader = await owner.join(channel)
    await owner.go_live(channel)
    await until(lambda: owner.start(channel).live)
    return reader


async def followed_by(follower: Node, channel: Channel = "trades") -> Reader:
    """A client of ``follower``, which serves another node's live feed."""
    reader = await follower.join(channel)
    await until(lambda: follower.start(channel).live)
    return reader


def data(reader: Reader) -> list[bytes]:
    """Frames that every client of a topic is sent, gaps included."""
    told = zip(reader.payloads, reader.messages, strict=True)
    return [payload for payload, message in told if "cursor" in message and message["type"] != "caughtUp"]


def nonces(reader: Reader) -> list[int]:
    """Of the books it was shown."""
    return [m["data"]["nonce"] for m in reader.messages if m["type"] == "orderbook"]


def states(reader: Reader) -> list[str]:
    return [message["state"] for message in reader.messages if message["type"] == "status"]


def gaps(reader: Reader) -> list[tuple[str, int | None]]:
    return [(message["reason"], message["missing"]) for message in reader.messages if message["type"] == "gap"]
