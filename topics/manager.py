"""Key → running topic: one upstream for all who want it, from the first subscriber until a linger after the last.

The composition of a venue (its adapter, catalogue and sockets) is an ``Exchange``; the manager knows them by name.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any, Literal, NamedTuple

from exchanges.budget import HEALING
from exchanges.catalogue import CatalogueKeeper
from exchanges.errors import SubscribeFailed, UnsupportedExchange, UpstreamCapacity
from exchanges.feed import Feed
from exchanges.instrument import Instrument
from exchanges.pool import Pool
from exchanges.venue import Channel, Stream, Venue
from topics import metrics
from topics.book_log import BookLog, BookReader
from topics.books import Books
from topics.candles import Candles
from topics.cluster import Cluster
from topics.frame import frame
from topics.key import TopicKey, resolve
from topics.place import place_of
from topics.recovery import CandlesByRest, Fetch, TradesByRest
from topics.redis_ring import RedisRing
from topics.ring import MemoryRing, Ring, RingBudget
from topics.subscriber import Subscriber
from topics.tenure import Tenure
from topics.tick import Tick
from topics.topic import Topic
from topics.trades import Trades
from topics.upstream import Upstream
from topics.wire import Status, status_json

log = logging.getLogger("topics.manager")

LINGER = 30.0  # seconds a feed without subscribers is kept
MAX_FEEDS = 2_000
REFUSED_FOR = 60.0  # seconds a venue is not asked again for what it has refused
MAX_REFUSED = 1_000  # refusals remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One venue, put together."""

    venue: Venue
    catalogue: CatalogueKeeper
    pool: Pool

    @property
    def condition(self) -> "Condition":
        """How the venue as a whole is.

        Connecting: its catalogue has not loaded. Unavailable: it told us to stay away. Reconnecting: streams are wanted
        and no socket is up. Idle: nobody asked for a stream.
        """
        if (banned := self.pool.breaker.remaining) > 0.0:
            return Condition("unavailable", "rate limited", banned)
        if not self.catalogue.loaded.is_set():
            return Condition("connecting", "no catalogue")
        if not self.pool.sockets:
            return Condition("idle", "")
        return Condition("live", "") if self.pool.connected else Condition("reconnecting", "no connection")


class Condition(NamedTuple):
    """An exchange's state, why, and for how many seconds where that is known."""

    state: Literal["connecting", "live", "reconnecting", "unavailable", "idle"]
    reason: str
    retry_in: float | None = None


FeedKey = tuple[str, str, str]  # exchange, endpoint URL, stream name


@dataclass(slots=True)
class Running:
    """One feed."""

    upstream: Upstream
    tenure: Tenure | None = None  # None: there is no other node
    feed: Feed | None = None  # None: it is another node's, or whose it is is not known yet


