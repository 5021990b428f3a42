"""A cluster without its Redis: owners go on, followers say so, and afterwards there is one owner again."""

from collections.abc import Iterator

import pytest
from redis.asyncio import Redis

from tests.redis_server import RedisServer, binaries, redis_server
from tests.topics.nodes import data, followed_by, gaps, nodes, owned_by, states, until, until_so
from tests.topics.scripted_venue import (
    EPOCH_MS,
    SYMBOL,
)
from topics.key import Cursor
from topics.place import place_of
from topics.store import UNKNOWN

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@pytest.fixture(params=binaries().values(), ids=binaries())
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with redis_server(request.param) as server:
        yield server


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_while_redis_is_away_the_owner_goes_on_and_followers_say_so(server: RedisServer, how: str) -> None:
    # What a frozen server has received it does when it wakes: a claim from before, which then finds the lease vacant.
    async with nodes(server, lease=5.0) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        (server.kill if how == "killed" else server.freeze)()
        await until(lambda: states(at_follower)[-1:] == ["stale"])
        await until(lambda: a.cluster.problem is not None)
        a.say(2)
        await until(lambda: at_owner.ids == [1, 2])
        (server.start if how == "killed" else server.thaw)()
        await until(lambda: at_follower.ids == [1, 2])
        await until(lambda: states(at_follower)[-1:] == ["live"])
        a.say(3)
        await until(lambda: at_follower.ids == [1, 2, 3])

        assert (a.runs, b.runs) == (True, False)
        assert data(at_follower) == data(at_owner)
        assert (gaps(at_owner), gaps(at_follower)) == ([], [])


async def test_what_could_not_be_kept_is_said(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        server.kill()
        await until(lambda: a.cluster.problem is not None)
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        for number in range(2, 6):
            a.say(number)
            await until(lambda number=number: running.upstream.cursor.seq == number)
        running.tenure.ring.forget_before(running.upstream.cursor)
        server.start()
        await until(lambda: at_follower.ids[-1] == 5)

        (gap,) = [m for m in at_follower.messages if m["type"] == "gap"]
        assert (gap["reason"], gap["events"], at_follower.ids) == ("RING_TRIMMED", 3, [1, 5])


async def test_a_feed_that_two_nodes_began_alone_is_one_again_and_no_cursor_falls(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        server.kill()
        await until(lambda: a.cluster.problem is not None and b.cluster.problem is not None)
        readers = [await owned_by(a), await owned_by(b)]
        a.say(1)
        b.say(1)
        await until(lambda: all(reader.ids == [1] for reader in readers))
        server.start()
        await until(lambda: a.runs != b.runs)
        owner, other = (a, b) if a.runs else (b, a)
        await until(lambda: other.start().live)
        owner.say(2)
        await until(lambda: all(reader.ids[-1] == 2 for reader in readers))

        assert owner is b  # which began later
        for reader in readers:
            cursors = [Cursor.parse(m["cursor"]) for m in reader.messages if "cursor" in m]
            assert cursors == sorted(cursors)


async def test_a_full_redis_costs_followers_the_stream_and_owners_nothing(server: RedisServer) -> None:
    async with nodes(server) as (a, b), Redis.from_url(server.url) as redis:
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        await redis.config_set("maxmemory", "1")
        await until(lambda: states(at_follower)[-1:] == ["stale"])
        a.say(1)
        await until(lambda: at_owner.ids == [1])

        async def ended() -> bool:
            return not await redis.keys("*:lease")

        await until_so(ended)
        await redis.config_set("maxmemory", "0")
        await until(lambda: at_follower.ids == [1])
        await until(lambda: states(at_follower)[-1:] == ["live"])

        assert (a.runs, b.runs, gaps(at_follower)) == (True, False, [])


async def test_a_feed_begun_alone_by_a_clock_that_is_behind_goes_on_above_all_that_is_kept(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,), Redis.from_url(server.url) as redis:
        key, instrument = a.manager.resolve("trades", None, SYMBOL, {})
        place = place_of(key, a.venue.stream("trades", instrument, {}))
        later = EPOCH_MS + 10**9
        await redis.set(place.epoch, later)
        server.freeze()
        await until(lambda: a.cluster.problem not in (None, UNKNOWN))
        reader = await owned_by(a)
        a.say(1)
        await until(lambda: reader.ids == [1])
        server.thaw()
        await until(lambda: len(a.pool.opened) == 2)
        await a.go_live()
        a.say(2)
        await until(lambda: reader.ids == [1, 2])

        async def kept() -> bool:
            entries = (await a.shard.store.load(place)).entries
            return bool(entries) and entries[-1].cursor == a.start().cursor

        await until_so(kept)

        assert gaps(reader) == [("EPOCH_CHANGED", 0)]
        assert a.start().cursor.epoch == later + 1
