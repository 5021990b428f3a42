"""Who is given a feed, for how long, and who has it next: by a real server, and a clock that only the test moves."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from tests.redis_server import RedisServer, binaries
from tests.topics.claimant import Feed, place
from topics.lease import OWNERS_FIRST, RENEW_AFTER, SOONEST, STATES_KEPT, SURE_FOR, WORDS_KEPT, Leases
from topics.place import Place

NOW = 1_700_000_000_000  # ms; what the clock says when a feed is claimed
TTL = 60.0  # seconds: none ends by itself in a test
PATIENCE = 5.0

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@pytest.fixture
async def redis(shared: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(shared.url, legacy_responses=False, decode_responses=True) as redis:
        await redis.flushall()
        yield redis


class Clock:
    """Monotonic seconds."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.step = 0.0  # by which it moves whenever it is read

    def __call__(self) -> float:
        now, self.now = self.now, self.now + self.step
        return now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Node = Callable[..., Leases]


@pytest.fixture
async def node(clock: Clock) -> AsyncIterator[Node]:
    """Makes one."""
    async with AsyncExitStack() as stack:

        def make(server: RedisServer, name: str = "me", **differences: Any) -> Leases:
            options = {"clock_ms": lambda: NOW, "ttl": TTL, "probe_every": 1.0, "monotonic": clock, **differences}
            leases = Leases(server.url, name, **options)
            stack.push_async_callback(leases._redis.aclose)
            return leases

        yield make


@pytest.fixture
def me(shared: RedisServer, redis: Redis, node: Node) -> Leases:
    return node(shared)


@pytest.fixture
def other(shared: RedisServer, redis: Redis, node: Node) -> Leases:
    return node(shared, "other")


async def claim(leases: Leases, feed: Feed) -> Any:
    """What is said to a claim that is made now."""
    if feed in leases._due:
        leases.hurry(feed)
    else:
        leases.join(feed)
    await a_round(leases)
    return feed.answers[-1] if feed.answers else None


async def a_round(leases: Leases) -> bool:
    """One of ``run``."""
    return await leases._try()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # another process's state has no event
            await asyncio.sleep(0.005)


async def told(redis: Redis, where: Place | None = None) -> list[str]:
    return [fields["d"] for _, fields in await redis.xrange((where or place()).states)]


# -- who is given it ---------------------------------------------------------------------------------------------------

SOMEBODY = "somebody/1"
EARLIER, LATER = NOW - 1_000, NOW + 1_000


@pytest.mark.parametrize(
    ("holder", "epoch", "newest", "mine", "answer"),
    [
        pytest.param(None, None, None, 0, NOW, id="nobody ever had it"),
        pytest.param(None, EARLIER, EARLIER, 0, NOW, id="vacant"),
        pytest.param(None, LATER, None, 0, LATER + 1, id="vacant, of an owner whose clock was ahead"),
        pytest.param(None, None, LATER, 0, LATER + 1, id="vacant, the epoch's key is gone"),
        pytest.param(None, EARLIER, LATER, 0, LATER + 1, id="vacant, the epoch's key is older than the events"),
        pytest.param(SOMEBODY, EARLIER, EARLIER, 0, "somebody", id="held"),
        pytest.param(SOMEBODY, None, None, 0, "somebody", id="held, and all but the lease is gone"),
        pytest.param(None, None, None, EARLIER, EARLIER, id="run alone, nobody ever had it"),
        pytest.param(None, EARLIER, EARLIER, NOW, NOW, id="run alone, vacant"),
        pytest.param(SOMEBODY, EARLIER, EARLIER, NOW, NOW, id="run alone under a higher epoch"),
        pytest.param(SOMEBODY, NOW, None, NOW, "somebody", id="run alone under the same epoch"),
        pytest.param(None, NOW, NOW, NOW, NOW, id="lost and vacant: it goes on"),
        pytest.param(SOMEBODY, NOW, NOW, EARLIER, "somebody", id="run alone under a lower epoch"),
        pytest.param(SOMEBODY, EARLIER, NOW, EARLIER, "somebody", id="run alone under a lower epoch than the events"),
        pytest.param(None, LATER, LATER, NOW, LATER + 1, id="run alone under a lower epoch, and vacant"),
    ],
)
async def test_a_feed_is_given_to_one(
    redis: Redis, me: Leases, holder: str | None, epoch: int | None, newest: int | None, mine: int, answer: Any
) -> None:
    feed = Feed(epoch=mine)
    if holder is not None:
        await redis.set(feed.place.lease, holder, px=50_000)
    if epoch is not None:
        await redis.set(feed.place.epoch, epoch)
    if newest is not None:
        await redis.xadd(feed.place.events, {"d": "…"}, id=f"{newest}-7")

    assert await claim(me, feed) == answer
    given = isinstance(answer, int)
    lease, lives = await redis.get(feed.place.lease), await redis.pttl(feed.place.lease)
    assert lease is not None
    assert (lease == holder, lease.startswith("me/")) == (not given, given)
    assert (lives > 50_000) == given
    if given:
        assert (await redis.get(feed.place.epoch), await redis.pttl(feed.place.epoch)) == (str(answer), -1)
    else:
        assert await redis.get(feed.place.epoch) == (None if epoch is None else str(epoch))


