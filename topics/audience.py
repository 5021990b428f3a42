"""Those who have a feed's topics or wait for them: what each is given first, and when it joins the live stream.

A subscriber that comes before the feed is live waits for it; one that asked for a pause, until it wakes. Nobody is
given anything ahead of what its socket takes, and nothing lies between the last of it and what follows: from the read
that gives it to where it joins there is no await.
"""

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from exchanges.errors import GatewayError, SubscriptionLimit, VenueUnavailable
from topics.books import Books
from topics.candles import Candles
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.resume import Replay, Resume, judge
from topics.subscriber import Subscriber
from topics.tick import Tick
from topics.topic import Topic
from topics.trades import Trades
from topics.wire import caught_up_json

UNREACHABLE_AFTER = 10.0  # seconds of connecting after which those who wait are told

Place = tuple[TopicKey, Subscriber]


class Source(Protocol):
    """The feed, as its audience sees it."""

    key: TopicKey
    exchange: str
    content: Trades | Candles | Books
    cursor: Cursor
    flowing: bool  # it is live, and nothing has to be made up for first
    begun: bool  # it has flowed before, so that somebody may have a place in its stream
    past_known: asyncio.Event  # what an earlier process published is in the ring

    async def reach(self, cursor: Cursor) -> None:
        """Wait for what another node has published until ``cursor``: who was there before may be ahead of us."""
        ...

    def settle(self) -> None:
        """Publish what is pending, so that the newest state has a cursor."""
        ...


@dataclass(slots=True)
class Wish:
    """How a subscriber wants to join."""

    snapshot: bool
    rewind: int
    since: Cursor | None  # where it goes on
    asked_at: float  # loop time
    told: bool = False  # that the feed cannot be reached