class Manager:
    """All running upstreams."""

    def __init__(
        self,
        exchanges: Mapping[str, Exchange],
        *,
        default_exchange: str = "hyperliquid",
        linger: float = LINGER,
        max_feeds: int = MAX_FEEDS,
        ring: Callable[[], Ring] | None = None,
        cluster: Cluster | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.exchanges = exchanges
        self.default_exchange = default_exchange if default_exchange in exchanges else next(iter(exchanges))
        self.tick = Tick()
        self.budget = RingBudget()
        self._ring = ring or (lambda: MemoryRing(self.budget))
        self.cluster = cluster
        self._linger, self._max_feeds = linger, max_feeds
        self._clock_ms = clock_ms
        self._last_epoch = 0
        self._running: dict[FeedKey, Running] = {}
        self._by_topic: dict[TopicKey, Upstream] = {}
        self._conditions: dict[str, Status] = {}  # of each exchange, as last told
        self._refused: dict[FeedKey, tuple[float, SubscribeFailed]] = {}  # until when (loop time), and how
        self._tasks: set[asyncio.Task[None]] = set()

    def exchange(self, name: str | None) -> Exchange:
        """The exchange called ``name``, or the default one.

        Raises:
            UnsupportedExchange: it is not offered here.
        """
        found = self.exchanges.get(self.default_exchange if name is None else name)
        if found is None:
            raise UnsupportedExchange("no such exchange here", field="exchange", supported=sorted(self.exchanges))
        return found

    def resolve(
        self, channel: Channel, exchange: str | None, symbol: str | None, params: Mapping[str, Any]
    ) -> tuple[TopicKey, Instrument]:
        """The canonical key of what a client asked for. Raises as ``key.resolve`` does, and if no catalogue loaded."""
        venue = self.exchange(exchange)
        return resolve(
            channel,
            symbol,
            params,
            exchange=venue.venue.name,
            catalogue=venue.catalogue.current(),
            capabilities=venue.venue.capabilities,
        )

    def upstream(self, key: TopicKey, instrument: Instrument) -> Upstream | None:
        """The running feed that can serve ``key``, whether or not somebody has that very topic."""
        running = self._running.get(_feed_key(key, self._stream(key, instrument)))
        return running.upstream if running else None

    def start(self, key: TopicKey, instrument: Instrument) -> Upstream:
        """The upstream of ``key``, started if it does not run. Synchronous: two who ask at once get the same one.

        Raises:
            UpstreamCapacity: this node, or the venue, has no room for another feed.
            SubscribeFailed: the venue has refused it a moment ago.
            SubscriptionLimit: the book has too many views.
        """
        stream = self._stream(key, instrument)
        feed_key = _feed_key(key, stream)
        running = self._running.get(feed_key)
        if running is None:
            until, error = self._refused.get(feed_key, (-inf, None))
            if error is not None and asyncio.get_running_loop().time() < until:
                raise error
            if len(self._running) >= self._max_feeds:
                raise UpstreamCapacity(f"this node runs at most {self._max_feeds} feeds", retry_after=self._linger)
            running = self._create(key, instrument, stream, feed_key)
            if running.tenure is None:
                self._open(running)
            self._running[feed_key] = running
        running.upstream.content.topic(key)
        if key not in self._by_topic:
            self._by_topic[key] = running.upstream
            metrics.TOPICS.labels(key.exchange, key.channel).inc()
        return running.upstream

    def leave(self, key: TopicKey, subscriber: Subscriber) -> None:
        if upstream := self._by_topic.get(key):
            upstream.audience.leave(key, subscriber, asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Once a second: close what nobody watched for the linger time, tell who waits too long."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            self.check(loop.time())

    def check(self, now: float) -> None:
        """One round of ``run``; ``now`` is loop time."""
        for name, exchange in self.exchanges.items():
            self._tell_condition(name, exchange.condition)
        for feed_key, running in list(self._running.items()):
            upstream = running.upstream
            upstream.check(now)
            idle_since = upstream.audience.idle_since
            followed = running.tenure is not None and running.tenure.followed
            if idle_since is not None and now - idle_since >= self._linger and not followed:
                log.info("feed_closed", extra={"exchange": feed_key[0], "stream": feed_key[2]})
                self._close(feed_key)
        metrics.RING_BYTES.set(self.budget.used)
        metrics.FOLLOWS.set(0 if self.cluster is None else self.cluster.following)

    def upstreams(self) -> Sequence[Upstream]:
        return [running.upstream for running in self._running.values()]

    async def aclose(self) -> None:
        for feed_key in list(self._running):
            self._close(feed_key)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _tell_condition(self, name: str, condition: Condition) -> None:
        """Tell those who have a topic of the exchange, and said hello, when its state has changed."""
        before = self._conditions.get(name)
        if condition.state == "idle" or (before is not None and condition.state == before.state):
            return
        retry_in_ms = None if condition.retry_in is None else round(condition.retry_in * 1000)
        previous, now_ms = before.state if before else "connecting", self._clock_ms()
        status = Status(condition.state, previous, now_ms, None, condition.reason, 0, retry_in_ms)
        self._conditions[name] = status
        if before is not None:
            told = frame(status_json({"scope": "exchange", "exchange": name}, status))
            for subscriber in self._audience(name):
                self.tick.push(subscriber, told)

    def _audience(self, exchange: str) -> set[Subscriber]:
        upstreams = [upstream for upstream in self.upstreams() if upstream.exchange == exchange]
        return {one for upstream in upstreams for _, one in upstream.audience.everyone if one.extended}

    def _stream(self, key: TopicKey, instrument: Instrument) -> Stream:
        return self.exchanges[key.exchange].venue.stream(key.channel, instrument, dict(key.params))

    def _create(self, key: TopicKey, instrument: Instrument, stream: Stream, feed_key: FeedKey) -> Running:
        tenure = ring = None
        if self.cluster is not None:
            tenure = Tenure(
                place_of(key, stream),
                self.cluster,
                new_epoch=self._new_epoch,
                open_feed=lambda: self._open_later(feed_key),
                close_feed=lambda: self._close_feed(running),
            )
            ring = RedisRing(self.budget, self.cluster, tenure.place, fenced=tenure.fenced)
        upstream = Upstream(
            key,
            stream,
            self._content(key, instrument, stream, feed_key, ring),
            epoch=None if tenure else self._new_epoch(),
            tick=self.tick,
            clock_ms=self._clock_ms,
            fetch=self._fetch(key, instrument),
            refused=lambda _, error: self._refuse(feed_key, error),
        )
        running = Running(upstream, tenure)
        if tenure is not None and ring is not None:
            tenure.begin(upstream, ring)
        return running

    def _new_epoch(self, beyond: int = 0) -> int:
        """Greater than any before it, and than ``beyond``, whatever the clock says."""
        self._last_epoch = max(self._clock_ms(), self._last_epoch + 1, beyond + 1)
        return self._last_epoch

    def _open(self, running: Running) -> None:
        """Raises ``UpstreamCapacity``."""
        upstream = running.upstream
        running.feed = self.exchanges[upstream.exchange].pool.open(upstream.stream, upstream)
        metrics.FEEDS.labels(upstream.exchange, upstream.stream.channel).inc()

    def _open_later(self, feed_key: FeedKey) -> None:
        """Of a feed that became this node's; all who wait for it are told if there is no room."""
        running = self._running[feed_key]
        try:
            self._open(running)
        except UpstreamCapacity as error:
            running.upstream.fail(error)
            self._close(feed_key)

    def _close_feed(self, running: Running) -> None:
        feed, running.feed = running.feed, None
        if feed is not None:
            self.exchanges[feed.exchange].pool.close(feed)
            metrics.FEEDS.labels(feed.exchange, feed.stream.channel).dec()

    def _content(
        self, key: TopicKey, instrument: Instrument, stream: Stream, feed_key: FeedKey, kept: RedisRing | None
    ) -> Trades | Candles | Books:
        def topic(key: TopicKey) -> Topic:
            return Topic(key, self.tick, clock_ms=self._clock_ms)

        ring = kept or self._ring()

        def settle() -> None:
            if running := self._running.get(feed_key):
                running.upstream.settle()

        def resync() -> None:
            running = self._running.get(feed_key)
            if running is not None and running.feed is not None:
                running.feed.refresh("decimals wanted")

        match key.channel:
            case "trades":
                return Trades(topic(key), ring, dense=stream.dense)
            case "ohlcv":
                return Candles(
                    topic(key),
                    ring,
                    clock_ms=self._clock_ms,
                    timeframe=dict(key.params)["timeframe"],
                    marks_closed=stream.marks_closed,
                )
            case "orderbook":
                venue = self.exchanges[key.exchange].venue
                fetch = partial(venue.fetch_book, instrument, levels=venue.capabilities.levels[-1], patience=HEALING)
                return Books(
                    topic,
                    read_texts=stream.texts,
                    log=None if kept is None else BookLog(kept),
                    reader=None if kept is None else BookReader(stream.endpoint.parse, stream.texts),
                    fetch=fetch,
                    settle=settle,
                    resync=resync,
                )

    def _fetch(self, key: TopicKey, instrument: Instrument) -> Fetch | None:
        venue, params = self.exchanges[key.exchange].venue, dict(key.params)
        match key.channel:
            case "trades":
                return TradesByRest(venue, instrument, params)
            case "ohlcv":
                return CandlesByRest(venue, instrument, params)
            case "orderbook":
                return None

    def _refuse(self, feed_key: FeedKey, error: SubscribeFailed) -> None:
        """The venue will not serve it, and is not bothered with it again for a while."""
        now = asyncio.get_running_loop().time()
        self._refused = {key: value for key, value in self._refused.items() if value[0] > now}
        if len(self._refused) < MAX_REFUSED:
            self._refused[feed_key] = now + REFUSED_FOR, error
        if (tenure := self._running[feed_key].tenure) is not None:
            tenure.refuse(error)
        self._close(feed_key)

    def _close(self, feed_key: FeedKey) -> None:
        running = self._running.pop(feed_key)
        self._close_feed(running)
        if running.tenure is not None:
            running.tenure.stop()
        upstream = running.upstream
        channel = upstream.stream.channel
        for key in [key for key, one in self._by_topic.items() if one is upstream]:
            del self._by_topic[key]
            metrics.TOPICS.labels(feed_key[0], channel).dec()
        self._run(self._end(running))

    async def _end(self, running: Running) -> None:
        await running.upstream.close()
        if running.tenure is not None:
            await running.tenure.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _feed_key(key: TopicKey, stream: Stream) -> FeedKey:
    return key.exchange, stream.endpoint.url, stream.name