async def test_an_epoch_is_above_that_of_events_which_are_all_gone(redis: Redis, me: Leases) -> None:
    await redis.xadd(place().events, {"d": "…"}, id=f"{LATER}-7")
    await redis.xtrim(place().events, maxlen=0, approximate=False)

    assert await claim(me, Feed()) == LATER + 1


async def test_who_did_not_hear_that_it_was_given_the_feed_is_told_again(redis: Redis, me: Leases) -> None:
    feed = Feed()
    epoch = await claim(me, feed)
    feed.epoch = 0

    assert await claim(me, feed) == epoch


async def test_who_did_not_hear_of_it_and_ran_the_feed_alone_is_given_the_epoch_that_it_missed(
    redis: Redis, me: Leases
) -> None:
    await redis.set(place().epoch, LATER)
    feed = Feed()
    epoch = await claim(me, feed)
    feed.epoch = NOW + 1  # by its own clock

    assert (epoch, await claim(me, feed)) == (LATER + 1, LATER + 1)


async def test_two_nodes_of_one_name_are_two(shared: RedisServer, redis: Redis, me: Leases, node: Node) -> None:
    assert [await claim(one, Feed()) for one in (me, node(shared, "me"))] == [NOW, "me"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["claim", "expire", "alone", "leave", "forget"]),
            st.integers(0, 2),  # node
            st.integers(-50, 50),  # what its clock says, from NOW
        ),
        max_size=25,
    )
)
async def test_one_has_it_at_a_time_and_epochs_rise_whatever_clocks_say(
    shared: RedisServer, redis: Redis, node: Node, steps: list[tuple[str, int, int]]
) -> None:
    await redis.flushall()
    clocks = [NOW] * 3
    nodes = [node(shared, str(number), clock_ms=lambda number=number: clocks[number]) for number in range(3)]
    feeds, newest, owner = [Feed() for _ in nodes], 0, -1
    epochs = set[int]()
    for what, number, offset in steps:
        leases, feed = nodes[number], feeds[number]
        clocks[number] = NOW + 200 * offset
        match what:
            case "claim":
                answer = await claim(leases, feed)
                if isinstance(answer, int):
                    assert answer > newest or (answer == newest and owner == number)
                    newest, owner = answer, number
                    epochs.add(answer)
                else:
                    assert answer == str(owner)
                    assert owner != number
            case "expire":
                await redis.delete(place().lease)
            case "alone" if not feed.epoch and (epoch := clocks[number] + 30 + 30 * number) not in epochs:
                feed.epoch = epoch  # of two that begin alone in one millisecond nothing is promised
                epochs.add(epoch)
            case "leave" if feed in leases._due:
                leases.leave(feed)
                feeds[number] = Feed()
                await a_round(leases)
            case "forget":  # one of the two places where the epoch is known
                await redis.delete(place().events)
                await redis.xadd(place().events, {"d": "…"}, id=f"{newest or 1}-1")
                await redis.delete(place().epoch)


