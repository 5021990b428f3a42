"""A book and its sides, against plain dicts: every level at its price, the best first."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.book import MAX_LEVELS, BookSide, OrderBook
from exchanges.errors import CrossedBook
from exchanges.events import Level
from tests.exchanges.toy_venue import delta, snapshot

Levels = list[Level]


def run_of(first: int, count: int, amount: float = 1.0) -> Levels:
    return [(float(price), amount) for price in range(first, first + count)]


# -- a side ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "change", "asks"),
    [
        pytest.param([], [(5.0, 1.0)], [(5.0, 1.0)], id="a first level"),
        pytest.param([(5.0, 1.0)], [(4.0, 2.0)], [(4.0, 2.0), (5.0, 1.0)], id="a better one"),
        pytest.param([(5.0, 1.0)], [(6.0, 2.0)], [(5.0, 1.0), (6.0, 2.0)], id="a worse one"),
        pytest.param([(5.0, 1.0)], [(5.0, 7.0)], [(5.0, 7.0)], id="another amount, absolute"),
        pytest.param([(5.0, 1.0), (6.0, 1.0)], [(5.0, 0.0)], [(6.0, 1.0)], id="removed"),
        pytest.param([(5.0, 1.0)], [(9.0, 0.0)], [(5.0, 1.0)], id="what is not there is removed"),
        pytest.param([(5.0, 1.0)], [(5.0, 0.0), (5.0, 3.0)], [(5.0, 3.0)], id="removed and set in one message"),
        pytest.param([(5.0, 1.0)], [(5.0, 3.0), (5.0, 0.0)], [], id="set and removed in one message"),
        pytest.param([(5.0, 1.0)], [(5.0, 0.0), (5.0, 0.0)], [], id="removed twice"),
        pytest.param([(5.0, 1.0)], [], [(5.0, 1.0)], id="nothing"),
        pytest.param([(5.0, 0.0), (6.0, 1.0)], [], [(6.0, 1.0)], id="a level without an amount to begin with"),
    ],
)
def test_a_change_sets_levels_and_a_zero_removes_them(before: Levels, change: Levels, asks: Levels) -> None:
    side, mirrored = BookSide(before, is_bid=False), BookSide(before, is_bid=True)
    side.apply(change)
    mirrored.apply(change)
    assert side.rows(10) == asks
    assert mirrored.rows(10) == asks[::-1]


@pytest.mark.parametrize("is_bid", [True, False])
def test_an_empty_side_has_no_best(is_bid: bool) -> None:
    side = BookSide([], is_bid=is_bid)
    assert (side.best, side.rows(5)) == (None, [])


# Runs of neighbouring prices, so that few steps grow a side far beyond the part of it that is kept sorted, and shrink
# it again from either end.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "remove", "remove", "read"]),
        st.integers(1, 400),  # the first price, or how many are read
        st.integers(1, 300),  # how many
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 300), STEPS, st.booleans())
def test_a_side_is_what_a_dict_of_its_levels_says(
    to_begin_with: int, steps: list[tuple[str, int, int]], is_bid: bool
) -> None:
    model = dict(run_of(50, to_begin_with))
    side = BookSide(list(model.items()), is_bid=is_bid)
    for number, (step, first, count) in enumerate(steps, start=2):
        match step:
            case "set":
                side.apply(run_of(first, count, float(number)))
                model |= dict(run_of(first, count, float(number)))
            case "remove":
                side.apply(run_of(first, count, 0.0))
                model = {price: amount for price, amount in model.items() if not first <= price < first + count}
            case "read":
                assert side.rows(first) == sorted(model.items(), reverse=is_bid)[:first]
        assert side.best == (None if not model else max(model) if is_bid else min(model))
    assert side.rows(1_000) == sorted(model.items(), reverse=is_bid)


@pytest.mark.parametrize("is_bid", [True, False])
def test_a_side_forgets_the_levels_furthest_from_the_touch(is_bid: bool) -> None:
    side = BookSide(run_of(1, 100), is_bid=is_bid)
    for first in range(1, 6 * MAX_LEVELS, 100):
        side.apply(run_of(first, 100))
        assert len(side._amounts) <= 2 * MAX_LEVELS  # what it holds; what it shows is cut in any case
    prices = [price for price, _ in side.rows(10 * MAX_LEVELS)]
    assert MAX_LEVELS <= len(prices) <= 2 * MAX_LEVELS
    assert prices[0] == side.best == (6 * MAX_LEVELS if is_bid else 1)
    assert prices == [prices[0] + (-step if is_bid else step) for step in range(len(prices))]


# -- both sides --------------------------------------------------------------------------------------------------------


def test_a_book_takes_its_sequence_and_time_from_what_it_was_told_last() -> None:
    book = OrderBook(snapshot(7, [(10.0, 1.0)], [(11.0, 1.0)]))
    assert (book.sequence, book.timestamp_ms) == (7, None)
    book.apply(delta(7, 9))
    assert (book.sequence, book.timestamp_ms) == (9, None)


def test_the_best_come_first_on_both_sides_and_no_more_than_asked() -> None:
    bids, asks = [(8.0, 1.0), (10.0, 2.0), (9.0, 3.0)], [(13.0, 1.0), (11.0, 2.0), (12.0, 3.0)]
    book = OrderBook(snapshot(7, bids, asks))
    assert book.bids.rows(2) == [(10.0, 2.0), (9.0, 3.0)]
    assert book.asks.rows(2) == [(11.0, 2.0), (12.0, 3.0)]


@pytest.mark.parametrize(("bid", "ask"), [(11.0, 11.0), (12.0, 11.0)])
def test_a_book_whose_best_bid_is_not_below_its_best_ask_is_crossed(bid: float, ask: float) -> None:
    with pytest.raises(CrossedBook) as crossed:
        OrderBook(snapshot(7, [(bid, 1.0)], [(ask, 1.0)]))
    assert (crossed.value.best_bid, crossed.value.best_ask) == (bid, ask)


@pytest.mark.parametrize(("bids", "asks"), [([], [(11.0, 1.0)]), ([(12.0, 1.0)], []), ([], [])])
def test_a_book_with_an_empty_side_is_not_crossed(bids: Levels, asks: Levels) -> None:
    book = OrderBook(snapshot(7, bids, asks))
    assert (book.bids.rows(1), book.asks.rows(1)) == (bids, asks)
