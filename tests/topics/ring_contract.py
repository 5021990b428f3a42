"""What every ring must do, wherever it keeps its events. A ring joins by a class of its own that says how to make one.

pytest collects inherited tests, so inheriting is how a suite is given another subject.
"""

from typing import Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from topics.key import Cursor
from topics.ring import Entry, Ring, Row

EPOCH = 1_700_000_000_000
# One property over several subjects: an example is replayed against the subject whose class runs, which is meant. And
# ``make_ring`` may live as long as a test, since every example makes a ring of its own.
INHERITED = [HealthCheck.differing_executors, HealthCheck.function_scoped_fixture]


class MakeRing(Protocol):
    def __call__(self, *, max_events: int = 1_000, max_rows: int = 1_000) -> Ring:
        """An empty ring that holds at most so much, however young."""
        ...


def event(seq: int, epoch: int = EPOCH) -> Entry:
    return Entry(Cursor(epoch, seq), b'{"seq":%d}' % seq)


def row(minute: int, text: bytes = b"") -> Row:
    return Row(minute * 60_000, b"[%d,%b]" % (minute, text))


def filled(ring: Ring, last: int) -> Ring:
    """``ring`` with events 1 to ``last``."""
    for seq in range(1, last + 1):
        ring.append(*event(seq))
    return ring


class RingContract:
    """Subclasses have a fixture ``make_ring``."""

    async def test_an_empty_ring_has_nothing_to_give(self, make_ring: MakeRing) -> None:
        ring = make_ring()

        assert (await ring.last(5), await ring.rows(5), await ring.since(Cursor(EPOCH, 0))) == ([], [], [])

    @pytest.mark.parametrize(("count", "seqs"), [(0, []), (1, [5]), (3, [3, 4, 5]), (5, [1, 2, 3, 4, 5])])
    async def test_last_gives_the_newest_events_oldest_first(
        self, make_ring: MakeRing, count: int, seqs: list[int]
    ) -> None:
        ring = filled(make_ring(), 5)

        assert await ring.last(count) == [event(seq) for seq in seqs]

    async def test_last_gives_what_there_is_when_asked_for_more(self, make_ring: MakeRing) -> None:
        ring = filled(make_ring(), 2)

        assert await ring.last(100) == [event(1), event(2)]

    async def test_bytes_come_back_as_they_went_in(self, make_ring: MakeRing) -> None:
        ring, payload = make_ring(), '{"a":"é\\u0000"}'.encode() + b"\xff\x00\r\n"

        ring.append(Cursor(EPOCH, 1), payload, rows=[Row(0, payload)])

        assert [(await ring.last(1))[0].payload, (await ring.rows(1))[0].payload] == [payload, payload]

    @pytest.mark.parametrize(("seq", "after"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, []), (9, [])])
    async def test_since_gives_the_events_after_a_cursor(self, make_ring: MakeRing, seq: int, after: list[int]) -> None:
        ring = filled(make_ring(), 3)

        assert await ring.since(Cursor(EPOCH, seq)) == [event(n) for n in after]

    async def test_since_says_so_when_an_event_after_the_cursor_is_no_longer_held(self, make_ring: MakeRing) -> None:
        ring = filled(make_ring(max_events=3), 5)

        assert await ring.since(Cursor(EPOCH, 1)) is None

    async def test_since_knows_that_nothing_is_missing_right_after_what_was_dropped(self, make_ring: MakeRing) -> None:
        ring = filled(make_ring(max_events=3), 5)

        assert await ring.since(Cursor(EPOCH, 2)) == [event(3), event(4), event(5)]

    async def test_a_newer_epoch_follows_an_older_one(self, make_ring: MakeRing) -> None:
        ring = filled(make_ring(), 3)

        ring.append(*event(1, EPOCH + 1))

        assert await ring.since(Cursor(EPOCH, 2)) == [event(3), event(1, EPOCH + 1)]

    async def test_a_ring_never_drops_its_newest_event(self, make_ring: MakeRing) -> None:
        ring = filled(make_ring(max_events=1), 4)

        assert await ring.last(10) == [event(4)]

    async def test_rows_are_ascending_and_the_newest_are_given(self, make_ring: MakeRing) -> None:
        ring = make_ring()

        ring.append(*event(1), [row(1), row(2), row(3)])

        assert await ring.rows(2) == [row(2), row(3)]

    async def test_no_rows_are_given_when_none_are_asked_for(self, make_ring: MakeRing) -> None:
        ring = make_ring()

        ring.append(*event(1), [row(1)])

        assert await ring.rows(0) == []

    async def test_a_row_takes_the_place_of_the_one_of_its_open_time(self, make_ring: MakeRing) -> None:
        ring = make_ring()
        ring.append(*event(1), [row(1, b"old"), row(2)])

        ring.append(*event(2), [row(1, b"new")])

        assert await ring.rows(9) == [row(1, b"new"), row(2)]

    async def test_a_late_row_takes_its_place_in_time(self, make_ring: MakeRing) -> None:
        ring = make_ring()
        ring.append(*event(1), [row(1), row(5)])

        ring.append(*event(2), [row(3), row(0)])

        assert await ring.rows(9) == [row(0), row(1), row(3), row(5)]

    async def test_the_oldest_rows_make_room(self, make_ring: MakeRing) -> None:
        ring = make_ring(max_rows=2)

        ring.append(*event(1), [row(1), row(2)])
        ring.append(*event(2), [row(3), row(0)])

        assert await ring.rows(9) == [row(2), row(3)]

    async def test_a_closed_ring_holds_nothing(self, make_ring: MakeRing) -> None:
        ring = make_ring()
        ring.append(*event(1), [row(1)])

        ring.close()

        assert (await ring.last(5), await ring.rows(5)) == ([], [])

    @settings(max_examples=60, deadline=None, suppress_health_check=INHERITED)
    @given(
        appended=st.lists(st.lists(st.integers(0, 8), max_size=3), max_size=12),
        max_events=st.integers(1, 6),
        max_rows=st.integers(1, 5),
        asked=st.integers(0, 14),
    )
    async def test_it_holds_what_a_list_and_a_dict_would(
        self, make_ring: MakeRing, appended: list[list[int]], max_events: int, max_rows: int, asked: int
    ) -> None:
        ring = make_ring(max_events=max_events, max_rows=max_rows)
        candles: dict[int, Row] = {}
        for seq, minutes in enumerate(appended, 1):
            rows = [row(minute, b"%d" % seq) for minute in minutes]
            ring.append(*event(seq), rows)
            candles |= {one.open_time_ms: one for one in rows}
            candles = {time: candles[time] for time in sorted(candles)[-max_rows:]}
        held = [event(seq) for seq in range(1, len(appended) + 1)][-max_events:]
        dropped = len(appended) - len(held)

        assert await ring.last(asked) == (held[-asked:] if asked else [])
        assert await ring.rows(asked) == (list(candles.values())[-asked:] if asked else [])
        expected = None if asked < dropped else [entry for entry in held if entry.cursor.seq > asked]
        assert await ring.since(Cursor(EPOCH, asked)) == expected
