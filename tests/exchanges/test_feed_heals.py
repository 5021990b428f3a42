"""Whatever is lost on the way and however old the venue's snapshots are: a book is right, and it comes back."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.book import OrderBook
from exchanges.events import BookDelta, BookSnapshot
from exchanges.feed import Feed
from tests.exchanges.jumping_loop import JumpingLoop
from tests.exchanges.model_book import FIRST, History, histories, levels
from tests.exchanges.toy_venue import Ear, RecordingCarrier, endpoint, stream

PAUSES = st.sampled_from([0.0, 0.1, 0.4, 3.0])  # seconds


class CheckingEar(Ear):
    """Compares every book it is shown with the truth, at the moment it is shown."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self.history = history
        self.wrong: list[int] = []  # not asserted here, where a task of the feed would swallow it

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        if levels(book) != self.history.at(book.sequence):
            self.wrong.append(book.sequence)
        super().on_book(book, received_ms, event)


class MovingDesk:
    """The venue's REST: answers after a while, and with a book of the past or of what the stream has yet to say."""

    def __init__(self, history: History, answers: list[tuple[float, int]]) -> None:
        self.history, self.answers = history, answers
        self.now = FIRST  # the sequence of the last delta that left the venue

    async def __call__(self) -> BookSnapshot:
        delay, offset = self.answers.pop(0) if self.answers else (0.05, 0)
        answer = self.history.snapshot(min(max(FIRST, self.now + offset), self.history.last))
        await asyncio.sleep(delay)
        return answer


async def play(history: History, journey: list[tuple[float, bool]], answers: list[tuple[float, int]]) -> CheckingEar:
    ear, desk = CheckingEar(history), MovingDesk(history, answers)
    feed, carrier = Feed("toy", stream("book.A", endpoint("ws://nowhere"), snapshot=desk), ear), RecordingCarrier()
    feed.started(carrier, 0.0)
    for index, event in enumerate(history.deltas):
        pause, arrives = journey[index] if index < len(journey) else (0.1, True)
        await asyncio.sleep(pause)
        desk.now = event.last_sequence
        if arrives or index == len(history.deltas) - 1:  # a hole that nothing follows cannot be noticed
            feed.receive([event], 1)
    await asyncio.sleep(120.0)
    assert carrier.again == []
    return ear


@settings(max_examples=300, deadline=None)
@given(
    histories(),
    st.lists(st.tuples(PAUSES, st.booleans())),
    st.lists(st.tuples(PAUSES, st.integers(-15, 5)), max_size=6),
)
def test_every_book_that_is_shown_is_true_and_the_last_one_is_the_newest(
    history: History, journey: list[tuple[float, bool]], answers: list[tuple[float, int]]
) -> None:
    with asyncio.Runner(loop_factory=lambda: JumpingLoop(idle=0.0)) as runner:
        ear = runner.run(play(history, journey, answers))
    assert ear.wrong == []
    shown = [sequence for sequence, _, _ in ear.books]
    assert shown == sorted(shown)  # never back in time
    assert shown[-1] == history.last
    assert ear.states[-1] == ("live", "")
