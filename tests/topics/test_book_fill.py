"""The first delta view of a running book: REST tells the texts of levels that are the same, others are awaited."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import REGISTRY

from exchanges.errors import GatewayError, VenueBusy, VenueUnavailable
from exchanges.events import BookSnapshot
from tests.topics.book_stage import Rows, Stage, text_snapshot
from tests.topics.delta_client import DeltaClient
from tests.topics.reader import Reader, turns
from topics.books import FILLS_BEFORE_RESYNC, MAX_FILL_PAUSE
from topics.view import TEXTS_LINGER

pytestmark = pytest.mark.jumping_clock

BIDS = [("100.0", "1.000"), ("99.5", "2.500"), ("99.0", "3.0")]
ASKS = [("100.5", "0.250"), ("101.0", "4.0")]
DELTA: dict[str, Any] = {"mode": "delta", "levels": 2}


class Desk:
    """The venue's REST: gives what it is told to, and remembers when it was asked."""

    def __init__(self, bids: Rows = BIDS, asks: Rows = ASKS) -> None:
        self.answer: BookSnapshot | GatewayError = text_snapshot(bids, asks, sequence=0)
        self.asked: list[float] = []  # loop times
        self.open = asyncio.Event()  # cleared by a test that wants the answer to wait
        self.open.set()

    async def __call__(self) -> BookSnapshot:
        self.asked.append(asyncio.get_running_loop().time())
        await self.open.wait()
        if isinstance(self.answer, GatewayError):
            raise self.answer
        return self.answer

    @property
    def pauses(self) -> list[int]:
        return [round(later - before) for before, later in pairwise(self.asked)]


def running(desk: Desk | None, resync: Callable[[], None] = lambda: None) -> Stage:
    """A proven book that has had full views only."""
    stage = Stage(fetch=desk, resync=resync)
    stage.sync()
    stage.hear(text_snapshot(BIDS, ASKS))
    stage.turn()
    return stage


async def filled(stage: Stage) -> None:
    await turns()
    stage.turn()


def shown(reader: Reader) -> tuple[list[str], Any]:
    client = DeltaClient(2)
    for message in reader.messages:
        client.take(message)
    return client.kinds, client.book


async def test_who_is_first_to_want_texts_waits_for_one_rest_book_and_no_longer() -> None:
    stage = running(desk := Desk())
    reader = stage.join(**DELTA)
    assert reader.payloads == []

    await filled(stage)

    assert shown(reader) == (["join"], (BIDS[:2], ASKS))
    assert (reader.seqs, len(desk.asked)) == ([1], 1)


async def test_nobody_else_notices() -> None:
    stage = running(Desk())
    full = stage.join(levels=2)
    stage.join(**DELTA)
    await filled(stage)

    assert len(full.payloads) == 1


async def test_two_that_wait_are_shown_the_same_and_one_rest_book_is_enough() -> None:
    stage = running(desk := Desk())
    first, second, deeper = stage.join(**DELTA), stage.join(**DELTA), stage.join(mode="delta", levels=3)
    await filled(stage)

    assert first.payloads == second.payloads
    assert (len(first.payloads), len(deeper.payloads), len(desk.asked)) == (1, 1, 1)


async def test_who_waited_is_not_passed_over_when_the_next_one_joins() -> None:
    stage = running(None)
    early = stage.join(**DELTA)
    book = stage.books.book
    assert book is not None
    assert book.texts is not None
    book.texts.fill(text_snapshot(BIDS, ASKS), book)  # known, and nothing has been published since

    late = stage.join(**DELTA)
    stage.show([("100.0", "5")])

    assert (early.payloads, shown(late)[0]) == (late.payloads, ["join", "delta"])


async def test_a_break_before_anything_was_shown_is_none_to_who_waited() -> None:
    stage = running(None)
    reader = stage.join(**DELTA)
    stage.lose()
    stage.sync()
    stage.hear(text_snapshot(BIDS, ASKS, sequence=50))
    stage.turn()

    assert shown(reader) == (["join"], (BIDS[:2], ASKS))


async def test_who_comes_after_a_break_that_others_saw_and_waits_is_told_nothing_of_it() -> None:
    stage = running(Desk())
    left = stage.join(**DELTA)
    await filled(stage)
    stage.lose()
    stage.leave(left, **DELTA)
    stage.pass_time(TEXTS_LINGER)
    stage.sync()  # for nobody who wants texts
    stage.hear(text_snapshot(BIDS, ASKS, sequence=50))
    stage.turn()

    reader = stage.join(**DELTA)
    await filled(stage)

    assert shown(reader)[0] == ["join"]


