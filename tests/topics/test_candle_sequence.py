"""When a candle is new, closed, whole: one line of time, told by hand."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.events import Candle
from tests.topics.scripted_venue import EPOCH_MS
from topics.candle_sequence import (
    GRACE_MS,
    LATE_MS,
    MAX_CANDLES,
    RETRY_MS,
    STRAYS,
    CandleSequence,
    State,
    candle_end,
)

MINUTE = 60_000
START = EPOCH_MS // MINUTE * MINUTE


def candle(minute: int, *, close: float = 100.0, closed: bool | None = None) -> Candle:
    return Candle(
        open_time_ms=START + minute * MINUTE, open=100.0, high=500.0, low=1.0, close=close, volume=1.0, closed=closed
    )


def at(minute: float) -> int:
    return START + round(minute * MINUTE)


def told(states: list[State]) -> list[tuple[int, float, bool]]:
    """Minute, close, closed."""
    return [((s.candle.open_time_ms - START) // MINUTE, s.candle.close, s.closed) for s in states]


@pytest.fixture
def silent() -> CandleSequence:
    """Of a venue that never says when a candle is closed; minute 0 is forming."""
    sequence = CandleSequence("1m", marks_closed=False)
    sequence.follow([candle(0)], at(0.5))
    return sequence


@pytest.fixture
def marking() -> CandleSequence:
    """Of a venue that says it; minute 0 is forming."""
    sequence = CandleSequence("1m", marks_closed=True)
    sequence.follow([candle(0, closed=False)], at(0.5))
    return sequence


def test_what_says_nothing_new_is_left_out(marking: CandleSequence) -> None:
    assert marking.follow([candle(0, closed=False)], at(0.6)) == ([], [])


def test_the_next_candle_closes_the_one_before_where_the_venue_never_says_so(silent: CandleSequence) -> None:
    assert told(silent.follow([candle(1)], at(1.1))[0]) == [(0, 100.0, True), (1, 100.0, False)]


def test_a_candle_that_nobody_follows_is_closed_once_its_end_has_passed(silent: CandleSequence) -> None:
    just_before = silent.check(at(1) + GRACE_MS - 1)
    after = silent.check(at(1) + GRACE_MS)

    assert (just_before, told(after), silent.check(at(5))) == ([], [(0, 100.0, True)], [])


def test_the_venues_own_word_closes_a_candle(marking: CandleSequence) -> None:
    assert told(marking.follow([candle(0, close=7.0, closed=True)], at(1))[0]) == [(0, 7.0, True)]


def test_a_candle_the_venue_closes_is_not_closed_by_the_next_one(marking: CandleSequence) -> None:
    assert told(marking.follow([candle(1, closed=False)], at(1.1))[0]) == [(1, 100.0, False)]


def test_a_closed_candle_changes_only_in_a_repair(silent: CandleSequence) -> None:
    silent.follow([candle(1)], at(1.1))

    changes, repairs = silent.follow([candle(0, close=9.0)], at(1.2))

    assert (told(repairs), changes) == ([(0, 9.0, True)], [])


def test_what_was_said_of_a_candle_before_the_venue_closed_it_and_comes_late_is_left_out(
    marking: CandleSequence,
) -> None:
    marking.follow([candle(0, close=7.0, closed=True)], at(1))

    assert marking.follow([candle(0, close=6.0, closed=False)], at(1)) == ([], [])


def test_a_word_the_venue_owes_too_long_is_wanted_from_rest(marking: CandleSequence) -> None:
    marking.check(at(1) + LATE_MS - 1)
    before = marking.wants(at(1) + LATE_MS - 1)
    marking.check(at(1) + LATE_MS)

    assert (before, marking.wants(at(1) + LATE_MS), marking.since_ms) == (False, True, at(0))
    assert told(marking.mend([candle(0, close=4.0)], at(1) + LATE_MS)) == [(0, 4.0, True)]
    assert not marking.wants(at(9))


def test_candles_that_a_venue_which_tells_of_each_leaves_out_are_wanted(marking: CandleSequence) -> None:
    marking.follow([candle(0, closed=True), candle(3, closed=False)], at(3.1))

    assert (marking.wants(at(3.1)), marking.since_ms) == (True, at(0))
    assert [minute for minute, _, _ in told(marking.mend([candle(n) for n in range(4)], at(3.2)))] == [1, 2]


def test_an_interval_without_a_trade_has_no_candle_where_the_venue_has_none(silent: CandleSequence) -> None:
    silent.follow([candle(3)], at(3.1))

    assert not silent.wants(at(3.1))


def test_after_a_loss_rest_tells_what_changed(silent: CandleSequence) -> None:
    silent.broken()

    changed = silent.mend([candle(0, close=2.0), candle(1, close=3.0), candle(2)], at(2.5))

    assert told(changed) == [(0, 2.0, True), (1, 3.0, True), (2, 100.0, False)]
    assert {state.source for state in changed} == {"rest"}


def test_a_candle_with_an_unrepaired_loss_inside_is_closed_as_incomplete_and_repaired_later(
    silent: CandleSequence,
) -> None:
    silent.broken()
    silent.mend([], at(0.8))

    (closed, _) = silent.follow([candle(1)], at(1.1))[0]
    tried = silent.wants(at(0.9))
    (repair, *_) = silent.mend([candle(0, close=6.0), candle(1)], at(0.8) + RETRY_MS)

    assert (closed.closed, closed.complete, tried) == (True, False, False)
    assert (told([repair]), repair.complete) == ([(0, 6.0, True)], True)


def test_a_candle_the_stream_tells_afresh_after_a_loss_is_whole(silent: CandleSequence) -> None:
    silent.broken()
    silent.follow([candle(0, close=5.0)], at(0.9))

    assert silent.follow([candle(1)], at(1.1))[0][0].complete


@pytest.mark.parametrize("hours", [-1, 1], ids=["an hour ahead", "an hour behind"])
def test_a_venue_whose_clock_differs_from_ours_is_believed(hours: int) -> None:
    sequence, ours = CandleSequence("1m", marks_closed=False), hours * 60
    sequence.follow([candle(0)], at(0.5 + ours))

    early = sequence.check(at(0.9 + ours))
    late = sequence.check(at(2.1 + ours))

    assert (early, told(late)) == ([], [(0, 100.0, True)])


@pytest.mark.parametrize("marks_closed", [False, True])
def test_a_venue_whose_clock_was_ahead_for_a_while_is_followed_again_soon(marks_closed: bool) -> None:
    sequence = CandleSequence("1m", marks_closed=marks_closed)
    sequence.follow([candle(60)], at(0.2))

    for trade in range(STRAYS):
        sequence.follow([candle(0, close=float(trade + 1))], at(0.3))

    assert sequence.newest_ms == at(0)
    assert told(sequence.follow([candle(1)], at(1.1))[0])[-1] == (1, 100.0, False)


def test_rests_newest_candle_is_forming_whatever_the_clock_says() -> None:
    sequence = CandleSequence("1m", marks_closed=True)

    assert told(sequence.start([candle(0), candle(1, closed=True)], [], at(60))) == [
        (0, 100.0, True),
        (1, 100.0, False),
    ]


def test_a_past_that_could_not_be_had_is_wanted_until_rest_tells_it() -> None:
    sequence = CandleSequence("1m", marks_closed=True)
    sequence.start(None, [candle(5, closed=False)], at(5.5))

    assert (sequence.wants(at(5.6)), sequence.since_ms, sequence.lacks_only_its_past) == (True, None, True)
    assert sequence.mend([], at(5.6)) == []
    assert (sequence.wants(at(5.7)), sequence.wants(at(5.6) + RETRY_MS)) == (False, True)
    assert told(sequence.mend([candle(3), candle(4), candle(5)], at(5.8)))[:2] == [(3, 100.0, True), (4, 100.0, True)]
    assert not sequence.wants(at(9))


def test_a_past_that_is_empty_is_wanted_no_more() -> None:
    sequence = CandleSequence("1m", marks_closed=True)
    sequence.start([], [candle(5, closed=False)], at(5.5))

    assert not sequence.wants(at(9))


def test_what_the_stream_brought_meanwhile_is_newer_than_the_history() -> None:
    sequence = CandleSequence("1m", marks_closed=True)

    states = sequence.start([candle(0)], [candle(0, close=8.0, closed=False)], at(0.5))

    assert told(states)[-1] == (0, 8.0, False)


def test_so_many_candles_are_remembered(silent: CandleSequence) -> None:
    silent.follow([candle(minute) for minute in range(1, MAX_CANDLES + 1)], at(MAX_CANDLES + 0.5))

    changes, repairs = silent.follow([candle(1), candle(0)], at(MAX_CANDLES + 0.6))

    assert (repairs, told(changes)) == ([], [(0, 100.0, True)])


@pytest.mark.parametrize(
    ("timeframe", "begin", "end"),
    [
        ("1m", "2026-02-28T23:59", "2026-03-01T00:00"),
        ("1w", "2026-12-28T00:00", "2027-01-04T00:00"),
        ("1M", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("1M", "2026-12-01T00:00", "2027-01-01T00:00"),
    ],
)
def test_a_candle_ends_where_the_next_begins(timeframe: str, begin: str, end: str) -> None:
    times = [round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) for text in (begin, end)]

    assert candle_end(times[0], timeframe) == times[1]


steps = st.lists(st.tuples(st.sampled_from(["trade", "wait", "lose", "mend", "miss"]), st.integers(1, 90)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(script=steps, marks_closed=st.booleans())
def test_every_candle_is_closed_once_and_changes_afterwards_only_in_repairs(
    script: list[tuple[str, int]], marks_closed: bool
) -> None:
    """The model is the venue: a number of trades for each minute, told as the candle's close."""
    sequence = CandleSequence("1m", marks_closed=marks_closed)
    counts: dict[int, int] = {}
    second, lost, closed_by_us = 0, False, []
    shown: dict[int, tuple[float, bool]] = {}

    def hear(states: list[State], *, repair: bool) -> None:
        for minute, close, closed in told(states):
            before = shown.get(minute)
            assert repair or before is None or not before[1], "a closed candle changed"
            if closed and not (before and before[1]):
                closed_by_us.append(minute)
            shown[minute] = close, closed

    def tell(minute: int, *, closed: bool) -> None:
        if not lost:
            word = closed if marks_closed else None
            changes, repairs = sequence.follow([candle(minute, close=float(counts[minute]), closed=word)], now())
            hear(changes, repair=False)
            hear(repairs, repair=True)

    def now() -> int:
        return START + second * 1000

    for step, number in [("trade", 1), *script, ("back", 1), ("wait", 70), ("trade", 1)]:
        minute = second // 60
        if step == "trade":
            counts[minute] = counts.get(minute, 0) + number
            tell(minute, closed=False)
        elif step == "wait":
            for _ in range(number):
                second += 1
                if second % 60 == 0 and marks_closed:
                    counts.setdefault(second // 60 - 1, 0)
                    counts[second // 60 - 1] = max(1, counts[second // 60 - 1])
                    tell(second // 60 - 1, closed=True)
                hear(sequence.check(now()), repair=False)
        elif step == "lose" and not lost:
            lost = True
            sequence.broken()
        elif step in ("mend", "back") and (lost or sequence.wants(now())):
            lost = False
            rows = [candle(each, close=float(count)) for each, count in sorted(counts.items())]
            hear(sequence.mend(rows, now()), repair=True)
        elif step == "miss" and lost:
            lost = False
            hear(sequence.mend([], now()), repair=True)
    if sequence.wants(now() + RETRY_MS):
        second += RETRY_MS // 1000
        rows = [candle(each, close=float(count)) for each, count in sorted(counts.items())]
        hear(sequence.mend(rows, now()), repair=True)

    assert len(closed_by_us) == len(set(closed_by_us))
    past = [minute for minute in counts if minute < max(counts)]
    assert all(shown[minute] == (float(counts[minute]), True) for minute in past if minute in shown)
