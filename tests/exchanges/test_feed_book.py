"""A book's feed: nothing is shown that is not proven, and every fault is healed by that book alone."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from exchanges.errors import BadMessage, UpstreamError, VenueBusy, VenueUnavailable
from exchanges.events import Accepted, BookSnapshot
from exchanges.feed import ANSWER_TIMEOUT, QUIET_BOOK, SNAPSHOT_ATTEMPTS, SNAPSHOT_PAUSE, Feed
from tests.exchanges.toy_venue import Bell, Ear, RecordingCarrier, delta, endpoint, snapshot, stream

pytestmark = pytest.mark.jumping_clock

BID, ASK = (10.0, 1.0), (11.0, 1.0)
CROSSING = (12.0, 1.0)
STALE = snapshot(1)  # older than any stream here


class Desk:
    """The venue's REST: gives ``answers`` one after the other, the last one again and again."""

    def __init__(self, *answers: BookSnapshot | Exception, delay: float = 0.0) -> None:
        self.answers = list(answers)
        self.delay = delay
        self.asked: list[float] = []  # loop times
        self._bell = Bell()
        self.until = self._bell.until

    async def __call__(self) -> BookSnapshot:
        self.asked.append(asyncio.get_running_loop().time())
        self._bell.ring()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await asyncio.sleep(self.delay)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def pauses(self) -> list[float]:
        return [round(later - before, 1) for before, later in pairwise(self.asked)]


def book_feed(ear: Ear, desk: Desk | None = None) -> tuple[Feed, RecordingCarrier]:
    feed, carrier = Feed("toy", stream("book.A", endpoint("ws://nowhere"), snapshot=desk), ear), RecordingCarrier()
    feed.started(carrier, asyncio.get_running_loop().time())
    return feed, carrier


def sequences(ear: Ear) -> list[int]:
    return [sequence for sequence, _, _ in ear.books]


# -- books that come by stream alone -----------------------------------------------------------------------------------


async def test_a_snapshot_by_stream_is_shown_at_once_and_deltas_continue_it() -> None:
    ear = Ear()
    feed, _ = book_feed(ear)
    feed.receive([snapshot(7, [BID], [ASK])], 1)
    feed.receive([delta(7, 8, [(9.0, 2.0)])], 1)
    assert ear.books == [(7, [BID], [ASK]), (8, [BID, (9.0, 2.0)], [ASK])]
    assert ear.states == [("live", "")]


async def test_a_listener_is_told_what_changed_the_book_unless_it_was_more_than_one_message() -> None:
    ear, said = Ear(), [snapshot(7, [BID], [ASK]), delta(7, 8), snapshot(20, [BID], [ASK])]
    feed, carrier = book_feed(ear)
    feed.receive(said, 1)
    feed.started(carrier, 0.0)
    feed.receive([delta(30, 31, [(9.0, 2.0)]), snapshot(30, [BID], [ASK]), delta(31, 32)], 1)
    assert ear.changes == [*said, None, delta(31, 32)]
    assert sequences(ear) == [7, 8, 20, 31, 32]


FAULTS: Sequence[object] = [
    pytest.param(delta(8, 9), "sequence gap", id="gap"),
    pytest.param(delta(7, 8, [CROSSING]), "crossed", id="crossed"),
]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_a_fault_ends_the_book_and_asks_for_the_stream_afresh(fault: object, reason: str) -> None:
    ear = Ear()
    feed, carrier = book_feed(ear)
    feed.receive([snapshot(7, [BID], [ASK])], 1)
    feed.receive([fault], 1)
    await carrier.until(lambda: carrier.again == [reason])
    assert ear.states[1:] == [("resyncing", reason)]


@pytest.mark.parametrize(("fault", "reason"), FAULTS)
async def test_nothing_is_shown_between_a_fault_and_the_fresh_subscription(fault: object, reason: str) -> None:
    ear = Ear()
    feed, carrier = book_feed(ear)
    feed.receive([snapshot(7, [BID], [ASK])], 1)
    feed.receive([fault, delta(8, 9, [(CROSSING[0], 0.0)]), delta(9, 10)], 1)  # the rest of the old subscription
    await asyncio.sleep(1.0)
    assert (sequences(ear), carrier.again) == ([7], [reason])


