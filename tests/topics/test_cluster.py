"""Several nodes that meet in one Redis: one of them runs a feed, and all serve the same of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from redis.asyncio import Redis

from exchanges.book import BookSync
from exchanges.errors import SubscribeFailed
from exchanges.events import BookDelta
from exchanges.feed import Listener
from exchanges.venue import Channel, Stream
from tests.redis_server import RedisServer, binaries, redis_server
from tests.topics.book_market import DIALECTS, Market
from tests.topics.reader import Reader
from tests.topics.scripted_venue import (
    EPOCH_MS,
    SYMBOL,
    ScriptedPool,
    ScriptedVenue,
    book,
    candle,
    exchange,
    trade,
    trades,
)
from topics.cluster import Cluster
from topics.key import Cursor
from topics.manager import Manager
from topics.place import place_of
from topics.store import UNKNOWN
from topics.upstream import Upstream

PATIENCE = 3.0
LEASE = 0.6  # seconds
BYBIT = DIALECTS["bybit"]
LINGER = 0.0  # a feed nobody has ends with the next check

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@pytest.fixture(params=binaries().values(), ids=binaries())
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with redis_server(request.param) as server:
        yield server


class Node:
    """One process's share of the cluster. All of them ask the same venue."""

    def __init__(self, name: str, venue: ScriptedVenue, manager: Manager, cluster: Cluster, pool: ScriptedPool) -> None:
        self.name, self.venue, self.manager, self.cluster, self.pool = name, venue, manager, cluster, pool

    @property
    def runs(self) -> bool:
        """It has a feed of its own."""
        return bool(self.pool.listeners)

    def start(self, channel: Channel = "trades") -> Upstream:
        return self.manager.start(*self.manager.resolve(channel, None, SYMBOL, {}))

    async def join(self, channel: Channel = "trades", *, extended: bool = True, **wish: Any) -> Reader:
        key, instrument = self.manager.resolve(channel, None, SYMBOL, {})
        reader = Reader(extended=extended)
        wish.setdefault("snapshot", channel == "orderbook")
        await self.manager.start(key, instrument).audience.join(key, reader, **wish)
        return reader

    def leave(self, reader: Reader, channel: Channel = "trades") -> None:
        self.manager.leave(self.manager.resolve(channel, None, SYMBOL, {})[0], reader)

    def kill(self) -> None:
        """It does nothing any more, and says no goodbye."""
        for task in self.cluster._tasks:
            task.cancel()
        for task in self.cluster.follower._readers.values():
            task.cancel()

    def say(self, first: int, last: int | None = None) -> None:
        """The venue sends trades; it tells of them by REST, too."""
        said = trades(first, last or first)
        self.venue.trades += [one for one in said if one not in self.venue.trades]
        (listener,) = self.pool.listeners.values()
        listener.on_events(said, EPOCH_MS)

    async def go_live(self) -> None:
        await until(lambda: self.runs)
        (listener,) = self.pool.listeners.values()
        listener.on_state("live", "")


@asynccontextmanager
async def nodes(server: RedisServer, number: int = 2, *, lease: float = LEASE) -> AsyncIterator[list[Node]]:
    clock = count(EPOCH_MS)
    async with AsyncExitStack() as stack:
        started, venue = [], ScriptedVenue()
        for name in "abcdef"[:number]:
            pool = ScriptedPool()
            cluster = Cluster(server.url, name, clock_ms=lambda: next(clock), lease_seconds=lease, probe_every=0.05)
            cluster.start()
            stack.push_async_callback(cluster.aclose)
            manager = Manager(
                {venue.name: await exchange(venue, pool)},
                cluster=cluster,
                linger=LINGER,
                clock_ms=lambda: next(clock),
            )
            stack.push_async_callback(manager.aclose)
            started.append(Node(name, venue, manager, cluster, pool))
        yield started


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # another process's state has no event
            await asyncio.sleep(0.005)


async def owned_by(owner: Node, channel: Channel = "trades") -> Reader:
    """A client of ``owner``, whose feed is live."""
    reader = await owner.join(channel)
    await owner.go_live()
    await until(lambda: owner.start(channel).live)
    return reader


async def followed_by(follower: Node, channel: Channel = "trades") -> Reader:
    """A client of ``follower``, which serves another node's live feed."""
    reader = await follower.join(channel)
    await until(lambda: follower.start(channel).live)
    return reader


