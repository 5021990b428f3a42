"""The breaker: a ban is kept to its second, whoever it was told to, and one goes first when it is over."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from prometheus_client import REGISTRY

from exchanges.breaker import LONGEST_BAN, PROBE_PAUSE, Breaker, retry_after
from exchanges.errors import VenueBusy
from tests.exchanges.test_budget import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("toy", bans={403: 600.0, 429: 60.0}, clock=clock)


def banned(breaker: Breaker, clock: Clock, seconds: float) -> None:
    """After a ban that is over."""
    breaker.open(seconds, status=429)
    clock.now += seconds


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "17"}, 17.0),
        (429, {}, 60.0),
        (403, {}, 600.0),
        (403, {"retry-after": "5"}, 5.0),
        (429, {"retry-after": "0"}, 1.0),
        (429, {"retry-after": "86400"}, LONGEST_BAN),
        (429, {"retry-after": "9" * 400}, LONGEST_BAN),
        (418, {"retry-after": "17"}, 0.0),  # not among this venue's
        (200, {"retry-after": "17"}, 0.0),
        (503, {"retry-after": "17"}, 0.0),
    ],
)
def test_an_answer_is_a_ban_if_the_venue_says_so_by_its_status(
    breaker: Breaker, status: int, headers: dict[str, str], seconds: float
) -> None:
    assert breaker.refuses(status, headers) is (seconds > 0.0)
    assert breaker.remaining == seconds


def test_while_it_is_open_nobody_passes_and_everybody_is_told_how_long(breaker: Breaker, clock: Clock) -> None:
    breaker.open(30.0, status=429)
    clock.now = 29.0
    with pytest.raises(VenueBusy) as busy, breaker.passage():
        pass
    assert (busy.value.retry_after, breaker.state) == (1.0, "open")


def test_a_second_ban_never_shortens_the_first(breaker: Breaker, clock: Clock) -> None:
    breaker.open(30.0, status=429)
    clock.now = 10.0
    breaker.open(5.0, status=429)
    assert breaker.remaining == 20.0
    breaker.open(50.0, status=429)
    assert breaker.remaining == 50.0


def test_when_the_time_is_over_one_goes_first(breaker: Breaker, clock: Clock) -> None:
    banned(breaker, clock, 30.0)
    with breaker.passage():
        with pytest.raises(VenueBusy) as behind, breaker.passage():
            pass
        assert (behind.value.retry_after, breaker.wait) == (PROBE_PAUSE, PROBE_PAUSE)


def test_once_that_one_is_answered_all_may_pass(breaker: Breaker, clock: Clock) -> None:
    banned(breaker, clock, 30.0)
    with breaker.passage():
        assert not breaker.refuses(200, {})
        with breaker.passage():
            assert breaker.state == "closed"


def test_if_that_one_gets_no_answer_another_goes_first(breaker: Breaker, clock: Clock) -> None:
    banned(breaker, clock, 30.0)
    with pytest.raises(TimeoutError), breaker.passage():
        raise TimeoutError
    assert breaker.state == "half-open"
    with breaker.passage(), pytest.raises(VenueBusy), breaker.passage():
        pass


def test_if_that_one_is_banned_again_the_time_begins_anew(breaker: Breaker, clock: Clock) -> None:
    banned(breaker, clock, 30.0)
    with breaker.passage():
        assert breaker.refuses(429, {"retry-after": "40"})
    assert (breaker.state, breaker.remaining) == ("open", 40.0)


def test_an_answer_to_what_was_asked_before_the_ban_does_not_end_it(breaker: Breaker) -> None:
    with breaker.passage():
        breaker.open(30.0, status=429)
        breaker.passed()
    assert breaker.remaining == 30.0


def test_without_a_ban_any_number_may_pass_together(breaker: Breaker) -> None:
    with breaker.passage(), breaker.passage(), breaker.passage():
        assert breaker.wait == 0.0


def test_those_who_watch_are_told_when_it_opens_and_when_it_need_not_be_waited_for(
    breaker: Breaker, clock: Clock
) -> None:
    states: list[str] = []
    breaker.watch(lambda: states.append(breaker.state))
    banned(breaker, clock, 30.0)
    with pytest.raises(TimeoutError), breaker.passage():
        raise TimeoutError
    with breaker.passage():
        breaker.passed()
    assert states == ["open", "half-open", "closed"]


def test_an_operator_sees_until_when_we_stay_away(breaker: Breaker, clock: Clock) -> None:
    def until() -> float:
        return REGISTRY.get_sample_value("gateway_upstream_banned_until_seconds", {"exchange": "toy"}) or 0.0

    breaker.open(30.0, status=429)
    assert until() == pytest.approx(datetime.now(UTC).timestamp() + 30.0, abs=5.0)
    clock.now = 30.0
    with breaker.passage():
        breaker.passed()
    assert until() == 0.0


# -- Retry-After -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("120", 120.0), ("", None), ("-5", None), ("1.5", None), ("٣", None), ("Wed, 21 Oct", None)],
)
def test_retry_after_is_seconds_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_a_date_counts_from_the_venues_own_clock(skew: int) -> None:
    there = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=skew)
    later = there + timedelta(seconds=90)
    headers = {"retry-after": format_datetime(later, usegmt=True), "date": format_datetime(there, usegmt=True)}
    assert retry_after(headers) == 90.0


def test_a_date_counts_from_our_clock_where_the_venue_does_not_tell_its_time() -> None:
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert retry_after({"retry-after": format_datetime(later, usegmt=True)}) == pytest.approx(90.0, abs=2.0)


def test_a_date_that_has_passed_is_no_time_at_all() -> None:
    assert retry_after({"retry-after": "Sat, 21 Nov 2020 12:00:00 GMT"}) == 0.0
