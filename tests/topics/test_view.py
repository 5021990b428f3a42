"""A throttled view: the first change at once, then the latest at the end of each interval, and nothing for nobody."""

from typing import Any

import pytest

from tests.topics.book_stage import Stage, text_snapshot
from tests.topics.delta_client import DeltaClient
from tests.topics.reader import Reader

SLOW: dict[str, Any] = {"throttleMs": 250, "levels": 1}
STEP = 0.0625  # seconds, a quarter of an interval and exact in binary
BOTH = pytest.mark.parametrize("mode", [{}, {"mode": "delta"}], ids=["full", "delta"])


def best(reader: Reader) -> list[float]:
    """The best bid's amount in each frame."""
    return [float(message["data"]["bids"][0][1]) for message in reader.messages]


def begun(*views: dict[str, Any]) -> Stage:
    """A proven book with these views, and some time after its first state."""
    stage = Stage()
    for view in views:
        stage.books.topic(stage.key(**view))
    stage.sync()
    stage.hear(text_snapshot([("100", "1"), ("99", "1")], [("101", "1")]))
    stage.turn()
    return stage


def watched(mode: dict[str, Any]) -> tuple[Stage, Reader]:
    """A throttled view that has one subscriber and has been quiet."""
    stage = begun({**SLOW, **mode})
    reader = stage.join(**SLOW, **mode)
    stage.pass_time(1.0)
    return stage, reader


@BOTH
def test_the_first_change_after_a_pause_is_shown_at_once(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)

    stage.show([("100", "2")])

    assert (best(reader), stage.loop.pending) == ([1.0, 2.0], [])


@BOTH
def test_of_the_changes_within_an_interval_the_latest_is_shown_at_its_end(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    for amount in ("2", "3", "4"):
        stage.show([("100", amount)])
        stage.pass_time(STEP)

    assert (best(reader), stage.loop.pending) == ([1.0, 2.0], [STEP])
    stage.pass_time(STEP)
    assert (best(reader), stage.loop.pending) == ([1.0, 2.0, 4.0], [])


@BOTH
def test_a_busy_view_speaks_once_an_interval(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    for amount in range(2, 42):
        stage.show([("100", str(amount))])
        stage.pass_time(STEP)

    assert best(reader) == [1.0, 2.0, *(float(4 * n + 1) for n in range(1, 11))]


@BOTH
def test_a_frame_has_the_cursor_of_the_state_it_shows(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    for amount in ("2", "3", "4"):
        stage.show([("100", amount)])
    stage.pass_time(0.25)

    assert (reader.seqs, [message["data"]["nonce"] for message in reader.messages]) == ([1, 2, 4], [1, 2, 4])


@BOTH
def test_a_change_that_has_no_cursor_yet_gets_one_when_the_interval_ends(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    stage.show([("100", "2")])
    stage.show([("100", "3")])
    stage.change([("100", "4")])  # its turn is not over
    stage.pass_time(0.25)

    assert (best(reader), reader.seqs, stage.cursor.seq) == ([1.0, 2.0, 4.0], [1, 2, 4], 4)


@BOTH
def test_who_joins_within_an_interval_is_shown_what_the_others_were_shown_last(mode: dict[str, Any]) -> None:
    stage, early = watched(mode)
    stage.show([("100", "2")])
    stage.show([("100", "3")])

    late = stage.join(**SLOW, **mode)
    stage.pass_time(0.25)

    assert (best(late), late.seqs, late.payloads[-1]) == ([2.0, 3.0], [2, 3], early.payloads[-1])


def test_a_throttled_delta_says_what_changed_since_the_last_frame() -> None:
    stage, reader = watched({"mode": "delta"})
    stage.show([("100", "2")])
    stage.show([("100", "0")], [("101", "5")])
    stage.show([("100.5", "3")])
    stage.pass_time(0.25)

    client = DeltaClient(1)
    for message in reader.messages:
        client.take(message)
    assert (client.kinds, client.book) == (["join", "delta", "delta"], ([("100.5", "3")], [("101", "5")]))


def test_a_delta_view_that_is_what_it_was_at_the_intervals_end_says_nothing() -> None:
    stage, reader = watched({"mode": "delta"})
    stage.show([("100", "2")])
    stage.show([("100", "3")])
    stage.show([("100", "2")])
    stage.pass_time(0.25)
    stage.show([("100", "4")])  # and the next change need not wait

    assert (best(reader), reader.seqs) == ([1.0, 2.0, 4.0], [1, 2, 5])


@BOTH
def test_the_first_change_after_the_first_frame_waits_its_interval(mode: dict[str, Any]) -> None:
    stage = begun({**SLOW, **mode})
    reader = stage.join(**SLOW, **mode)
    stage.show([("100", "2")])

    assert (best(reader), stage.loop.pending) == ([1.0], [0.25])


@BOTH
def test_a_view_that_nobody_watches_has_no_timer(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    stage.show([("100", "2")])
    stage.show([("100", "3")])
    stage.leave(reader, **SLOW, **mode)
    before = stage.encoded
    stage.show([("100", "4")])

    assert (stage.loop.pending, stage.encoded) == ([], before)


@BOTH
def test_an_interval_that_ends_when_all_have_left_shows_nothing(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    stage.show([("100", "2")])
    stage.show([("100", "3")])
    stage.leave(reader, **SLOW, **mode)
    before = stage.encoded
    stage.pass_time(0.25)

    assert stage.encoded == before
    assert best(stage.join(**SLOW, **mode)) == [3.0]


@BOTH
def test_what_was_due_when_the_book_broke_is_never_shown(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    stage.show([("100", "2")])
    stage.show([("100", "3")])
    stage.lose()

    assert stage.loop.pending == []
    stage.pass_time(1.0)
    assert best(reader) == [1.0, 2.0]


@BOTH
def test_the_first_state_after_a_break_is_shown_at_once(mode: dict[str, Any]) -> None:
    stage, reader = watched(mode)
    stage.show([("100", "2")])
    stage.lose()
    stage.sync()
    stage.hear(text_snapshot([("90", "7")], [("91", "1")], sequence=50))
    stage.turn()

    assert best(reader) == [1.0, 2.0, 7.0]


@BOTH
def test_a_closed_book_leaves_no_timer(mode: dict[str, Any]) -> None:
    stage, _ = watched(mode)
    stage.show([("100", "2")])
    stage.show([("100", "3")])

    stage.books.close()

    assert stage.loop.pending == []


def test_views_of_one_book_keep_their_own_time() -> None:
    stage = begun()
    fast, slow, slower = (
        stage.join(levels=1, **throttle) for throttle in ({}, {"throttleMs": 100}, {"throttleMs": 250})
    )
    stage.pass_time(1.0)
    for amount in range(2, 13):
        stage.show([("100", str(amount))])
        stage.pass_time(STEP)

    assert [len(reader.payloads) - 1 for reader in (fast, slow, slower)] == [11, 7, 3]
