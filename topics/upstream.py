"""Runs one feed into its topics: cursor, state, subscribers, and what the venue says as it comes.

A stream of trades or candles begins when its feed is live: ``recovery.py`` holds what arrives and fetches the venue's
recent past, and both together become the ring's first event, sent to nobody: so REST, ``rewind`` and the stream share
one cursor from the start, and none of the three can repeat or miss a row of another. After a loss what was missed is
fetched and published in order, behind a ``gap`` that says how much it was and whether it is proven to be all.

No await lies between a message and its place behind a cursor, so no lock exists.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exchanges.book import OrderBook
from exchanges.errors import GatewayError, SubscribeFailed, SubscriptionLimit, VenueUnavailable
from exchanges.events import Candle, Trade, VoidTrade
from exchanges.feed import State
from exchanges.venue import Stream
from topics import metrics
from topics.books import Books
from topics.candles import Candles
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.recovery import Fetch, Recovery
from topics.resume import Replay, Resume, judge
from topics.ring import Entry, Row
from topics.subscriber import Subscriber
from topics.tick import Tick
from topics.topic import Topic
from topics.trades import Trades
from topics.wire import Gap, GapReason, Status, caught_up_json, gap_json, status_json

UNREACHABLE_AFTER = 10.0  # seconds of connecting after which those who wait are told


@dataclass(slots=True)
class Waiting:
    """A subscriber that came before the feed was live."""

    snapshot: bool
    rewind: int
    since: Cursor | None  # where it goes on
    asked_at: float  # loop time
    told: bool = False


class Upstream:
    """One feed's cursor, state and subscribers. Implements ``exchanges.feed.Listener``."""

    def __init__(
        self,
        key: TopicKey,
        stream: Stream,
        content: Trades | Candles | Books,
        *,
        epoch: int,
        tick: Tick,
        past: bool = False,
        clock_ms: Callable[[], int],
        fetch: Fetch | None,
        refused: Callable[["Upstream", SubscribeFailed], None],
    ) -> None:
        self.key = key  # of the topic it was started for; a book feed may serve others too
        self.exchange = exchange = key.exchange
        self.stream = stream
        self.content = content
        self.cursor = Cursor(epoch, 0)
        self._epoch = epoch
        self._knows_past = asyncio.Event()
        if not past:
            self._knows_past.set()
        self.status = Status("connecting", "connecting", epoch, None, "", 0, None)
        self.last_event_ms: int | None = None
        self.idle_since: float | None = asyncio.get_running_loop().time()  # no subscriber since; None: it has some
        self._tick = tick
        self._clock_ms = clock_ms
        self._refused = refused
        self._recovery: Recovery | None = None
        if not isinstance(content, Books):
            self._recovery = Recovery(content, fetch, stream, exchange, begin=self._begin_with, mended=self._mended)
        self._flowing = False  # the feed is live, and nothing has to be made up for first
        self._begun = False  # it has flowed before, so that somebody may have a place in its stream
        self._lossy = False  # the feed was lost, and what was missed has not been made up for
        self._due = False
        self._received_ms = 0
        self._waiting: dict[tuple[TopicKey, Subscriber], Waiting] = {}
        # What they are to have first is being read. Who leaves and asks again meanwhile does so with another wish.
        self._joining: dict[tuple[TopicKey, Subscriber], Waiting] = {}
        self._asleep: set[tuple[TopicKey, Subscriber]] = set()  # they asked for a pause
        self._tasks: set[asyncio.Task[None]] = set()
        self._events = metrics.EVENTS.labels(exchange, stream.channel)

    def restore(self, epoch: int, entries: Sequence[Entry], rows: Sequence[Row]) -> None:
        """Go on where an earlier owner of the feed has ended, whose ``entries`` and ``rows`` the ring holds.

        Called once, before the feed is opened, if it was made with ``past``. What was missed in between is made up for
        as after any other loss.
        """
        self._epoch = epoch
        self.cursor = Cursor(epoch, 0)
        if entries and not isinstance(self.content, Books):
            self.cursor = entries[-1].cursor
            self.content.restore(entries, rows)
            self._begun = self._lossy = True
            for topic in self.content.topics():
                topic.fanout.start_at(self.cursor)
        self._knows_past.set()

    # -- what the feed says --------------------------------------------------------------------------------------------

    def on_events(self, events: Sequence[Trade | VoidTrade | Candle], received_ms: int) -> None:
        assert self._recovery is not None
        assert not isinstance(self.content, Books)
        if not self._begun:
            self._recovery.hold(events)
            return
        if self.content.accept(events):  # type: ignore[arg-type]  # a feed's events are of its channel
            self._publish_soon(received_ms)
        if self.content.open:
            self._recovery.mend(lost=self._lossy)

    def on_book(self, book: OrderBook, received_ms: int) -> None:
        assert isinstance(self.content, Books)
        self.content.accept([book])
        self._publish_soon(received_ms)
        if not self._flowing:
            self._flow()

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        if state == "live":
            self._on_live()
        elif state == "stale":
            self._set_state(state, reason)
        else:
            self._on_lost()
            first = state == "reconnecting" and not self._begun
            self._set_state("connecting" if first else state, reason, attempt, retry_in)

    def on_unreadable(self) -> None:
        """What could not be read is looked for by REST, as after a loss; the stream is the same and goes on."""
        if self._flowing and self._recovery is not None and not isinstance(self.content, Books):
            self.settle()
            self.content.broken()
            self._recovery.mend(lost=True)

    def on_refused(self, error: SubscribeFailed) -> None:
        self.fail(error)
        self._refused(self, error)

    @property
    def exact(self) -> bool:
        """Somebody wants the venue's own decimals of a book."""
        return isinstance(self.content, Books) and self.content.exact

    # -- what clients ask ----------------------------------------------------------------------------------------------

    async def judge(self, since: Cursor) -> Resume:
        """What becomes of a subscriber that goes on from ``since``."""
        await self._knows_past.wait()
        self.settle()
        if isinstance(self.content, Books):
            return Resume("snapshot", since, self.cursor, 1)
        return await judge(self.content.ring, since, self._newest)

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
        topic = self.content.topic(key)
        self.idle_since = None
        asked_at = asyncio.get_running_loop().time()
        resumes = since is not None and not isinstance(self.content, Books)
        waiting = Waiting(snapshot=snapshot or since is not None, rewind=rewind, since=since, asked_at=asked_at)
        ready = self._begun if resumes else self._flowing  # what was published before a loss can be sent in it too
        if not ready or (key, subscriber) in self._asleep:  # who sleeps joins when it wakes
            self._waiting[key, subscriber] = waiting
            return
        self._joining[key, subscriber] = waiting
        if resumes:
            await self._go_on(topic, subscriber, waiting)
            return
        self.settle()
        try:
            first = await self.content.first_frame(topic, self.cursor, snapshot=waiting.snapshot, rewind=rewind)
        finally:
            stays = self._end_joining((key, subscriber), waiting)
        # No await beyond this point: the frame ends exactly where the stream goes on.
        if not stays:
            return  # it left meanwhile
        if (key, subscriber) in self._asleep:
            self._waiting[key, subscriber] = waiting
            return
        topic.fanout.add(subscriber)
        if first is not None:
            self._tick.push(subscriber, frame(first))
        if since is not None:
            self._tell_caught_up(topic, subscriber)

    async def _go_on(self, topic: Topic, subscriber: Subscriber, waiting: Waiting) -> None:
        """Send what was published since, as fast as the subscriber takes it, until it can join the live stream."""
        assert not isinstance(self.content, Books)
        assert waiting.since is not None
        me, replay, newest = (topic.key, subscriber), Replay(topic.key, self.content.ring, waiting.since), self._newest
        try:
            while True:
                await subscriber.ready()
                self.settle()
                place = replay.place
                frames = await replay.portion(extended=subscriber.extended, newest=newest)
                # No await from here to where it joins: what is published after the portion comes live.
                if self._joining.get(me) is not waiting:
                    return  # it left meanwhile
                if me in self._asleep:
                    self._waiting[me] = replace(waiting, since=place)
                    return
                if frames:
                    self._tick.push(subscriber, frames)
                if replay.place >= self.cursor:
                    topic.fanout.add(subscriber)
                    self._tell_caught_up(topic, subscriber)
                    return
        finally:
            self._end_joining(me, waiting)

    def _end_joining(self, me: tuple[TopicKey, Subscriber], waiting: Waiting) -> bool:
        """Whether it was still this wish that was being carried out."""
        stays = self._joining.get(me) is waiting
        if stays:
            del self._joining[me]
        return stays

    def _newest(self) -> Cursor:
        return self.cursor

    def _tell_caught_up(self, topic: Topic, subscriber: Subscriber) -> None:
        if subscriber.extended:
            self._tick.push(subscriber, frame(caught_up_json(topic.key, self.cursor)))

    async def snapshot(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Give ``subscriber``, which has joined, a full frame now.

        Raises:
            VenueUnavailable: there is no state to show.
        """
        if not self._flowing:
            raise VenueUnavailable(f"{self.exchange} has not given a state yet; it comes as soon as there is one")
        self.settle()
        topic = self.content.topic(key)
        payload = await self.content.first_frame(topic, self.cursor, snapshot=True, rewind=0)
        if payload is not None:
            topic.fanout.push_in_order(subscriber, frame(payload))

    def sleep(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Send ``subscriber``, which has the topic, none of its data until it wakes."""
        self._asleep.add((key, subscriber))
        if subscriber in (fanout := self.content.topic(key).fanout).members:
            self._tick.sleep(subscriber, fanout)

    def wake(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Bring it up to date, then go on."""
        self._asleep.discard((key, subscriber))
        if subscriber in (fanout := self.content.topic(key).fanout).members:
            self._tick.wake(subscriber, fanout)
        elif (key, subscriber) in self._waiting:
            self._run(self._admit())

    def leave(self, key: TopicKey, subscriber: Subscriber, now: float) -> None:
        """No frame after this. ``now`` is loop time."""
        self._asleep.discard((key, subscriber))
        self._waiting.pop((key, subscriber), None)
        self._joining.pop((key, subscriber), None)
        self.content.topic(key).fanout.remove(subscriber)
        if not self.subscribers:
            self.idle_since = now

    @property
    def subscribers(self) -> int:
        return len(self._waiting) + len(self._joining) + sum(len(topic.fanout) for topic in self.content.topics())

    def everyone(self) -> list[tuple[TopicKey, Subscriber]]:
        """Who has which of its topics, those who still wait included."""
        joined = [(topic.key, s) for topic in self.content.topics() for s in topic.fanout.subscribers()]
        return [*self._waiting, *self._joining, *joined]

    @property
    def state(self) -> str:
        return self.status.state

    @property
    def live(self) -> bool:
        """Its ring or book may be answered from."""
        return self._flowing and self.state == "live"

    def fail(self, error: GatewayError) -> None:
        """It will not run: all who have it, or wait for it, are told."""
        for key, subscriber in self.everyone():
            subscriber.failed(key, error, gone=True)
        self._joining.clear()
        self._knows_past.set()

    def settle(self) -> None:
        """Publish what is pending, so that the newest state has a cursor."""
        if self._due:
            self._publish()

    def check(self, now: float) -> None:
        """Once a second: what time alone brings, and who has waited too long. ``now`` is loop time."""
        if self._recovery is not None and self._flowing and not isinstance(self.content, Books):
            if self.content.check():
                self._publish_soon(self._clock_ms())
            if self.content.open:
                self._recovery.mend(lost=False)
        for (key, subscriber), waiting in list(self._waiting.items()):
            if not (waiting.told or self._flowing) and now - waiting.asked_at >= UNREACHABLE_AFTER:
                waiting.told = True
                error = VenueUnavailable(f"{self.exchange} cannot be reached yet; the subscription stays")
                subscriber.failed(key, error, gone=False)

    async def close(self) -> None:
        if self._recovery is not None:
            self._recovery.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.content.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _on_live(self) -> None:
        if self._flowing:
            self._set_state("live")  # it had been stale
        elif self._recovery is not None:
            if self._lossy:
                self._set_state("resyncing", "fetching what was missed")
                self._recovery.mend(lost=True)
            else:
                self._recovery.begin()

    def _on_lost(self) -> None:
        if isinstance(self.content, Books):
            # What was due is shown no more: the book has been touched by what broke it.
            self._due = False
            self.content.forget()
        elif self._begun:
            self.settle()  # what came before the loss stands before its gap
            self.content.broken()
        self._flowing, self._lossy = False, self._begun
        if self._recovery is not None:
            self._recovery.stop()

    def _set_state(self, state: str, reason: str = "", attempt: int = 0, retry_in: float | None = None) -> None:
        """Remember it, and tell those who said hello what is new about it."""
        before = self.status
        now_ms, changed = self._clock_ms(), state != before.state
        self.status = Status(
            state,
            before.state if changed else before.previous,
            now_ms if changed else before.since_ms,
            self.last_event_ms,
            reason,
            attempt,
            None if retry_in is None else round(retry_in * 1000),
        )
        if changed or (reason, attempt) != (before.reason, before.attempt):
            metrics.STATES.labels(self.exchange, self.stream.channel, state).inc()
            self._tell_status()

    def _tell_status(self) -> None:
        told = {topic.key: self._status_frame(topic.key) for topic in self.content.topics()}
        for topic in self.content.topics():
            topic.fanout.tell(told[topic.key])
        for key, subscriber in [*self._waiting, *self._joining]:
            if subscriber.extended:
                self._tick.push(subscriber, told.get(key) or self._status_frame(key))

    def _status_frame(self, key: TopicKey) -> bytes:
        return frame(status_json({"scope": "topic", "channel": key.channel, "topic": key.topic}, self.status))

    def _publish_soon(self, received_ms: int) -> None:
        self._received_ms = received_ms
        if not self._due:
            self._due = True
            self._tick.publish(self.settle)

    def _publish(self) -> None:
        self._due = False
        if self.cursor.epoch != self._epoch:
            self._begin_epoch()
        self.last_event_ms = self._received_ms
        more = True
        while more:
            self.cursor = self._next()
            more = self.content.publish(self.cursor, self._received_ms)
            self._events.inc()

    def _begin_epoch(self) -> None:
        """The stream went on before it was asked what was missed: nothing was, as far as its own proof goes."""
        assert not isinstance(self.content, Books)
        before, missing = self.cursor, 0 if self.content.proven else None
        self.cursor = self._next()
        self._declare(Gap("EPOCH_CHANGED", before, self.content.newest_ms, self.cursor.next(), None, missing, 0))

    def _next(self) -> Cursor:
        return self.cursor.next() if self.cursor.epoch == self._epoch else Cursor(self._epoch, 1)

    def _begin_with(self, history: Sequence[Any], held: Sequence[Any]) -> None:
        assert not isinstance(self.content, Books)
        now_ms = self._clock_ms()
        if self.content.prime(self.cursor.next(), history, held, now_ms):
            self.cursor = self.cursor.next()
            self.last_event_ms = now_ms
            for topic in self.content.topics():
                topic.fanout.start_at(self.cursor)
        self._flow()

    def _mended(self, rows: Sequence[Any]) -> None:
        """What was missed goes out now, behind the word that it was."""
        assert not isinstance(self.content, Books)
        self.settle()
        before, since_ms = self.cursor, self.content.newest_ms
        mended = self.content.mend(rows)
        pending = self.content.accept(())
        anew = before.epoch != self._epoch
        if mended.missing != 0 or mended.rows or anew:
            self.cursor = self._next()
            until = self.cursor.next() if mended.rows else self.cursor
            reason: GapReason = "EPOCH_CHANGED" if anew else "UPSTREAM_RECONNECT" if self._lossy else "VENUE_SKIP"
            gap = Gap(reason, before, since_ms, until, mended.until_ms, mended.missing, mended.rows)
            self._declare(gap)
        if pending:
            self._received_ms = self._clock_ms()
            self._publish()
        self._lossy = self._lossy and not self.content.proven
        if not self._flowing:
            self._flow()

    def _declare(self, gap: Gap) -> None:
        """A gap is an event of the feed like any other: it has a place behind a cursor, and is remembered."""
        assert not isinstance(self.content, Books)
        backfilled = "true" if gap.missing == 0 else "false"
        metrics.GAPS.labels(self.exchange, self.stream.channel, gap.reason, backfilled).inc()
        for topic in self.content.topics():
            payload = gap_json(topic.key, self.cursor, gap)
            self.content.ring.append(self.cursor, payload)
            topic.fanout.declare(self.cursor, frame(payload))

    def _flow(self) -> None:
        self._flowing = self._begun = True
        self._set_state("live")
        self._run(self._admit())

    async def _admit(self) -> None:
        """Let in those who waited."""
        while self._flowing and (due := next((one for one in self._waiting if one not in self._asleep), None)):
            (key, subscriber), wish = due, self._waiting.pop(due)
            if wish.since is not None and not isinstance(self.content, Books):
                self._joining[due] = wish
                self._run(self._go_on(self.content.topic(key), subscriber, wish))  # it may take its time
                continue
            try:
                await self.join(key, subscriber, snapshot=wish.snapshot, rewind=wish.rewind, since=wish.since)
            except SubscriptionLimit as error:
                subscriber.failed(key, error, gone=True)

    def _run(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