async def test_a_state_that_has_no_cursor_yet_gets_one_before_it_is_shown() -> None:
    stage = running(Desk())
    reader = stage.join(**DELTA)
    stage.change([("98.0", "1")])  # its turn is not over when the answer comes
    await turns()
    stage.turns.take_all()

    assert (reader.seqs, stage.cursor.seq) == ([2], 2)


async def test_what_changed_while_rest_was_asked_is_shown_as_the_stream_wrote_it() -> None:
    stage = running(desk := Desk())
    desk.open.clear()
    reader = stage.join(**DELTA)
    await turns()
    stage.show([("100.0", "7.70")], [("100.5", "0")])
    desk.open.set()
    await filled(stage)

    assert shown(reader) == (["join"], ([("100.0", "7.70"), ("99.5", "2.500")], [("101.0", "4.0")]))


async def test_while_a_level_has_no_text_nothing_is_shown_and_the_delta_that_brings_it_is_enough() -> None:
    stage = running(Desk([("100.0", "1.000"), ("99.5", "9.999")]))
    reader = stage.join(**DELTA)
    await filled(stage)
    stage.show([("100.0", "5")])
    assert reader.payloads == []

    stage.show([("99.5", "2.6")])

    assert shown(reader) == (["join"], ([("100.0", "5"), ("99.5", "2.6")], ASKS))


async def test_a_whole_book_by_the_stream_is_enough() -> None:
    stage = running(None)
    reader = stage.join(**DELTA)
    stage.hear(text_snapshot([("90.0", "1")], [("91.0", "1")], sequence=9))
    stage.turn()

    assert shown(reader) == (["join"], ([("90.0", "1")], [("91.0", "1")]))


async def test_a_level_without_a_text_that_comes_into_view_holds_it_back_and_the_chain_goes_on_after() -> None:
    stage = running(Desk(BIDS[:2]))
    reader = stage.join(**DELTA)
    await filled(stage)
    stage.show([("100.0", "0")])  # 99.0 is in the view now
    stage.show(asks=[("100.5", "9")])
    assert len(reader.payloads) == 1

    stage.show([("99.0", "3.1")])

    assert shown(reader) == (["join", "delta"], ([("99.5", "2.500"), ("99.0", "3.1")], [("100.5", "9"), ASKS[1]]))


# -- asking again ------------------------------------------------------------------------------------------------------

WITHOUT = [("100.0", "1.000")]  # a REST book that lacks a level of the view


async def test_rest_is_asked_again_ever_more_slowly_and_at_last_the_book_is_synced_afresh_once() -> None:
    resyncs: list[float] = []
    stage = running(desk := Desk(WITHOUT), lambda: resyncs.append(asyncio.get_running_loop().time()))
    stage.join(**DELTA)
    await asyncio.sleep(40.0)

    assert desk.pauses == [1, 2]
    assert (len(desk.asked), len(resyncs)) == (FILLS_BEFORE_RESYNC, 1)


async def test_who_cannot_be_helped_by_that_either_goes_on_asking_slowly_and_disturbs_nobody() -> None:
    resyncs: list[int] = []
    stage = running(desk := Desk(WITHOUT), lambda: resyncs.append(1))
    stage.join(**DELTA)
    await asyncio.sleep(40.0)
    stage.show([("98.0", "1")])  # as before, after all
    await asyncio.sleep(200.0)

    assert (len(resyncs), desk.pauses[-3:]) == (1, [MAX_FILL_PAUSE] * 3)


async def test_a_rest_book_that_helps_ends_the_asking() -> None:
    stage = running(desk := Desk(WITHOUT))
    reader = stage.join(**DELTA)
    await asyncio.sleep(0.5)
    desk.answer = text_snapshot(BIDS, ASKS, sequence=0)
    await asyncio.sleep(60.0)
    stage.turn()

    assert (shown(reader)[0], len(desk.asked)) == (["join"], 2)


@pytest.mark.parametrize(
    ("error", "pauses"),
    [(VenueUnavailable("gone"), [1, 2, 4, 8, 16]), (VenueBusy("wait", retry_after=20.0), [20, 30, 30, 30, 30])],
)
async def test_a_venue_that_cannot_answer_is_asked_as_slowly_as_it_wants(
    error: GatewayError, pauses: list[int]
) -> None:
    resyncs: list[int] = []
    stage = running(desk := Desk(), lambda: resyncs.append(1))
    desk.answer = error
    stage.join(**DELTA)
    await asyncio.sleep(300.0)

    assert (desk.pauses[:5], resyncs) == (pauses, [])  # a sync would need REST itself


