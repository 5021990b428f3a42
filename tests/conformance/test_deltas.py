"""Recorded book streams in delta mode: after every frame a client's book is, text by text, the venue's own.

The way is the product's (parse → sync → views → bytes); the client is written from the contract, and what it is
compared with is read out of the raw messages by ``venue_texts.py``.
"""

from collections.abc import Callable, Collection
from typing import Any

import orjson
import pytest

from exchanges.binance import parse as binance
from exchanges.bybit import parse as bybit
from exchanges.errors import SequenceGap
from exchanges.events import BookSnapshot
from exchanges.hyperliquid import parse as hyperliquid
from exchanges.venue import Texts
from tests.conformance.captures import Capture, captures
from tests.conformance.recordings import Recording, cases
from tests.conformance.venue_texts import VenueTexts, said, whole_message
from tests.conformance.venues import events
from tests.topics.book_stage import Stage
from tests.topics.delta_client import DeltaClient
from tests.topics.reader import Reader

CAPTURED = ("binanceusdm", "binance", "bybit")
TEXTS: dict[str, Callable[[Any], Texts]] = {
    "binanceusdm": binance.texts,
    "binance": binance.texts,
    "bybit": bybit.texts,
    "hyperliquid": hyperliquid.texts,
}
VIEWS: list[dict[str, Any]] = [
    {"levels": 5},
    {"levels": 20},
    {"levels": 100},
    {"levels": 20, "throttleMs": 250},
    {"levels": 100, "throttleMs": 1000},
]
PACE = 0.1  # seconds from one message to the next; by the clock of the test


class Watched:
    """One delta view, its client, and what is true at each of its frames."""

    def __init__(self, stage: Stage, venue: VenueTexts, view: dict[str, Any]) -> None:
        self.client = DeltaClient(view["levels"])
        self.compared = 0
        self._venue = venue
        self._reader: Reader = stage.join(mode="delta", **view)

    def check(self) -> None:
        payloads = self._reader.payloads
        while self.compared < len(payloads):
            message = orjson.loads(payloads[self.compared])
            self.client.take(message)
            place = message["data"]["nonce"] or message["data"]["timestamp"]
            assert self.client.book == self._venue.top(place, self.client.levels)
            self.compared += 1


class Play:
    """A recorded stream, on its way to clients."""

    def __init__(self, venue: str) -> None:
        self.venue, self.truth = venue, VenueTexts()
        self.stage = Stage(read=TEXTS[venue])
        self.watched: list[Watched] = []

    def watch(self) -> None:
        self.watched += [Watched(self.stage, self.truth, view) for view in VIEWS]
        self.stage.sync()

    def hear(self, message: Recording, *, lost: bool = False) -> bool:
        """True if a gap was noticed; it is healed by the venue's book of the moment before, as a feed would."""
        before, place = self.truth.whole() if self.truth.place else None, self.truth.place
        self.truth.hear(said(message))
        gap = False
        for event in () if lost else events(message):
            try:
                self.stage.hear(event)  # type: ignore[arg-type]  # of a book
            except SequenceGap:
                assert before is not None
                assert place is not None
                gap = True
                self.stage.lose()
                self.stage.sync()
                self.stage.hear(event)  # type: ignore[arg-type]
                self.stage.hear(self.whole(place, *before))
        self.stage.turn()
        self.stage.pass_time(PACE)
        for one in self.watched:
            one.check()
        return gap

    def whole(self, place: int, bids: list[Any], asks: list[Any]) -> BookSnapshot:
        message = whole_message(self.venue, place, bids, asks)
        if self.venue != "bybit":
            return binance.book(message)
        (event,) = bybit.linear(message)[1]
        assert isinstance(event, BookSnapshot)
        return event

    def finish(self, levels: Collection[Any]) -> None:
        """Every client's last book is the expected one, as far as it sees."""
        self.stage.pass_time(1.0)
        for one in self.watched:
            one.check()
            best = min(20, one.client.levels)
            assert [[list(row) for row in side[:best]] for side in one.client.book] == [side[:best] for side in levels]


@pytest.mark.parametrize("capture", captures(*CAPTURED))
def test_after_every_frame_a_clients_book_is_the_venues_text_by_text(capture: Capture) -> None:
    play = Play(capture.venue)
    play.watch()
    for message in capture.messages:
        play.hear(message)
    play.finish([capture.expected["final"][side] for side in ("bids", "asks")])

    assert all(one.compared for one in play.watched)
    assert {kind for one in play.watched for kind in one.client.kinds} <= {"join", "delta", "anchor"}


@pytest.mark.parametrize("capture", captures(*CAPTURED, having="drop_case"))
def test_what_is_lost_is_a_snapshot_that_says_so_and_the_book_is_right_again(capture: Capture) -> None:
    case = capture.expected["drop_case"]
    play = Play(capture.venue)
    play.watch()
    gaps = sum(play.hear(m, lost=n in case["dropped_message_indices"]) for n, m in enumerate(capture.messages))
    play.finish([capture.expected["final"][side] for side in ("bids", "asks")])

    assert gaps == case["gaps"]
    assert {one.client.kinds.count("resync") for one in play.watched} == {gaps}


@pytest.mark.parametrize("capture", captures("binanceusdm", "binance", having="drop_case"))
def test_a_view_that_begins_in_the_middle_is_filled_by_rest_with_the_same_texts(capture: Capture) -> None:
    play, half = Play(capture.venue), len(capture.messages) // 2
    play.stage.sync()
    for message in capture.messages[:half]:
        play.hear(message)
    play.watched = [Watched(play.stage, play.truth, view) for view in VIEWS]
    book = play.stage.books.book
    assert book is not None
    assert book.texts is not None
    assert play.truth.place is not None
    assert all(one.compared == 0 for one in play.watched)

    book.texts.fill(play.whole(play.truth.place, *play.truth.whole()), book)
    for message in capture.messages[half:]:
        play.hear(message)
    play.finish([capture.expected["final"][side] for side in ("bids", "asks")])

    assert all(one.compared for one in play.watched)


@pytest.mark.parametrize(
    "recording", cases("orderbook", venues=("hyperliquid",), where=lambda recording: not recording.is_body)
)
def test_a_whole_book_by_the_stream_is_shown_in_its_own_texts(recording: Recording) -> None:
    play = Play("hyperliquid")
    play.watch()
    play.hear(recording)

    assert {(one.compared, *one.client.kinds) for one in play.watched} == {(1, "join")}
