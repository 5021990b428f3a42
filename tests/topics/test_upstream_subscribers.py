"""Those who wait for a feed, those who have joined it, and those who leave."""

import asyncio

import pytest

from exchanges.errors import SubscribeFailed, VenueUnavailable
from tests.topics.conftest import Start
from tests.topics.distant_ring import DistantRing
from tests.topics.reader import Reader, broken, go_live, join, say, turns
from tests.topics.scripted_venue import EPOCH_MS, ScriptedVenue, book, trade, trades
from topics.audience import UNREACHABLE_AFTER
from topics.ring import RingBudget
from topics.upstream import Upstream


async def test_two_that_wait_are_let_in_with_what_each_asked_for(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    first, second = await join(upstream, rewind=1), await join(upstream, rewind=3)

    await go_live(upstream)

    assert (first.ids, second.ids) == ([3], [1, 2, 3])


async def test_who_leaves_while_waiting_gets_nothing(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    reader = await join(upstream, rewind=3)

    upstream.audience.leave(upstream.key, reader, 5.0)
    await go_live(upstream)
    await say(upstream, 4, 4)

    assert (reader.payloads, len(upstream.audience)) == ([], 0)


async def test_who_left_gets_nothing_more(start: Start) -> None:
    upstream = start("trades")
    await go_live(upstream)
    reader, other = await join(upstream), await join(upstream)
    await say(upstream, 1, 1)

    upstream.audience.leave(upstream.key, reader, 5.0)
    await say(upstream, 2, 2)

    assert (reader.ids, other.ids) == ([1], [1, 2])


async def test_an_upstream_is_idle_from_the_moment_the_last_one_leaves(start: Start) -> None:
    upstream = start("trades")
    await go_live(upstream)
    first, second = await join(upstream), await join(upstream)

    upstream.audience.leave(upstream.key, first, 5.0)
    with_one = upstream.audience.idle_since
    upstream.audience.leave(upstream.key, second, 6.0)

    assert (with_one, upstream.audience.idle_since, len(upstream.audience)) == (None, 6.0, 0)


async def test_a_snapshot_on_request_comes_after_the_frames_before_it(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 2)
    upstream = start("trades")
    await go_live(upstream)
    reader, other = await join(upstream), await join(upstream)

    upstream.on_events([trade(3)], EPOCH_MS)
    await upstream.audience.snapshot(upstream.key, reader)
    await say(upstream, 4, 4)

    assert (reader.ids, reader.seqs) == ([3, 1, 2, 3, 4], [2, 2, 3])
    assert other.ids == [3, 4]


async def test_there_is_no_snapshot_before_there_is_a_state(start: Start) -> None:
    upstream = start("trades")
    reader = await join(upstream)

    with pytest.raises(VenueUnavailable) as caught:
        await upstream.audience.snapshot(upstream.key, reader)

    assert caught.value.retryable


async def test_who_waits_too_long_is_told_once_and_stays(start: Start) -> None:
    upstream = start("trades")
    reader = await join(upstream)
    joined = asyncio.get_running_loop().time()

    upstream.check(joined + UNREACHABLE_AFTER - 1)
    early = list(reader.errors)
    upstream.check(joined + UNREACHABLE_AFTER + 1)
    upstream.check(joined + UNREACHABLE_AFTER + 2)

    assert early == []
    assert [(key, error.code, error.retryable, gone) for key, error, gone in reader.errors] == [
        (upstream.key, "UPSTREAM_ERROR", True, False)
    ]
    assert len(upstream.audience) == 1


async def test_a_refusal_is_told_to_those_who_wait_and_to_those_who_joined(
    start: Start, refused: list[Upstream]
) -> None:
    upstream = start("trades")
    await go_live(upstream)
    joined = await join(upstream)
    await broken(upstream)
    upstream.on_state("live", "")
    waiting = await join(upstream)

    upstream.on_refused(SubscribeFailed("no such market"))

    assert [(e.code, gone) for reader in (joined, waiting) for _, e, gone in reader.errors] == [
        ("SUBSCRIBE_FAILED", True)
    ] * 2
    assert refused == [upstream]


async def test_who_leaves_while_its_first_frame_is_read_gets_nothing(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades", ring=DistantRing(RingBudget()))
    await go_live(upstream)
    reader = Reader()
    joining = asyncio.create_task(upstream.audience.join(upstream.key, reader, snapshot=False, rewind=3))
    await turns(1)

    counted = len(upstream.audience)
    upstream.audience.leave(upstream.key, reader, 5.0)
    await joining
    await say(upstream, 4, 4)

    assert (counted, len(upstream.audience), upstream.audience.idle_since, reader.payloads) == (1, 0, 5.0, [])


async def test_who_leaves_while_others_are_let_in_is_not_let_in_any_more(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades", ring=DistantRing(RingBudget()))
    first, second = await join(upstream, rewind=3), await join(upstream, rewind=3)
    upstream.on_state("live", "")
    while upstream.cursor.seq == 0:
        await turns(1)
    await turns(1)

    upstream.audience.leave(upstream.key, second, 5.0)
    await turns(12)

    assert (first.ids, second.payloads, len(upstream.audience)) == ([1, 2, 3], [], 1)


async def test_a_refusal_while_a_first_frame_is_read_is_told_and_ends_the_subscription(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades", ring=DistantRing(RingBudget()))
    await go_live(upstream)
    reader = Reader()
    joining = asyncio.create_task(upstream.audience.join(upstream.key, reader, snapshot=False, rewind=3))
    await turns(1)

    upstream.on_refused(SubscribeFailed("no more"))
    await joining

    assert ([gone for _, _, gone in reader.errors], reader.payloads, len(upstream.audience)) == ([True], [], 0)


async def test_who_left_is_not_told_of_a_refusal(start: Start) -> None:
    upstream = start("trades")
    await go_live(upstream)
    left, stayed = await join(upstream), await join(upstream)
    await say(upstream, 1, 1)

    upstream.audience.leave(upstream.key, left, 5.0)
    upstream.on_refused(SubscribeFailed("no more"))

    assert (left.errors, len(stayed.errors)) == ([], 1)


async def test_who_joined_before_the_first_live_event_is_behind_from_where_the_stream_began(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    await join(upstream)

    await go_live(upstream)

    (topic,) = upstream.content.topics()
    assert topic.fanout.now.cursor == upstream.cursor
    assert upstream.cursor.seq == 1


# -- who takes nothing at the moment -----------------------------------------------------------------------------------


async def test_who_takes_nothing_gets_its_first_frame_when_it_does_and_holds_up_nobody(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    stalled, gate = Reader(), asyncio.Event()
    stalled.ready = gate.wait  # type: ignore[assignment, method-assign]
    coming = asyncio.create_task(upstream.audience.join(upstream.key, stalled, rewind=2))
    quick = await join(upstream, rewind=2)

    await go_live(upstream)
    await say(upstream, 4, 4)
    before = stalled.ids
    gate.set()
    await coming
    await say(upstream, 5, 5)

    assert quick.ids == [2, 3, 4, 5]
    assert (before, stalled.ids) == ([], [3, 4, 5])


async def test_who_takes_nothing_when_a_feed_goes_live_is_not_pushed_anything(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    stalled, gate = await join(upstream, rewind=2), asyncio.Event()
    stalled.ready = gate.wait  # type: ignore[assignment, method-assign]

    await go_live(upstream)
    before = stalled.pushes
    gate.set()
    await turns()

    assert (before, stalled.ids) == (0, [2, 3])


async def test_a_full_frame_on_request_waits_until_it_is_taken(start: Start) -> None:
    upstream = start("orderbook")
    upstream.on_book(book(7), EPOCH_MS)
    await turns()
    reader, gate = await join(upstream, snapshot=False), asyncio.Event()
    reader.ready = gate.wait  # type: ignore[assignment, method-assign]

    asking = [asyncio.create_task(upstream.audience.snapshot(upstream.key, reader)) for _ in range(3)]
    await turns()
    before = reader.pushes
    gate.set()
    await asyncio.gather(*asking)
    await turns()

    assert (before, len(reader.payloads)) == (0, 3)
