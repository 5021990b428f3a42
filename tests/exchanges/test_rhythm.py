"""What counts as silence, and as delay, for a stream with a rhythm of its own."""

import pytest

from exchanges.rhythm import CLOCK_JUMP, LONGEST_SILENCE, SHORTEST_SILENCE, USUAL_INTERVALS, Rhythm


def beaten(*, every: float, until: float, messages: int = 1) -> Rhythm:
    """A stream that spoke ``messages`` times every ``every`` seconds."""
    rhythm, now = Rhythm(0.0), 0.0
    while now < until:
        now += every
        rhythm.beat(now, messages=messages, event_ms=None)
    return rhythm


@pytest.mark.parametrize(
    ("every", "messages", "limit"),
    [
        (1.0, 10, SHORTEST_SILENCE),
        (1.0, 1, USUAL_INTERVALS * 1.0),
        (3.0, 1, USUAL_INTERVALS * 3.0),
        (60.0, 1, LONGEST_SILENCE),
    ],
)
def test_silence_is_measured_against_the_usual_interval(every: float, messages: int, limit: float) -> None:
    assert beaten(every=every, until=600.0, messages=messages).limit == pytest.approx(limit)


def test_a_stream_that_has_not_spoken_yet_is_given_the_shortest() -> None:
    assert (Rhythm(5.0).limit, Rhythm(5.0).silence(12.0)) == (SHORTEST_SILENCE, 7.0)


def test_silence_begins_anew_with_every_message() -> None:
    rhythm = Rhythm(0.0)
    rhythm.beat(8.0, messages=1, event_ms=None)
    rhythm.beat(9.0, messages=0, event_ms=None)

    assert rhythm.silence(10.0) == 2.0


def test_a_market_that_gets_busier_is_soon_measured_by_that() -> None:
    rhythm = beaten(every=60.0, until=600.0)
    for second in range(601, 640):
        rhythm.beat(float(second), messages=20, event_ms=None)

    assert rhythm.limit == SHORTEST_SILENCE


@pytest.mark.parametrize("skew_ms", [0, 3_600_000, -3_600_000], ids=["clocks agree", "an hour ahead", "an hour behind"])
def test_delay_is_what_has_been_added_to_the_quickest_message_whatever_the_clocks_say(skew_ms: int) -> None:
    rhythm = Rhythm(0.0)
    for second, delay in enumerate([0.1, 0.5, 4.0, 9.1], start=1):
        rhythm.beat(float(second), messages=1, event_ms=round((second - delay) * 1000) + skew_ms)

    assert rhythm.lag == pytest.approx(9.0)


def test_a_clock_that_was_set_is_no_delay() -> None:
    rhythm = Rhythm(0.0)
    rhythm.beat(1.0, messages=1, event_ms=1_000)
    rhythm.beat(2.0, messages=1, event_ms=2_000 - round(CLOCK_JUMP * 1000) - 1_000)

    assert rhythm.lag == 0.0


def test_a_second_without_a_message_changes_nothing() -> None:
    rhythm = Rhythm(0.0)
    rhythm.beat(1.0, messages=1, event_ms=1_000)
    usual = rhythm.usual
    rhythm.beat(40.0, messages=0, event_ms=1_000)

    assert (rhythm.usual, rhythm.lag) == (usual, 0.0)
