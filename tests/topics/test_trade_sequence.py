"""Which trades may go out: against a model that is nothing but the venue's own list."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.events import Trade, VoidTrade
from tests.topics.scripted_venue import trade, trades
from topics.trade_sequence import FAR, MAX_SEEN, MAX_WITHHELD, DenseTrades, LooseTrades, Mended


def ids(ready: list[Trade]) -> list[int]:
    return [int(one.id) for one in ready]


def void(number: int) -> VoidTrade:
    return VoidTrade(id=str(number))


@pytest.fixture
def dense() -> DenseTrades:
    """Trades 1 to 3 have gone out."""
    sequence = DenseTrades()
    sequence.start(trades(1, 3), [])
    return sequence


@pytest.fixture
def loose() -> LooseTrades:
    """Trades 1 to 3 have gone out, and the stream is known to follow them."""
    sequence = LooseTrades()
    sequence.start(trades(1, 3), trades(3, 3))
    return sequence


class TestDense:
    def test_what_follows_goes_out_at_once(self, dense: DenseTrades) -> None:
        assert (ids(dense.follow(trades(4, 6))), dense.open) == ([4, 5, 6], False)

    def test_a_jump_withholds_what_comes_after_it(self, dense: DenseTrades) -> None:
        assert (ids(dense.follow(trades(5, 6))), dense.open, dense.last_id) == ([], True, "3")

    def test_a_late_trade_closes_the_hole_in_order(self, dense: DenseTrades) -> None:
        dense.follow([trade(6), trade(5)])

        assert (ids(dense.follow([trade(4)])), dense.open) == ([4, 5, 6], False)

    def test_a_trade_seen_before_is_counted_and_left_out(self, dense: DenseTrades) -> None:
        dense.follow([trade(5)])

        assert (ids(dense.follow([trade(3), trade(5)])), dense.duplicates) == ([], 2)

    def test_an_id_that_is_no_trade_leaves_no_hole(self, dense: DenseTrades) -> None:
        assert ids(dense.follow([void(4), trade(5)])) == [5]

    def test_rows_by_rest_fill_the_hole_and_prove_it(self, dense: DenseTrades) -> None:
        dense.follow(trades(7, 8))

        ready, mended = dense.mend(trades(4, 7))

        assert (ids(ready), mended) == ([4, 5, 6, 7, 8], Mended(3, 0, trade(7).timestamp_ms))

    def test_what_rest_lists_no_more_is_missing_by_exact_number(self, dense: DenseTrades) -> None:
        dense.follow([trade(20)])

        ready, mended = dense.mend(trades(15, 25))

        assert (ids(ready), mended.missing) == (list(range(15, 26)), 11)

    def test_without_rest_the_whole_hole_is_missing(self, dense: DenseTrades) -> None:
        dense.follow([trade(6), trade(9)])

        ready, mended = dense.mend([])

        assert (ids(ready), mended, dense.open) == ([6, 9], Mended(0, 4, trade(6).timestamp_ms), False)

    def test_ids_a_list_by_rest_passes_over_were_no_trades(self, dense: DenseTrades) -> None:
        dense.follow([trade(7)])

        ready, mended = dense.mend([trade(2), trade(3), trade(6), trade(7)])

        assert (ids(ready), mended.missing) == ([6, 7], 0)

    def test_where_ids_may_be_no_trades_a_number_of_missing_ones_cannot_be_given(self, dense: DenseTrades) -> None:
        dense.follow([void(4), trade(9)])

        assert dense.mend([])[1].missing is None

    def test_rest_that_is_behind_the_stream_is_to_be_asked_again(self, dense: DenseTrades) -> None:
        dense.follow([trade(9)])

        assert [dense.reached(trades(1, newest)) for newest in (3, 7, 8, 9)] == [False, False, True, True]

    def test_one_garbled_id_does_not_make_everything_after_it_look_old(self, dense: DenseTrades) -> None:
        garbled = dense.follow([trade(4 + 2 * FAR, at=5)])

        assert (garbled, ids(dense.follow(trades(4, 5))), dense.open) == ([], [4, 5], False)

    def test_a_far_jump_is_believed_when_a_second_trade_says_the_same(self, dense: DenseTrades) -> None:
        dense.follow([trade(2 * FAR, at=5)])
        dense.follow([trade(2 * FAR + 1, at=5)])

        ready, mended = dense.mend([])

        assert (ids(ready), mended.missing) == ([2 * FAR + 1], 2 * FAR - 3)

    def test_a_history_that_does_not_reach_the_stream_is_not_taken_for_its_past(self) -> None:
        sequence = DenseTrades()

        assert ids(sequence.start(trades(1, 5), trades(8, 9))) == [8, 9]

    def test_more_than_may_be_withheld_is_crowded(self, dense: DenseTrades) -> None:
        dense.follow(trades(10, 9 + MAX_WITHHELD))
        before = dense.crowded
        dense.follow(trades(10 + MAX_WITHHELD, 10 + MAX_WITHHELD))

        assert (before, dense.crowded) == (False, True)

    def test_a_loss_before_anything_went_out_is_none(self) -> None:
        assert DenseTrades().mend([]) == ([], Mended(0, 0, None))

    def test_what_a_loss_cost_before_anything_went_out_is_looked_for_too(self) -> None:
        sequence = DenseTrades()
        sequence.broken()
        withheld = sequence.follow([trade(2)])

        ready, mended = sequence.mend(trades(1, 2))

        assert (withheld, ids(ready), mended.rows, mended.missing) == ([], [1, 2], 1, 0)

    def test_without_rest_nobody_knows_what_was_missed_before_the_first_trade(self) -> None:
        sequence = DenseTrades()
        sequence.broken()
        sequence.follow([trade(2)])

        ready, mended = sequence.mend([])

        assert (ids(ready), mended.missing, ids(sequence.follow([trade(3)]))) == ([2], None, [3])


class TestLoose:
    def test_what_comes_goes_out_once(self, loose: LooseTrades) -> None:
        assert (ids(loose.follow([trade(5), trade(4), trade(5)])), loose.duplicates) == ([5, 4], 1)

    def test_after_a_loss_what_comes_is_withheld(self, loose: LooseTrades) -> None:
        loose.broken()

        assert (loose.follow(trades(6, 7)), loose.open) == ([], True)

    def test_a_list_that_reaches_from_a_known_trade_to_the_stream_proves_that_nothing_is_missing(
        self, loose: LooseTrades
    ) -> None:
        loose.broken()
        loose.follow(trades(6, 7))

        ready, mended = loose.mend(trades(2, 6))

        assert (ids(ready), mended) == ([4, 5, 6, 7], Mended(2, 0, trade(6).timestamp_ms))

    @pytest.mark.parametrize(("first", "last"), [(4, 6), (2, 5)], ids=["too short a past", "behind the stream"])
    def test_a_list_that_does_not_prove_nothing_it_gives_all_the_same(
        self, loose: LooseTrades, first: int, last: int
    ) -> None:
        loose.broken()
        loose.follow(trades(6, 7))

        ready, mended = loose.mend(trades(first, last))

        assert (ids(ready), mended.missing) == ([4, 5, 6, 7], None)

    def test_a_list_without_the_streams_first_trade_is_to_be_asked_for_again(self, loose: LooseTrades) -> None:
        loose.broken()
        loose.follow(trades(6, 7))

        assert [loose.reached(trades(1, newest)) for newest in (5, 6)] == [False, True]

    def test_a_replay_that_begins_with_a_known_trade_proves_itself(self, loose: LooseTrades) -> None:
        loose.broken()
        loose.follow(trades(3, 6))

        assert loose.mend([])[1] == Mended(0, 0, trade(3).timestamp_ms)

    def test_while_the_stream_is_silent_the_proof_stays_open(self, loose: LooseTrades) -> None:
        loose.broken()
        made_up, first = loose.mend(trades(2, 5))
        loose.follow([trade(8)])

        ready, second = loose.mend(trades(4, 8))

        assert (ids(made_up), first) == ([4, 5], Mended(2, 0, None))
        assert (ids(ready), second.rows, second.missing) == ([6, 7, 8], 2, 0)

    def test_what_a_list_has_from_before_the_first_known_trade_is_no_loss(self) -> None:
        sequence = LooseTrades()
        sequence.start(trades(5, 7), trades(7, 7))
        sequence.broken()
        sequence.follow([trade(9)])

        ready, mended = sequence.mend(trades(1, 9))

        assert (ids(ready), mended.rows) == ([8, 9], 1)

    def test_where_nothing_has_gone_out_the_stream_begins_with_itself(self) -> None:
        sequence = LooseTrades()
        sequence.follow([trade(9)])

        ready, mended = sequence.mend(trades(1, 9))

        assert (ids(ready), mended) == ([9], Mended(0, 0, trade(9).timestamp_ms))

    def test_without_rest_and_without_the_stream_nothing_is_said_yet(self, loose: LooseTrades) -> None:
        loose.broken()

        assert (loose.mend([]), loose.open) == (([], Mended(0, 0, None)), False)

    def test_what_was_withheld_when_the_stream_was_lost_again_goes_out_with_the_rest(self, loose: LooseTrades) -> None:
        loose.broken()
        loose.follow([trade(5)])
        loose.broken()
        loose.follow([trade(9)])

        ready, mended = loose.mend([])

        assert (ids(ready), mended.missing) == ([5, 9], None)

    def test_a_bounded_number_of_ids_is_remembered(self, loose: LooseTrades) -> None:
        loose.follow(trades(4, 4 + MAX_SEEN))

        assert ids(loose.follow([trade(1), trade(4 + MAX_SEEN)])) == [1]

    def test_more_than_may_be_withheld_is_crowded(self, loose: LooseTrades) -> None:
        loose.broken()
        loose.follow(trades(10, 10 + MAX_WITHHELD))

        assert loose.crowded


# -- any order, any loss -----------------------------------------------------------------------------------------------


@dataclass
class Venue:
    """The market's own list, what of it the stream brings, and a REST side that may be short, late or away."""

    newest: int = 3
    told: list[int] = field(default_factory=lambda: [1, 2, 3])  # what went out
    # From where to where among what went out, and how many are missing there.
    declared: list[tuple[int, int, int | None]] = field(default_factory=list)

    def list(self, size: int, behind: int) -> list[Trade]:
        last = max(0, self.newest - behind)
        return trades(max(1, last - size + 1), last)


