"""The venue's own decimals beside a book's numbers: those it wrote, for the levels it has, and nothing made up."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.book import MAX_LEVELS, BookSync, LevelText, LevelTexts, OrderBook
from exchanges.errors import CrossedBook
from exchanges.events import BookDelta, BookSnapshot
from exchanges.venue import Texts

Rows = list[LevelText]
ASK = [("11.0", "1")]


def read(raw: Any) -> Texts:
    """Of this file's messages, which are their texts; one of numbers cannot be read."""
    if not all(isinstance(text, str) for side in raw for level in side for text in level):
        raise ValueError("not texts")
    return raw[0], raw[1]


def numbers(rows: Rows) -> list[tuple[float, float]]:
    return [(float(price), float(amount)) for price, amount in rows]


def snapshot(sequence: int, bids: Rows, asks: Rows) -> BookSnapshot:
    return BookSnapshot(bids=numbers(bids), asks=numbers(asks), sequence=sequence, timestamp_ms=None, raw=[bids, asks])


def delta(sequence: int, bids: Rows, asks: Rows = []) -> BookDelta:  # noqa: B006  # never changed
    """The one that leads to ``sequence``."""
    return BookDelta(
        bids=numbers(bids),
        asks=numbers(asks),
        prev_sequence=sequence - 1,
        last_sequence=sequence,
        timestamp_ms=None,
        raw=[bids, asks],
    )


def known(book: OrderBook | None) -> tuple[Rows, Rows]:
    """The texts of the levels that the book has, best first; a level without one is left out."""
    assert book is not None
    assert book.texts is not None
    return tuple(  # type: ignore[return-value]  # two of them
        [texts[price] for price, _ in side.rows(1_000) if price in texts]
        for side, texts in ((book.bids, book.texts.bids), (book.asks, book.texts.asks))
    )


def test_a_book_that_was_synced_for_texts_has_those_of_its_snapshot() -> None:
    book = OrderBook(snapshot(7, [("10.10", "1.500"), ("9.0", "2")], ASK), texts=read)
    assert known(book) == ([("10.10", "1.500"), ("9.0", "2")], ASK)


def test_a_book_that_was_not_keeps_none() -> None:
    book = OrderBook(snapshot(7, [("10.10", "1.500")], ASK))
    book.apply(delta(8, [("10.10", "3.0")]))
    assert book.texts is None


def test_deltas_kept_before_the_snapshot_bring_their_texts_too() -> None:
    sync = BookSync(texts=read)
    sync.on_delta(delta(8, [("10.10", "3.0")]))
    book = sync.on_snapshot(snapshot(7, [("10.10", "1.500")], ASK))
    assert known(book) == ([("10.10", "3.0")], ASK)


@pytest.mark.parametrize(
    ("change", "bids"),
    [
        pytest.param([("10.10", "7.250")], [("10.10", "7.250"), ("9.0", "2")], id="another amount"),
        pytest.param([("10.10", "0.000")], [("9.0", "2")], id="removed"),
        pytest.param([("10.5", "1.0")], [("10.5", "1.0"), ("10.10", "1.500"), ("9.0", "2")], id="a new level"),
        pytest.param([("10.10", "0"), ("10.10", "4")], [("10.10", "4"), ("9.0", "2")], id="removed and set"),
        pytest.param([("10.10", "4"), ("10.10", "0")], [("9.0", "2")], id="set and removed"),
        pytest.param([("8.0", "0")], [("10.10", "1.500"), ("9.0", "2")], id="what is not there is removed"),
    ],
)
def test_a_delta_changes_texts_as_it_changes_levels(change: Rows, bids: Rows) -> None:
    sync = BookSync(texts=read)
    sync.on_snapshot(snapshot(7, [("10.10", "1.500"), ("9.0", "2")], ASK))
    assert known(sync.on_delta(delta(8, change))) == (bids, ASK)


def test_the_next_whole_book_keeps_texts_if_the_last_one_did() -> None:
    sync = BookSync()
    book = sync.on_snapshot(snapshot(0, [("10.10", "1.500")], ASK))
    assert book is not None
    book.texts = LevelTexts(read)  # somebody wants them from now on
    book = sync.on_snapshot(snapshot(0, [("10.20", "2.0")], ASK))
    assert known(book) == ([("10.20", "2.0")], ASK)


def test_the_next_whole_book_keeps_none_if_nobody_wants_them_any_more() -> None:
    sync = BookSync(texts=read)
    book = sync.on_snapshot(snapshot(0, [("10.10", "1.500")], ASK))
    assert book is not None
    book.texts = None
    book = sync.on_snapshot(snapshot(0, [("10.20", "2.0")], ASK))
    assert book is not None
    assert book.texts is None


def test_numbers_where_texts_should_be_are_not_known_and_do_no_harm() -> None:
    sync = BookSync(texts=read)
    sync.on_snapshot(snapshot(7, [("10.10", "1.500"), ("9.0", "2")], ASK))
    odd = BookDelta(
        bids=[(10.1, 3.0)], asks=[], prev_sequence=7, last_sequence=8, timestamp_ms=None, raw=[[(10.1, 3.0)], []]
    )
    assert known(sync.on_delta(odd)) == ([("9.0", "2")], ASK)
    assert known(sync.on_delta(delta(9, [("10.10", "4.0")]))) == ([("10.10", "4.0"), ("9.0", "2")], ASK)


# -- begun in the middle -----------------------------------------------------------------------------------------------