# -- for how long ------------------------------------------------------------------------------------------------------


async def test_a_lease_is_renewed_after_a_third_of_its_life(redis: Redis, me: Leases, clock: Clock) -> None:
    feed = Feed()
    await claim(me, feed)
    clock.now += RENEW_AFTER * TTL - 0.01
    await a_round(me)
    before = len(feed.answers)
    clock.now += 0.01
    await redis.pexpire(feed.place.lease, 1_000)
    await a_round(me)

    assert (before, feed.answers) == (1, [NOW, NOW])
    assert await redis.pttl(feed.place.lease) > 50_000


async def test_an_owner_is_sure_for_two_thirds_of_the_time_from_when_it_asked(
    redis: Redis, me: Leases, clock: Clock
) -> None:
    feed = Feed()
    clock.step = 5.0  # so long everything takes
    began = clock.now
    await claim(me, feed)

    assert feed.until == began + SURE_FOR * TTL


async def test_who_does_not_get_it_asks_again_when_the_lease_would_end(redis: Redis, me: Leases, clock: Clock) -> None:
    feed = Feed()
    await redis.set(feed.place.lease, SOMEBODY, px=30_000)
    await claim(me, feed)
    clock.now += 29.5
    await a_round(me)
    before = feed.answers[:]
    clock.now += 0.5
    await a_round(me)

    assert (before, feed.answers) == (["somebody"], ["somebody"] * 2)


@pytest.mark.parametrize("lives", [1, None], ids=["it is about to end", "it has no end"])
async def test_a_claim_is_not_repeated_without_a_pause(
    redis: Redis, me: Leases, clock: Clock, lives: int | None
) -> None:
    feed = Feed()
    await redis.set(feed.place.lease, SOMEBODY, px=lives and 60_000)
    me.join(feed)
    if lives:
        await redis.pexpire(feed.place.lease, 20)
    await a_round(me)
    clock.now += SOONEST - 0.001
    await a_round(me)

    assert len(feed.answers) == 1


async def test_who_hurries_is_asked_for_at_once(redis: Redis, me: Leases) -> None:
    feed = Feed()
    await redis.set(feed.place.lease, SOMEBODY, px=30_000)
    await claim(me, feed)
    await redis.delete(feed.place.lease)
    me.hurry(feed)
    await a_round(me)

    assert feed.answers == ["somebody", NOW]


async def test_an_owner_hears_whether_others_follow(redis: Redis, me: Leases, other: Leases) -> None:
    feed = Feed()
    await claim(me, feed)
    alone = feed.followed
    await claim(other, Feed())
    await claim(me, feed)

    assert (alone, feed.followed) == (False, True)
    assert 0 < await redis.pttl(feed.place.followed) <= 3 * TTL * 1000


# -- who has it next ---------------------------------------------------------------------------------------------------


async def test_an_owner_that_leaves_gives_it_up_and_says_so(redis: Redis, me: Leases, other: Leases) -> None:
    feed, heir = Feed(), Feed()
    epoch = await claim(me, feed)
    me.leave(feed)
    await a_round(me)

    assert await told(redis) == ['{"state":"released"}']
    assert await claim(other, heir) == epoch + 1


async def test_who_only_followed_leaves_it_to_its_owner(redis: Redis, me: Leases, other: Leases) -> None:
    await claim(me, Feed())
    follower = Feed()
    await claim(other, follower)
    other.leave(follower)
    await a_round(other)

    assert (await redis.get(place().lease)).startswith("me/")
    assert await told(redis) == []


async def test_what_another_node_has_taken_meanwhile_is_not_given_up(redis: Redis, me: Leases, other: Leases) -> None:
    feed = Feed()
    await claim(me, feed)
    await redis.delete(feed.place.lease)
    await claim(other, Feed())
    me.leave(feed)
    await a_round(me)

    assert (await redis.get(feed.place.lease)).startswith("other/")
    assert await told(redis) == []


