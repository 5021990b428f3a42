"""Where a REST answer comes from, and which part of what is known it has."""

import asyncio

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.errors import VenueTimeout
from tests.topics.reader import live, numbers, turns
from tests.topics.scripted_venue import EPOCH_MS, NOW_MS, SYMBOL, ScriptedVenue, trade, trades
from topics.history import Answer, History, Span
from topics.key import Cursor
from topics.manager import Manager


def span(limit: int = 100, *, since: int | None = None, until: int | None = None) -> Span:
    """Times are those of numbered trades."""
    return Span(
        since=None if since is None else EPOCH_MS + since,
        until=None if until is None else EPOCH_MS + until,
        limit=limit,
    )


async def ask(history: History, manager: Manager, span: Span, *, newest_first: bool = False) -> Answer:
    key, instrument = manager.resolve("trades", None, SYMBOL, {})
    return await history.trades(key, instrument, span, newest_first=newest_first, params={})


def ids(answer: Answer) -> list[int]:
    return numbers(orjson.loads(answer.body))


# -- spans -------------------------------------------------------------------------------------------------------------


@given(
    times=st.lists(st.integers(0, 20)).map(sorted),
    since=st.none() | st.integers(-1, 21),
    until=st.none() | st.integers(-1, 21),
    limit=st.integers(1, 8),
)
def test_a_span_is_inclusive_and_counts_from_since_or_back_from_the_newest(
    times: list[int], since: int | None, until: int | None, limit: int
) -> None:
    fitting = [t for t in times if (since is None or t >= since) and (until is None or t <= until)]

    cut = Span(since=since, until=until, limit=limit).cut(times, lambda time: time)

    assert cut == (fitting[:limit] if since is not None else fitting[-limit:])


# -- the ring, the venue, or both --------------------------------------------------------------------------------------


async def test_a_topic_that_does_not_run_is_the_venues_to_answer(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 9)

    answer = await ask(history, manager, span(3))

    assert (ids(answer), answer.state, answer.cursor, answer.age_ms) == ([7, 8, 9], "cold", None, 0)


async def test_a_live_ring_that_covers_the_question_answers_alone(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 9)
    upstream = await live(manager)
    asked = venue.asked

    answer = await ask(history, manager, span(3))

    assert (ids(answer), answer.state, answer.cursor, venue.asked) == ([7, 8, 9], "live", upstream.cursor, asked)


async def test_an_answer_is_oldest_first_also_where_the_stream_was_not(history: History, manager: Manager) -> None:
    upstream = await live(manager)
    upstream.on_events([trade(1), trade(3), trade(2), trade(4)], EPOCH_MS)

    answer = await ask(history, manager, span(4))

    assert (ids(answer), answer.cursor) == ([1, 2, 3, 4], upstream.cursor)


