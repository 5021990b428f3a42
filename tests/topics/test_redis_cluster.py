"""Nodes that meet in a Redis Cluster: feeds on all primaries, failovers, slots that move, and servers that come late.

The trades, candles and books of the scripted venue lie on three primaries (``tests/redis_cluster.py``).
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count

import pytest
from prometheus_client import REGISTRY
from redis.exceptions import ClusterDownError, MovedError

from exchanges.venue import Channel
from tests.redis_cluster import RedisCluster, redis_cluster, say, wait_until
from tests.redis_server import ask, binaries
from tests.topics.claimant import Feed
from tests.topics.kept_rings import Reborn, kept, ring_of
from tests.topics.nodes import Node, data, followed_by, gaps, nodes, owned_by, states, until, until_so
from tests.topics.reader import Reader
from tests.topics.ring_contract import MakeRing, RingContract, event, filled, row
from tests.topics.scripted_venue import EPOCH_MS, candle
from topics.cluster import MOVING, Cluster
from topics.kept import Past
from topics.lease import Leases
from topics.place import Place, slot_of
from topics.redis_ring import RedisRing
from topics.ring import Ring
from topics.shards import Address, ClusterUrl
from topics.store import UNKNOWN
from topics.tenure import Tenure

BOTH: Sequence[Channel] = ("trades", "ohlcv")

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@pytest.fixture(scope="module", params=binaries().values(), ids=binaries())
def running(request: pytest.FixtureRequest) -> Iterator[RedisCluster]:
    """One for all: who breaks it mends it."""
    with redis_cluster(request.param) as running:
        yield running


@pytest.fixture
def servers(running: RedisCluster) -> RedisCluster:
    running.empty()
    return running


@asynccontextmanager
async def joined(url: str, name: str = "one") -> AsyncIterator[Cluster]:
    """A node's part, when it knows where all slots are."""
    cluster = Cluster(url, name, clock_ms=lambda: EPOCH_MS, probe_every=0.05)
    cluster.start()
    await until(lambda: cluster.problem is None)
    yield cluster
    await cluster.aclose()


@pytest.fixture
async def cluster(servers: RedisCluster) -> AsyncIterator[Cluster]:
    async with joined(servers.url) as cluster:
        yield cluster


def place(number: int) -> Place:
    return Place(*(f"{{{number}}}:{name}" for name in Place._fields))


def spread(cluster: Cluster) -> list[Place]:
    """Thirty places, on all shards."""
    places = [place(number) for number in range(30)]
    assert {cluster.shard(one) for one in places} == set(cluster.shards)
    return places


# -- the contract ------------------------------------------------------------------------------------------------------


class TestClusterRing(RingContract):
    @pytest.fixture
    def make_ring(self, cluster: Cluster) -> MakeRing:
        places = (place(number) for number in count())

        def make(*, max_events: int = 1_000, max_rows: int = 1_000) -> Ring:
            where = next(places)
            bounds = {"max_events": max_events, "max_young_events": max_events, "max_rows": max_rows}
            return Reborn(cluster.shard(where).store, where, bounds)

        return make


# -- feeds on all shards -----------------------------------------------------------------------------------------------


async def test_what_is_kept_of_all_feeds_the_next_process_goes_on_with(servers: RedisCluster) -> None:
    async with joined(servers.url) as first:
        places = spread(first)
        for one in places:
            ring_of(first, one).append(*event(1), [row(1)])
    async with joined(servers.url, "two") as second:
        pasts = [await second.shard(one).store.load(one) for one in places]

    assert pasts == [Past([event(1)], [row(1)])] * len(places)


async def test_feeds_of_all_shards_are_run_by_one_node_and_followed_by_others(servers: RedisCluster) -> None:
    async with nodes(servers) as (a, b):
        at_owner = [await owned_by(a, channel) for channel in BOTH]
        await a.join("orderbook")
        await until(lambda: len(a.pool.opened) == 3)
        at_follower = [await followed_by(b, channel) for channel in BOTH]
        await b.join("orderbook")
        await until(lambda: b.cluster.following == 3)
        a.say(1)
        say_candle(a, 1)
        await until(lambda: all(data(reader) for reader in at_follower))

        assert len({a.cluster.shard(a.place(channel)) for channel in (*BOTH, "orderbook")}) == 3
        assert (len(a.pool.opened), len(b.pool.opened)) == (3, 0)
        assert [data(reader) for reader in at_follower] == [data(reader) for reader in at_owner]


async def test_one_server_that_answers_is_enough_to_find_the_others(servers: RedisCluster) -> None:
    last = servers.servers[-1].port
    async with joined(f"redis+cluster://127.0.0.1:1,127.0.0.1:{last}") as cluster:
        rings = [filled(ring_of(cluster, one), 1) for one in spread(cluster)]
        for ring in rings:
            assert isinstance(ring, RedisRing)
            await kept(ring)

        assert len(cluster.shards) == 3