async def test_what_is_given_to_one_that_has_left_meanwhile_is_given_back(redis: Redis, me: Leases) -> None:
    feed = Feed()
    me.join(feed)
    asking = asyncio.create_task(a_round(me))
    await asyncio.sleep(0)  # it has asked
    me.leave(feed)
    await asking
    await a_round(me)

    assert feed.said == []
    assert await redis.exists(feed.place.lease) == 0
    assert await told(redis) == ['{"state":"released"}']


async def test_a_feed_that_is_left_and_joined_again_at_once_is_another_owners(redis: Redis, me: Leases) -> None:
    old, new = Feed(), Feed()
    await claim(me, old)
    me.leave(old)
    me.join(new)
    await a_round(me)
    if not new.epoch:
        await claim(me, new)

    assert new.epoch > old.epoch
    assert await redis.exists(new.place.lease) == 1


async def test_while_the_one_before_still_writes_the_next_follows_it(redis: Redis, me: Leases) -> None:
    old, new = Feed(), Feed()
    await claim(me, old)

    assert await claim(me, new) == "me"


# -- what is told ------------------------------------------------------------------------------------------------------


def words(state: str) -> bytes:
    return orjson.dumps({"state": state})


async def test_followers_are_told_the_newest_state(redis: Redis, me: Leases) -> None:
    feed = Feed()
    await claim(me, feed)
    me.tell(feed, words("connecting"))
    me.tell(feed, words("live"))
    await a_round(me)

    assert await told(redis) == ['{"state":"live"}']
    assert await redis.pttl(feed.place.states) > 0


async def test_of_what_was_told_little_is_kept(redis: Redis, me: Leases) -> None:
    feed = Feed()
    await claim(me, feed)
    for number in range(9):
        me.tell(feed, words(str(number)))
        await a_round(me)

    assert await told(redis) == [words(str(number)).decode() for number in range(9)][-STATES_KEPT:]


async def test_an_owner_is_asked_for_its_state_where_none_is_kept(redis: Redis, me: Leases) -> None:
    feed = Feed()
    await claim(me, feed)
    me.tell(feed, words("live"))
    await a_round(me)
    await claim(me, feed)
    await redis.delete(feed.place.states)
    await claim(me, feed)

    assert feed.said == [NOW, "untold", NOW, NOW, "untold"]


async def test_who_has_lost_a_feed_without_knowing_it_tells_nothing_of_it(
    redis: Redis, me: Leases, other: Leases
) -> None:
    feed, heir = Feed(), Feed()
    await claim(me, feed)
    await redis.delete(feed.place.lease)
    await claim(other, heir)
    other.tell(heir, words("live"))
    await a_round(other)
    me.tell(feed, words("reconnecting"))  # it was asleep, and so were its sockets
    await a_round(me)

    assert await told(redis) == ['{"state":"live"}']


# -- Redis away --------------------------------------------------------------------------------------------------------


async def test_while_redis_is_away_all_are_told_and_who_comes_is_told_at_once(
    server: RedisServer, node: Node, clock: Clock
) -> None:
    me, asked, late = node(server), Feed(), Feed(place(1))
    server.kill()

    assert await claim(me, asked) == "away"
    me.join(late)
    assert late.said == ["away"]
    clock.now += 0.5
    await a_round(me)
    assert asked.said == ["away"]  # not due yet
    clock.now += 0.5
    await a_round(me)
    assert asked.said == ["away"] * 2


async def test_after_an_outage_owners_come_first(server: RedisServer, node: Node, clock: Clock) -> None:
    asked = list[float]()
    me, other = node(server), node(server, "other", clock_ms=lambda: asked.append(clock.now) or NOW)
    owner, follower, newcomer = Feed(epoch=NOW), Feed(), Feed(place(1))
    server.kill()
    await claim(other, follower)
    await claim(me, owner)
    server.start()
    other.join(newcomer)
    clock.now += 1.0
    await a_round(other)
    back = clock.now
    await a_round(other)
    clock.now = back + OWNERS_FIRST * TTL - 0.1
    await a_round(other)
    assert (follower.answers, newcomer.answers) == (["away"], ["away"])
    assert await claim(me, owner) == NOW
    clock.now = back + OWNERS_FIRST * TTL
    await a_round(other)

    assert (follower.answers[1:], newcomer.answers[1:]) == (["me"], [NOW])
    assert asked[1:] == [back, back, clock.now, clock.now]  # and not in between


