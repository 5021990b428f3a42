"""Which socket carries which feed, within the venue's budget."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from exchanges.errors import UpstreamCapacity
from exchanges.pool import Pool
from exchanges.venue import Capabilities, Stream
from tests.exchanges.toy_venue import CAPABILITIES, Ear, ToyVenue, endpoint, stream

pytestmark = pytest.mark.jumping_clock

Make = Callable[..., Pool]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    pools: list[Pool] = []

    def make(*, override: int | None = None, **budget: Any) -> Pool:
        pools.append(Pool("toy", Capabilities(**CAPABILITIES, **budget), max_streams_per_socket=override))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.aclose()


def streams(venue: ToyVenue, count: int, *, path: str = "") -> list[Stream]:
    on = endpoint(venue.url + path)
    return [stream(f"trades.{number}", on) for number in range(count)]


async def test_each_feed_has_a_socket_of_its_own_while_the_budget_allows(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=3, max_sockets=5)
    for one in streams(venue, 3):
        pool.open(one, Ear())
    assert pool.sockets == 3


async def test_from_then_on_feeds_share_the_least_loaded_socket(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=2, max_sockets=5, max_streams_per_socket=3)
    for one in streams(venue, 4):
        pool.open(one, Ear())
    lines = [await venue.line(), await venue.line()]
    assert [len(await line.hear_subscriptions(2)) for line in lines] == [2, 2]
    assert pool.sockets == 2


async def test_when_the_shared_sockets_are_full_another_is_opened(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=1, max_sockets=3, max_streams_per_socket=2)
    for one in streams(venue, 5):
        pool.open(one, Ear())
    assert pool.sockets == 3


async def test_when_every_socket_is_full_the_next_feed_is_refused(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=1, max_sockets=2, max_streams_per_socket=2)
    *fitting, one_more = streams(venue, 5)
    for one in fitting:
        pool.open(one, Ear())
    with pytest.raises(UpstreamCapacity) as refused:
        pool.open(one_more, Ear())
    assert refused.value.retry_after == 30.0
    assert pool.sockets == 2


async def test_a_feed_that_closes_makes_room_for_another(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=1, max_sockets=1, max_streams_per_socket=1)
    first, second = streams(venue, 2)
    pool.close(pool.open(first, Ear()))
    pool.open(second, Ear())
    assert pool.sockets == 1


async def test_streams_of_another_endpoint_never_share_a_socket(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=1, max_sockets=2)
    pool.open(streams(venue, 1, path="/public")[0], Ear())
    pool.open(streams(venue, 1, path="/market")[0], Ear())
    assert pool.sockets == 2


async def test_the_operator_may_lower_the_streams_of_a_socket(make: Make, venue: ToyVenue) -> None:
    pool = make(override=1, share_from=1, max_sockets=2, max_streams_per_socket=200)
    for one in streams(venue, 2):
        pool.open(one, Ear())
    assert (pool.sockets, pool.max_streams) == (2, 1)


async def test_a_shared_socket_closes_with_its_last_feed(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=1, max_sockets=1)
    feeds = [pool.open(one, Ear()) for one in streams(venue, 2)]
    line = await venue.line()
    await line.hear_subscriptions(2)
    pool.close(feeds[0])
    assert pool.sockets == 1
    pool.close(feeds[1])
    assert pool.sockets == 0
    await line.gone()


async def test_it_knows_how_many_sockets_are_up(make: Make, venue: ToyVenue) -> None:
    pool = make(share_from=2)
    async with ToyVenue() as gone:
        away = streams(gone, 1)[0]
    pool.open(away, Ear())
    pool.open(streams(venue, 1)[0], Ear())
    assert pool.connected == 0
    await (await venue.line()).hear()
    assert (pool.sockets, pool.connected) == (2, 1)


async def test_closing_the_pool_waits_until_every_socket_has_closed(make: Make, venue: ToyVenue) -> None:
    pool, before = make(share_from=2), asyncio.all_tasks()
    feeds = [pool.open(one, Ear()) for one in streams(venue, 4)]
    lines = [await venue.line(), await venue.line()]
    for line in lines:
        await line.hear_subscriptions(2)
    pool.close(feeds[0])
    pool.close(feeds[2])  # with it the first socket is on its way out
    await pool.aclose()
    running = [task for task in asyncio.all_tasks() - before if task.get_name().startswith("socket")]
    assert (pool.sockets, running) == (0, [])
    for line in lines:
        await line.gone()
