"""What a client is told of a loss: the gap before what was fetched, and the state of the stream all along."""

import asyncio
from typing import Any

import orjson
import pytest

from exchanges.errors import VenueUnavailable
from tests.topics.conftest import Start
from tests.topics.reader import Reader, broken, go_live, join, say, turns
from tests.topics.scripted_venue import EPOCH_MS, ScriptedVenue, candle, trade, trades
from topics.candle_sequence import RETRY_MS
from topics.recovery import FIRST_WORDS, MEND_TIMEOUT, REORDER_WINDOW
from topics.trade_sequence import MAX_WITHHELD
from topics.trades import Trades
from topics.upstream import Upstream


def of_type(reader: Reader, kind: str) -> list[dict[str, Any]]:
    return [message for message in reader.messages if message["type"] == kind]


def cursor(seq: int) -> str:
    return f"{EPOCH_MS}-{seq}"


async def running(start: Start, *, extended: bool = True, **differences: Any) -> tuple[Upstream, Reader]:
    """A live feed of trades of which 1 to 3 have been published, and who follows it."""
    upstream = start("trades", **differences)
    await go_live(upstream)
    reader = await join(upstream, extended=extended)
    await say(upstream, 1, 3)
    await turns()
    reader.payloads.clear()
    return upstream, reader


async def reconnect(upstream: Upstream) -> None:
    await broken(upstream)
    await go_live(upstream)


# -- gaps --------------------------------------------------------------------------------------------------------------


