"""A book is the venue's or it is not given out: any order of snapshot and deltas, any loss, any repetition."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from exchanges.book import MAX_KEPT, BookSync, OrderBook
from exchanges.errors import CrossedBook, SequenceGap
from exchanges.events import BookDelta, BookSnapshot, Level
from exchanges.venue import Texts
from tests.exchanges.model_book import FIRST, PRICES, History, histories, levels
from tests.exchanges.toy_venue import delta, snapshot

BID, ASK = (10.0, 1.0), (11.0, 1.0)

# What happens on the way from the venue: its next delta arrives or is lost, one that came or was lost arrives (again),
# a snapshot of any age arrives.
HAPPENINGS = st.lists(
    st.one_of(
        st.just("next"),
        st.just("lost"),
        st.tuples(st.just("again"), st.integers(0, 4)),
        st.tuples(st.just("snapshot"), st.integers(FIRST - 2, FIRST + 60)),
    ),
    max_size=30,
)


@dataclass
class Owner:
    """Uses a ``BookSync`` as a feed does, and checks every book that it gives out."""

    history: History
    make_sync: Callable[[], BookSync] = BookSync
    given_out: int = 0
    gaps: int = 0
    sync: BookSync = field(init=False)

    def __post_init__(self) -> None:
        self.sync = self.make_sync()

    def take_delta(self, index: int) -> None:
        event = self.history.deltas[index]
        before = self.sync.book.sequence if self.sync.book else None
        hole = before is not None and event.prev_sequence > before
        try:
            self._check(self.sync.on_delta(event))
            assert not hole
        except SequenceGap:
            assert hole
            self._start_over(event)

    def take_snapshot(self, sequence: int) -> None:
        try:
            self._check(self.sync.on_snapshot(self.history.snapshot(sequence)))
        except SequenceGap:
            self._start_over()

    def _start_over(self, first: BookDelta | None = None) -> None:
        self.gaps += 1
        self.sync = self.make_sync()
        if first is not None:
            assert self.sync.on_delta(first) is None

    def _check(self, book: OrderBook | None) -> None:
        if book is not None:
            self.given_out += 1
            assert levels(book) == self.history.at(book.sequence)


@settings(max_examples=500, deadline=None)
@given(histories(), HAPPENINGS)
def test_a_book_that_is_given_out_is_the_venues_at_its_sequence(history: History, happenings: list[object]) -> None:
    owner, came = Owner(history), 0
    for happening in happenings:
        match happening:
            case "next" if came < len(history.deltas):
                owner.take_delta(came)
                came += 1
            case "lost" if came < len(history.deltas):
                came += 1
            case ("again", int(back)) if came > back:
                owner.take_delta(came - 1 - back)
            case ("snapshot", int(sequence)):
                owner.take_snapshot(min(sequence, history.last))
    owner.take_snapshot(history.last)  # whatever happened, a new enough snapshot heals
    assert owner.sync.book is not None
    assert levels(owner.sync.book) == history.at(history.last)


@given(histories(), st.data())
def test_a_snapshot_joins_wherever_it_lies_in_the_stream(history: History, data: st.DataObject) -> None:
    """Before, inside or after any delta; with any number of deltas on either side of its arrival."""
    sequence = data.draw(st.integers(FIRST, history.last))
    arrives_after = data.draw(st.integers(0, len(history.deltas)))
    sync = BookSync()
    for event in history.deltas[:arrives_after]:
        sync.on_delta(event)
    sync.on_snapshot(history.snapshot(sequence))
    for event in history.deltas[arrives_after:]:
        sync.on_delta(event)
    assert sync.book is not None
    assert (sync.book.sequence, levels(sync.book)) == (history.last, history.at(history.last))
    assert sync.joined == (sequence < history.last)


@given(histories(), st.data())
def test_one_lost_delta_of_a_live_book_is_always_noticed(history: History, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, len(history.deltas) - 2))
    sync = BookSync()
    sync.on_snapshot(history.snapshot(FIRST))
    for event in history.deltas[:lost]:
        sync.on_delta(event)
    with pytest.raises(SequenceGap) as gap:
        sync.on_delta(history.deltas[lost + 1])
    assert (gap.value.expected, gap.value.got) == (
        history.deltas[lost].prev_sequence,
        history.deltas[lost].last_sequence,
    )


@given(histories(), st.data())
def test_a_delta_that_crosses_the_book_ends_it_wherever_it_comes(history: History, data: st.DataObject) -> None:
    """While live or among those kept for a snapshot; no crossed book is given out, and the next snapshot heals."""
    wrong = data.draw(st.integers(0, len(history.deltas) - 1))
    assume(history.at(history.deltas[wrong].last_sequence)[1])  # with no asks at all nothing is crossed
    arrives_after = data.draw(st.integers(0, len(history.deltas)))
    deltas = [crossing(event) if index == wrong else event for index, event in enumerate(history.deltas)]
    sync, given_out = BookSync(), 0
    with pytest.raises(CrossedBook):
        for index in range(len(deltas) + 1):
            if index == arrives_after:
                given_out += truly(sync.on_snapshot(history.snapshot(FIRST)), history)
            if index < len(deltas):
                given_out += truly(sync.on_delta(deltas[index]), history)
    assert given_out <= wrong + 1
    healed = BookSync()
    healed.on_snapshot(history.snapshot(history.last))
    assert truly(healed.book, history)


def crossing(event: BookDelta) -> BookDelta:
    """``event`` with one more bid, above every ask there may be."""
    return replace(event, bids=[*event.bids, (PRICES["asks"][-1] + 1.0, 1.0)])


def truly(book: OrderBook | None, history: History) -> int:
    """1 if a book was given out, which must be the venue's; 0 if none was."""
    if book is None:
        return 0
    assert levels(book) == history.at(book.sequence)
    return 1