async def test_servers_that_have_forgotten_the_script_are_told_it_again(
    servers: RedisCluster, cluster: Cluster
) -> None:
    rings = [ring_of(cluster, one) for one in spread(cluster)]
    for seq in (1, 2):
        for ring in rings:
            ring.append(*event(seq))
        for ring in rings:
            await kept(ring)
        for server in servers.primaries:
            say(server, "SCRIPT FLUSH")

    assert cluster.problem is None


@pytest.mark.parametrize(("error", "first"), [(MovedError("0 other:2"), True), (ClusterDownError("down"), False)])
async def test_who_says_that_a_slot_is_elsewhere_is_asked_first_where(error: Exception, first: bool) -> None:
    cluster, teller = Cluster("redis+cluster://one,two", "me", clock_ms=lambda: EPOCH_MS), Address("teller", 1)
    url = ClusterUrl.of("redis+cluster://one,two")
    assert url is not None
    cluster._doubted(teller, error)

    assert (next(cluster._askable(url)) == teller) == first


# -- a primary that is lost --------------------------------------------------------------------------------------------


async def test_a_feed_goes_on_at_the_replica_that_is_promoted_and_feeds_of_other_shards_notice_nothing(
    servers: RedisCluster,
) -> None:
    async with nodes(servers) as (a, b):
        trades, candles = await with_candles_beside(a, b)
        told = len(states(candles))
        primary = servers.primary_of(slot_of(a.place()))
        replica = servers.replica_of(primary)
        primary.kill()
        await until(lambda: states(trades)[-1:] == ["stale"])
        await until(lambda: a.cluster.problem is not None)
        down = REGISTRY.get_sample_value("gateway_redis_up")
        a.say(2)
        say_candle(a, 2)
        await until(lambda: len(data(candles)) == 2)
        await asyncio.to_thread(servers.promote, replica)
        await until(lambda: trades.ids == [1, 2])
        await until(lambda: states(trades)[-1:] == ["live"])
        await until(lambda: a.cluster.problem is None and b.cluster.problem is None)
        a.say(3)
        await until(lambda: trades.ids == [1, 2, 3])

        assert (down, REGISTRY.get_sample_value("gateway_redis_up")) == (0.0, 1.0)
        assert (len(a.pool.opened), len(b.pool.opened)) == (2, 0)
        assert (gaps(trades), states(candles)[told:]) == ([], [])
    primary.start()
    wait_until(lambda: b"master_link_status:up" in ask(primary, "INFO", "replication"))


async def with_candles_beside(a: Node, b: Node) -> tuple[Reader, Reader]:
    """Clients of ``b``, which follows the trades and the candles of ``a``; each has had something."""
    for channel in BOTH:
        await owned_by(a, channel)
    trades, candles = [await followed_by(b, channel) for channel in BOTH]
    a.say(1)
    say_candle(a, 1)
    await until(lambda: data(trades) and data(candles))
    return trades, candles


def say_candle(node: Node, number: int) -> None:
    node.pool.listeners[node.start("ohlcv").stream.name].on_events([candle(number)], EPOCH_MS)


async def test_a_shard_that_hangs_is_a_problem_and_holds_up_no_other(servers: RedisCluster, cluster: Cluster) -> None:
    places = spread(cluster)
    frozen = cluster.shard(places[0])
    server = servers.primary_of(slot_of(places[0]))
    rings = [ring_of(cluster, one) for one in places]
    server.freeze()
    for ring in rings:
        ring.append(*event(1))
    for one, ring in zip(places, rings, strict=True):
        if cluster.shard(one) is not frozen:
            await kept(ring)
    await until(lambda: cluster.problem == "TimeoutError")
    up = REGISTRY.get_sample_value("gateway_redis_up")
    server.thaw()
    for ring in rings:
        await kept(ring)
    await until(lambda: cluster.problem is None)

    assert (up, REGISTRY.get_sample_value("gateway_redis_up")) == (0.0, 1.0)


# -- slots that move ---------------------------------------------------------------------------------------------------


