"""One real subscription, through the gateway's own sockets, and everything that came of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from exchanges.book import OrderBook
from exchanges.errors import BadMessage, SubscribeFailed
from exchanges.events import BookDelta, BookSnapshot, Candle, Trade, Unknown, VoidTrade
from exchanges.feed import State
from exchanges.pool import Pool
from exchanges.venue import Parsed, Stream, Venue


class Heard:
    """Implements ``exchanges.feed.Listener`` and remembers what it was told."""

    exact = False

    def __init__(self) -> None:
        self.events: list[Trade | VoidTrade | Candle] = []
        self.book: OrderBook | None = None
        self.sequences: list[int] = []  # the book's, one for each change
        self.states: list[State] = []
        self.refusals: list[str] = []
        self.strange: list[str] = []  # messages that could not be read, or that we have no use for
        self._news = asyncio.Event()

    def tap(self, stream: Stream) -> Stream:
        """``stream``, the same but that what is strange in it is remembered."""
        endpoint = stream.endpoint

        def parse(raw: bytes) -> Parsed:
            try:
                parsed = endpoint.parse(raw)
            except BadMessage as error:
                self.strange.append(f"{error.problem}: {error.raw!r}")
                raise
            self.strange += [event.kind for event in parsed[1] if isinstance(event, Unknown)]
            return parsed

        return replace(stream, endpoint=replace(endpoint, parse=parse))

    async def until(self, enough: Callable[[], bool], *, seconds: float) -> None:
        """Listen until ``enough``; that it did not come in time fails the test with what came instead."""
        try:
            async with asyncio.timeout(seconds):
                while not enough():
                    assert not self.refusals, self.refusals
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            counts = f"{len(self.events)} events, {len(self.sequences)} books, states {self.states}"
            pytest.fail(f"not enough in {seconds:g} s: {counts}, strange messages {self.strange[:3]}")

    def on_events(self, events: Sequence[Trade | VoidTrade | Candle], received_ms: int) -> None:
        self.events += events
        self._news.set()

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        self.book = book
        self.sequences.append(book.sequence)
        self._news.set()

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        self.states.append(state)
        self._news.set()

    def on_unreadable(self) -> None:
        self._news.set()  # ``strange`` has it

    def on_refused(self, error: SubscribeFailed) -> None:
        self.refusals.append(str(error))
        self._news.set()


@asynccontextmanager
async def listening(venue: Venue, stream: Stream) -> AsyncIterator[Heard]:
    heard, pool = Heard(), Pool(venue.name, venue.capabilities, breaker=venue.breaker)
    pool.open(heard.tap(stream), heard)
    try:
        yield heard
    finally:
        await pool.aclose()
