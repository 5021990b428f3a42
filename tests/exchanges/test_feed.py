"""One subscription without its socket: when it is live, when it asks again, what a silence proves."""

import asyncio
import gc

import pytest

from exchanges.errors import VenueUnavailable
from exchanges.events import Accepted, Candle, Refused, Unknown
from exchanges.feed import (
    ANSWER_TIMEOUT,
    GRACE,
    LATE_BEATS,
    LATE_TOO_LONG,
    MAX_LAG,
    MAX_TRIES,
    SECOND_LOOK,
    Feed,
)
from exchanges.rhythm import SHORTEST_SILENCE
from tests.exchanges.toy_venue import NOW_MS, Ear, RecordingCarrier, endpoint, snapshot, stream, trade

pytestmark = pytest.mark.jumping_clock

ENDPOINT = endpoint("ws://nowhere")


def feed_of(name: str, ear: Ear, **differences: object) -> tuple[Feed, RecordingCarrier]:
    """A feed whose subscription was sent at second 0."""
    feed, carrier = Feed("toy", stream(name, ENDPOINT, **differences), ear), RecordingCarrier()
    feed.started(carrier, 0.0)
    return feed, carrier


class Tape:
    """A witness: the newest trade by REST, as a test sets it."""

    def __init__(self, newest: str | VenueUnavailable | None) -> None:
        self.newest = newest
        self.asked = 0

    async def __call__(self) -> object:
        self.asked += 1
        if isinstance(self.newest, VenueUnavailable):
            raise self.newest
        return self.newest


async def pass_silence(feed: Feed, *, since: float = 0, until: float) -> None:
    """What the socket does once a second, with time for the answers."""
    for second in range(int(since) + 1, int(until) + 1):
        feed.check(float(second))
        await asyncio.sleep(1.0)
    await asyncio.sleep(GRACE + 0.1)


async def test_an_acknowledged_stream_of_trades_is_live() -> None:
    ear = Ear()
    feed, _ = feed_of("trades.A", ear)
    feed.receive([Accepted()], 1)
    assert ear.states == [("live", "")]


async def test_a_trade_that_comes_before_the_acknowledgement_makes_it_live_once() -> None:
    ear = Ear()
    feed, _ = feed_of("trades.A", ear)
    feed.receive([trade("1")], 1)
    feed.receive([Accepted()], 1)
    assert (ear.trades, ear.states) == (["1"], [("live", "")])


async def test_all_trades_of_one_message_are_handed_on_together_and_in_order() -> None:
    ear = Ear()
    feed, _ = feed_of("trades.A", ear)
    feed.receive([Accepted(), trade("1"), trade("2")], 1)
    assert ear.trades == ["1", "2"]


async def test_candles_are_handed_on() -> None:
    ear = Ear()
    feed, _ = feed_of("trades.A", ear)
    candle = Candle(open_time_ms=60_000, open=1.0, high=2.0, low=1.0, close=2.0, volume=3.0, closed=False)
    feed.receive([candle], 1)
    assert ear.candles == [candle]


async def test_a_book_is_not_live_because_it_was_acknowledged() -> None:
    ear = Ear()
    feed, _ = feed_of("book.A", ear)
    feed.receive([Accepted()], 1)
    assert ear.states == []


async def test_a_refusal_is_passed_to_the_socket_in_the_venues_words() -> None:
    feed, carrier = feed_of("trades.A", Ear())
    feed.receive([Refused(reason="no such coin")], 1)
    assert carrier.refusals == ["no such coin"]


async def test_a_message_of_no_known_kind_never_gets_this_far() -> None:
    feed, _ = feed_of("trades.A", Ear())
    with pytest.raises(AssertionError):
        feed.receive([Unknown(kind="odd")], 1)


@pytest.mark.parametrize("name", ["trades.A", "book.A"])
async def test_without_an_answer_it_asks_again(name: str) -> None:
    feed, carrier = feed_of(name, Ear())
    feed.check(ANSWER_TIMEOUT - 0.1)
    assert carrier.again == []
    feed.check(ANSWER_TIMEOUT)
    assert carrier.again == ["no answer"]


async def test_a_book_that_comes_by_stream_is_asked_for_again_when_only_the_acknowledgement_came() -> None:
    feed, carrier = feed_of("book.A", Ear())
    feed.receive([Accepted()], 1)
    feed.check(ANSWER_TIMEOUT)
    assert carrier.again == ["no answer"]