async def test_an_answer_whose_levels_are_no_texts_is_an_answer_that_does_not_help(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = running(desk := Desk())
    desk.answer = BookSnapshot(bids=[(1.0, 1.0)], asks=[], sequence=0, timestamp_ms=None, raw=None)
    reader = stage.join(**DELTA)
    await asyncio.sleep(1.5)

    assert (reader.payloads, len(desk.asked)) == ([], 2)
    assert "text_fill_unreadable" in caplog.messages


async def test_nobody_is_asked_once_nobody_waits() -> None:
    stage = running(desk := Desk(WITHOUT))
    reader = stage.join(**DELTA)
    await asyncio.sleep(0.5)
    stage.leave(reader, **DELTA)
    await asyncio.sleep(60.0)

    assert len(desk.asked) == 1


@pytest.mark.parametrize("end", ["forget", "close"])
async def test_a_book_that_broke_or_closed_asks_nothing_more_and_takes_no_answer(end: str) -> None:
    stage = running(desk := Desk())
    desk.open.clear()
    reader = stage.join(**DELTA)
    await turns()
    getattr(stage.books, end)()
    await turns()
    assert len(asyncio.all_tasks()) == 1  # nobody waits for the answer
    desk.open.set()
    await asyncio.sleep(60.0)
    stage.turns.take_all()

    assert (reader.payloads, len(desk.asked)) == ([], 1)


async def test_where_texts_cannot_be_read_nothing_is_asked_or_shown() -> None:
    stage = Stage(read=None, fetch=(desk := Desk()))
    stage.sync()
    stage.hear(text_snapshot(BIDS, ASKS))
    reader = stage.join(**DELTA)
    stage.show([("100.0", "5")])
    await turns()

    assert (reader.payloads, desk.asked) == ([], [])


async def test_each_book_asked_of_rest_is_counted() -> None:
    def counted() -> float:
        return REGISTRY.get_sample_value("gateway_book_text_fills_total", {"exchange": "scripted"}) or 0.0

    before = counted()
    running(Desk(WITHOUT)).join(**DELTA)
    await asyncio.sleep(1.5)

    assert counted() - before == 2


# -- who wants texts ---------------------------------------------------------------------------------------------------


async def test_a_book_with_full_views_alone_keeps_no_texts() -> None:
    stage = running(desk := Desk())
    stage.join(levels=2)
    stage.join(levels=2, throttleMs=100)
    stage.show([("100.0", "5")])

    assert (stage.books.exact, stage.books.book.texts, desk.asked) == (False, None, [])  # type: ignore[union-attr]


async def test_a_delta_view_wants_texts_before_the_book_is_there() -> None:
    stage = Stage()
    stage.books.topic(stage.key(**DELTA))
    assert stage.books.exact

    stage.pass_time(TEXTS_LINGER)

    assert not stage.books.exact  # whoever was about to come has not


async def test_texts_are_kept_a_while_after_the_last_who_wanted_them_left() -> None:
    stage = running(desk := Desk())
    reader = stage.join(**DELTA)
    await filled(stage)
    stage.pass_time(10 * TEXTS_LINGER)
    stage.show([("100.0", "4")])
    stage.leave(reader, **DELTA)
    stage.pass_time(TEXTS_LINGER - 1)
    stage.show([("100.0", "5")])

    assert len(stage.join(**DELTA).payloads) == 1  # at once
    assert len(desk.asked) == 1


async def test_a_while_later_they_are_not_kept_any_more() -> None:
    stage = running(Desk())
    reader = stage.join(**DELTA)
    await filled(stage)
    stage.leave(reader, **DELTA)
    stage.pass_time(TEXTS_LINGER)
    stage.show([("100.0", "5")])

    assert (stage.books.exact, stage.books.book.texts) == (False, None)  # type: ignore[union-attr]


async def test_while_somebody_watches_they_are_kept_however_quiet_the_book() -> None:
    stage = running(Desk())
    reader = stage.join(**DELTA)
    await filled(stage)
    stage.pass_time(10 * TEXTS_LINGER)
    stage.show([("100.0", "5")])

    assert (stage.books.exact, shown(reader)[0]) == (True, ["join", "anchor"])