class Audience:
    """One feed's."""

    def __init__(self, source: Source, tick: Tick) -> None:
        self._source = source
        self._tick = tick
        self.idle_since: float | None = asyncio.get_running_loop().time()  # no subscriber since; None: it has some
        self._replay = None if isinstance(source.content, Books) else Replay(source.key, source.content.ring)
        self._waiting: dict[Place, Wish] = {}
        # What they are to have first is being read. Who leaves and asks again meanwhile does so with another wish.
        self._joining: dict[Place, Wish] = {}
        self._asleep: set[Place] = set()  # they asked for a pause
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        topics = self._source.content.topics()
        return len(self._waiting) + len(self._joining) + sum(len(topic.fanout) for topic in topics)

    @property
    def newcomers(self) -> list[Place]:
        """Who has a topic and has not joined its stream yet."""
        return [*self._waiting, *self._joining]

    @property
    def everyone(self) -> list[Place]:
        topics = self._source.content.topics()
        return [*self.newcomers, *((topic.key, one) for topic in topics for one in topic.fanout.subscribers())]

    # -- what clients ask ----------------------------------------------------------------------------------------------

    async def judge(self, since: Cursor) -> Resume:
        """What becomes of a subscriber that goes on from ``since``."""
        await self._source.past_known.wait()
        await self._source.reach(since)
        self._source.settle()
        content = self._source.content
        if isinstance(content, Books):
            return Resume("snapshot", since, self._source.cursor, 1)
        return await judge(content.ring, since, self._newest)

    async def join(
        self,
        key: TopicKey,
        subscriber: Subscriber,
        *,
        snapshot: bool = False,
        rewind: int = 0,
        since: Cursor | None = None,
    ) -> None:
        """Give ``subscriber`` its first frame and everything after it, now or when the feed is live.

        With ``since`` it gets everything after that cursor, in the place of a first frame.

        Raises:
            SubscriptionLimit: the book has too many views.
        """
        self._source.content.topic(key)
        self.idle_since = None
        asked_at = asyncio.get_running_loop().time()
        wish = Wish(snapshot=snapshot or since is not None, rewind=rewind, since=since, asked_at=asked_at)
        self._joining[key, subscriber] = wish
        await self._let_in(key, subscriber, wish)

    async def snapshot(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Give ``subscriber``, which has joined, a full frame now.

        Raises:
            VenueUnavailable: there is no state to show.
        """
        await subscriber.ready()  # else one that does not read could ask for any amount
        source = self._source
        if not source.flowing:
            raise VenueUnavailable(f"{source.exchange} has not given a state yet; it comes as soon as there is one")
        source.settle()
        topic = source.content.topic(key)
        payload = await source.content.first_frame(topic, source.cursor, snapshot=True, rewind=0)
        if payload is not None:
            topic.fanout.push_in_order(subscriber, frame(payload))

    def sleep(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Send ``subscriber``, which has the topic, none of its data until it wakes."""
        self._asleep.add((key, subscriber))
        if subscriber in (fanout := self._source.content.topic(key).fanout).members:
            self._tick.sleep(subscriber, fanout)

    def wake(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Bring it up to date, then go on."""
        self._asleep.discard((key, subscriber))
        if subscriber in (fanout := self._source.content.topic(key).fanout).members:
            self._tick.wake(subscriber, fanout)
        else:
            self.admit()

    def leave(self, key: TopicKey, subscriber: Subscriber, now: float) -> None:
        """No frame after this. ``now`` is loop time."""
        self._asleep.discard((key, subscriber))
        self._waiting.pop((key, subscriber), None)
        self._joining.pop((key, subscriber), None)
        self._source.content.topic(key).fanout.remove(subscriber)
        if not len(self):
            self.idle_since = now

    # -- for the feed --------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Let in those who waited, each as fast as it takes what it is given."""
        for me, wish in [(me, wish) for me, wish in self._waiting.items() if self._may_join(me, wish)]:
            del self._waiting[me]
            self._joining[me] = wish
            task = asyncio.create_task(self._admit(*me, wish))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def check(self, now: float) -> None:
        """Once a second: tell who has waited too long. ``now`` is loop time."""
        if self._source.flowing:
            return
        for (key, subscriber), wish in list(self._waiting.items()):
            if not wish.told and now - wish.asked_at >= UNREACHABLE_AFTER:
                wish.told = True
                words = f"{self._source.exchange} cannot be reached yet; the subscription stays"
                subscriber.failed(key, VenueUnavailable(words), gone=False)

    def fail(self, error: GatewayError) -> None:
        """The feed will not run: all who have it, or wait for it, are told."""
        for key, subscriber in self.everyone:
            subscriber.failed(key, error, gone=True)
        self._joining.clear()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _admit(self, key: TopicKey, subscriber: Subscriber, wish: Wish) -> None:
        try:
            await self._let_in(key, subscriber, wish)
        except SubscriptionLimit as error:
            subscriber.failed(key, error, gone=True)

    async def _let_in(self, key: TopicKey, subscriber: Subscriber, wish: Wish) -> None:
        me = key, subscriber
        try:
            topic = self._source.content.topic(key)
            if wish.since is None or isinstance(self._source.content, Books):
                await self._begin(topic, subscriber, wish)
            else:
                await self._go_on(topic, subscriber, wish, wish.since)
        finally:
            if self._joining.get(me) is wish:
                del self._joining[me]

    async def _begin(self, topic: Topic, subscriber: Subscriber, wish: Wish) -> None:
        """Give it a first frame, if it wants one."""
        source, me = self._source, (topic.key, subscriber)
        await subscriber.ready()
        if not self._stays(me, wish):
            return
        source.settle()
        first = await source.content.first_frame(topic, source.cursor, snapshot=wish.snapshot, rewind=wish.rewind)
        # No await from here on: the frame ends exactly where the stream goes on.
        if not self._stays(me, wish):
            return
        topic.fanout.add(subscriber)
        if first is not None:
            self._tick.push(subscriber, frame(first))
        if wish.since is not None:
            self._tell_caught_up(topic, subscriber)

    async def _go_on(self, topic: Topic, subscriber: Subscriber, wish: Wish, since: Cursor) -> None:
        """Send what was published since, in portions."""
        source, me = self._source, (topic.key, subscriber)
        assert self._replay is not None
        place = since
        while True:
            await subscriber.ready()
            if not self._stays(me, wish, at=place):
                return
            source.settle()
            frames, until = await self._replay.portion(place, extended=subscriber.extended, newest=self._newest)
            # No await from here to where it joins: what is published after the portion comes live.
            if not self._stays(me, wish, at=place):
                return
            place = until
            if frames:
                self._tick.push(subscriber, frames)
            if place >= source.cursor:
                topic.fanout.add(subscriber)
                self._tell_caught_up(topic, subscriber)
                return

    def _stays(self, me: Place, wish: Wish, *, at: Cursor | None = None) -> bool:
        """Whether it is to be let in now: it has not left, and if it has to wait, it does so from here on, ``at``."""
        if self._joining.get(me) is not wish:
            return False
        if self._may_join(me, wish):
            return True
        del self._joining[me]
        self._waiting[me] = replace(wish, since=at or wish.since)
        return False

    def _may_join(self, me: Place, wish: Wish) -> bool:
        """What was published before a loss can be sent during it too."""
        resumes = wish.since is not None and not isinstance(self._source.content, Books)
        return me not in self._asleep and (self._source.begun if resumes else self._source.flowing)

    def _newest(self) -> Cursor:
        return self._source.cursor

    def _tell_caught_up(self, topic: Topic, subscriber: Subscriber) -> None:
        if subscriber.extended:
            self._tick.push(subscriber, frame(caught_up_json(topic.key, self._source.cursor)))