def data(reader: Reader) -> list[bytes]:
    """Frames that every client of a topic is sent, gaps included."""
    told = zip(reader.payloads, reader.messages, strict=True)
    return [payload for payload, message in told if "cursor" in message and message["type"] != "caughtUp"]


def nonces(reader: Reader) -> list[int]:
    """Of the books it was shown."""
    return [m["data"]["nonce"] for m in reader.messages if m["type"] == "orderbook"]


def states(reader: Reader) -> list[str]:
    return [message["state"] for message in reader.messages if message["type"] == "status"]


def gaps(reader: Reader) -> list[tuple[str, int | None]]:
    return [(message["reason"], message["missing"]) for message in reader.messages if message["type"] == "gap"]


# -- one feed for all --------------------------------------------------------------------------------------------------


async def test_however_many_nodes_want_a_feed_one_runs_it(server: RedisServer) -> None:
    async with nodes(server, 4) as all_nodes:
        await asyncio.gather(*(node.join() for node in all_nodes))
        await until(lambda: any(node.runs for node in all_nodes))
        await until(lambda: sum(node.start().following for node in all_nodes) == 3)

        assert [len(node.pool.opened) for node in all_nodes if node.runs] == [1]
        assert sum(len(node.pool.opened) for node in all_nodes) == 1


@pytest.mark.parametrize("channel", ["trades", "ohlcv"])
async def test_all_nodes_send_the_same_bytes_under_the_same_cursors(server: RedisServer, channel: Channel) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a, channel)
        at_follower = await followed_by(b, channel)
        (listener,) = a.pool.listeners.values()
        for number in (1, 2, 3):
            listener.on_events([trade(number) if channel == "trades" else candle(number)], EPOCH_MS)
            await until(lambda number=number: len(data(at_follower)) == number)

        assert data(at_follower) == data(at_owner)
        assert len(data(at_owner)) == 3


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


