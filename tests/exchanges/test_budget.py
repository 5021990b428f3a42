"""Token buckets: never more than the venue allows in any of its windows, and the waiting time is known beforehand."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from exchanges.budget import CLIENT, HEALING, WITNESS, Bucket, Budget
from exchanges.errors import VenueBusy
from exchanges.venue import Rate

MINUTE = Rate(1000, 60.0)  # 300 at once, 10 a second


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bucket(clock: Clock) -> Bucket:
    return Bucket(MINUTE, clock=clock)


def counted(name: str, pool: str) -> float:
    return REGISTRY.get_sample_value(f"gateway_upstream_budget_{name}_total", {"exchange": "toy", "pool": pool}) or 0.0


def test_it_begins_full_and_what_is_there_is_there_at_once(bucket: Bucket) -> None:
    assert (bucket.left, bucket.take(300)) == (300.0, 0.0)


def test_what_is_not_there_has_to_be_waited_for(bucket: Bucket) -> None:
    bucket.take(300)
    assert (bucket.wait(50), bucket.take(50)) == (5.0, 5.0)


def test_who_comes_later_waits_behind_those_who_wait(bucket: Bucket) -> None:
    waits = [bucket.take(100) for _ in range(5)]
    assert waits == [0.0, 0.0, 0.0, 10.0, 20.0]


def test_it_refills_to_its_brim_and_no_further(bucket: Bucket, clock: Clock) -> None:
    bucket.take(300)
    clock.now = 10.0
    assert bucket.left == 100.0
    clock.now = 1000.0
    assert bucket.left == 300.0


def test_a_rate_of_one_still_gives_one(clock: Clock) -> None:
    assert Bucket(Rate(1, 60.0), clock=clock).take(1) == 0.0


def test_more_than_it_holds_can_be_taken_by_waiting(bucket: Bucket) -> None:
    assert bucket.take(500) == 20.0


requests = st.lists(st.tuples(st.floats(0, 40), st.integers(1, 120)), min_size=1, max_size=60)


@given(requests, st.floats(0, 60))
def test_in_no_window_of_the_venue_is_more_spent_than_it_allows(asked: list[tuple[float, int]], phase: float) -> None:
    """Whether its windows are clock minutes, laid at any ``phase``, or slide."""
    clock = Clock()
    bucket, spent = Bucket(MINUTE, clock=clock), []
    for at, (_, amount) in zip(accumulate(pause for pause, _ in asked), asked, strict=True):
        clock.now = at
        spent.append((at + bucket.take(amount), amount))
    starts = [at for at, _ in spent] + [phase + 60.0 * n for n in range(40)]
    for start in starts:
        assert sum(amount for at, amount in spent if start <= at < start + 60.0) <= 1000


@given(requests)
def test_nobody_waits_longer_than_the_budget_needs(asked: list[tuple[float, int]]) -> None:
    """Against a bucket that is emptied and filled in small steps."""
    clock = Clock()
    bucket, level, before = Bucket(MINUTE, clock=clock), 300.0, 0.0
    for at, (_, amount) in zip(accumulate(pause for pause, _ in asked), asked, strict=True):
        level = min(300.0, level + (at - before) * 10.0) - amount
        before = clock.now = at
        assert bucket.take(amount) == pytest.approx(max(0.0, -level / 10.0), abs=1e-6)


# -- who may wait how long ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patience", "left", "wait"),
    [
        (CLIENT, 5.0, 0.0),
        (CLIENT, -15.0, 2.0),
        (CLIENT, -16.0, None),
        (HEALING, -595.0, 60.0),
        (HEALING, -596.0, None),
        (WITNESS, 155.0, 0.0),
        (WITNESS, 154.0, None),
    ],
)
def test_each_waits_as_long_as_its_patience_reaches(
    clock: Clock, patience: tuple[float, float], left: float, wait: float | None
) -> None:
    budget = Budget("toy", "requests", MINUTE, clock=clock)
    budget.take(300 - left)
    try:
        assert budget.spend(5, type(CLIENT)(*patience)) == wait
    except VenueBusy:
        assert wait is None


def test_a_refusal_says_when_there_will_be_enough_and_costs_nothing(clock: Clock) -> None:
    budget = Budget("toy", "requests", MINUTE, clock=clock)
    budget.take(300)
    for _ in range(3):
        with pytest.raises(VenueBusy) as busy:
            budget.spend(50, CLIENT)
        assert busy.value.retry_after == 5.0
    assert budget.left == 0.0


def test_what_is_spent_and_refused_is_counted_by_its_pool(clock: Clock) -> None:
    budget = Budget("toy", "a pool", MINUTE, clock=clock)
    budget.spend(250, CLIENT)
    budget.take(50)
    with pytest.raises(VenueBusy):
        budget.spend(50, CLIENT)
    assert (counted("used", "a pool"), counted("refused", "a pool")) == (300.0, 1.0)