async def test_a_feed_goes_on_where_its_slot_has_been_moved_and_nobody_is_told(servers: RedisCluster) -> None:
    async with nodes(servers) as (a, b):
        trades, _ = await with_candles_beside(a, b)
        told = len(states(trades))
        slot, home = slot_of(a.place()), servers.primary_of(slot_of(a.place()))
        target = servers.primary_of(slot_of(a.place("ohlcv")))
        await asyncio.to_thread(servers.move, slot, home, target)
        a.say(2)
        await until(lambda: trades.ids == [1, 2])
        a.say(3)
        say_candle(a, 2)
        await until(lambda: trades.ids == [1, 2, 3])
        await until(lambda: a.cluster.shard(a.place()) is a.cluster.shard(a.place("ohlcv")))
        await until(lambda: b.cluster.shard(a.place()).follower._carriers.keys() >= set(tenures(b)))
        await until(lambda: a.cluster.problem is None and b.cluster.problem is None)

        assert (len(a.pool.opened), len(b.pool.opened), gaps(trades)) == (2, 0, [])
        assert states(trades)[told:] == []
        assert a.place().lease.encode() in ask(target, "KEYS", "*:lease")
        await asyncio.to_thread(servers.move, slot, target, home)
        a.say(4)
        await until(lambda: trades.ids == [1, 2, 3, 4])


def tenures(node: Node) -> list[Tenure]:
    return [one.tenure for one in node.manager._running.values() if one.tenure is not None]


async def test_what_is_published_while_a_slot_is_on_its_way_is_kept_when_it_has_come(servers: RedisCluster) -> None:
    async with nodes(servers) as (a, b):
        trades, candles = await with_candles_beside(a, b)
        slot, home = slot_of(a.place()), servers.primary_of(slot_of(a.place()))
        target = servers.primary_of(slot_of(a.place("ohlcv")))
        servers.begin_move(slot, home, target)
        a.say(2)
        await until(lambda: a.cluster.problem == MOVING)
        say_candle(a, 2)
        await until(lambda: len(data(candles)) == 2)
        await asyncio.to_thread(servers.end_move, slot, home, target)
        await until(lambda: trades.ids == [1, 2])
        await until(lambda: states(trades)[-1:] == ["live"])
        await until(lambda: a.cluster.problem is None)

        assert (len(a.pool.opened), len(b.pool.opened), gaps(trades)) == (2, 0, [])
    await asyncio.to_thread(servers.move, slot, target, home)


async def test_what_was_refused_on_the_way_is_written_without_another_event(
    servers: RedisCluster, cluster: Cluster
) -> None:
    ring = ring_of(cluster, place(0))
    ring.append(*event(1))
    await kept(ring)
    home, *others = sorted(servers.primaries, key=lambda one: one is not servers.primary_of(slot_of(place(0))))
    servers.begin_move(slot_of(place(0)), home, others[0])
    ring.append(*event(2))
    await until(lambda: cluster.problem == MOVING)
    await asyncio.to_thread(servers.end_move, slot_of(place(0)), home, others[0])
    await kept(ring)

    assert [entry.cursor.seq for entry in (await cluster.shard(place(0)).store.load(place(0))).entries] == [1, 2]
    await asyncio.to_thread(servers.move, slot_of(place(0)), others[0], home)


async def test_at_the_wrong_server_nothing_is_forgotten_and_who_waits_is_told_after_a_while(
    servers: RedisCluster,
) -> None:
    wrong = next(one for one in servers.primaries if one is not servers.primary_of(slot_of(place(0))))
    now, doubts, feeds = [0.0], list[Exception](), [Feed(place(0)), Feed(place(0), epoch=EPOCH_MS)]
    leases = Leases(
        wrong.url,
        "me",
        clock_ms=lambda: EPOCH_MS,
        ttl=60.0,
        probe_every=1.0,
        monotonic=lambda: now[0],
        doubted=doubts.append,
    )
    for feed in feeds:
        leases.join(feed)
    leases.tell(feeds[1], b"words")
    leases.leave(feeds[1])
    await leases._try()
    at_first, now[0] = feeds[0].said[:], 1.0
    await leases._try()
    await leases._redis.aclose()

    assert (at_first, feeds[0].said) == ([], ["away"])
    assert {type(doubt) for doubt in doubts} == {MovedError}
    assert (list(leases._told.values()), [where for where, _ in leases._released]) == ([b"words"], [place(0)])


# -- a cluster that comes late -----------------------------------------------------------------------------------------


async def test_without_its_cluster_a_node_serves_from_memory_and_keeps_all_of_it_when_that_comes() -> None:
    binary = next(iter(binaries().values()))
    with redis_cluster(binary, ranges=[(0, 16_383)], replicas=False, start=False) as servers:
        async with nodes(servers, 1) as (a,):
            reader = await owned_by(a)
            a.say(1)
            await until(lambda: reader.ids == [1])
            problem = a.cluster.problem
            await asyncio.to_thread(servers.start)
            await until(lambda: a.cluster.problem is None)
            a.say(2)
            await until(lambda: reader.ids == [1, 2])

            async def written() -> bool:
                entries = (await a.cluster.shard(a.place()).store.load(a.place())).entries
                return bool(entries) and entries[-1].cursor == a.start().cursor

            await until_so(written)

            assert problem not in (None, UNKNOWN)
            assert (len(a.pool.opened), gaps(reader)) == (1, [])