async def test_a_book_is_followed_by_the_venues_own_messages(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        speak_bybit(a.venue)
        at_owner = await a.join("orderbook")
        await until(lambda: a.runs)
        book = BybitBook(*a.pool.listeners.values())
        at_follower = await followed_by(b, "orderbook")
        for _ in range(5):
            book.move()
            await until(lambda: nonces(at_follower)[-1:] == [book.market.sequence])

        assert shown(at_follower).items() <= shown(at_owner).items()
        assert nonces(at_follower) == [*range(1_000, 1_006)]


async def test_a_place_in_a_book_that_was_lost_is_found_again_from_the_last_whole_one_on(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        speak_bybit(a.venue)
        at_owner = await a.join("orderbook")
        await until(lambda: a.runs)
        book = BybitBook(*a.pool.listeners.values())
        at_follower = await followed_by(b, "orderbook")
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
        speak_bybit(a.venue)
        await a.join("orderbook")
        await until(lambda: a.runs)
        book = BybitBook(*a.pool.listeners.values())
        at_follower = await followed_by(b, "orderbook")
        await until(lambda: nonces(at_follower))
        b.start("orderbook").content._reader.forget()  # type: ignore[union-attr]
        await redis.xtrim((await redis.keys("*:events"))[0], maxlen=0, approximate=False)
        book.move()
        await until(lambda: states(at_follower)[-1:] == ["resyncing"])
        await until(lambda: len(b.cluster.follower))  # it has read all that is kept, and goes on
        between = b.start("orderbook").state
        book.begin()
        await until(lambda: states(at_follower)[-1:] == ["live"])

        assert between == "resyncing"
        assert nonces(at_follower) == [1_000, 1_001]


async def test_who_comes_to_a_follower_is_given_the_past_that_the_owner_has(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        a.venue.trades = trades(1, 5)
        await owned_by(a)
        a.say(6, 7)
        await until(lambda: a.start().cursor.seq == 2)
        await followed_by(b)
        reader = await b.join(rewind=4)
        await until(lambda: reader.payloads)

        assert reader.ids == [4, 5, 6, 7]
        assert reader.messages[0]["cursor"] == str(a.start().cursor)


async def test_a_cursor_of_one_node_goes_on_at_another(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        for number in (1, 2, 3, 4):
            a.say(number)
            await until(lambda number=number: at_owner.ids[-1:] == [number])
        since = Cursor.parse(at_owner.messages[-3]["cursor"])
        await followed_by(b)
        resumed = await b.start().audience.judge(since)
        reader = await b.join(since=since)
        await until(lambda: any(m["type"] == "caughtUp" for m in reader.messages))

        assert (resumed.status, resumed.events) == ("recovered", 2)
        assert data(reader)[:2] == data(at_owner)[-2:]


async def test_what_was_sent_to_nobody_by_the_owner_is_sent_to_nobody_by_others(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        a.venue.trades = trades(1, 5)
        await a.join()
        await until(lambda: a.runs)
        waiting = await b.join()  # before the feed has begun
        await until(lambda: b.start().following)
        await a.go_live()
        await until(lambda: b.start().live)
        a.say(6)
        await until(lambda: waiting.ids)

        assert waiting.ids == [6]


# -- how the owner is --------------------------------------------------------------------------------------------------


async def test_followers_are_told_how_the_feed_is(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        (listener,) = a.pool.listeners.values()
        listener.on_state("stale", "silent")
        await until(lambda: states(at_follower)[-1:] == ["stale"])
        listener.on_state("reconnecting", "closed", attempt=2, retry_in=1.5)
        await until(lambda: states(at_follower)[-1:] == ["reconnecting"])
        told = at_follower.messages[-1]
        await a.go_live()
        await until(lambda: states(at_follower)[-1:] == ["live"])

        assert (told["reason"], told["attempt"], told["retryInMs"]) == ("closed", 2, 1500)
        assert states(at_owner)[-4:-2] == ["stale", "reconnecting"]


async def test_what_the_venue_refuses_is_refused_on_every_node(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await a.join()
        await until(lambda: a.runs)
        reader = await b.join()
        await until(lambda: b.start().following)
        (listener,) = a.pool.listeners.values()
        listener.on_refused(SubscribeFailed("no such coin"))
        await until(lambda: reader.errors)

        ((_, error, gone),) = reader.errors
        assert (str(error), gone) == ("no such coin", True)
        assert (a.manager.upstreams(), b.manager.upstreams()) == ([], [])


async def test_a_loss_of_the_owners_is_told_by_all_nodes_as_the_same_event(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        (listener,) = a.pool.listeners.values()
        listener.on_state("reconnecting", "closed")
        a.venue.trades += trades(2, 4)
        await a.go_live()
        await until(lambda: at_follower.ids == [1, 2, 3, 4])

        assert data(at_follower) == data(at_owner)
        assert gaps(at_follower) == [("UPSTREAM_RECONNECT", 0)]


async def test_who_comes_while_a_new_owner_begins_is_not_told_how_the_one_before_was(server: RedisServer) -> None:
    async with nodes(server, 3) as (a, b, c), Redis.from_url(server.url) as redis:
        await owned_by(a)
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        place = running.tenure.place
        await until(lambda: not a.cluster.leases._told)
        a.kill()
        await redis.delete(place.lease)  # it has ended
        await b.join()
        await until(lambda: b.runs)
        await until(lambda: not b.cluster.leases._told)
        await c.join()
        await until(lambda: c.start().following)

        assert (b.start().state, c.start().state) == ("connecting", "connecting")


# -- from one owner to the next ----------------------------------------------------------------------------------------


async def test_an_owner_that_ends_hands_its_feeds_over_at_once(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1, 2)
        await until(lambda: at_follower.ids == [1, 2])
        began = asyncio.get_running_loop().time()
        await a.manager.aclose()
        await until(lambda: b.runs)
        took = asyncio.get_running_loop().time() - began
        b.venue.trades += trades(3, 4)  # while nobody listened
        await b.go_live()
        b.say(5)
        await until(lambda: at_follower.ids[-1] == 5)

        assert took < LEASE / 2
        assert at_follower.ids == [1, 2, 3, 4, 5]
        assert gaps(at_follower) == [("EPOCH_CHANGED", 0)]
        cursors = [Cursor.parse(m["cursor"]) for m in at_follower.messages if "cursor" in m]
        assert cursors == sorted(cursors)
        assert cursors[-1].epoch > cursors[0].epoch


async def test_a_feed_that_is_wanted_again_as_it_ends_goes_on_under_another_epoch(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,):
        a.venue.trades = trades(1, 2)
        reader = await owned_by(a)
        a.say(3)
        await until(lambda: reader.ids == [3])
        before = a.start().cursor
        a.leave(reader)
        a.say(4)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        a.venue.trades += trades(5, 6)
        again = await a.join(rewind=6)
        await a.go_live()
        await until(lambda: again.ids[-1:] == [6])

        assert a.start().cursor.epoch > before.epoch
        assert again.ids == [1, 2, 3, 4, 5, 6]
        running = a.manager._running.values()
        await until(lambda: all(one.tenure is not None and one.tenure.ring.lacking(1) is None for one in running))
        async with Redis.from_url(server.url) as redis:
            (lease,) = await redis.keys("*:lease")
            assert await redis.get(lease)


async def test_a_feed_that_is_lost_as_it_ends_is_not_claimed_again(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,):
        reader = await owned_by(a)
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        a.leave(reader)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        running.tenure.held("another")
        await asyncio.gather(*a.manager._tasks)

        assert running.tenure not in a.cluster.leases._due


async def test_an_owner_that_dies_is_followed_by_another_when_its_lease_ends(server: RedisServer) -> None:
    async with nodes(server, 3) as (a, b, c):
        await owned_by(a)
        readers = [await followed_by(b), await followed_by(c)]
        a.say(1)
        await until(lambda: all(reader.ids == [1] for reader in readers))
        a.kill()
        await until(lambda: b.runs or c.runs)
        heir, other = (b, c) if b.runs else (c, b)
        await heir.go_live()
        heir.say(2)
        await until(lambda: all(reader.ids == [1, 2] for reader in readers))

        assert other.start().following
        assert data(readers[0]) == data(readers[1])
        assert gaps(readers[0]) == [("EPOCH_CHANGED", 0)]


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


async def test_an_owner_goes_on_for_others_when_its_own_clients_have_left(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        running = a.manager._running
        await until(lambda: all(one.tenure is not None and one.tenure.followed for one in running.values()))
        a.leave(at_owner)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        kept = a.runs
        b.leave(at_follower)
        b.manager.check(asyncio.get_running_loop().time() + 1)

        async def gone() -> None:
            while a.runs:
                a.manager.check(asyncio.get_running_loop().time() + 1)
                await asyncio.sleep(0.02)

        await asyncio.wait_for(gone(), PATIENCE)

        assert kept


async def test_a_feed_that_starts_while_it_is_being_closed_begins_behind_all_that_was_kept(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,):
        reader = await owned_by(a)
        a.say(1, 2)
        await until(lambda: reader.ids == [1, 2])
        a.say(3)
        await until(lambda: reader.ids == [1, 2, 3])  # it is published, and on its way to Redis
        a.leave(reader)
        a.manager.check(asyncio.get_running_loop().time() + 1)
        again = await a.join(since=Cursor.parse(reader.messages[-1]["cursor"]))
        await a.go_live()
        a.say(4)
        await until(lambda: again.ids[-1:] == [4])

        before, *_, after = [Cursor.parse(m["cursor"]) for m in reader.messages + again.messages if "cursor" in m]
        assert again.ids == [4]
        assert after.epoch > before.epoch
        assert gaps(again) == [("EPOCH_CHANGED", 0)]


async def test_an_owner_that_was_frozen_writes_nothing_and_follows_who_took_over(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        at_frozen = await owned_by(a)
        at_heir = await followed_by(b)
        a.say(1)
        await until(lambda: at_heir.ids == [1])
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        a.cluster.leases._due[running.tenure] = float("inf")  # as if it did not run
        await until(lambda: b.runs)
        await b.go_live()
        a.say(2)  # what it had in its buffers
        a.cluster.leases.hurry(running.tenure)
        await until(lambda: a.start().following)
        b.say(2, 3)
        await until(lambda: at_frozen.ids[-1] == 3)

        assert not a.runs
        assert at_heir.ids == [1, 2, 3]
        assert gaps(at_frozen)[-1][0] == "EPOCH_CHANGED"
        cursors = [Cursor.parse(m["cursor"]) for m in at_frozen.messages if "cursor" in m]
        assert cursors == sorted(cursors)
        written = (await b.cluster.store.load(running.tenure.place)).entries
        epochs = [entry.cursor.epoch for entry in written]
        assert epochs == sorted(epochs)
        assert sum(b'"id":"2"' in entry.payload for entry in written) == 1  # of the heir alone


# -- Redis away --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_while_redis_is_away_the_owner_goes_on_and_followers_say_so(server: RedisServer, how: str) -> None:
    # What a frozen server has received it does when it wakes: a claim from before, which then finds the lease vacant.
    async with nodes(server, lease=5.0) as (a, b):
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        (server.kill if how == "killed" else server.freeze)()
        await until(lambda: states(at_follower)[-1:] == ["stale"])
        await until(lambda: a.cluster.store.problem is not None)
        a.say(2)
        await until(lambda: at_owner.ids == [1, 2])
        (server.start if how == "killed" else server.thaw)()
        await until(lambda: at_follower.ids == [1, 2])
        await until(lambda: states(at_follower)[-1:] == ["live"])
        a.say(3)
        await until(lambda: at_follower.ids == [1, 2, 3])

        assert (a.runs, b.runs) == (True, False)
        assert data(at_follower) == data(at_owner)
        assert (gaps(at_owner), gaps(at_follower)) == ([], [])


async def test_what_could_not_be_kept_is_said(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        await owned_by(a)
        at_follower = await followed_by(b)
        a.say(1)
        await until(lambda: at_follower.ids == [1])
        server.kill()
        await until(lambda: a.cluster.store.problem is not None)
        (running,) = a.manager._running.values()
        assert running.tenure is not None
        for number in range(2, 6):
            a.say(number)
            await until(lambda number=number: running.upstream.cursor.seq == number)
        running.tenure.ring.forget_before(running.upstream.cursor)
        server.start()
        await until(lambda: at_follower.ids[-1] == 5)

        (gap,) = [m for m in at_follower.messages if m["type"] == "gap"]
        assert (gap["reason"], gap["events"], at_follower.ids) == ("RING_TRIMMED", 3, [1, 5])


async def test_a_feed_that_two_nodes_began_alone_is_one_again_and_no_cursor_falls(server: RedisServer) -> None:
    async with nodes(server) as (a, b):
        server.kill()
        await until(lambda: a.cluster.store.problem is not None and b.cluster.store.problem is not None)
        readers = [await owned_by(a), await owned_by(b)]
        a.say(1)
        b.say(1)
        await until(lambda: all(reader.ids == [1] for reader in readers))
        server.start()
        await until(lambda: a.runs != b.runs)
        owner, other = (a, b) if a.runs else (b, a)
        await until(lambda: other.start().live)
        owner.say(2)
        await until(lambda: all(reader.ids[-1] == 2 for reader in readers))

        assert owner is b  # which began later
        for reader in readers:
            cursors = [Cursor.parse(m["cursor"]) for m in reader.messages if "cursor" in m]
            assert cursors == sorted(cursors)


async def test_a_full_redis_costs_followers_the_stream_and_owners_nothing(server: RedisServer) -> None:
    async with nodes(server) as (a, b), Redis.from_url(server.url) as redis:
        at_owner = await owned_by(a)
        at_follower = await followed_by(b)
        await redis.config_set("maxmemory", "1")
        await until(lambda: states(at_follower)[-1:] == ["stale"])
        a.say(1)
        await until(lambda: at_owner.ids == [1])
        await asyncio.sleep(LEASE)  # its lease ends meanwhile
        await redis.config_set("maxmemory", "0")
        await until(lambda: at_follower.ids == [1])
        await until(lambda: states(at_follower)[-1:] == ["live"])

        assert (a.runs, b.runs, gaps(at_follower)) == (True, False, [])


async def test_a_feed_begun_alone_by_a_clock_that_is_behind_goes_on_above_all_that_is_kept(server: RedisServer) -> None:
    async with nodes(server, 1) as (a,), Redis.from_url(server.url) as redis:
        key, instrument = a.manager.resolve("trades", None, SYMBOL, {})
        place = place_of(key, a.venue.stream("trades", instrument, {}))
        later = EPOCH_MS + 10**9
        await redis.set(place.epoch, later)
        server.freeze()
        await until(lambda: a.cluster.store.problem not in (None, UNKNOWN))
        reader = await owned_by(a)
        a.say(1)
        await until(lambda: reader.ids == [1])
        server.thaw()
        await until(lambda: len(a.pool.opened) == 2)
        await a.go_live()
        a.say(2)
        await until(lambda: reader.ids == [1, 2])

        async def kept() -> Cursor | None:
            entries = (await a.cluster.store.load(place)).entries
            return entries[-1].cursor if entries else None

        async with asyncio.timeout(PATIENCE):
            while await kept() != a.start().cursor:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

        assert gaps(reader) == [("EPOCH_CHANGED", 0)]
        assert a.start().cursor.epoch == later + 1
