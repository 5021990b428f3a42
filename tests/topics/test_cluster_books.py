"""Books that other nodes follow: the owner's at every cursor, proven again, or not shown."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from exchanges.book import BookSync
from exchanges.events import BookDelta
from exchanges.feed import Listener
from exchanges.venue import Stream
from tests.redis_server import RedisServer, binaries, redis_server
from tests.topics.book_market import DIALECTS, Market
from tests.topics.nodes import Node, followed_by, nodes, nonces, states, until
from tests.topics.reader import Reader
from tests.topics.scripted_venue import (
    EPOCH_MS,
    ScriptedVenue,
    book,
)
from topics.key import Cursor

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")

BYBIT = DIALECTS["bybit"]


@pytest.fixture(params=binaries().values(), ids=binaries())
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with redis_server(request.param) as server:
        yield server


async def test_a_followed_book_is_the_owners_at_every_cursor(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await a.join("orderbook")
        await until(lambda: a.runs)
        (listener,) = a.pool.listeners.values()
        listener.on_book(book(1), EPOCH_MS)
        at_follower = await followed_by(b, "orderbook")
        for number in (2, 3):
            listener.on_book(book(number, best_bid=100 + number), EPOCH_MS)
            await until(lambda number=number: nonces(at_follower)[-1:] == [number])

        shown = {m["cursor"]: (m["data"], m["ts"]["rx"]) for m in at_owner.messages if m["type"] == "orderbook"}
        followed = {m["cursor"]: (m["data"], m["ts"]["rx"]) for m in at_follower.messages if m["type"] == "orderbook"}
        assert followed.items() <= shown.items()
        assert len(followed) >= 2


def speak_bybit(venue: ScriptedVenue) -> None:
    """Its books come by messages that can be followed."""
    plain = venue.stream

    def stream(*arguments: Any) -> Stream:
        one = plain(*arguments)
        return replace(one, endpoint=replace(one.endpoint, parse=BYBIT.parse), texts=BYBIT.texts)

    venue.stream = stream  # type: ignore[method-assign]


class BybitBook:
    """A book that its feed brings to a listener, message by message."""

    def __init__(self, listener: Listener) -> None:
        self.market, self._listener, self._sync = Market(), listener, BookSync()
        for number in range(100):
            self.market.set("bids", f"{50 + number / 100:.2f}", "1.50")
        self.begin()

    def begin(self) -> None:
        """The venue sends the whole of it."""
        whole = BYBIT.whole(self.market)
        book = self._sync.on_snapshot(whole)
        assert book is not None
        self._listener.on_book(book, EPOCH_MS, whole)

    def move(self) -> None:
        self.market.set("bids", "99.10", f"{self.market.sequence}.50")
        self.market.advance()
        (delta,) = BYBIT.parse(BYBIT.news(self.market))[1]
        assert isinstance(delta, BookDelta)
        book = self._sync.on_delta(delta)
        assert book is not None
        self._listener.on_book(book, EPOCH_MS, delta)


def shown(reader: Reader) -> dict[str, Any]:
    """Each book it was shown, by its cursor."""
    books = [message for message in reader.messages if message["type"] == "orderbook"]
    by_cursor = {message["cursor"]: message["data"] for message in books}
    assert len(by_cursor) == len(books)
    return by_cursor


async def followed_book(a: Node, b: Node) -> tuple[Reader, BybitBook, Reader]:
    """A client of the owner, its book, and a client of the follower."""
    speak_bybit(a.venue)
    at_owner = await a.join("orderbook")
    await until(lambda: a.runs)
    book = BybitBook(*a.pool.listeners.values())
    return at_owner, book, await followed_by(b, "orderbook")


async def test_a_book_is_followed_by_the_venues_own_messages(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner, book, at_follower = await followed_book(a, b)
        for _ in range(5):
            book.move()
            await until(lambda: nonces(at_follower)[-1:] == [book.market.sequence])

        assert shown(at_follower).items() <= shown(at_owner).items()
        assert nonces(at_follower) == [*range(1_000, 1_006)]


async def test_a_place_in_a_book_that_was_lost_is_found_again_from_the_last_whole_one_on(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner, book, at_follower = await followed_book(a, b)
        book.move()
        await until(lambda: nonces(at_follower)[-1:] == [1_001])
        b.start("orderbook").content._reader.forget()  # type: ignore[union-attr]  # as after an entry it cannot read
        book.move()
        await until(lambda: nonces(at_follower)[-1:] == [1_002])
        book.move()
        await until(lambda: nonces(at_follower)[-1:] == [1_003])

        assert shown(at_follower).items() <= shown(at_owner).items()
        assert states(at_follower)[-2:] == ["resyncing", "live"]
        assert len(states(at_follower)) < 5


async def test_a_book_whose_place_is_lost_is_not_live_before_a_whole_one_has_come(server: RedisServer) -> None:
    async with nodes(server) as (a, b), Redis.from_url(server.url) as redis:
        _, book, at_follower = await followed_book(a, b)
        await until(lambda: nonces(at_follower))
        b.start("orderbook").content._reader.forget()  # type: ignore[union-attr]
        await redis.xtrim((await redis.keys("*:events"))[0], maxlen=0, approximate=False)
        book.move()
        await until(lambda: states(at_follower)[-1:] == ["resyncing"])
        await until(lambda: len(b.shard.follower))  # it has read all that is kept, and goes on
        between = b.start("orderbook").state
        book.begin()
        await until(lambda: states(at_follower)[-1:] == ["live"])

        assert between == "resyncing"
        assert nonces(at_follower) == [1_000, 1_001]


async def test_a_book_goes_on_at_the_next_owner(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await a.join("orderbook")
        await until(lambda: a.runs)
        (listener,) = a.pool.listeners.values()
        listener.on_book(book(7), EPOCH_MS)
        reader = await followed_by(b, "orderbook")
        await until(lambda: reader.payloads)
        await a.manager.aclose()
        await until(lambda: b.runs)
        (listener,) = b.pool.listeners.values()
        listener.on_book(book(9), EPOCH_MS)
        await until(lambda: nonces(reader)[-1:] == [9])

        first, *_, last = [Cursor.parse(m["cursor"]) for m in reader.messages if "cursor" in m]
        assert (last.epoch > first.epoch, last.seq) == (True, 1)
