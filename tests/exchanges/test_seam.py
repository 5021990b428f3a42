"""Two copies of one stream make one stream: in order, nothing missing, nothing twice, however late either copy is."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.events import Candle, Event, VoidTrade
from exchanges.seam import MAX_HELD, Seam
from tests.exchanges.toy_venue import delta, snapshot, trade

Make = Callable[[int], Event]


def numbered_trade(number: int) -> Event:
    return trade(str(number)) if number % 7 else VoidTrade(id=str(number))


def numbered_delta(number: int) -> Event:
    return delta(10 * number - 10, 10 * number)


def numbered_candle(number: int) -> Event:
    """Three states of each: two forming, one closed."""
    return candle(number // 3 * 60_000, volume=1.0 + number % 3, closed=number % 3 == 2)


def candle(open_ms: int, *, volume: float, closed: bool) -> Candle:
    return Candle(open_time_ms=open_ms, open=1.0, high=1.0, low=1.0, close=1.0, volume=volume, closed=closed)


# How a turn goes: which copy speaks, and of how many events.
turns = st.lists(st.tuples(st.sampled_from(["old", "new"]), st.integers(1, 4)), max_size=100)


@pytest.mark.parametrize("make", [numbered_trade, numbered_delta, numbered_candle])
@given(start=st.integers(1, 40), ahead=st.integers(0, 30), turns=turns)
def test_whatever_the_copies_delays_are_one_whole_stream_comes_out(
    make: Make, start: int, ahead: int, turns: list[tuple[str, int]]
) -> None:
    """The new copy begins ``ahead`` of where the old one does; the old one is cut when they touch, or later."""
    seam, out = Seam(dense=True), list[Event]()
    said = {"old": start, "new": start + ahead}  # the next of each

    def say(copy: str, count: int) -> None:
        events = [make(number) for number in range(said[copy], said[copy] + count)]
        said[copy] += count
        out.extend((seam.old if copy == "old" else seam.new)(events))

    for copy, count in turns:
        say(copy, count)
    if (missing := start + ahead - said["old"]) > 0:
        say("old", missing)
    out += seam.release()
    say("new", max(1, said["old"] - said["new"] + 1))
    assert out == [make(number) for number in range(start, said["new"])]


@given(turns=turns)
def test_once_the_copies_touch_nothing_is_held(turns: list[tuple[str, int]]) -> None:
    seam, out = Seam(dense=True), list[Event]()
    said = {"old": 0, "new": 4}  # the last of each
    for copy, count in turns:
        events = [trade(str(said[copy] + n)) for n in range(1, count + 1)]
        said[copy] += count
        out += (seam.old if copy == "old" else seam.new)(events)
    assert len(out) >= said["old"]
    if said["old"] >= 5 and said["new"] >= 5:
        assert len(out) == max(said.values())


def test_what_the_new_copy_says_first_is_held_until_the_old_one_has_said_it() -> None:
    seam = Seam(dense=True)
    assert seam.old([trade("1")]) == [trade("1")]
    assert seam.new([trade("3"), trade("4")]) == ()
    assert seam.old([trade("2")]) == [trade("2")]
    assert seam.old([trade("3")]) == [trade("3"), trade("4")]
    assert seam.old([trade("4"), trade("5")]) == [trade("5")]


def test_when_the_old_copy_says_no_more_what_is_held_is_passed_on() -> None:
    seam = Seam(dense=True)
    seam.old([trade("1")])
    seam.new([trade("2")])
    assert seam.release() == [trade("2")]
    assert seam.new([trade("3")]) == [trade("3")]


def test_a_book_by_stream_goes_on_with_the_deltas_of_the_new_copy() -> None:
    seam = Seam(dense=False)
    seam.old([delta(4, 5)])
    seam.new([snapshot(6)])
    seam.new([delta(6, 7)])
    assert seam.old([delta(5, 6)]) == [delta(5, 6), delta(6, 7)]


def test_trades_without_an_order_pass_from_both_copies() -> None:
    seam = Seam(dense=False)
    assert seam.old([trade("a")]) == [trade("a")]
    assert seam.new([trade("a"), trade("b")]) == [trade("a"), trade("b")]
    assert seam.old([trade("b")]) == [trade("b")]


def test_books_without_a_sequence_pass_from_both_copies() -> None:
    seam = Seam(dense=False)
    assert [seam.new([snapshot(0)]), seam.old([snapshot(0)])] == [[snapshot(0)]] * 2


def test_a_candle_never_goes_back_and_is_closed_once() -> None:
    seam, closed, forming = Seam(dense=False), candle(0, volume=4.0, closed=True), candle(0, volume=4.0, closed=False)
    assert seam.old([forming]) == [forming]
    assert seam.new([forming]) == []
    assert seam.new([closed]) == [closed]
    for late in ([forming], [closed]):
        assert seam.old(late) == []


def test_an_old_copy_that_stays_silent_is_not_waited_for_without_end() -> None:
    seam = Seam(dense=True)
    seam.old([trade("1")])
    assert not any(seam.new([trade(str(number))]) for number in range(10, 10 + MAX_HELD))
    passed: Sequence[Event] = seam.new([trade(str(10 + MAX_HELD))])
    assert len(passed) == MAX_HELD + 1
    assert seam.new([trade(str(11 + MAX_HELD))]) == [trade(str(11 + MAX_HELD))]
