"""Recorded book streams, driven through ``BookSync``, end in the books that an independent implementation and ccxt got.

REST snapshots are given at the place where they arrived. What is lost is noticed, and a snapshot heals it.
"""

from collections.abc import Collection, Iterator
from typing import Any

import orjson
import pytest

from exchanges.book import BookSync, OrderBook
from exchanges.errors import SequenceGap
from exchanges.events import BookDelta, BookSnapshot, Event
from tests.conformance.captures import Capture, captures
from tests.conformance.recordings import all_recordings
from tests.conformance.venues import events, take
from topics.wire import book_view

CAPTURED = ("binanceusdm", "binance", "bybit")
DEEP = 5_000  # levels, more than any capture holds


class VenueBook:
    """The book as the venue itself holds it: a dict for each side, told of everything."""

    def __init__(self) -> None:
        self.bids: dict[float, float] = {}
        self.asks: dict[float, float] = {}
        self.sequence = 0  # until a snapshot tells

    def hear(self, event: Event) -> None:
        if isinstance(event, BookSnapshot):
            self.bids, self.asks, self.sequence = dict(event.bids), dict(event.asks), event.sequence
        elif isinstance(event, BookDelta) and 0 < self.sequence < event.last_sequence:
            for side, levels in ((self.bids, event.bids), (self.asks, event.asks)):
                side |= dict(levels)
                for price in [price for price, amount in side.items() if not amount]:
                    del side[price]
            self.sequence = event.last_sequence

    def snapshot(self) -> BookSnapshot:
        bids = sorted(self.bids.items(), reverse=True)
        asks = sorted(self.asks.items())
        return BookSnapshot(bids=bids, asks=asks, sequence=self.sequence, timestamp_ms=None)


def play(capture: Capture) -> Iterator[OrderBook | None]:
    """The book after each message, None before it is known."""
    sync = BookSync()
    for message in capture.messages:
        for event in events(message):
            take(sync, event)
        yield sync.book


def final(capture: Capture) -> OrderBook:
    *_, book = play(capture)
    assert book is not None
    return book


def play_with_losses(capture: Capture, venue: VenueBook, *, lost: Collection[int]) -> tuple[OrderBook, list[int]]:
    """The last book, and how many messages had been heard each time a gap was noticed.

    A gap is healed as the feed does it: the delta that showed the hole is the first that the next snapshot has to join,
    and that snapshot is the venue's book of the moment before.
    """
    sync, noticed, heard = BookSync(), [], 0
    for index, message in enumerate(capture.messages):
        heard += index not in lost
        for event in events(message):
            before = venue.snapshot()
            venue.hear(event)
            if index in lost:
                continue
            try:
                take(sync, event)
            except SequenceGap:
                noticed.append(heard)
                sync = BookSync()
                take(sync, event)
                take(sync, before)
    assert sync.book is not None
    return sync.book, noticed


def best(book: OrderBook, count: int) -> dict[str, Any]:
    return {"bids": book.bids.rows(count), "asks": book.asks.rows(count)}


def whole(snapshot: BookSnapshot) -> dict[str, Any]:
    return {"bids": snapshot.bids, "asks": snapshot.asks}


def numbers(recorded: dict[str, Any]) -> dict[str, Any]:
    """``recorded`` with the venue's strings of its levels as numbers."""
    return recorded | {
        side: [(float(price), float(amount)) for price, amount in recorded[side]] for side in ("bids", "asks")
    }


@pytest.mark.parametrize("capture", captures(*CAPTURED))
def test_the_last_book_is_the_expected_one(capture: Capture) -> None:
    book = final(capture)

    assert best(book, 20) == numbers(capture.expected["final"])
    assert book.sequence == capture.expected["last_id"]
    assert [len(side.rows(DEEP)) for side in (book.bids, book.asks)] == capture.expected["levels"]


@pytest.mark.parametrize("capture", captures(*CAPTURED))
def test_the_book_is_the_expected_one_at_every_checkpoint(capture: Capture) -> None:
    checkpoints = {checkpoint["after"]: checkpoint for checkpoint in capture.expected["checkpoints"]}

    met = [
        {"after": index, "last_id": book.sequence, **best(book, 5)}
        for index, book in enumerate(play(capture))
        if index in checkpoints and book is not None
    ]

    assert met == [numbers(checkpoint) for checkpoint in checkpoints.values()]


@pytest.mark.parametrize("capture", captures(*CAPTURED))
def test_the_last_book_equals_that_of_ccxt(capture: Capture) -> None:
    view = book_view(final(capture), capture.peer["symbol"], levels=len(capture.peer["bids"]))

    shown = orjson.loads(orjson.dumps(view))
    assert [shown[name] for name in ("symbol", "bids", "asks")] == [
        capture.peer[name] for name in ("symbol", "bids", "asks")
    ]
    assert capture.peer["nonce"] in (shown["nonce"], None)  # ccxt has none for Bybit


@pytest.mark.parametrize("capture", captures(*CAPTURED, having="drop_case"))
def test_every_loss_is_noticed_at_once_and_a_snapshot_heals_it(capture: Capture) -> None:
    case = capture.expected["drop_case"]
    venue = VenueBook()

    book, noticed = play_with_losses(capture, venue, lost=case["dropped_message_indices"])

    assert noticed == [heard for heard, _ in case["gap_at"]]
    assert len(noticed) == case["gaps"]
    assert best(book, 20) == numbers(capture.expected["final"])
    assert (best(book, DEEP), book.sequence) == (whole(venue.snapshot()), capture.expected["last_id"])


@pytest.mark.parametrize("capture", captures("binanceusdm", "binance", having="checks"))
def test_the_best_levels_are_those_of_the_venues_own_ticker(capture: Capture) -> None:
    """The ticker numbers its messages as the book does, so the last one up to a delta tells the touch after it."""
    tickers = [
        orjson.loads(recording.raw)["data"]
        for recording in all_recordings()
        if (recording.folder, recording.channel, recording.symbol) == (capture.folder, "ticker", capture.symbol)
    ]
    compared, sequence = 0, 0

    for book in play(capture):
        if book is None or book.sequence == sequence:
            continue
        sequence = book.sequence
        if known := [ticker for ticker in tickers if ticker["u"] <= sequence]:
            touch = [*book.bids.rows(1)[0], *book.asks.rows(1)[0]]
            assert touch == [float(known[-1][name]) for name in ("b", "B", "a", "A")]
            compared += 1

    assert compared >= capture.expected["checks"]["book_ticker_same"]  # it skipped the first book, we do not