async def test_what_could_not_be_said_in_an_outage_is_said_after_it(
    server: RedisServer, node: Node, clock: Clock
) -> None:
    me, kept, gone = node(server), Feed(), Feed(place(1))
    await claim(me, kept)
    await claim(me, gone)
    server.kill()
    me.tell(kept, words("stale"))
    me.leave(gone)
    trying = asyncio.create_task(a_round(me))
    await asyncio.sleep(0)
    me.tell(kept, words("live"))  # while the other word is under way
    await trying
    server.start()
    async with Redis.from_url(server.url, legacy_responses=False, decode_responses=True) as redis:
        await redis.set(gone.place.lease, "kept over the outage")
        await a_round(me)
        said = await told(redis)
        clock.now += TTL
        await a_round(me)

        assert said == ['{"state":"live"}']
        assert await redis.get(gone.place.lease) == "kept over the outage"


@pytest.mark.parametrize("key", ["lease", "epoch", "events"])
@pytest.mark.parametrize("broken", ["another type", "no number"])
async def test_a_feed_whose_keys_are_broken_does_not_hold_up_the_others(
    redis: Redis, me: Leases, clock: Clock, caplog: pytest.LogCaptureFixture, key: str, broken: str
) -> None:
    bad, good, late = Feed(), Feed(place(1)), Feed(place(2))
    if broken == "another type":
        await redis.sadd(getattr(bad.place, key), "x")
    else:
        await redis.set(bad.place.epoch, "x")
    me.join(bad)
    me.join(good)
    await a_round(me)
    clock.now += 1.0
    answered = await a_round(me)  # of the bad one alone
    me.join(late)
    await a_round(me)

    assert (bad.said, good.answers, late.answers) == (["away"] * 2, [NOW], [NOW])
    assert answered
    assert {record.message for record in caplog.records if record.levelno >= logging.WARNING} == {"claim_failed"}
    caplog.clear()  # this was meant


# -- in the background -------------------------------------------------------------------------------------------------


class Faulty(Feed):
    """It fails whatever it is told."""

    def owned(self, epoch: int, *, until: float, followed: bool) -> None:
        raise ValueError("our bug")


# -- a feed whose slot has moved ---------------------------------------------------------------------------------------


async def test_a_claim_goes_on_at_another_server_as_the_same_holders(
    redis: Redis, shared: RedisServer, me: Leases, node: Node
) -> None:
    there, staying, moving = node(shared, "there"), Feed(place(1)), Feed(place(2))
    await claim(me, staying)
    await claim(me, moving)
    holder = await redis.get(moving.place.lease)
    said = len(moving.said)
    there.take_over(me.part_with(lambda where: where == staying.place))
    asked = moving.said[said:]
    await a_round(there)

    assert (list(me._due), list(there._due)) == ([staying], [moving])
    assert (asked, moving.answers) == (["untold"], [NOW, NOW])  # how it is it says there
    assert await redis.get(moving.place.lease) == holder


async def test_a_claim_that_is_answered_after_its_feed_has_moved_is_not_given_up(
    redis: Redis, shared: RedisServer, me: Leases, node: Node
) -> None:
    there, feed = node(shared, "there"), Feed()
    me.join(feed)
    asked = asyncio.create_task(a_round(me))
    await asyncio.sleep(0)  # it is being asked
    there.take_over(me.part_with(lambda where: False))
    await asked
    await a_round(me)
    await a_round(there)

    assert me._released == []
    assert (feed.answers, await redis.exists(feed.place.lease)) == ([NOW], 1)