@pytest.mark.parametrize(
    ("name", "answer"), [("trades.A", Accepted()), ("trades.A", trade("1")), ("book.A", snapshot(7))]
)
async def test_an_answer_in_time_is_enough(name: str, answer: object) -> None:
    feed, carrier = feed_of(name, Ear())
    feed.receive([answer], 1)
    feed.check(ANSWER_TIMEOUT)
    assert carrier.again == []


async def test_a_request_that_still_waits_to_be_sent_is_not_repeated() -> None:
    feed, carrier = feed_of("trades.A", Ear())
    feed.check(ANSWER_TIMEOUT)
    feed.check(ANSWER_TIMEOUT + 1.0)  # the socket is paced and has not sent it yet
    assert carrier.again == ["no answer"]


async def test_the_time_for_an_answer_starts_with_the_request_that_was_sent_last() -> None:
    feed, carrier = feed_of("trades.A", Ear())
    feed.started(carrier, 8.0)
    feed.check(ANSWER_TIMEOUT)
    assert carrier.again == []


async def test_nothing_is_asked_while_the_socket_is_away() -> None:
    feed, carrier = feed_of("trades.A", Ear(), witness=Tape("1"))
    feed.lost("closed")
    feed.check(1000.0)
    assert carrier.again == []


async def test_a_lost_socket_is_told_with_its_reason() -> None:
    ear = Ear()
    feed, _ = feed_of("trades.A", ear)
    feed.lost("closed")
    assert ear.states == [("reconnecting", "closed")]


# -- silence -----------------------------------------------------------------------------------------------------------


async def test_a_silent_stream_is_stale_and_asked_for_again_when_the_market_moved_meanwhile() -> None:
    ear, tape = Ear(), Tape("1")
    feed, carrier = feed_of("trades.A", ear, witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SHORTEST_SILENCE)

    tape.newest = "2"
    await pass_silence(feed, since=SHORTEST_SILENCE, until=SHORTEST_SILENCE + SECOND_LOOK)

    told = "silent while the market trades"
    assert (carrier.again, ear.states[1:]) == ([told], [("stale", told), ("resyncing", told)])


async def test_a_busy_stream_that_freezes_is_noticed_within_twenty_seconds() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    for second in range(1, 60):
        tape.newest = str(second)
        feed.receive([trade(str(second))], 1)
        feed.receive([trade(f"{second}b")], 1)
        feed.check(float(second))

    second = 59
    while not carrier.again:
        second += 1
        tape.newest = str(second)
        feed.check(float(second))
        await asyncio.sleep(1.0)

    assert second - 59 <= 20


async def test_a_stream_that_was_silent_is_not_live_until_it_is_acknowledged_afresh() -> None:
    ear, tape = Ear(), Tape("1")
    feed, carrier = feed_of("trades.A", ear, witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SHORTEST_SILENCE)
    tape.newest = "2"
    await pass_silence(feed, since=SHORTEST_SILENCE, until=SHORTEST_SILENCE + SECOND_LOOK)

    feed.started(carrier, 30.0)
    feed.receive([Accepted()], 1)

    assert [state for state, _ in ear.states] == ["live", "stale", "resyncing", "live"]


async def test_a_silent_stream_of_a_quiet_market_is_left_alone_and_looked_at_ever_less_often() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)

    await pass_silence(feed, until=600)

    assert (carrier.again, tape.asked) == ([], 13)  # at 10, 15, 25, 45, 85 s, then once a minute


async def test_the_first_trade_a_market_ever_sees_proves_nothing() -> None:
    tape = Tape(None)
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SHORTEST_SILENCE)
    tape.newest = "1"
    await pass_silence(feed, since=SHORTEST_SILENCE, until=SHORTEST_SILENCE + SECOND_LOOK)
    assert carrier.again == []


async def test_a_witness_that_cannot_be_reached_proves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tape = Tape(VenueUnavailable("away"))
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=30)
    gc.collect()  # what a task failed with is logged when it is forgotten
    assert (carrier.again, tape.asked, caplog.records) == ([], 3, [])


async def test_a_stream_whose_rhythm_explains_the_silence_is_not_looked_into() -> None:
    tape = Tape("1")
    feed, _ = feed_of("trades.A", Ear(), witness=tape)
    for second in range(1, 61):
        if second % 3 == 0:
            feed.receive([trade(str(second))], 1)
        feed.check(float(second))
    await pass_silence(feed, since=60, until=110)
    assert tape.asked == 0


