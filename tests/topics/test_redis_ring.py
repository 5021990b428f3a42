"""Rings with a copy in a real server: what one process keeps another goes on with, and what an outage costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from tests.redis_server import RedisServer, binaries, redis_server, sentinel
from tests.topics.kept_rings import LATER, PLACE, Reborn, inherited, kept, ring_of, until
from tests.topics.ring_contract import EPOCH, MakeRing, RingContract, event, filled, row
from tests.topics.scripted_venue import (
    EPOCH_MS,
    SYMBOL,
    ScriptedPool,
    ScriptedVenue,
    exchange,
    trade,
)
from topics.cluster import Cluster
from topics.kept import KEPT_FOR_MS, Past
from topics.key import Cursor
from topics.manager import Manager
from topics.place import Place, place_of
from topics.redis_ring import RedisRing
from topics.ring import Entry, Ring, RingBudget, Row
from topics.store import Away, Store
from topics.wire import trade_row

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@asynccontextmanager
async def running(server: RedisServer, **options: Any) -> AsyncIterator[Store]:
    store = Store(server.url, **options)
    task = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.aclose()


@pytest.fixture
async def store(shared: RedisServer) -> AsyncIterator[Store]:
    async with Redis.from_url(shared.url) as redis:
        await redis.flushall()
    async with running(shared) as store:
        await until(lambda: store.problem is None)
        yield store


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url, legacy_responses=False) as redis:
        yield redis


async def kept_ring(store: Store, last: int) -> RedisRing:
    """With events 1 to ``last``, all of them in Redis."""
    ring = ring_of(store)
    filled(ring, last)
    await kept(ring)
    return ring


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"gateway_redis_{name}", labels) or 0.0


# -- the contract ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["own", "reborn"])
class TestRedisRing(RingContract):
    @pytest.fixture
    def make_ring(self, store: Store, which: str) -> MakeRing:
        places = (Place(*(f"{{t}}:{n}:{name}" for name in Place._fields)) for n in range(10_000))

        def make(*, max_events: int = 1_000, max_rows: int = 1_000) -> Ring:
            bounds = {"max_events": max_events, "max_young_events": max_events, "max_rows": max_rows}
            return (
                ring_of(store, next(places), epoch=LATER, **bounds)
                if which == "own"
                else Reborn(store, next(places), bounds)
            )

        return make


# -- what is kept ------------------------------------------------------------------------------------------------------


async def test_what_one_process_kept_another_goes_on_with(store: Store) -> None:
    first = ring_of(store)
    first.append(*event(1), [row(1), row(2)])
    first.append(*event(2), [row(2, b"new")])
    await kept(first)

    past = await store.load(PLACE)
    second = await inherited(store)
    second.append(*event(1, EPOCH + 1), [row(3)])
    await kept(second)

    assert past == Past([event(1), event(2)], [row(1), row(2, b"new")])
    assert await store.load(PLACE) == Past([event(1), event(2), event(1, EPOCH + 1)], [row(1), row(2, b"new"), row(3)])


async def test_of_a_feed_that_never_ran_nothing_is_kept(store: Store) -> None:
    assert await store.load(PLACE) == Past([], [])


async def test_each_event_is_stored_once_and_under_its_cursor(shared: RedisServer, store: Store) -> None:
    ring = ring_of(store)
    filled(ring, 3)
    await kept(ring)

    async with Redis.from_url(shared.url, legacy_responses=False) as redis:
        stream = await redis.xrange(PLACE.events)
        keys = await redis.keys("*")
        epoch, lives = await redis.get(PLACE.epoch), [await redis.pttl(key) for key in sorted(keys)]

    assert stream == [(b"%d-%d" % (EPOCH, seq), {b"d": b'{"seq":%d}' % seq}) for seq in (1, 2, 3)]
    assert sorted(keys) == [PLACE.epoch.encode(), PLACE.events.encode()]
    assert (int(epoch), lives[0]) == (EPOCH, -1)  # the epoch never expires
    assert 0 < lives[1] <= KEPT_FOR_MS


async def test_what_memory_drops_goes_there_too(store: Store) -> None:
    ring = ring_of(store, max_events=300, max_young_events=300, max_rows=2)
    for seq in range(1, 2_001):
        ring.append(*event(seq), [row(seq)])
    await kept(ring)
    ring.append(*event(2_001), [row(2_001)])
    await kept(ring)

    past = await store.load(PLACE)

    # The server drops whole nodes of a stream, of 100 entries each.
    assert 300 <= len(past.entries) <= 400
    assert past.entries[-1] == event(2_001)
    assert past.rows == [row(2_000), row(2_001)]


async def test_who_inherits_knows_what_is_no_longer_held(store: Store) -> None:
    first = ring_of(store, max_events=1, max_young_events=1)
    for seq in range(1, 500):
        first.append(*event(seq))
    await kept(first)

    second = await inherited(store)
    (oldest, *_) = await second.last(1_000)

    assert oldest.cursor.seq > 1
    assert await second.since(Cursor(EPOCH, oldest.cursor.seq - 2)) is None
    assert (await second.since(Cursor(EPOCH, oldest.cursor.seq - 1)) or [None])[0] == oldest


async def test_a_ring_that_is_closed_is_kept_to_its_last_event(store: Store) -> None:
    ring = ring_of(store)
    filled(ring, 5)
    ring.close()
    await until(lambda: ring.held == 0)

    assert [entry.cursor.seq for entry in (await store.load(PLACE)).entries] == [1, 2, 3, 4, 5]


async def test_a_ring_that_is_closed_and_may_not_be_written_any_more_lets_go(store: Store) -> None:
    now, budget = [0.0], RingBudget()
    ring = RedisRing(budget, store, PLACE, clock=lambda: now[0])
    ring.own(EPOCH)
    ring.write_until(1.0)
    filled(ring, 5)
    ring.close()
    held, now[0] = ring.held, 1.0  # the lease was not renewed meanwhile
    await until(ring.released.is_set)

    assert (held > 0, budget.used) == (True, 0)


async def test_the_last_events_are_written_at_the_end(shared: RedisServer, store: Store) -> None:
    ending = Store(shared.url)
    task = asyncio.create_task(ending.run())
    await until(lambda: ending.problem is None)
    filled(ring_of(ending), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ending.aclose()

    assert len((await store.load(PLACE)).entries) == 5


async def test_keys_that_somebody_else_has_written_are_not_read(shared: RedisServer, store: Store) -> None:
    async with Redis.from_url(shared.url) as redis:
        await redis.xadd(PLACE.events, {"other": "field"})

        with pytest.raises(Away):
            await store.load(PLACE)

    assert store.problem is None


@pytest.mark.parametrize("payload", [b"no JSON", b'{"data":[{"id":"1"}]}', None])
async def test_a_feed_begins_as_any_other_where_what_is_kept_cannot_be_read(
    shared: RedisServer,
    store: Store,
    venue: ScriptedVenue,
    pool: ScriptedPool,
    caplog: pytest.LogCaptureFixture,
    payload: bytes | None,
) -> None:
    cluster = Cluster(shared.url, "one", clock_ms=lambda: EPOCH_MS)
    cluster.start()
    manager = Manager({venue.name: await exchange(venue, pool)}, cluster=cluster, clock_ms=lambda: EPOCH_MS)
    key, instrument = manager.resolve("trades", None, SYMBOL, {})
    ring = ring_of(store, place_of(key, venue.stream("trades", instrument, dict(key.params))), epoch=EPOCH_MS - 1)
    ring.append(Cursor(EPOCH_MS - 1, 1), payload or orjson.dumps({"data": [trade_row(trade(1), SYMBOL)]}))
    await kept(ring)

    upstream = manager.start(key, instrument)
    resumed = await upstream.audience.judge(Cursor(EPOCH_MS - 1, 0))
    await manager.aclose()
    await cluster.aclose()

    assert resumed.status == ("recovered" if payload is None else "epochChanged")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == (
        [] if payload is None else ["past_unreadable"]
    )
    caplog.clear()  # this was meant


# -- whose it is -------------------------------------------------------------------------------------------------------


async def test_a_writer_of_an_older_epoch_is_refused_and_nothing_of_it_is_kept(store: Store) -> None:
    old, new, before = ring_of(store), ring_of(store, epoch=EPOCH + 1), metric("writes_fenced_total")
    old.append(*event(1))
    await kept(old)
    new.append(*event(1, EPOCH + 1))
    await kept(new)

    old.append(*event(2))
    await until(lambda: metric("writes_fenced_total") == before + 1)
    old.append(*event(3))
    new.append(*event(2, EPOCH + 1))
    await kept(new)

    assert [entry.cursor for entry in (await store.load(PLACE)).entries] == [
        Cursor(EPOCH, 1),
        Cursor(EPOCH + 1, 1),
        Cursor(EPOCH + 1, 2),
    ]
    assert [entry.cursor.seq for entry in await old.last(9)] == [1, 2, 3]  # its own clients lose nothing
    assert metric("writes_fenced_total") == before + 1


@pytest.mark.parametrize("lost", ["events", "epoch"])
async def test_an_older_writer_is_refused_also_where_one_of_the_keys_is_gone(
    shared: RedisServer, store: Store, lost: str
) -> None:
    old, new, before = ring_of(store), ring_of(store, epoch=EPOCH + 1), metric("writes_fenced_total")
    old.append(*event(1))
    await kept(old)
    new.append(*event(1, EPOCH + 1))
    await kept(new)

    async with Redis.from_url(shared.url) as redis:
        await redis.delete(getattr(PLACE, lost))
    old.append(*event(2))

    await until(lambda: metric("writes_fenced_total") == before + 1)


async def test_a_write_whose_answer_was_lost_is_not_made_twice(store: Store) -> None:
    ring = ring_of(store)
    filled(ring, 3)
    batch = ring.lacking(10)
    assert batch is not None
    await kept(ring)

    ring._kept = None  # as if it had not heard
    ring.append(*event(4))
    await kept(ring)

    assert [entry.cursor.seq for entry in (await store.load(PLACE)).entries] == [1, 2, 3, 4]


# -- Redis away --------------------------------------------------------------------------------------------------------


async def test_without_redis_nothing_is_known_and_nothing_waits() -> None:
    store = Store("redis://127.0.0.1:1")
    task = asyncio.create_task(store.run())
    ring = ring_of(store)
    ring.append(*event(1))

    async with asyncio.timeout(1.0):
        with pytest.raises(Away):
            await store.load(PLACE)
    ring.close()

    assert (ring.held, await ring.last(1)) == (0, [])
    assert metric("up") == 0.0
    task.cancel()
    await store.aclose()


async def test_a_redis_that_is_killed_and_comes_back_empty_is_given_all_that_is_held(
    server: RedisServer,
) -> None:
    async with running(server, probe_every=0.05) as store:
        ring = ring_of(store)
        ring.append(*event(1), [row(1)])
        await kept(ring)
        server.kill()
        ring.append(*event(2), [row(2)])
        await until(lambda: store.problem is not None)
        server.start()
        await until(lambda: store.problem is None)
        await kept(ring)

        assert await store.load(PLACE) == Past([event(1), event(2)], [row(1), row(2)])


async def test_a_redis_that_comes_back_with_an_older_state_is_given_what_it_lacks(store: Store) -> None:
    ring = await kept_ring(store, 5)

    async with store._redis.client() as redis:
        await redis.delete(PLACE.events)
        for seq in (1, 2, 3):
            await redis.xadd(PLACE.events, {"d": event(seq).payload}, id=str(event(seq).cursor))
    ring.append(*event(6))
    await kept(ring)

    assert [entry.cursor.seq for entry in (await store.load(PLACE)).entries] == [1, 2, 3, 4, 5, 6]


async def test_what_somebody_deleted_by_hand_does_not_stop_what_follows(store: Store) -> None:
    ring = await kept_ring(store, 5)

    async with store._redis.client() as redis:
        await redis.xdel(PLACE.events, f"{EPOCH}-4", f"{EPOCH}-5")
    ring.append(*event(6))
    await kept(ring)

    assert [entry.cursor.seq for entry in (await store.load(PLACE)).entries] == [1, 2, 3, 6]


async def test_what_memory_had_to_drop_in_an_outage_is_counted(
    server: RedisServer,
) -> None:
    before = metric("events_unstored_total")
    async with running(server, timeout=0.1, probe_every=0.05) as store:
        ring = ring_of(store, max_events=3, max_young_events=3)
        ring.append(*event(1))
        await kept(ring)
        server.freeze()
        for seq in range(2, 9):
            ring.append(*event(seq))
        await until(lambda: store.problem is not None)
        server.thaw()
        await kept(ring)
        entries = (await store.load(PLACE)).entries

    # What was written as the server froze may have reached it.
    seqs = [entry.cursor.seq for entry in entries]
    assert seqs[-3:] == [6, 7, 8]
    assert metric("events_unstored_total") - before == 8 - len(set(seqs) | {1})


async def test_a_frozen_redis_costs_a_start_its_timeout_once(
    server: RedisServer,
) -> None:
    async with running(server, timeout=0.2) as store:
        await until(lambda: store.problem is None)
        server.freeze()
        loop = asyncio.get_running_loop()
        began = loop.time()
        loads = await asyncio.gather(*(store.load(PLACE) for _ in range(50)), return_exceptions=True)
        later = await asyncio.gather(store.load(PLACE), return_exceptions=True)
        took = loop.time() - began
        server.thaw()

    assert all(isinstance(one, Away) for one in [*loads, *later])
    assert took < 1.0


@pytest.mark.parametrize(
    ("setting", "sick", "well", "kind"),
    [
        ("maxmemory", "1", "0", "OutOfMemoryError"),
        ("min-replicas-to-write", "1", "0", "ResponseError"),
    ],
)
async def test_a_redis_that_takes_no_writes_is_tried_until_it_does(
    server: RedisServer, redis: Redis, setting: str, sick: str, well: str, kind: str
) -> None:
    before = metric("errors_total", kind=kind)
    async with running(server, probe_every=0.05) as store:
        ring = ring_of(store)
        await until(lambda: store.problem is None)
        await redis.config_set(setting, sick)
        ring.append(*event(1))
        await until(lambda: metric("errors_total", kind=kind) > before)
        problem = store.problem
        assert (await store.load(PLACE)).entries == []  # it can be read from
        await redis.config_set(setting, well)
        await kept(ring)

    assert problem is not None
    assert kind in problem


async def test_a_ring_that_fails_does_not_end_the_keeping_of_others(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(server) as store:
        await until(lambda: store.problem is None)
        bad, good = ring_of(store), ring_of(store)
        bad.lacking = lambda count: 1 // 0  # type: ignore[assignment, method-assign, return-value]
        bad.append(*event(1))
        good.append(*event(1))
        await kept(good)

        assert len((await store.load(PLACE)).entries) == 1

    assert {record.message for record in caplog.records if record.levelname == "ERROR"} == {"store_failed"}
    caplog.clear()  # this was meant


@pytest.mark.parametrize("binary", binaries().values(), ids=binaries())
async def test_where_a_sentinel_names_the_primary_the_next_one_is_gone_on_with(binary: str) -> None:
    with redis_server(binary) as primary, redis_server(binary) as replica, sentinel(primary, replica, binary) as url:
        store = Store(url, probe_every=0.05)
        task = asyncio.create_task(store.run())
        ring = ring_of(store)
        filled(ring, 3)
        await kept(ring)
        primary.kill()
        ring.append(*event(4))
        async with asyncio.timeout(20):
            while ring.lacking(1) is not None:  # noqa: ASYNC110  # another process's state has no event
                await asyncio.sleep(0.05)
        entries = (await store.load(PLACE)).entries
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.aclose()

    assert [entry.cursor.seq for entry in entries] == [1, 2, 3, 4]


async def test_a_redis_that_has_forgotten_the_script_is_told_it_again(server: RedisServer, redis: Redis) -> None:
    async with running(server) as store:
        ring = ring_of(store)
        ring.append(*event(1))
        await kept(ring)

        await redis.script_flush()
        ring.append(*event(2))
        await kept(ring)

        assert len((await store.load(PLACE)).entries) == 2


# -- whatever happens --------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["append", "row", "forget", "heir"]), max_size=15))
async def test_what_is_kept_is_what_a_list_would_hold(store: Store, steps: list[str]) -> None:
    async with store._redis.client() as redis:
        await redis.flushall()
        ring, epoch, seq = ring_of(store), EPOCH, 0
        events, candles, forgotten = list[Entry](), dict[int, Row](), True
        for step in steps:
            match step:
                case "append" | "row":
                    seq += 1
                    rows = [row(seq % 4, b"%d" % seq)] if step == "row" else []
                    ring.append(*event(seq, epoch), rows)
                    events.append(event(seq, epoch))
                    candles |= {one.open_time_ms: one for one in rows}
                    forgotten = False  # with an event it is given everything again
                case "forget":
                    await kept(ring)
                    await redis.flushall()
                    forgotten = True
                case _:
                    await kept(ring)
                    epoch, seq = epoch + 1, 0
                    ring = await inherited(store, epoch=epoch)
                    if forgotten:
                        events, candles = [], {}
        await kept(ring)
        held = await store.load(PLACE)

    if forgotten:
        assert held == Past([], [])
    else:
        assert (held.entries, held.rows) == (events, [candles[time] for time in sorted(candles)])