async def test_the_fresh_subscription_brings_the_book_back() -> None:
    ear = Ear()
    feed, carrier = book_feed(ear)
    feed.receive([snapshot(7, [BID], [ASK])], 1)
    feed.receive([delta(8, 9)], 1)
    feed.started(carrier, 0.0)
    feed.receive([delta(9, 10), snapshot(20, [BID], [ASK])], 1)
    assert sequences(ear) == [7, 20]
    assert ear.states[-1] == ("live", "")


async def test_deltas_without_the_snapshot_that_should_have_come_first_are_no_answer() -> None:
    ear = Ear()
    feed, carrier = book_feed(ear)
    feed.receive([delta(7, 8), delta(8, 9)], 1)
    feed.check(asyncio.get_running_loop().time() + ANSWER_TIMEOUT)
    assert (ear.books, carrier.again) == ([], ["no answer"])


async def test_a_venue_that_sends_nothing_but_crossed_books_is_asked_ever_more_slowly() -> None:
    ear = Ear()
    feed, carrier = book_feed(ear)
    clock, asked = asyncio.get_running_loop().time, []
    for _ in range(6):
        feed.receive([snapshot(7, [CROSSING], [ASK])], 1)
        await carrier.until(lambda: len(carrier.again) > len(asked))
        asked.append(clock())
        feed.started(carrier, clock())
    pauses = [round(later - before, 1) for before, later in pairwise(asked)]
    assert pauses == pytest.approx([0.25, 0.5, 1.0, 2.0, 2.0], abs=0.1)


# -- books whose deltas need a snapshot by REST ------------------------------------------------------------------------


async def test_the_first_delta_asks_for_a_snapshot_and_the_book_is_shown_once_they_join() -> None:
    ear, desk = Ear(), Desk(snapshot(8, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9, [(9.0, 2.0)])], 1)
    await ear.until(lambda: bool(ear.books))
    assert ear.books == [(9, [BID, (9.0, 2.0)], [ASK])]
    assert len(desk.asked) == 1


async def test_a_snapshot_that_no_delta_has_joined_is_not_shown() -> None:
    ear = Ear()
    feed, _ = book_feed(ear, Desk(snapshot(9, [BID], [ASK])))
    feed.receive([delta(7, 9)], 1)  # lies inside the snapshot
    await asyncio.sleep(QUIET_BOOK / 2)
    assert ear.books == []
    feed.receive([delta(9, 10)], 1)
    assert sequences(ear) == [10]