@given(histories(), st.data())
def test_two_connections_with_the_same_deltas_are_one_stream(history: History, data: st.DataObject) -> None:
    """A takeover: the new connection begins before the old one ends, each in order, neither ahead of the other's start.

    No sequence break is seen, and at every moment the book is the venue's.
    """
    sync = BookSync()
    sync.on_snapshot(history.snapshot(FIRST))
    old = new = data.draw(st.integers(0, len(history.deltas)))
    for event in history.deltas[:old]:
        sync.on_delta(event)
    new = data.draw(st.integers(0, old))  # it may bring again what the old one has brought
    while new < len(history.deltas):
        if data.draw(st.booleans()) and old < len(history.deltas):
            index, old = old, old + 1
        else:
            index, new = new, new + 1
        before = sync.book.sequence if sync.book else FIRST
        book = sync.on_delta(history.deltas[index])
        assert truly(book, history) == (history.deltas[index].last_sequence > before)
    assert sync.book is not None
    assert (sync.book.sequence, levels(sync.book)) == (history.last, history.at(history.last))


@settings(max_examples=300, deadline=None)
@given(histories(), HAPPENINGS)
def test_the_texts_of_a_book_are_the_venues_after_any_losses(history: History, happenings: list[object]) -> None:
    """Kept from the snapshot on: every level has its text, no other has one, however the book came about."""
    owner, came = Owner(spelling(history), make_sync=partial(BookSync, texts=read_texts)), 0
    for happening in [*happenings, ("snapshot", history.last)]:
        match happening:
            case "next" if came < len(history.deltas):
                owner.take_delta(came)
                came += 1
            case "lost" if came < len(history.deltas):
                came += 1
            case ("again", int(back)) if came > back:
                owner.take_delta(came - 1 - back)
            case ("snapshot", int(sequence)):
                owner.take_snapshot(min(sequence, history.last))
        if owner.sync.book is not None:
            assert texts_of(owner.sync.book) == texts_at(history, owner.sync.book.sequence)
    assert owner.sync.book is not None


def text_of(amount: float) -> str:
    """A spelling that no number would have again: as many zeros as the amount says."""
    return f"{amount:.{int(amount) % 4 + 1}f}"


def texts(rows: Iterable[Level]) -> list[tuple[str, str]]:
    return [(f"{price:.3f}", text_of(amount) if amount else "0") for price, amount in rows]


def read_texts(raw: Any) -> Texts:
    bids, asks = raw
    return texts(bids), texts(asks)


def texts_of(book: OrderBook) -> tuple[dict[float, tuple[str, str]], dict[float, tuple[str, str]]]:
    assert book.texts is not None
    return book.texts.bids, book.texts.asks


def texts_at(history: History, sequence: int) -> tuple[dict[float, tuple[str, str]], dict[float, tuple[str, str]]]:
    bids, asks = history.at(sequence)
    return dict(zip(bids, texts(bids.items()), strict=True)), dict(zip(asks, texts(asks.items()), strict=True))


def spelling(history: History) -> History:
    """The same history, each event with its own message beside the numbers."""
    deltas = [replace(event, raw=(event.bids, event.asks)) for event in history.deltas]
    return Spelt(history.sequences, history.bids, history.asks, deltas)


class Spelt(History):
    def snapshot(self, sequence: int) -> BookSnapshot:
        event = super().snapshot(sequence)
        return replace(event, raw=(event.bids, event.asks))


