"""One feed of trades or candles: how its stream begins, and what becomes of it in a break."""

import asyncio

import orjson
import pytest

from exchanges.errors import VenueTimeout
from tests.topics.conftest import Start
from tests.topics.reader import Reader, broken, go_live, join, numbers, say, turns
from tests.topics.scripted_venue import EPOCH_MS, ScriptedVenue, candle, trade, trades
from topics.candles import Candles
from topics.key import Cursor
from topics.recovery import MAX_HELD
from topics.ring import Entry
from topics.trades import Trades
from topics.upstream import Upstream
from topics.wire import trade_row


async def stored(upstream: Upstream) -> list[tuple[int, list[int]]]:
    """What the ring holds: seq and trades of each event."""
    assert isinstance(upstream.content, Trades)
    entries = await upstream.content.ring.last(1_000)
    return [(entry.cursor.seq, numbers(orjson.loads(entry.payload)["data"])) for entry in entries]


# -- the beginning -----------------------------------------------------------------------------------------------------


async def test_history_and_what_came_meanwhile_are_the_first_event_and_sent_to_nobody(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    venue.answering.clear()
    upstream = start("trades")
    reader = await join(upstream)
    await go_live(upstream)
    await say(upstream, 3, 5)

    venue.answering.set()
    await turns()

    assert await stored(upstream) == [(1, [1, 2, 3, 4, 5])]
    assert (reader.payloads, upstream.cursor) == ([], Cursor(EPOCH_MS, 1))


async def test_nothing_is_published_while_history_is_fetched(start: Start, venue: ScriptedVenue) -> None:
    venue.answering.clear()
    upstream = start("trades")
    reader = await join(upstream)
    await go_live(upstream)

    await say(upstream, 1, 5)

    assert (reader.payloads, upstream.cursor.seq, upstream.live) == ([], 0, False)


async def test_the_stream_goes_on_right_after_the_history(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    reader = await join(upstream, rewind=2)
    await go_live(upstream)

    await say(upstream, 4, 5)

    assert (reader.ids, reader.seqs) == ([2, 3, 4, 5], [1, 2])


async def test_a_history_that_cannot_be_fetched_leaves_what_was_held(start: Start, venue: ScriptedVenue) -> None:
    venue.answering.clear()
    venue.error = VenueTimeout("the venue did not answer")
    upstream = start("trades")
    await go_live(upstream)
    await say(upstream, 1, 2)

    venue.answering.set()
    await turns()

    assert (await stored(upstream), upstream.live) == ([(1, [1, 2])], True)


@pytest.mark.jumping_clock
async def test_the_stream_waits_for_its_history_only_so_long(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    venue.answering.clear()
    upstream = start("trades")
    await go_live(upstream)
    await say(upstream, 4, 4)

    await asyncio.sleep(1.9)
    before = upstream.live
    await asyncio.sleep(0.2)

    assert (before, upstream.live, await stored(upstream)) == (False, True, [(1, [4])])


async def test_too_much_to_hold_ends_the_wait_for_history(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    venue.answering.clear()
    upstream = start("trades")
    await go_live(upstream)

    await say(upstream, 10, 10 + MAX_HELD)
    held = upstream.cursor.seq
    venue.answering.set()
    await say(upstream, 11 + MAX_HELD, 11 + MAX_HELD)

    assert (held, [seq for seq, _ in await stored(upstream)], upstream.live) == (1, [1, 2], True)


@pytest.mark.jumping_clock
async def test_a_venue_that_replays_trades_is_given_time_to_do_so(start: Start, venue: ScriptedVenue) -> None:
    upstream = start("trades", replays=True)
    reader = await join(upstream)
    await go_live(upstream)

    await asyncio.sleep(0.5)
    await say(upstream, 1, 5)

    assert (await stored(upstream), reader.payloads) == ([(1, [1, 2, 3, 4, 5])], [])


@pytest.mark.jumping_clock
async def test_a_venue_that_has_nothing_to_replay_is_not_waited_for_longer(start: Start) -> None:
    upstream = start("trades", replays=True)
    await go_live(upstream)
    before = upstream.live

    await asyncio.sleep(1.1)

    assert (before, upstream.live) == (False, True)


async def test_a_market_without_history_begins_at_its_first_trade(start: Start) -> None:
    upstream = start("trades")
    reader = await join(upstream, snapshot=True)
    await go_live(upstream)

    await say(upstream, 1, 1)

    assert (reader.ids, reader.seqs) == ([1], [1])


# -- breaks ------------------------------------------------------------------------------------------------------------


async def test_after_a_reconnect_the_missed_trades_are_published_once(start: Start, venue: ScriptedVenue) -> None:
    upstream = start("trades")
    await go_live(upstream)
    reader = await join(upstream)
    await say(upstream, 1, 3)

    await broken(upstream)
    venue.trades = trades(1, 6)
    await go_live(upstream)
    await say(upstream, 6, 7)

    assert (reader.ids, reader.seqs) == ([1, 2, 3, 4, 5, 6, 7], [1, 3, 4])  # the second event is the gap


async def test_missed_trades_come_before_those_that_arrive_while_they_are_fetched(
    start: Start, venue: ScriptedVenue
) -> None:
    upstream = start("trades")
    await go_live(upstream)
    reader = await join(upstream)
    await say(upstream, 1, 1)
    await broken(upstream)
    venue.trades = trades(1, 3)
    venue.answering.clear()
    await go_live(upstream)

    await say(upstream, 3, 5)
    venue.answering.set()
    await turns()

    assert reader.ids == [1, 2, 3, 4, 5]


async def test_a_reconnect_that_missed_nothing_publishes_nothing(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = start("trades")
    await go_live(upstream)
    reader = await join(upstream)

    await broken(upstream)
    await go_live(upstream)

    assert (reader.payloads, upstream.cursor.seq, upstream.live) == ([], 1, True)


async def test_a_broken_feed_is_not_live_and_keeps_its_epoch(start: Start) -> None:
    upstream = start("trades")
    await go_live(upstream)
    await say(upstream, 1, 1)

    await broken(upstream)

    assert (upstream.live, upstream.state, upstream.cursor) == (False, "reconnecting", Cursor(EPOCH_MS, 1))


async def test_who_joins_while_missed_trades_are_fetched_is_let_in_with_them(
    start: Start, venue: ScriptedVenue
) -> None:
    upstream = start("trades")
    await go_live(upstream)
    await say(upstream, 1, 3)
    await broken(upstream)
    venue.trades = trades(1, 5)
    venue.answering.clear()
    await go_live(upstream)

    reader = await join(upstream, rewind=4)
    venue.answering.set()
    await turns()
    await say(upstream, 6, 6)

    assert reader.ids == [2, 3, 4, 5, 6]


async def test_a_feed_that_breaks_while_its_history_is_fetched_is_not_live(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    venue.answering.clear()
    upstream = start("trades")
    await go_live(upstream)

    await broken(upstream)
    venue.answering.set()
    await turns()

    assert (upstream.live, upstream.state) == (False, "connecting")


async def test_a_history_fetched_before_a_break_does_not_pass_for_the_one_after_it(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    venue.answering.clear()
    upstream = start("trades")
    reader = await join(upstream, rewind=9)
    await go_live(upstream)

    await broken(upstream)
    venue.trades = trades(1, 5)
    await go_live(upstream)
    await say(upstream, 6, 6)
    venue.answering.set()
    await turns()

    assert reader.ids == [1, 2, 3, 4, 5, 6]


async def test_missed_trades_reach_those_who_joined_before_there_was_any_trade(
    start: Start, venue: ScriptedVenue
) -> None:
    upstream = start("trades")
    await go_live(upstream)
    reader = await join(upstream)

    await broken(upstream)
    venue.trades = trades(1, 2)
    await go_live(upstream)
    await say(upstream, 3, 3)

    assert (reader.ids, reader.seqs) == ([1, 2, 3], [2, 3])


async def test_candles_missed_in_a_break_are_published_ascending(start: Start, venue: ScriptedVenue) -> None:
    venue.candles = [candle(1), candle(2)]
    upstream = start("ohlcv")
    await go_live(upstream)
    reader = await join(upstream, snapshot=True)

    await broken(upstream)
    venue.candles = [candle(2, close=7.0), candle(3), candle(4)]
    await go_live(upstream)

    first, missed = reader.messages
    assert ([row[0] for row in first["data"]], first["cursor"]) == ([candle(2).open_time_ms], f"{EPOCH_MS}-1")
    assert ([row[4] for row in missed["data"]], missed["cursor"]) == ([7.0, 100.0, 100.0], f"{EPOCH_MS}-3")
    assert (missed["repair"], [meta["closed"] for meta in missed["meta"]]) == (True, [True, True, False])


async def test_a_candle_that_came_while_history_was_fetched_is_newer_than_it(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.candles = [candle(1), candle(2, close=5.0)]
    venue.answering.clear()
    upstream = start("ohlcv")
    await go_live(upstream)
    upstream.on_events([candle(2, close=6.0)], EPOCH_MS)

    venue.answering.set()
    await turns()

    assert isinstance(upstream.content, Candles)
    assert [orjson.loads(row.payload)[4] for row in await upstream.content.ring.rows(9)] == [100.0, 6.0]


# -- after an earlier process ------------------------------------------------------------------------------------------


def kept(first: int, last: int) -> list[Entry]:
    """What an earlier process published: a trade an event."""
    entries = []
    for number in range(first, last + 1):
        cursor = Cursor(EPOCH_MS - 9, number)
        frame = {"type": "trades", "cursor": str(cursor), "data": [trade_row(trade(number), "BTC/USDT:USDT")]}
        entries.append(Entry(cursor, orjson.dumps(frame)))
    return entries


async def restored(start: Start, entries: list[Entry], *, dense: bool = False) -> Upstream:
    one = start("trades", owned=False, dense=dense)
    assert isinstance(one.content, Trades)
    for entry in entries:
        one.content.ring.append(*entry)
    one.own(EPOCH_MS, entries)
    return one


@pytest.mark.parametrize(
    ("live_first", "dense"),
    [(True, True), (False, True), (True, False)],  # what cannot be counted waits for the stream to speak
    ids=["the stream goes on first", "REST answers first", "the stream goes on first and is not counted"],
)
async def test_what_follows_an_earlier_process_begins_with_a_word_of_it_and_misses_nothing(
    start: Start, venue: ScriptedVenue, live_first: bool, dense: bool
) -> None:
    venue.trades = trades(1, 5)
    upstream = await restored(start, kept(1, 3), dense=dense)
    reader = await join(upstream, extended=True)
    resumed = Reader(extended=True)
    await upstream.audience.join(upstream.key, resumed, since=Cursor(EPOCH_MS - 9, 2))
    venue.answering.clear()
    await go_live(upstream)
    if live_first:
        await say(upstream, 4, 5)
    venue.answering.set()
    await turns(20)
    await say(upstream, 6, 6)

    events = [message for message in resumed.messages if "cursor" in message and message["type"] != "caughtUp"]
    gap = events[1]
    assert resumed.ids == [3, 4, 5, 6]
    assert (gap["type"], gap["reason"], gap["missing"]) == ("gap", "EPOCH_CHANGED", 0)
    assert (gap["cursor"], gap["from"]["cursor"]) == (f"{EPOCH_MS}-1", f"{EPOCH_MS - 9}-3")
    assert [event["cursor"] for event in events[1:]] == [f"{EPOCH_MS}-{n}" for n in range(1, len(events))]
    assert reader.ids == [6]  # it came when the stream was whole again


async def test_a_trade_that_an_earlier_process_published_is_not_published_again(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 3)
    upstream = await restored(start, kept(1, 3), dense=True)
    reader = await join(upstream)

    await go_live(upstream)
    await say(upstream, 2, 4)

    assert reader.ids == [4]


async def test_a_feed_of_which_nothing_is_kept_begins_as_any_other(start: Start, venue: ScriptedVenue) -> None:
    venue.trades = trades(1, 3)
    upstream = await restored(start, [])
    await go_live(upstream)

    assert await stored(upstream) == [(1, [1, 2, 3])]


async def test_who_asks_what_becomes_of_a_cursor_waits_until_it_can_be_known(start: Start) -> None:
    upstream = start("trades", owned=False)
    asking = asyncio.create_task(upstream.audience.judge(Cursor(EPOCH_MS - 9, 1)))
    await turns()
    before = asking.done()

    assert isinstance(upstream.content, Trades)
    for entry in kept(1, 3):
        upstream.content.ring.append(*entry)
    upstream.own(EPOCH_MS, kept(1, 3))
    await turns()

    assert (before, asking.result().status, asking.result().events) == (False, "recovered", 2)


async def test_who_waits_for_a_followed_feed_that_nobody_can_read_yet_is_given_its_past_when_somebody_can(
    start: Start,
) -> None:
    upstream = start("trades", owned=False)
    assert isinstance(upstream.content, Trades)
    waiting = await join(upstream, rewind=2)
    upstream.told("stale", "redis is away", 0, None)
    await turns()
    before = waiting.ids

    for entry in kept(1, 3):
        upstream.content.ring.append(*entry)
    upstream.follow(kept(1, 3)[-1].cursor)
    upstream.told("live", "", 0, None)
    await turns()

    assert (before, waiting.ids) == ([], [2, 3])
