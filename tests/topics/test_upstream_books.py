"""One feed of a book: what joins show, what extends them, and the silence between a break and the next proof."""

import asyncio

from exchanges.book import OrderBook
from exchanges.events import BookDelta
from tests.topics.conftest import Start
from tests.topics.reader import Reader, turns
from tests.topics.scripted_venue import EPOCH_MS, snapshot, topic_key
from topics.books import MAX_VIEWS
from topics.key import Cursor
from topics.upstream import Upstream


class Market:
    """A book as a feed keeps it: one object that changes under whoever holds it."""

    def __init__(self, upstream: Upstream) -> None:
        self.book = OrderBook(snapshot(1))
        self._upstream = upstream

    def show(self) -> None:
        self._upstream.on_book(self.book, EPOCH_MS)

    def move(self, amount: int) -> None:
        """Change the best bid's amount, which tells the states apart, and show it."""
        sequence = self.book.sequence
        self.book.apply(
            BookDelta(
                bids=[(100.0, float(amount))],
                asks=[],
                prev_sequence=sequence,
                last_sequence=sequence + 1,
                timestamp_ms=EPOCH_MS,
            )
        )
        self.show()


async def join(upstream: Upstream, *, levels: int = 20, snapshot: bool = True) -> Reader:
    reader = Reader()
    await upstream.audience.join(topic_key("orderbook", levels=levels), reader, snapshot=snapshot, rewind=0)
    return reader


def best_bids(reader: Reader) -> list[float]:
    """The best bid's amount in each frame."""
    return [message["data"]["bids"][0][1] for message in reader.messages]


async def live(upstream: Upstream) -> Market:
    market = Market(upstream)
    upstream.on_state("live", "")
    market.show()
    await turns()
    return market


async def test_who_waits_for_a_book_gets_it_as_soon_as_it_is_proven(start: Start) -> None:
    upstream = start("orderbook")
    reader = await join(upstream)

    await live(upstream)

    assert (best_bids(reader), reader.seqs, upstream.live) == ([1.0], [1], True)


async def test_a_live_feed_without_a_proven_book_shows_nothing(start: Start) -> None:
    upstream = start("orderbook")
    reader = await join(upstream)

    upstream.on_state("live", "")
    await turns()

    assert (reader.payloads, upstream.live) == ([], False)


async def test_changes_of_one_turn_are_one_frame_with_the_latest_state(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    reader = await join(upstream)
    await turns()

    for amount in (2, 3, 4):
        market.move(amount)
    await turns()

    assert (best_bids(reader), reader.seqs, reader.pushes) == ([1.0, 4.0], [1, 2], 2)


async def test_two_that_join_at_one_cursor_get_the_same_bytes(start: Start) -> None:
    upstream = start("orderbook")
    await live(upstream)

    first, second = await join(upstream), await join(upstream)
    await turns()

    assert first.payloads == second.payloads
    assert len(first.payloads) == 1


async def test_who_joins_gets_the_bytes_that_the_others_were_sent_last(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    early = await join(upstream)
    market.move(2)
    await turns()

    late = await join(upstream)
    await turns()

    assert late.payloads == early.payloads[-1:]


async def test_a_change_of_this_turn_is_published_before_who_joins_in_it_sees_it(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    early = await join(upstream)

    market.move(2)
    late = await join(upstream)
    await turns()

    assert (best_bids(early), early.seqs) == ([1.0, 2.0], [1, 2])
    assert late.payloads == early.payloads[-1:]


async def test_the_next_frame_extends_the_first(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    market.move(2)
    reader = await join(upstream)

    market.move(3)
    await turns()

    assert (best_bids(reader), reader.seqs) == ([2.0, 3.0], [2, 3])


async def test_who_wants_no_snapshot_gets_the_next_change_only(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    reader = await join(upstream, snapshot=False)

    market.move(2)
    await turns()

    assert best_bids(reader) == [2.0]


async def test_views_of_all_depths_share_the_feed_and_its_cursor(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    shallow, deep = await join(upstream, levels=1), await join(upstream, levels=10)

    market.move(2)
    await turns()

    depths = [[len(message["data"]["asks"]) for message in reader.messages] for reader in (shallow, deep)]
    assert (depths, shallow.seqs, deep.seqs) == ([[1, 1], [10, 10]], [1, 2], [1, 2])


async def test_a_view_rises_also_over_changes_that_nobody_watched(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    reader = await join(upstream)
    upstream.audience.leave(upstream.key, reader, 1.0)
    for amount in (2, 3):
        market.move(amount)
        await turns()

    again = await join(upstream)
    await turns()

    assert (best_bids(again), again.seqs, reader.seqs) == ([3.0], [3], [1])


async def test_what_was_due_when_the_book_broke_is_not_shown(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    reader = await join(upstream)

    market.move(2)
    upstream.on_state("resyncing", "crossed")
    await turns()

    assert (best_bids(reader), upstream.cursor) == ([1.0], Cursor(EPOCH_MS, 1))


async def test_between_a_break_and_the_next_proven_book_who_joins_waits(start: Start) -> None:
    upstream = start("orderbook")
    await live(upstream)
    upstream.on_state("reconnecting", "closed")

    reader = await join(upstream)
    upstream.on_state("live", "")
    await turns()

    assert (reader.payloads, upstream.live, upstream.state) == ([], False, "reconnecting")


async def test_the_next_proven_book_is_shown_to_all_once(start: Start) -> None:
    upstream = start("orderbook")
    await live(upstream)
    joined = await join(upstream)
    upstream.on_state("resyncing", "sequence gap")
    waiting = await join(upstream)

    fresh = Market(upstream)
    fresh.move(9)
    await turns()

    assert (best_bids(joined), best_bids(waiting)) == ([1.0, 9.0], [9.0])
    assert (joined.seqs, waiting.payloads, upstream.state) == ([1, 2], joined.payloads[-1:], "live")


async def test_a_book_that_breaks_and_is_proven_in_one_turn_shows_only_the_proven_state(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    reader = await join(upstream)

    market.move(2)
    upstream.on_state("resyncing", "sequence gap")
    Market(upstream).move(9)
    await turns()

    assert (best_bids(reader), reader.seqs) == ([1.0, 9.0], [1, 2])


async def test_a_snapshot_on_request_is_the_frame_last_published(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    reader = await join(upstream)
    market.move(2)

    await upstream.audience.snapshot(upstream.key, reader)
    await turns()

    assert (best_bids(reader), reader.payloads[-1]) == ([1.0, 2.0, 2.0], reader.payloads[-2])


async def test_a_change_of_a_book_costs_no_task(start: Start) -> None:
    upstream = start("orderbook")
    market = await live(upstream)
    await join(upstream)
    before = asyncio.all_tasks()

    market.move(2)

    assert asyncio.all_tasks() == before


async def test_of_more_views_than_a_book_may_have_the_last_that_waited_is_told_so(start: Start) -> None:
    upstream = start("orderbook")
    readers = [await join(upstream, levels=levels) for levels in range(1, MAX_VIEWS + 3)]

    await live(upstream)

    assert [len(reader.payloads) for reader in readers] == [1] * (MAX_VIEWS + 1) + [0]
    assert [(error.code, gone) for _, error, gone in readers[-1].errors] == [("SUBSCRIPTION_LIMIT", True)]