steps = st.one_of(
    st.tuples(st.just("brings"), st.integers(1, 3), st.just(0)),
    st.tuples(st.sampled_from(["loses", "repeats", "swaps"]), st.integers(1, 3), st.just(0)),
    st.tuples(st.just("breaks"), st.integers(0, 5), st.just(0)),
    st.tuples(st.just("mends"), st.integers(0, 12), st.integers(0, 3)),
)


def play(sequence: DenseTrades | LooseTrades, script: list[tuple[str, int, int]]) -> Venue:
    venue = Venue()
    sequence.start(trades(1, 3), trades(3, 3))
    for step, number, behind in [*script, ("brings", 1, 0), ("mends", 99, 0)]:
        match step:
            case "brings":
                venue.newest += number
                venue.told += ids(sequence.follow(trades(venue.newest - number + 1, venue.newest)))
            case "loses" if isinstance(sequence, DenseTrades):  # where ids say nothing, only a lost subscription shows
                venue.newest += number
            case "repeats":
                venue.told += ids(sequence.follow(trades(venue.newest - number + 1, venue.newest)))
            case "swaps" if isinstance(sequence, DenseTrades):
                venue.newest += 2
                venue.told += ids(sequence.follow([trade(venue.newest), trade(venue.newest - 1)]))
            case "breaks":
                sequence.broken()
                venue.newest += number
            case "mends" if sequence.open:
                ready, mended = sequence.mend(venue.list(number, behind))
                if mended.missing != 0:
                    venue.declared.append((len(venue.told), len(venue.told) + len(ready), mended.missing))
                venue.told += ids(ready)
    return venue