async def test_what_the_venue_says_is_not_merged_with_a_ring_it_does_not_reach(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    upstream = await live(manager)
    upstream.on_events(trades(7, 9), EPOCH_MS)
    venue.trades = trades(1, 5)

    answer = await ask(history, manager, span(100))

    assert (ids(answer), answer.cursor) == ([1, 2, 3, 4, 5], None)


async def test_trades_of_one_time_are_merged_by_their_place_and_not_by_it(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    upstream = await live(manager)
    upstream.on_events([trade(3, at=EPOCH_MS)], EPOCH_MS)
    venue.trades = [trade(number, at=EPOCH_MS) for number in range(1, 6)]

    answer = await ask(history, manager, span(100))

    assert (ids(answer), answer.cursor) == ([1, 2, 3], upstream.cursor)


async def test_a_ring_that_is_too_short_is_merged_with_the_venue_by_id(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(4, 6)
    upstream = await live(manager)
    venue.trades = trades(1, 6)
    upstream.on_events(trades(7, 7), EPOCH_MS)

    answer = await ask(history, manager, span(100))

    assert (ids(answer), answer.cursor) == ([1, 2, 3, 4, 5, 6, 7], Cursor(EPOCH_MS, 2))


async def test_a_trade_the_stream_has_not_brought_yet_is_left_to_it(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 6)
    upstream = await live(manager)
    venue.trades = trades(1, 8)

    answer = await ask(history, manager, span(100))

    assert (ids(answer), answer.cursor) == ([1, 2, 3, 4, 5, 6], upstream.cursor)


async def test_an_answer_has_what_is_still_due_in_this_turn(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = await live(manager)

    upstream.on_events(trades(4, 4), EPOCH_MS)
    answer = await ask(history, manager, span(2))

    assert (ids(answer), answer.cursor) == ([3, 4], Cursor(EPOCH_MS, 2))


async def test_a_feed_that_begins_while_the_venue_answers_gives_the_answer_its_cursor(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 5)
    venue.answering.clear()
    asking = asyncio.create_task(ask(history, manager, span(100)))
    await turns()

    answer_us, venue.answering = venue.answering, asyncio.Event()
    venue.answering.set()
    upstream = await live(manager)
    answer_us.set()
    answer = await asking

    assert (ids(answer), answer.cursor, answer.state) == ([1, 2, 3, 4, 5], upstream.cursor, "live")


async def test_a_broken_feed_is_stale_and_the_venue_answers(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = await live(manager)
    upstream.on_state("reconnecting", "closed")
    venue.trades = trades(1, 5)

    answer = await ask(history, manager, span(2))

    assert (ids(answer), answer.state, answer.cursor) == ([4, 5], "stale", None)


async def test_a_live_feed_that_never_brought_anything_has_no_cursor_to_join_at(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    await live(manager)
    venue.trades = trades(1, 2)

    answer = await ask(history, manager, span(5))

    assert (ids(answer), answer.state, answer.cursor) == ([1, 2], "live", None)


async def test_the_venues_failure_is_the_answers(history: History, manager: Manager, venue: ScriptedVenue) -> None:
    venue.error = VenueTimeout("the venue did not answer")

    with pytest.raises(VenueTimeout):
        await ask(history, manager, span(5))


async def test_an_answer_says_how_old_its_newest_event_is(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = await live(manager)
    upstream.on_events(trades(4, 4), NOW_MS - 250)

    assert (await ask(history, manager, span(2))).age_ms == 250


# -- which rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected", "joins"),
    [
        (span(100), list(range(1, 21)), True),
        (span(3), [18, 19, 20], True),
        (span(3, since=15), [15, 16, 17], False),
        (span(100, since=15), list(range(15, 21)), True),
        (span(6, since=15), list(range(15, 21)), True),
        (span(3, since=5), [5, 6, 7], False),  # before the ring begins
        (span(100, since=5), list(range(5, 21)), True),
        (span(100, since=1), list(range(1, 21)), True),
        (span(3, until=12), [10, 11, 12], False),
        (span(3, until=5), [3, 4, 5], False),
        (span(100, until=20), list(range(1, 21)), False),  # until asks for an end, not for a place to go on from
        (span(100, since=8, until=12), [8, 9, 10, 11, 12], False),
        (span(2, since=8, until=12), [8, 9], False),
        (span(100, since=21), [], False),
        (span(100, until=0), [], False),
        (span(100, since=12, until=8), [], False),
    ],
)
@pytest.mark.parametrize("newest_first", [False, True])
async def test_since_until_limit_and_order_hold_wherever_the_rows_come_from(
    history: History,
    manager: Manager,
    venue: ScriptedVenue,
    wanted: Span,
    expected: list[int],
    joins: bool,
    newest_first: bool,
) -> None:
    venue.trades = trades(10, 15)  # what the ring begins with
    upstream = await live(manager)
    upstream.on_events(trades(16, 18), EPOCH_MS)
    await turns()
    upstream.on_events(trades(19, 20), EPOCH_MS)
    venue.trades = trades(1, 20)

    answer = await ask(history, manager, wanted, newest_first=newest_first)

    assert ids(answer) == (expected[::-1] if newest_first else expected)
    assert answer.cursor == (upstream.cursor if joins else None)


@pytest.mark.parametrize("since", [12, 15, 16, 18, 20])
async def test_since_a_time_that_the_ring_reaches_behind_the_venue_is_not_asked(
    history: History, manager: Manager, venue: ScriptedVenue, since: int
) -> None:
    venue.trades = trades(10, 15)
    upstream = await live(manager)
    upstream.on_events(trades(16, 18), EPOCH_MS)
    await turns()
    upstream.on_events(trades(19, 20), EPOCH_MS)
    asked = venue.asked

    answer = await ask(history, manager, span(100, since=since))

    assert (ids(answer), venue.asked) == (list(range(since, 21)), asked)