async def test_a_quiet_book_is_shown_once_the_venue_gives_it_twice() -> None:
    ear, desk = Ear(), Desk(snapshot(9, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([Accepted()], 1)
    feed.check(asyncio.get_running_loop().time() + QUIET_BOOK)
    await ear.until(lambda: bool(ear.books))
    assert (sequences(ear), desk.pauses) == ([9], [QUIET_BOOK])


async def test_a_book_that_moves_by_rest_while_its_stream_is_silent_is_never_shown() -> None:
    ear, desk = Ear(), Desk(*(snapshot(9 + n, [BID], [ASK]) for n in range(SNAPSHOT_ATTEMPTS)))
    feed, carrier = book_feed(ear, desk)
    feed.check(asyncio.get_running_loop().time() + QUIET_BOOK)
    await carrier.until(lambda: bool(carrier.again))
    assert (ear.books, carrier.again) == ([], ["no snapshot joins the stream"])


async def test_a_snapshot_older_than_the_stream_is_asked_for_again_with_growing_pauses() -> None:
    ear, desk = Ear(), Desk(STALE, STALE, STALE, snapshot(8, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await ear.until(lambda: bool(ear.books))
    assert (sequences(ear), desk.pauses) == ([9], pytest.approx([SNAPSHOT_PAUSE, 0.5, 1.0], abs=0.1))


@pytest.mark.parametrize("answer", [STALE, BadMessage("toy", "a level that is none")], ids=["stale", "unreadable"])
async def test_when_no_snapshot_ever_joins_the_stream_it_is_subscribed_afresh(
    answer: BookSnapshot | BadMessage,
) -> None:
    ear, desk = Ear(), Desk(answer)
    feed, carrier = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await carrier.until(lambda: carrier.again == ["no snapshot joins the stream"])
    assert (ear.books, len(desk.asked)) == ([], SNAPSHOT_ATTEMPTS)


@pytest.mark.parametrize("error", [VenueUnavailable("away"), BadMessage("toy", "a level that is none")])
async def test_a_snapshot_that_cannot_be_had_is_asked_for_again(error: UpstreamError) -> None:
    ear, desk = Ear(), Desk(error, snapshot(8, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await ear.until(lambda: sequences(ear) == [9])
    assert desk.pauses == pytest.approx([SNAPSHOT_PAUSE], abs=0.1)


async def test_a_venue_that_asks_us_to_wait_is_given_the_time() -> None:
    ear, desk = Ear(), Desk(VenueBusy("slow down", retry_after=7.0), snapshot(8, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await ear.until(lambda: sequences(ear) == [9])
    assert desk.pauses == pytest.approx([7.0], abs=0.1)


async def test_a_lost_delta_is_noticed_and_the_book_healed_by_one_snapshot() -> None:
    ear, desk = Ear(), Desk(snapshot(8, [BID], [ASK]), snapshot(11, [BID], [ASK]))
    feed, carrier = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await ear.until(lambda: sequences(ear) == [9])
    feed.receive([delta(10, 12)], 1)  # the delta that shows the hole is the one the snapshot has to join
    await ear.until(lambda: sequences(ear) == [9, 12])
    assert ear.states == [("live", ""), ("resyncing", "sequence gap"), ("live", "")]
    assert (len(desk.asked), carrier.again) == (2, [])


async def test_after_a_hole_among_the_deltas_that_waited_the_next_snapshot_joins_those_behind_it() -> None:
    ear, desk = Ear(), Desk(snapshot(8, [BID], [ASK]), snapshot(11, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9), delta(10, 12), delta(12, 13)], 1)
    await ear.until(lambda: bool(ear.books))
    assert (sequences(ear), len(desk.asked)) == ([13], 2)


async def test_a_crossed_book_by_rest_is_not_asked_for_in_a_hot_loop() -> None:
    ear, desk = Ear(), Desk(snapshot(8, [CROSSING], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await desk.until(lambda: len(desk.asked) == 6)
    assert desk.pauses == pytest.approx([0.0, 0.25, 0.5, 1.0, 2.0], abs=0.1)
    assert ear.books == []


@pytest.mark.parametrize("sequence", [9, 12])
async def test_a_snapshot_still_on_its_way_does_not_touch_a_book_that_has_gone_on(sequence: int) -> None:
    ear, desk = Ear(), Desk(snapshot(9, [BID], [ASK]), snapshot(sequence, [BID], [ASK]), delay=1.0)
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await asyncio.sleep(QUIET_BOOK + 1.5)  # the second request is on its way
    feed.receive([delta(9, 10)], 1)
    await asyncio.sleep(1.0)
    feed.receive([delta(10, 11)], 1)
    assert (len(desk.asked), sequences(ear)) == (2, [10, 11])


async def test_a_fault_ends_what_was_still_being_asked_for_the_book_before() -> None:
    ear, desk = Ear(), Desk(snapshot(9, [BID], [ASK]))
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await asyncio.sleep(0.5)
    feed.receive([delta(9, 10, [CROSSING])], 1)
    await ear.until(lambda: bool(ear.books))
    assert desk.pauses == pytest.approx([0.5, QUIET_BOOK], abs=0.1)


async def test_a_snapshot_asked_for_before_the_socket_was_lost_is_not_shown() -> None:
    ear, desk = Ear(), Desk(snapshot(8, [BID], [ASK]), delay=1.0)
    feed, _ = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await asyncio.sleep(0.5)
    feed.lost("closed")
    await asyncio.sleep(5.0)
    assert ear.books == []


async def test_a_new_subscription_forgets_what_the_one_before_had_kept() -> None:
    ear, desk = Ear(), Desk(snapshot(8, [BID], [ASK]), snapshot(30, [BID], [ASK]), delay=1.0)
    feed, carrier = book_feed(ear, desk)
    feed.receive([delta(7, 9)], 1)
    await asyncio.sleep(0.5)
    feed.started(carrier, 0.0)
    feed.receive([delta(29, 31)], 1)
    await ear.until(lambda: bool(ear.books))
    assert sequences(ear) == [31]


async def test_a_book_with_a_snapshot_by_rest_waits_for_its_acknowledgement_like_any_other() -> None:
    feed, carrier = book_feed(Ear(), Desk(snapshot(8, [BID], [ASK])))
    feed.check(asyncio.get_running_loop().time() + ANSWER_TIMEOUT)
    assert carrier.again == ["no answer"]
    feed.close()
