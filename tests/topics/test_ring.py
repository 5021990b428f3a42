"""The ring in memory: the contract, and its bounds in events, in time and in bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topics.distant_ring import DistantRing
from tests.topics.ring_contract import EPOCH, MakeRing, RingContract, event, filled, row
from topics.key import Cursor
from topics.ring import YOUNG, MemoryRing, Ring, RingBudget, Row


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class TestMemoryRing(RingContract):
    @pytest.fixture
    def make_ring(self) -> MakeRing:
        def make(*, max_events: int = 1_000, max_rows: int = 1_000) -> Ring:
            return MemoryRing(RingBudget(), max_events=max_events, max_young_events=max_events, max_rows=max_rows)

        return make


class TestDistantRing(RingContract):
    """The stand-in for a ring in another process that the tests of joining use keeps the contract too."""

    @pytest.fixture
    def make_ring(self) -> MakeRing:
        def make(*, max_events: int = 1_000, max_rows: int = 1_000) -> Ring:
            return DistantRing(RingBudget(), max_events=max_events, max_young_events=max_events, max_rows=max_rows)

        return make


async def seqs(ring: MemoryRing) -> list[int]:
    return [entry.cursor.seq for entry in await ring.last(1_000)]


async def test_more_events_are_kept_while_they_are_young() -> None:
    ring = MemoryRing(RingBudget(), max_events=2, max_young_events=5, monotonic=Clock())

    filled(ring, 4)

    assert await seqs(ring) == [1, 2, 3, 4]


async def test_young_events_too_have_a_bound() -> None:
    ring = MemoryRing(RingBudget(), max_events=2, max_young_events=5, monotonic=Clock())

    filled(ring, 9)

    assert await seqs(ring) == [5, 6, 7, 8, 9]


async def test_an_event_is_young_for_a_minute() -> None:
    clock = Clock()
    ring = MemoryRing(RingBudget(), max_events=2, max_young_events=9, monotonic=clock)
    filled(ring, 4)

    clock.now += YOUNG
    ring.append(*event(5))
    at_a_minute = await seqs(ring)
    clock.now += 0.001
    ring.append(*event(6))

    assert (at_a_minute, await seqs(ring)) == ([1, 2, 3, 4, 5], [5, 6])


async def test_old_events_are_kept_while_there_are_few() -> None:
    clock = Clock()
    ring = MemoryRing(RingBudget(), max_events=3, max_young_events=9, monotonic=clock)
    filled(ring, 2)

    clock.now += 86_400.0
    ring.append(*event(3))

    assert await seqs(ring) == [1, 2, 3]


async def test_the_oldest_events_make_room_in_bytes() -> None:
    ring = MemoryRing(RingBudget(), max_bytes=25)

    for seq in range(1, 6):
        ring.append(Cursor(EPOCH, seq), b"0123456789")

    assert (await seqs(ring), ring.held) == ([4, 5], 20)


async def test_a_single_event_larger_than_the_ring_is_kept_alone() -> None:
    ring = MemoryRing(RingBudget(), max_bytes=25)
    filled(ring, 2)

    ring.append(Cursor(EPOCH, 3), b"x" * 100)

    assert await seqs(ring) == [3]


async def test_what_bytes_pushed_out_counts_as_no_longer_held() -> None:
    ring = MemoryRing(RingBudget(), max_bytes=25)
    for seq in range(1, 6):
        ring.append(Cursor(EPOCH, seq), b"0123456789")

    assert (await ring.since(Cursor(EPOCH, 2)), len(await ring.since(Cursor(EPOCH, 3)) or ())) == (None, 2)


async def test_a_ring_gives_way_when_all_rings_together_hold_too_much() -> None:
    budget = RingBudget(limit=50)
    other, ring = MemoryRing(budget), MemoryRing(budget)
    other.append(Cursor(EPOCH, 1), b"x" * 30)

    for seq in range(1, 5):
        ring.append(Cursor(EPOCH, seq), b"0123456789")

    assert (await seqs(ring), await seqs(other), budget.used) == ([3, 4], [1], 50)


async def test_a_replaced_row_gives_its_bytes_back() -> None:
    ring = MemoryRing(RingBudget())
    ring.append(Cursor(EPOCH, 1), b"", rows=[Row(0, b"12345678")])

    ring.append(Cursor(EPOCH, 2), b"", rows=[Row(0, b"123")])

    assert ring.held == 3


async def test_a_closed_ring_gives_the_node_its_bytes_back() -> None:
    budget = RingBudget()
    other, ring = filled(MemoryRing(budget), 1), MemoryRing(budget)
    before = budget.used
    ring.append(*event(1), [row(1), row(2)])

    ring.close()

    assert (budget.used, ring.held) == (before, 0)
    assert len(await other.last(9)) == 1


@settings(max_examples=100, deadline=None)
@given(
    appends=st.lists(
        st.tuples(
            st.integers(0, 1),  # which ring
            st.integers(0, 40),  # bytes of the event
            st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20)), max_size=3),  # rows: minute, bytes
            st.floats(0, 50),  # seconds that pass before
        ),
        max_size=20,
    )
)
async def test_bytes_counted_are_bytes_held(appends: list[tuple[int, int, list[tuple[int, int]], float]]) -> None:
    clock, budget = Clock(), RingBudget(limit=300)
    rings = [
        MemoryRing(budget, max_events=3, max_young_events=5, max_rows=3, max_bytes=120, monotonic=clock)
        for _ in range(2)
    ]
    for seq, (which, size, rows, passed) in enumerate(appends, 1):
        clock.now += passed
        rings[which].append(Cursor(EPOCH, seq), b"x" * size, [Row(minute, b"y" * n) for minute, n in rows])

    held = [sum(len(item.payload) for item in [*await ring.last(99), *await ring.rows(99)]) for ring in rings]

    assert [ring.held for ring in rings] == held
    assert budget.used == sum(held)