async def test_a_gap_stands_before_what_was_fetched_and_says_that_it_is_all(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.trades = trades(1, 6)

    await reconnect(upstream)

    (gap,) = of_type(reader, "gap")
    assert gap | {"topic": None} == {
        "type": "gap",
        "channel": "trades",
        "topic": None,
        "cursor": cursor(2),
        "reason": "UPSTREAM_RECONNECT",
        "from": {"cursor": cursor(1), "time": EPOCH_MS + 3},
        "to": {"cursor": cursor(3), "time": None},
        "missing": 0,
        "backfilled": True,
        "rows": 3,
    }
    assert (reader.ids, venue.missed_after) == ([4, 5, 6], ["3"])


async def test_a_base_client_sees_the_gap_as_a_hole_in_the_numbers(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start, extended=False)
    venue.trades = trades(1, 6)

    await reconnect(upstream)

    assert ({message["type"] for message in reader.messages}, reader.seqs) == ({"trades"}, [3])


async def test_a_gap_is_remembered_like_any_other_event(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.trades = trades(1, 6)

    await reconnect(upstream)

    assert isinstance(upstream.content, Trades)
    stored = [entry.payload for entry in await upstream.content.ring.last(2)]
    assert stored == [payload for payload in reader.payloads if b'"status"' not in payload[:20]]


async def test_a_reconnect_that_missed_nothing_declares_nothing(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.trades = trades(1, 3)

    await reconnect(upstream)
    await say(upstream, 4, 4)

    assert (of_type(reader, "gap"), reader.ids) == ([], [4])


@pytest.mark.jumping_clock
async def test_a_jump_in_the_ids_of_a_live_stream_is_filled_and_said(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.trades = trades(4, 9)

    await say(upstream, 7, 7)
    withheld = list(reader.ids)
    await asyncio.sleep(REORDER_WINDOW + 0.1)

    (gap,) = of_type(reader, "gap")
    assert (withheld, reader.ids) == ([], [4, 5, 6, 7, 8, 9])
    assert (gap["reason"], gap["missing"], gap["rows"]) == ("VENUE_SKIP", 0, 5)
    assert gap["to"] == {"cursor": cursor(3), "time": EPOCH_MS + 7}


@pytest.mark.jumping_clock
async def test_messages_in_the_wrong_order_are_put_right_and_no_loss(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)

    upstream.on_events([trade(5), trade(4)], EPOCH_MS)
    await asyncio.sleep(REORDER_WINDOW + 0.1)

    assert (reader.ids, of_type(reader, "gap"), venue.missed_after) == ([4, 5], [], [])


@pytest.mark.jumping_clock
async def test_a_loss_that_cannot_be_made_up_for_in_time_is_said_by_number(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.error = VenueUnavailable("away")

    await say(upstream, 7, 7)
    await asyncio.sleep(REORDER_WINDOW + MEND_TIMEOUT + 0.1)

    (gap,) = of_type(reader, "gap")
    assert (gap["missing"], gap["backfilled"], gap["rows"], reader.ids) == (3, False, 0, [7])


@pytest.mark.jumping_clock
async def test_rest_that_is_behind_the_stream_is_asked_until_it_reaches_it(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.trades = trades(4, 5)
    await say(upstream, 8, 8)
    await asyncio.sleep(REORDER_WINDOW + 0.1)
    asked = len(venue.missed_after)

    venue.trades = trades(4, 8)
    await asyncio.sleep(1.0)

    assert (asked, reader.ids, of_type(reader, "gap")[0]["missing"]) == (1, [4, 5, 6, 7, 8], 0)


@pytest.mark.jumping_clock
async def test_more_than_may_be_withheld_does_not_wait_for_rest(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.answering.clear()

    await say(upstream, 10, 10)
    await say(upstream, 11, 10 + MAX_WITHHELD)

    assert (len(reader.ids), of_type(reader, "gap")[0]["missing"]) == (MAX_WITHHELD + 1, 6)


async def test_where_ids_say_nothing_a_list_that_overlaps_proves_the_backfill(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 1)
    upstream, reader = await running(start, dense=False)
    venue.trades = trades(1, 6)

    await broken(upstream)
    venue.answering.clear()
    await go_live(upstream)
    await say(upstream, 6, 7)
    venue.answering.set()
    await turns()

    (gap,) = of_type(reader, "gap")
    assert (reader.ids, gap["missing"], gap["rows"]) == ([4, 5, 6, 7], 0, 2)


@pytest.mark.jumping_clock
async def test_a_loss_is_called_one_until_the_stream_has_met_what_was_fetched(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 1)
    upstream, reader = await running(start, dense=False)
    venue.trades = trades(1, 5)
    await reconnect(upstream)
    await asyncio.sleep(FIRST_WORDS + 0.1)

    venue.trades = trades(1, 8)
    await say(upstream, 8, 8)

    assert [(gap["reason"], gap["rows"], gap["missing"]) for gap in of_type(reader, "gap")] == [
        ("UPSTREAM_RECONNECT", 2, 0),
        ("UPSTREAM_RECONNECT", 2, 0),
    ]
    assert reader.ids == [4, 5, 6, 7, 8]


@pytest.mark.jumping_clock
async def test_where_ids_say_nothing_and_no_list_overlaps_nobody_knows_what_is_missing(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 1)
    upstream, reader = await running(start, dense=False)
    venue.trades = trades(8, 9)

    await broken(upstream)
    await go_live(upstream)
    await say(upstream, 9, 9)
    await asyncio.sleep(MEND_TIMEOUT + 0.1)

    gap = of_type(reader, "gap")[0]
    assert (gap["missing"], gap["backfilled"], reader.ids) == (None, False, [8, 9])


@pytest.mark.jumping_clock
async def test_a_message_that_could_not_be_read_is_looked_for_like_a_loss_of_the_same_stream(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 1)
    upstream, reader = await running(start, dense=False)
    venue.trades = trades(1, 6)

    upstream.on_unreadable()
    await say(upstream, 6, 6)
    await asyncio.sleep(0.1)

    (gap,) = of_type(reader, "gap")
    assert (gap["reason"], gap["rows"], gap["missing"], reader.ids) == ("VENUE_SKIP", 2, 0, [4, 5, 6])
    assert of_type(reader, "status") == []


@pytest.mark.jumping_clock
async def test_an_unreadable_message_of_another_stream_of_the_socket_is_no_loss(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.trades = trades(1, 1)
    upstream, reader = await running(start, dense=False)
    venue.trades = trades(1, 3)

    upstream.on_unreadable()
    await asyncio.sleep(FIRST_WORDS + 0.1)
    venue.trades = trades(1, 4)
    await say(upstream, 4, 4)
    await asyncio.sleep(0.1)

    assert (of_type(reader, "gap"), reader.ids) == ([], [4])


async def test_candles_a_loss_touched_come_as_a_repair_behind_a_gap(start: Start, venue: ScriptedVenue) -> None:
    venue.candles = [candle(1)]
    upstream = start("ohlcv")
    await go_live(upstream)
    reader = await join(upstream, extended=True)
    venue.candles = [candle(1, close=5.0), candle(2)]

    await reconnect(upstream)

    (gap,), (repair,) = of_type(reader, "gap"), of_type(reader, "ohlcv")
    assert (gap["backfilled"], gap["rows"], gap["cursor"]) == (True, 2, cursor(2))
    assert (repair["repair"], repair["cursor"], repair["meta"]) == (
        True,
        cursor(3),
        [{"closed": closed, "complete": True, "source": "rest"} for closed in (True, False)],
    )


async def test_a_candle_that_only_went_on_forming_is_no_loss(start: Start, venue: ScriptedVenue) -> None:
    venue.candles = [candle(1)]
    upstream = start("ohlcv")
    await go_live(upstream)
    reader = await join(upstream, extended=True)
    venue.candles = [candle(1, close=5.0)]

    await reconnect(upstream)

    assert ([row[4] for row in of_type(reader, "ohlcv")[0]["data"]], of_type(reader, "gap")) == ([5.0], [])


@pytest.mark.jumping_clock
async def test_candles_that_could_not_be_had_are_a_gap_and_are_asked_for_again(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.candles = [candle(1)]
    upstream = start("ohlcv", marks_closed=False)
    await go_live(upstream)
    reader = await join(upstream, extended=True)
    venue.error = VenueUnavailable("away")
    await reconnect(upstream)
    await asyncio.sleep(MEND_TIMEOUT + 0.1)
    upstream.on_events([candle(2)], EPOCH_MS)
    await turns()

    venue.error, venue.candles = None, [candle(1, close=9.0), candle(2)]
    venue.now_ms += RETRY_MS
    upstream.check(asyncio.get_running_loop().time())
    await turns()

    incomplete, repair = of_type(reader, "ohlcv")[-2:]
    assert [gap["missing"] for gap in of_type(reader, "gap")][:1] == [None]
    assert ([meta["complete"] for meta in incomplete["meta"]], repair["repair"]) == ([False, True], True)
    assert [row[4] for row in repair["data"]] == [9.0]


@pytest.mark.jumping_clock
async def test_candles_that_begin_while_rest_is_away_get_their_past_when_it_is_back_and_nothing_was_lost(
    start: Start, venue: ScriptedVenue
) -> None:
    venue.error = VenueUnavailable("away")
    upstream = start("ohlcv")
    await go_live(upstream)
    reader = await join(upstream, extended=True)
    upstream.on_events([candle(3)], EPOCH_MS)
    await turns()

    venue.error, venue.candles = None, [candle(1), candle(2), candle(3)]
    await asyncio.sleep(MEND_TIMEOUT)  # it is being asked for
    await turns()

    frames = [(frame.get("repair", False), len(frame["data"])) for frame in of_type(reader, "ohlcv")]
    assert (frames, of_type(reader, "gap")) == ([(False, 1), (True, 2)], [])


async def test_time_alone_closes_a_candle(start: Start, venue: ScriptedVenue) -> None:
    upstream = start("ohlcv", marks_closed=False)
    await go_live(upstream)
    reader = await join(upstream, extended=True)
    upstream.on_events([candle(0)], EPOCH_MS)
    await turns()

    venue.now_ms += 200_000
    upstream.check(asyncio.get_running_loop().time())
    await turns()

    assert of_type(reader, "ohlcv")[-1]["meta"] == [{"closed": True, "complete": True, "source": "venue"}]


# -- status ------------------------------------------------------------------------------------------------------------


def states(reader: Reader) -> list[tuple[str, str]]:
    return [(status["previous"], status["state"]) for status in of_type(reader, "status")]


async def test_every_change_of_state_is_told_with_the_one_before(start: Start) -> None:
    upstream, reader = await running(start)

    await reconnect(upstream)

    assert states(reader) == [("live", "reconnecting"), ("reconnecting", "resyncing"), ("resyncing", "live")]


async def test_a_status_says_what_is_known_of_the_next_attempt(start: Start, venue: ScriptedVenue) -> None:
    upstream, reader = await running(start)
    venue.now_ms += 7_000

    upstream.on_state("reconnecting", "closed", attempt=3, retry_in=1.25)
    await turns()

    (status,) = of_type(reader, "status")
    assert status | {"topic": None} == {
        "type": "status",
        "scope": "topic",
        "channel": "trades",
        "topic": None,
        "state": "reconnecting",
        "previous": "live",
        "since": EPOCH_MS + 7_000,
        "lastEvent": EPOCH_MS,
        "reason": "closed",
        "attempt": 3,
        "retryInMs": 1_250,
    }


async def test_another_attempt_is_told_and_the_same_one_twice_is_not(start: Start) -> None:
    upstream, reader = await running(start)

    for attempt in (1, 1, 2):
        upstream.on_state("reconnecting", "closed", attempt=attempt, retry_in=float(attempt))
    await turns()

    assert [(status["attempt"], status["previous"]) for status in of_type(reader, "status")] == [
        (1, "live"),
        (2, "live"),
    ]


async def test_a_base_client_is_told_no_status(start: Start) -> None:
    upstream, reader = await running(start, extended=False)

    await reconnect(upstream)

    assert reader.payloads == []


async def test_a_stale_stream_goes_on_and_says_so(start: Start) -> None:
    upstream, reader = await running(start)

    upstream.on_state("stale", "silent")
    await say(upstream, 4, 4)
    upstream.on_state("live", "")
    await turns()

    assert (states(reader), reader.ids) == ([("live", "stale"), ("stale", "live")], [4])


async def test_a_venue_that_was_never_reached_is_connecting_whatever_is_tried(start: Start) -> None:
    upstream = start("trades")
    reader = await join(upstream, extended=True)

    upstream.on_state("reconnecting", "refused", attempt=1, retry_in=0.5)
    await turns()

    assert [(s["state"], s["attempt"]) for s in of_type(reader, "status")] == [("connecting", 1)]


async def test_a_venue_that_told_us_to_stay_away_is_unavailable(start: Start) -> None:
    upstream, reader = await running(start)

    upstream.on_state("unavailable", "rate limited", retry_in=60.0)
    await turns()

    (status,) = of_type(reader, "status")
    assert (status["state"], status["reason"], status["retryInMs"]) == ("unavailable", "rate limited", 60_000)


async def test_all_who_are_told_are_told_by_the_same_bytes(start: Start) -> None:
    upstream, reader = await running(start)
    other = await join(upstream, extended=True)

    await broken(upstream)

    assert other.payloads == reader.payloads
    assert orjson.loads(reader.payloads[0])["type"] == "status"