@settings(max_examples=400, deadline=None)
@given(script=st.lists(steps, max_size=30))
def test_dense_trades_go_out_once_in_order_and_what_is_missing_is_said_exactly(
    script: list[tuple[str, int, int]],
) -> None:
    venue = play(DenseTrades(), [step for step in script if not (step[0] == "repeats" and step[1] > 3)])

    assert venue.told == sorted(set(venue.told))
    assert len(venue.told) + sum(missing or 0 for _, _, missing in venue.declared) == venue.newest
    assert all(missing for _, _, missing in venue.declared)


@settings(max_examples=400, deadline=None)
@given(script=st.lists(steps, max_size=30))
def test_loose_trades_go_out_once_and_whatever_is_missing_lies_in_a_loss_that_was_said(
    script: list[tuple[str, int, int]],
) -> None:
    # A venue repeats what it sent on this subscription; a repetition across a loss is a replay, and proves as one does.
    venue = play(LooseTrades(), [step for step in script if step[0] != "repeats"])

    assert len(venue.told) == len(set(venue.told))
    ordered = sorted(venue.told)
    holes = [at for at in range(1, len(ordered)) if ordered[at] != ordered[at - 1] + 1]
    assert all(any(first <= hole <= last for first, last, _ in venue.declared) for hole in holes)
    assert ordered[-1] == venue.newest
