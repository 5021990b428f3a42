"""Delta mode and throttles from end to end of this package: a manager, its upstream, what subscribers are pushed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from exchanges.book import BookSync, OrderBook
from exchanges.events import BookDelta
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Stream
from tests.topics.book_stage import Rows, levels, read_texts, text_snapshot
from tests.topics.delta_client import DeltaClient
from tests.topics.reader import Reader, turns
from tests.topics.scripted_venue import EPOCH_MS, SYMBOL, ScriptedPool, ScriptedVenue, exchange
from topics.manager import Manager
from topics.upstream import Upstream

pytestmark = pytest.mark.jumping_clock

BIDS = [("100.0", "1.000"), ("99.5", "2.500"), ("99.0", "3.0")]
ASKS = [("100.5", "0.250"), ("101.0", "4.0")]
DELTA: dict[str, Any] = {"mode": "delta", "levels": 2}


class TextVenue(ScriptedVenue):
    """A scripted venue whose books tell their decimals."""

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        return replace(super().stream(channel, instrument, params), texts=read_texts)


class Market:
    """One running book of a manager, and the feed in its socket's place."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self._sync = BookSync()

    async def join(self, **params: Any) -> Reader:
        key, instrument = self.manager.resolve("orderbook", None, SYMBOL, params)
        reader = Reader()
        await self.manager.start(key, instrument).audience.join(key, reader, snapshot=True, rewind=0)
        await turns()
        return reader

    @property
    def upstream(self) -> Upstream:
        (upstream,) = self.manager.upstreams()
        return upstream

    async def sync(self, bids: Rows = BIDS, asks: Rows = ASKS, *, sequence: int = 1) -> None:
        """A fresh sync, as the feed does it."""
        self._sync = BookSync(texts=read_texts if self.upstream.exact else None)
        book = self._sync.on_snapshot(text_snapshot(bids, asks, sequence=sequence))
        self.upstream.on_state("live", "")
        await self._show(book)

    async def change(self, bids: Rows = (), asks: Rows = ()) -> None:
        assert self._sync.book is not None
        last = self._sync.book.sequence
        event = BookDelta(
            bids=levels(bids),
            asks=levels(asks),
            prev_sequence=last,
            last_sequence=last + 1,
            timestamp_ms=EPOCH_MS,
            raw=(bids, asks),
        )
        await self._show(self._sync.on_delta(event))

    async def _show(self, book: OrderBook | None) -> None:
        assert book is not None
        self.upstream.on_book(book, EPOCH_MS)
        await turns()


@pytest.fixture
def venue() -> TextVenue:
    return TextVenue()


@pytest.fixture
async def market(venue: TextVenue) -> AsyncIterator[Market]:
    manager = Manager({venue.name: await exchange(venue, ScriptedPool())}, clock_ms=lambda: EPOCH_MS)
    yield Market(manager)
    await manager.aclose()


def client(reader: Reader, count: int = 2) -> DeltaClient:
    client = DeltaClient(count)
    for message in reader.messages:
        client.take(message)
    return client


async def test_who_subscribes_before_the_book_is_there_gets_texts_without_asking_rest(
    market: Market, venue: TextVenue
) -> None:
    reader = await market.join(**DELTA)
    await market.sync()
    await market.change([("100.0", "7.0")])

    assert client(reader).book == ([("100.0", "7.0"), ("99.5", "2.500")], ASKS)
    assert (client(reader).kinds, venue.asked) == (["join", "delta"], 0)


async def test_the_first_delta_view_of_a_running_book_asks_rest_once_and_nobody_else_notices(
    market: Market, venue: TextVenue
) -> None:
    full = await market.join(levels=2)
    await market.sync()
    venue.book = text_snapshot(BIDS, ASKS, sequence=99)

    reader = await market.join(**DELTA)
    await market.change([("99.0", "9.0")])  # in neither view

    assert (client(reader).book, client(reader).kinds) == ((BIDS[:2], ASKS), ["join"])
    assert (len(full.payloads), venue.asked) == (2, 1)


async def test_all_views_of_a_book_share_the_cursor_of_its_feed(market: Market) -> None:
    await market.join(levels=2)
    readers = [await market.join(**DELTA), await market.join(levels=2), await market.join(levels=2, throttleMs=100)]
    await market.sync()
    await asyncio.sleep(1.0)
    await market.change([("100.0", "7.0")])

    assert [reader.seqs for reader in readers] == [[1, 2]] * 3


async def test_a_throttled_view_shows_the_last_change_at_the_intervals_end(market: Market) -> None:
    reader = await market.join(throttleMs=250, **DELTA)
    await market.sync()
    await asyncio.sleep(1.0)
    for amount in ("2", "3", "4"):
        await market.change([("100.0", amount)])
    assert reader.seqs == [1, 2]

    await asyncio.sleep(0.3)

    assert (reader.seqs, client(reader).rows("bids")[0]) == ([1, 2, 4], ("100.0", "4"))


async def test_after_a_break_everybody_is_given_the_new_book_as_one(market: Market, venue: TextVenue) -> None:
    early = await market.join(**DELTA)
    await market.sync()
    market.upstream.on_state("resyncing", "sequence gap")
    late = await market.join(**DELTA)
    await market.sync([("90.0", "1")], [("91.0", "1")], sequence=50)

    assert (client(early).kinds, client(early).book) == (["join", "resync"], ([("90.0", "1")], [("91.0", "1")]))
    assert (late.payloads, venue.asked) == (early.payloads[-1:], 0)


async def test_a_snapshot_on_request_is_what_the_next_delta_extends(market: Market) -> None:
    reader = await market.join(**DELTA)
    await market.sync()
    await market.change([("100.0", "7.0")])
    await market.upstream.audience.snapshot(market.manager.resolve("orderbook", None, SYMBOL, DELTA)[0], reader)
    await market.change([("100.0", "8.0")])

    assert client(reader).kinds == ["join", "delta", "join", "delta"]


async def test_a_closed_manager_leaves_no_timer_and_no_task(market: Market, venue: TextVenue) -> None:
    await market.join(levels=2)
    await market.sync()
    venue.answering.clear()
    await market.join(**DELTA)
    before = asyncio.all_tasks()
    assert len(before) > 1  # REST is being asked

    await market.manager.aclose()
    await turns()

    assert asyncio.all_tasks() == {asyncio.current_task()}
