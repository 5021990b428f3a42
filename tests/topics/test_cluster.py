"""Several nodes that meet in one Redis: one of them runs a feed, and all serve the same of it."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from exchanges.errors import SubscribeFailed
from exchanges.venue import Channel
from tests.redis_server import RedisServer, binaries, redis_server
from tests.topics.nodes import LEASE, data, followed_by, gaps, nodes, owned_by, states, until
from tests.topics.scripted_venue import (
    EPOCH_MS,
    candle,
    trade,
    trades,
)
from topics.key import Cursor

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@pytest.fixture(params=binaries().values(), ids=binaries())
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with redis_server(request.param) as server:
        yield server


# -- one feed for all --------------------------------------------------------------------------------------------------


async def test_however_many_nodes_want_a_feed_one_runs_it(server: RedisServer) -> None:
    async with nodes(server, 4) as all_nodes:
        await asyncio.gather(*(node.join() for node in all_nodes))
        await until(lambda: any(node.runs for node in all_nodes))
        await until(lambda: sum(node.start().following for node in all_nodes) == 3)

        assert [len(node.pool.opened) for node in all_nodes if node.runs] == [1]
        assert sum(len(node.pool.opened) for node in all_nodes) == 1


@pytest.mark.parametrize("channel", ["trades", "ohlcv"])
async def test_all_nodes_send_the_same_bytes_under_the_same_cursors(server: RedisServer, channel: Channel) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a, channel)
        at_follower = await followed_by(b, channel)
        (listener,) = a.pool.listeners.values()
        for number in (1, 2, 3):
            listener.on_events([trade(number) if channel == "trades" else candle(number)], EPOCH_MS)
            await until(lambda number=number: len(data(at_follower)) == number)

        assert data(at_follower) == data(at_owner)
        assert len(data(at_owner)) == 3


async def test_who_comes_to_a_follower_is_given_the_past_that_the_owner_has(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        a.venue.trades = trades(1, 5)
        await owned_by(a)
        a.say(6, 7)
        await until(lambda: a.start().cursor.seq == 2)
        await followed_by(b)
        reader = await b.join(rewind=4)
        await until(lambda: reader.payloads)

        assert reader.ids == [4, 5, 6, 7]
        assert reader.messages[0]["cursor"] == str(a.start().cursor)


async def test_a_cursor_of_one_node_goes_on_at_another(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        for number in (1, 2, 3, 4):
            a.say(number)
            await until(lambda number=number: at_owner.ids[-1:] == [number])
        since = Cursor.parse(at_owner.messages[-3]["cursor"])
        await followed_by(b)
        resumed = await b.start().audience.judge(since)
        reader = await b.join(since=since)
        await until(lambda: any(m["type"] == "caughtUp" for m in reader.messages))

        assert (resumed.status, resumed.events) == ("recovered", 2)
        assert data(reader)[:2] == data(at_owner)[-2:]


async def test_what_was_sent_to_nobody_by_the_owner_is_sent_to_nobody_by_others(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        a.venue.trades = trades(1, 5)
        await a.join()
        await until(lambda: a.runs)
        waiting = await b.join()  # before the feed has begun
        await until(lambda: b.start().following)
        await a.go_live()
        await until(lambda: b.start().live)
        a.say(6)
        await until(lambda: waiting.ids)

        assert waiting.ids == [6]


# -- how the owner is --------------------------------------------------------------------------------------------------


async def test_followers_are_told_how_the_feed_is(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        (listener,) = a.pool.listeners.values()
        listener.on_state("stale", "silent")
        await until(lambda: states(at_follower)[-1:] == ["stale"])
        listener.on_state("reconnecting", "closed", attempt=2, retry_in=1.5)
        await until(lambda: states(at_follower)[-1:] == ["reconnecting"])
        told = at_follower.messages[-1]
        await a.go_live()
        await until(lambda: states(at_follower)[-1:] == ["live"])

        assert (told["reason"], told["attempt"], told["retryInMs"]) == ("closed", 2, 1500)
        assert states(at_owner)[-4:-2] == ["stale", "reconnecting"]


async def test_what_the_venue_refuses_is_refused_on_every_node(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await a.join()
        await until(lambda: a.runs)
        reader = await b.join()
        await until(lambda: b.start().following)
        (listener,) = a.pool.listeners.values()
        listener.on_refused(SubscribeFailed("no such coin"))
        await until(lambda: reader.errors)

        ((_, error, gone),) = reader.errors
        assert (str(error), gone) == ("no such coin", True)
        assert (a.manager.upstreams(), b.manager.upstreams()) == ([], [])


async def test_a_loss_of_the_owners_is_told_by_all_nodes_as_the_same_event(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        (listener,) = a.pool.listeners.values()
        listener.on_state("reconnecting", "closed")
        a.venue.trades += trades(2, 4)
        await a.go_live()
        await until(lambda: at_follower.ids == [1, 2, 3, 4])

        assert data(at_follower) == data(at_owner)
        assert gaps(at_follower) == [("UPSTREAM_RECONNECT", 0)]


async def test_who_comes_while_a_new_owner_begins_is_not_told_how_the_one_before_was(server: RedisServer) -> None:
    async with nodes(server, 3) as (a, b, c), Redis.from_url(server.url) as redis:
        await owned_by(a)
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        place = running.tenure.place
        await until(lambda: not a.shard.leases._told)
        a.kill()
        await redis.delete(place.lease)  # it has ended
        await b.join()
        await until(lambda: b.runs)
        await until(lambda: not b.shard.leases._told)
        await c.join()
        await until(lambda: c.start().following)

        assert (b.start().state, c.start().state) == ("connecting", "connecting")


# -- from one owner to the next ----------------------------------------------------------------------------------------


async def test_an_owner_that_ends_hands_its_feeds_over_at_once(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1, 2)
        await until(lambda: at_follower.ids == [1, 2])
        began = asyncio.get_running_loop().time()
        await a.manager.aclose()
        await until(lambda: b.runs)
        took = asyncio.get_running_loop().time() - began
        b.venue.trades += trades(3, 4)  # while nobody listened
        await b.go_live()
        b.say(5)
        await until(lambda: at_follower.ids[-1] == 5)

        assert took < LEASE / 2
        assert at_follower.ids == [1, 2, 3, 4, 5]
        assert gaps(at_follower) == [("EPOCH_CHANGED", 0)]
        cursors = [Cursor.parse(m["cursor"]) for m in at_follower.messages if "cursor" in m]
        assert cursors == sorted(cursors)
        assert cursors[-1].epoch > cursors[0].epoch


async def test_a_feed_that_is_wanted_again_as_it_ends_goes_on_under_another_epoch(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,):
        a.venue.trades = trades(1, 2)
        reader = await owned_by(a)
        a.say(3)
        await until(lambda: reader.ids == [3])
        before = a.start().cursor
        a.leave(reader)
        a.say(4)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        a.venue.trades += trades(5, 6)
        again = await a.join(rewind=6)
        await a.go_live()
        await until(lambda: again.ids[-1:] == [6])

        assert a.start().cursor.epoch > before.epoch
        assert again.ids == [1, 2, 3, 4, 5, 6]
        running = a.manager._running.values()
        await until(lambda: all(one.tenure is not None and one.tenure.ring.lacking(1) is None for one in running))
        async with Redis.from_url(server.url) as redis:
            (lease,) = await redis.keys("*:lease")
            assert await redis.get(lease)


async def test_a_feed_that_is_lost_as_it_ends_is_not_claimed_again(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,):
        reader = await owned_by(a)
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        a.leave(reader)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        running.tenure.held("another")
        await asyncio.gather(*a.manager._tasks)

        assert running.tenure not in a.shard.leases._due


async def test_an_owner_that_dies_is_followed_by_another_when_its_lease_ends(server: RedisServer) -> None:
    async with nodes(server, 3) as (a, b, c):
        await owned_by(a)
        readers = [await followed_by(b), await followed_by(c)]
        a.say(1)
        await until(lambda: all(reader.ids == [1] for reader in readers))
        a.kill()
        await until(lambda: b.runs or c.runs)
        heir, other = (b, c) if b.runs else (c, b)
        await heir.go_live()
        heir.say(2)
        await until(lambda: all(reader.ids == [1, 2] for reader in readers))

        assert other.start().following
        assert data(readers[0]) == data(readers[1])
        assert gaps(readers[0]) == [("EPOCH_CHANGED", 0)]


async def test_an_owner_goes_on_for_others_when_its_own_clients_have_left(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        running = a.manager._running
        await until(lambda: all(one.tenure is not None and one.tenure.followed for one in running.values()))
        a.leave(at_owner)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        kept = a.runs
        b.leave(at_follower)
        b.manager.check(asyncio.get_running_loop().time() + 1)

        def gone() -> bool:
            a.manager.check(asyncio.get_running_loop().time() + 1)
            return not a.runs

        await until(gone)

        assert kept


async def test_an_owner_that_was_frozen_writes_nothing_and_follows_who_took_over(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_frozen = await owned_by(a)
        at_heir = await followed_by(b)
        a.say(1)
        await until(lambda: at_heir.ids == [1])
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        a.shard.leases._due[running.tenure] = float("inf")  # as if it did not run
        await until(lambda: b.runs)
        await b.go_live()
        a.say(2)  # what it had in its buffers
        a.shard.leases.hurry(running.tenure)
        await until(lambda: a.start().following)
        b.say(2, 3)
        await until(lambda: at_frozen.ids[-1] == 3)

        assert not a.runs
        assert at_heir.ids == [1, 2, 3]
        assert gaps(at_frozen)[-1][0] == "EPOCH_CHANGED"
        cursors = [Cursor.parse(m["cursor"]) for m in at_frozen.messages if "cursor" in m]
        assert cursors == sorted(cursors)
        written = (await b.shard.store.load(running.tenure.place)).entries
        epochs = [entry.cursor.epoch for entry in written]
        assert epochs == sorted(epochs)
        assert sum(b'"id":"2"' in entry.payload for entry in written) == 1  # of the heir alone


async def test_a_failure_of_ours_ends_neither_the_keeping_nor_the_leases_nor_the_reading(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with nodes(server, lease=5.0) as (a, b):
        await owned_by(a)
        at_follower = await followed_by(b)
        (reader,) = b.shard.follower._readers
        for stumbling, name in ((a.shard.store, "_try"), (a.shard.leases, "_try"), (reader, "_ask")):
            stumble(stumbling, name)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        await until(lambda: b.start().live)

        assert (a.runs, b.runs) == (True, False)
    failures = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert sorted(failures) == ["cluster_failed", "cluster_failed", "follow_failed"]
    caplog.clear()  # this was meant


def stumble(one: Any, name: str) -> None:
    """Its method fails once, as by a bug."""
    method = getattr(one, name)

    async def failing(*arguments: Any) -> Any:
        setattr(one, name, method)
        raise ValueError("our bug")

    setattr(one, name, failing)