def test_nothing_is_given_out_before_a_snapshot() -> None:
    sync = BookSync()
    assert [sync.on_delta(delta(n, n + 1)) for n in range(5)] == [None] * 5
    assert (len(sync.kept), sync.book) == (5, None)


def test_a_snapshot_older_than_what_was_kept_is_not_used_and_the_deltas_stay() -> None:
    sync = BookSync()
    sync.on_delta(delta(8, 9))
    assert sync.on_snapshot(snapshot(7, [BID], [ASK])) is None
    assert (len(sync.kept), sync.book) == (1, None)


@pytest.mark.parametrize(
    ("prev", "last", "joins"),
    [
        pytest.param(4, 5, False, id="inside the snapshot"),
        pytest.param(5, 7, False, id="ends with the snapshot"),
        pytest.param(6, 8, True, id="straddles it"),
        pytest.param(7, 9, True, id="continues it"),
    ],
)
def test_which_first_delta_joins_a_snapshot_at_7(prev: int, last: int, joins: bool) -> None:
    sync = BookSync()
    sync.on_snapshot(snapshot(7, [BID], [ASK]))
    assert (sync.on_delta(delta(prev, last)) is not None, sync.joined) == (joins, joins)


def test_the_first_delta_after_a_snapshot_must_not_leave_a_hole() -> None:
    sync = BookSync()
    sync.on_snapshot(snapshot(7, [BID], [ASK]))
    with pytest.raises(SequenceGap):
        sync.on_delta(delta(8, 9))


def test_once_joined_a_delta_that_straddles_the_book_is_a_fault() -> None:
    sync = BookSync()
    sync.on_snapshot(snapshot(7, [BID], [ASK]))
    sync.on_delta(delta(7, 10))
    with pytest.raises(SequenceGap):
        sync.on_delta(delta(9, 12))


def test_after_a_hole_among_kept_deltas_those_behind_it_are_still_there() -> None:
    sync = BookSync()
    for event in (delta(7, 8), delta(8, 9), delta(10, 11), delta(11, 12)):
        sync.on_delta(event)
    with pytest.raises(SequenceGap):
        sync.on_snapshot(snapshot(7, [BID], [ASK]))
    assert [event.last_sequence for event in sync.kept] == [11, 12]


def test_a_crossed_snapshot_is_refused() -> None:
    with pytest.raises(CrossedBook):
        BookSync().on_snapshot(snapshot(7, [(11.0, 1.0)], [ASK]))


def test_a_delta_that_crosses_the_book_is_refused() -> None:
    sync = BookSync()
    sync.on_snapshot(snapshot(7, [BID], [ASK]))
    with pytest.raises(CrossedBook):
        sync.on_delta(delta(7, 8, [(11.0, 1.0)]))


def test_a_delta_that_moves_the_whole_book_does_not_cross_it_on_the_way() -> None:
    sync = BookSync()
    sync.on_snapshot(snapshot(7, [BID], [ASK]))
    book = sync.on_delta(delta(7, 8, [(12.0, 1.0)], [(11.0, 0.0), (13.0, 1.0)]))
    assert book is not None
    assert (book.bids.rows(1), book.asks.rows(1)) == ([(12.0, 1.0)], [(13.0, 1.0)])


def test_deltas_are_kept_up_to_a_bound_and_then_it_is_over() -> None:
    sync = BookSync()
    for n in range(MAX_KEPT):
        sync.on_delta(delta(n, n + 1))
    with pytest.raises(SequenceGap):
        sync.on_delta(delta(MAX_KEPT, MAX_KEPT + 1))
    assert len(sync.kept) == MAX_KEPT


OTHER_BID = (9.0, 1.0)


@pytest.mark.parametrize(
    ("sequences", "second_ms", "bid"),
    [
        pytest.param((0, 0), 1_001, OTHER_BID, id="later"),
        pytest.param((0, 0), 1_000, OTHER_BID, id="at the same time"),
        pytest.param((0, 0), 999, BID, id="earlier"),
        pytest.param((0, 0), None, OTHER_BID, id="at no time"),
        pytest.param((7, 8), 999, OTHER_BID, id="earlier, but its sequence says later"),
    ],
)
def test_where_a_venue_has_no_sequences_a_snapshot_older_by_its_clock_is_dropped(
    sequences: tuple[int, int], second_ms: int | None, bid: Level
) -> None:
    sync = BookSync()
    sync.on_snapshot(BookSnapshot(bids=[BID], asks=[ASK], sequence=sequences[0], timestamp_ms=1_000))
    sync.on_snapshot(BookSnapshot(bids=[OTHER_BID], asks=[ASK], sequence=sequences[1], timestamp_ms=second_ms))
    assert sync.book is not None
    assert sync.book.bids.rows(2) == [bid]