def begun(bids: Rows, asks: Rows = ASK) -> OrderBook:
    """A book whose texts are kept from now on."""
    book = OrderBook(snapshot(7, bids, asks))
    book.texts = LevelTexts(read)
    return book


def filled(book: OrderBook, bids: Rows, asks: Rows = []) -> tuple[Rows, Rows]:  # noqa: B006  # never changed
    assert book.texts is not None
    book.texts.fill(snapshot(0, bids, asks), book)
    return known(book)


def test_begun_in_the_middle_only_what_changed_since_is_known() -> None:
    book = begun([("10.10", "1.500"), ("9.0", "2")])
    book.apply(delta(8, [("9.0", "2.5")]))
    assert known(book) == ([("9.0", "2.5")], [])


@pytest.mark.parametrize(
    ("rest", "bids"),
    [
        pytest.param([("10.10", "1.500")], [("10.10", "1.500")], id="the same"),
        pytest.param([("10.1", "1.5")], [("10.1", "1.5")], id="the same, written otherwise"),
        pytest.param([("10.10", "1.501")], [], id="another amount, newer or older"),
        pytest.param([("10.20", "1.500")], [], id="a level the book has not"),
        pytest.param([("10.10", "0.000")], [], id="a removed one"),
    ],
)
def test_of_a_rest_book_only_levels_that_are_the_same_are_taken(rest: Rows, bids: Rows) -> None:
    assert filled(begun([("10.10", "1.500")]), rest) == (bids, [])


def test_both_sides_are_filled() -> None:
    assert filled(begun([("10.10", "1.500")]), [("10.10", "1.500")], ASK) == ([("10.10", "1.500")], ASK)


def test_what_the_stream_wrote_stays_as_it_wrote_it() -> None:
    book = begun([("10.10", "1.500")])
    book.apply(delta(8, [("10.10", "2.000")]))
    assert filled(book, [("10.1", "2")]) == ([("10.10", "2.000")], [])


def test_a_level_removed_since_is_not_brought_back() -> None:
    book = begun([("10.10", "1.500"), ("9.0", "2")])
    book.apply(delta(8, [("10.10", "0.000")]))
    assert filled(book, [("10.10", "1.500"), ("9.0", "2")]) == ([("9.0", "2")], [])


# -- bounds ------------------------------------------------------------------------------------------------------------


def test_texts_are_bounded_as_the_side_is_and_every_level_shown_has_one() -> None:
    book = OrderBook(snapshot(0, [("1", "1")], [("1000000", "1")]), texts=read)
    assert book.texts is not None
    for sequence, first in enumerate(range(1, 6 * MAX_LEVELS, 500), start=1):
        book.apply(delta(sequence, [(str(price), "1.0") for price in range(first, first + 500)]))
        assert len(book.texts.bids) <= 2 * MAX_LEVELS
    assert known(book)[0] == [(str(price), "1.0") for price in range(6 * MAX_LEVELS, 6 * MAX_LEVELS - 1_000, -1)]


def test_of_a_removed_level_nothing_is_kept() -> None:
    book = OrderBook(snapshot(7, [("10.10", "1"), ("9", "0")], ASK), texts=read)
    book.apply(delta(8, [("10.10", "0.0"), ("8.0", "0")], [("11.0", "2"), ("11.0", "0"), ("11.0", "0")]))
    assert book.texts is not None
    assert (book.texts.bids, book.texts.asks) == ({}, {})


# -- any stream --------------------------------------------------------------------------------------------------------

PRICES = {"bids": ("1.0", "1.50", "2"), "asks": ("3", "3.10", "4.00")}
CHANGES = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from([(side, price) for side, prices in PRICES.items() for price in prices]),
            st.sampled_from(["0", "0.00", "1", "1.0", "1.50", "2e1"]),
        ),
        max_size=4,
    ),
    max_size=12,
)


@settings(max_examples=200, deadline=None)
@given(CHANGES, st.integers(0, 12))
def test_after_any_changes_the_texts_are_the_last_ones_written(
    messages: list[list[tuple[tuple[str, str], str]]], begin: int
) -> None:
    """Kept from the start or from any message on; the model is two dicts of texts, and what was written since."""
    model: dict[str, dict[str, str]] = {"bids": {"2": "9.0"}, "asks": {"3": "9.0"}}
    since: set[tuple[str, str]] = set() if begin else {("bids", "2"), ("asks", "3")}
    book = OrderBook(snapshot(0, [("2", "9.0")], [("3", "9.0")]), texts=None if begin else read)
    for number, message in enumerate(messages, start=1):
        if number == begin:
            book.texts = LevelTexts(read)
        rows: dict[str, Rows] = {"bids": [], "asks": []}
        for (side, price), amount in message:
            rows[side].append((price, amount))
            model[side][price] = amount
            if number >= begin:
                since.add((side, price))
        book.apply(delta(number, rows["bids"], rows["asks"]))
    if book.texts is not None:
        expected = [
            sorted(
                [(p, a) for p, a in model[side].items() if float(a) and (side, p) in since],
                key=lambda row: float(row[0]),
                reverse=side == "bids",
            )
            for side in ("bids", "asks")
        ]
        assert list(known(book)) == expected


def test_a_crossed_book_is_refused_with_texts_as_without() -> None:
    with pytest.raises(CrossedBook):
        OrderBook(snapshot(7, [("11.0", "1")], ASK), texts=read)
