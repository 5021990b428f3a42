"""One subscription without its socket: when it is live, when it asks again, what a silence proves."""

import asyncio
import gc

import pytest

from exchanges.errors import VenueUnavailable
from exchanges.events import Accepted, Candle, Refused, Unknown
from exchanges.feed import ANSWER_TIMEOUT, SILENCE, Feed
from tests.exchanges.toy_venue import Ear, RecordingCarrier, endpoint, snapshot, stream, trade

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


async def pass_silence(feed: Feed, *, until: float) -> None:
    """What the socket does once a second, with time for the answers."""
    for second in range(1, int(until) + 1):
        feed.check(float(second))
        await asyncio.sleep(0.1)


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


async def test_a_silent_stream_is_asked_for_again_when_the_market_traded_meanwhile() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SILENCE)
    tape.newest = "2"
    await pass_silence(feed, until=2 * SILENCE)
    assert (carrier.again, tape.asked) == (["silent while the market trades"], 2)


async def test_a_stream_that_was_silent_is_not_live_until_it_is_acknowledged_afresh() -> None:
    ear, tape = Ear(), Tape("1")
    feed, carrier = feed_of("trades.A", ear, witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SILENCE)
    tape.newest = "2"
    await pass_silence(feed, until=2 * SILENCE)
    feed.started(carrier, 3 * SILENCE)
    feed.receive([Accepted()], 1)
    assert ear.states == [("live", ""), ("resyncing", "silent while the market trades"), ("live", "")]


async def test_a_silent_stream_of_a_quiet_market_is_left_alone() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=5 * SILENCE)
    assert (carrier.again, tape.asked) == ([], 5)


async def test_the_first_trade_a_market_ever_sees_proves_nothing() -> None:
    tape = Tape(None)
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SILENCE)
    tape.newest = "1"
    await pass_silence(feed, until=2 * SILENCE)
    assert carrier.again == []


async def test_a_witness_that_cannot_be_reached_proves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    tape = Tape(VenueUnavailable("away"))
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=3 * SILENCE)
    gc.collect()  # what a task failed with is logged when it is forgotten
    assert (carrier.again, tape.asked, caplog.records) == ([], 3, [])


async def test_a_stream_that_has_spoken_needs_no_witness() -> None:
    tape = Tape("1")
    feed, _ = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([trade("1")], 1)
    await pass_silence(feed, until=3 * SILENCE)
    assert tape.asked == 0


async def test_a_stream_that_spoke_while_its_witness_was_asked_is_left_alone() -> None:
    tape = Tape("1")
    feed, carrier = feed_of("trades.A", Ear(), witness=tape)
    feed.receive([Accepted()], 1)
    await pass_silence(feed, until=SILENCE)
    tape.newest = "2"
    feed.check(2 * SILENCE)
    feed.receive([trade("2")], 1)
    await asyncio.sleep(0.1)
    assert (carrier.again, tape.asked) == ([], 2)