async def test_a_stream_that_spoke_while_its_witness_was_asked_is_left_alone() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SHORTEST_SILENCE)
    tape.newest = "2"
    feed.check(SHORTEST_SILENCE + SECOND_LOOK)
    feed.receive([trade("2")], 1)
    await asyncio.sleep(GRACE + 0.1)
    assert (carrier.again, tape.asked) == ([], 2)


async def test_a_trade_that_is_still_on_its_way_when_rest_tells_of_it_is_waited_for() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SHORTEST_SILENCE)
    tape.newest = "2"
    feed.check(SHORTEST_SILENCE + SECOND_LOOK)
    await asyncio.sleep(GRACE / 2)
    feed.receive([trade("2")], 1)
    await asyncio.sleep(GRACE)
    assert carrier.again == []


async def test_a_venue_with_a_rhythm_of_its_own_is_stale_as_soon_as_it_breaks_it() -> None:
    ear = Ear()
    feed, carrier = feed_of("book.A", ear, steady=True)
    for second in range(1, 31):
        feed.receive([snapshot(0)], 1)
        feed.receive([snapshot(0)], 1)
        feed.check(float(second))

    for second in range(31, 42):
        feed.check(float(second))

    assert (carrier.again, ear.states[-2:]) == (["silent"], [("stale", "silent"), ("resyncing", "silent")])


async def test_a_stream_that_stays_silent_however_often_it_is_asked_for_gets_another_connection() -> None:
    feed, carrier = feed_of("book.A", Ear(), steady=True)
    feed.receive([snapshot(0)], 1)
    now = 0.0
    for _ in range(MAX_TRIES + 1):
        feed.started(carrier, now)
        feed.receive([Accepted()], 1)
        now += ANSWER_TIMEOUT
        feed.check(now)

    assert (len(carrier.again), len(carrier.abandoned)) == (MAX_TRIES, 1)


async def test_a_feed_on_a_new_connection_is_given_all_its_tries_again() -> None:
    feed, carrier = feed_of("trades.A", Ear())
    for _ in range(MAX_TRIES + 1):
        feed.started(carrier, 0.0)
        feed.check(ANSWER_TIMEOUT)
    feed.lost("no answer")
    feed.started(carrier, 0.0)
    feed.check(ANSWER_TIMEOUT)

    assert (len(carrier.again), len(carrier.abandoned)) == (MAX_TRIES + 1, 1)


# -- delay -------------------------------------------------------------------------------------------------------------


def drip(feed: Feed, *, since: int, seconds: int, delay: float) -> None:
    """One trade a second, each ``delay`` seconds after it happened."""
    for second in range(since + 1, since + seconds + 1):
        feed.receive([trade(str(second), timestamp_ms=NOW_MS + round((second - delay) * 1000))], 1)
        feed.check(float(second))


async def test_messages_that_come_later_and_later_make_a_stream_stale_until_they_are_in_time_again() -> None:
    ear = Ear()
    feed, carrier = feed_of("trades.A", ear)
    drip(feed, since=0, seconds=10, delay=0.2)
    drip(feed, since=10, seconds=LATE_BEATS, delay=MAX_LAG + 1)
    late = [state for state, _ in ear.states]
    drip(feed, since=20, seconds=3, delay=0.2)

    assert (late, [state for state, _ in ear.states], carrier.again) == (
        ["live", "stale"],
        ["live", "stale", "live"],
        [],
    )


async def test_one_late_message_is_no_delay() -> None:
    ear = Ear()
    feed, _ = feed_of("trades.A", ear)
    drip(feed, since=0, seconds=10, delay=0.2)
    drip(feed, since=10, seconds=LATE_BEATS - 1, delay=MAX_LAG + 1)
    drip(feed, since=20, seconds=3, delay=0.2)

    assert [state for state, _ in ear.states] == ["live"]


async def test_a_stream_that_stays_late_is_asked_for_again() -> None:
    feed, carrier = feed_of("trades.A", Ear())
    drip(feed, since=0, seconds=10, delay=0.2)
    drip(feed, since=10, seconds=LATE_BEATS + round(LATE_TOO_LONG), delay=MAX_LAG + 1)

    assert carrier.again == ["late"]