async def test_what_was_being_said_of_a_feed_that_moves_is_not_said_after_what_is_newer(
    server: RedisServer, node: Node
) -> None:
    me, there, feed, gone = node(server), node(server, "there"), Feed(place(1), epoch=NOW), Feed(place(2), epoch=NOW)
    for one in (feed, gone):
        me.join(one)
        me.tell(one, b"old")
    me.leave(gone)
    server.freeze()
    asked = asyncio.create_task(a_round(me))
    await asyncio.sleep(0)  # it is being said
    there.take_over(me.part_with(lambda where: False))
    server.kill()
    await asked
    there.take_over(me.part_with(lambda where: False))

    assert [where for where, _ in there._told] == [gone.place]  # its last words
    assert [where for where, _ in there._released] == [gone.place]


async def test_where_a_server_did_not_answer_owners_come_first_at_the_one_that_has_its_slots(
    redis: Redis, shared: RedisServer, server: RedisServer, node: Node, clock: Clock
) -> None:
    lost, there, follower, owner = node(server), node(shared), Feed(), Feed(epoch=NOW)
    lost.join(follower)
    server.kill()
    await a_round(lost)
    there.take_over(lost.part_with(lambda where: False))
    await a_round(there)
    vacant = await redis.exists(follower.place.lease) == 0
    await claim(node(shared, "owner"), owner)
    clock.now += OWNERS_FIRST * TTL
    await a_round(there)

    assert vacant
    assert follower.answers == ["away", "owner"]


async def test_a_feed_that_fails_does_not_end_the_leases_of_the_others(
    redis: Redis, me: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = Faulty(place(1)), Feed(place(2))
    me.join(bad)
    me.join(good)
    await a_round(me)

    assert good.answers == [NOW]
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == ["claim_failed"]
    caplog.clear()  # this was meant


async def test_of_what_cannot_be_said_in_an_outage_a_bounded_number_is_kept_the_newest(
    server: RedisServer, node: Node
) -> None:
    me, feeds = node(server), [Feed(place(number), epoch=NOW) for number in range(WORDS_KEPT + 5)]
    for number, feed in enumerate(feeds):
        me.join(feed)
        me.tell(feed, b"%d" % number)
    for feed in feeds:
        me.leave(feed)
    server.kill()
    await a_round(me)

    assert [where for where, _ in me._released] == [feed.place for feed in feeds[5:]]
    assert list(me._told.values()) == [b"%d" % number for number in range(5, WORDS_KEPT + 5)]


async def test_a_feed_passes_from_node_to_node_without_anybody_asking_twice(
    shared: RedisServer, redis: Redis, node: Node
) -> None:
    loop = asyncio.get_running_loop()
    nodes = [node(shared, name, monotonic=loop.time, ttl=0.6) for name in ("a", "b", "c")]
    tasks = [asyncio.create_task(one.run()) for one in nodes]
    feeds = [Feed() for _ in nodes]
    for one, feed in zip(nodes, feeds, strict=True):
        one.join(feed)
        await until(lambda feed=feed: feed.answers)
    first = feeds[0].epoch
    nodes[0].leave(feeds[0])
    await until(lambda: feeds[1].epoch or feeds[2].epoch)
    heir = 1 if feeds[1].epoch else 2
    second = feeds[heir].epoch
    tasks[heir].cancel()  # it is gone without a word
    await until(lambda: feeds[3 - heir].epoch)

    assert first < second < feeds[3 - heir].epoch
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_was_given_up_as_everything_ended_is_given_up(server: RedisServer, node: Node, clock: Clock) -> None:
    me, feed = node(server), Feed()
    await claim(me, feed)
    server.freeze()
    task = asyncio.create_task(me.run())
    me.leave(feed)
    while me._released:  # noqa: ASYNC110  # until it is being said
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    server.thaw()
    await me.aclose()
    async with Redis.from_url(server.url, legacy_responses=False, decode_responses=True) as redis:
        assert await redis.exists(feed.place.lease) == 0
        assert await told(redis) == ['{"state":"released"}']
