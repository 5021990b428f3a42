"""Runs one feed into its topics: cursor, state, history first, then what the venue says as it comes.

The stream of a topic begins when its feed is live. Until then what arrives is held, the venue's recent past is fetched,
and both together become the ring's first event, sent to nobody: so REST, ``rewind`` and the stream share one cursor
from the start, and none of the three can repeat or miss a row of another. After a reconnect the same fetch is published
instead, each trade that was seen before left out.

No await lies between a message and its place behind a cursor, so no lock exists.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from exchanges.book import OrderBook
from exchanges.errors import GatewayError, SubscribeFailed, SubscriptionLimit, VenueUnavailable
from exchanges.events import Candle, Trade
from exchanges.feed import State
from exchanges.venue import Stream
from topics import metrics
from topics.books import Books
from topics.content import Content
from topics.fanout import Subscriber, Tick
from topics.frame import frame
from topics.key import Cursor, TopicKey

log = logging.getLogger("topics.upstream")

PRIME_TIMEOUT = 2.0  # seconds the live stream is held back for its history
REPLAY_WINDOW = 1.0  # seconds in which a venue that replays trades, unmarked, has done so
MAX_HELD = 10_000  # events
UNREACHABLE_AFTER = 10.0  # seconds of connecting after which those who wait are told

History = Callable[[], Awaitable[Sequence[Trade | Candle]]]


@dataclass(slots=True)
class Waiting:
    """A subscriber that came before the feed was live."""

    snapshot: bool
    rewind: int
    since: float  # loop time
    told: bool = False


class Upstream:
    """One feed's cursor, state and subscribers. Implements ``exchanges.feed.Listener``."""

    def __init__(
        self,
        key: TopicKey,
        stream: Stream,
        content: Content,
        *,
        epoch: int,
        tick: Tick,
        clock_ms: Callable[[], int],
        history: History | None,
        refused: Callable[["Upstream"], None],
    ) -> None:
        self.key = key  # of the topic it was started for; a book feed may serve others too
        self.exchange = exchange = key.exchange
        self.stream = stream
        self.content = content
        self.cursor = Cursor(epoch, 0)
        self.state: State = "connecting"
        self.last_event_ms: int | None = None
        self.idle_since: float | None = asyncio.get_running_loop().time()  # no subscriber since; None: it has some
        self._tick = tick
        self._clock_ms = clock_ms
        self._history = history
        self._refused = refused
        self._phase: Literal["waiting", "priming", "flowing"] = "waiting"
        self._begun = False  # it has flowed before, so that somebody may have a place in its stream
        self._priming: asyncio.Task[None] | None = None
        self._held: list[Trade | Candle] = []
        self._held_more = asyncio.Event()
        self._due = False
        self._received_ms = 0
        self._waiting: dict[tuple[TopicKey, Subscriber], Waiting] = {}
        self._joining: set[tuple[TopicKey, Subscriber]] = set()  # their first frame is being read
        self._tasks: set[asyncio.Task[None]] = set()
        self._events = metrics.EVENTS.labels(exchange, stream.channel)

    # -- what the feed says --------------------------------------------------------------------------------------------

    def on_events(self, events: Sequence[Trade | Candle], received_ms: int) -> None:
        if self._phase != "flowing":
            self._hold(events)
        elif self.content.accept(events):
            self._publish_soon(received_ms)

    def on_book(self, book: OrderBook, received_ms: int) -> None:
        self.content.accept([book])
        self._publish_soon(received_ms)
        if self._phase != "flowing":
            self._flow()

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        if state != "live":
            self._lost(state)
        elif not self.stream.is_book:
            self._phase = "priming"
            self._priming = self._run(self._prime())

    def on_refused(self, error: SubscribeFailed) -> None:
        for key, subscriber in self._everyone():
            subscriber.failed(key, error, gone=True)
        self._joining.clear()
        self._refused(self)

    # -- what clients ask ----------------------------------------------------------------------------------------------

    async def join(self, key: TopicKey, subscriber: Subscriber, *, snapshot: bool, rewind: int) -> None:
        """Give ``subscriber`` its first frame and everything after it, now or when the feed is live.

        Raises:
            SubscriptionLimit: the book has too many views.
        """
        topic = self.content.topic(key)
        self.idle_since = None
        if self._phase != "flowing":
            now = asyncio.get_running_loop().time()
            self._waiting[key, subscriber] = Waiting(snapshot=snapshot, rewind=rewind, since=now)
            return
        self.settle()
        self._joining.add((key, subscriber))
        try:
            first = await self.content.first_frame(topic, self.cursor, snapshot=snapshot, rewind=rewind)
        finally:
            stays = (key, subscriber) in self._joining
            self._joining.discard((key, subscriber))
        # No await beyond this point: the frame ends exactly where the stream goes on.
        if not stays:
            return  # it left meanwhile
        topic.fanout.add(subscriber)
        if first is not None:
            subscriber.push(frame(first))

    async def snapshot(self, key: TopicKey, subscriber: Subscriber) -> None:
        """Give ``subscriber``, which has joined, a full frame now.

        Raises:
            VenueUnavailable: there is no state to show.
        """
        if self._phase != "flowing":
            raise VenueUnavailable(f"{self.exchange} has not given a state yet; it comes as soon as there is one")
        self.settle()
        topic = self.content.topic(key)
        payload = await self.content.first_frame(topic, self.cursor, snapshot=True, rewind=0)
        topic.fanout.flush()  # what is due to the others of this turn comes before it
        if payload is not None:
            subscriber.push(frame(payload))

    def leave(self, key: TopicKey, subscriber: Subscriber, now: float) -> None:
        """No frame after this. ``now`` is loop time."""
        self._waiting.pop((key, subscriber), None)
        self._joining.discard((key, subscriber))
        self.content.topic(key).fanout.remove(subscriber)
        if not self.subscribers:
            self.idle_since = now

    @property
    def subscribers(self) -> int:
        return len(self._waiting) + len(self._joining) + sum(len(topic.fanout) for topic in self.content.topics())

    @property
    def live(self) -> bool:
        """Its ring or book may be answered from."""
        return self._phase == "flowing" and self.state == "live"

    def settle(self) -> None:
        """Publish what is pending, so that the newest state has a cursor."""
        if self._due:
            self._publish()

    def check(self, now: float) -> None:
        """Once a second: tell those who have waited too long. ``now`` is loop time."""
        for (key, subscriber), waiting in list(self._waiting.items()):
            if not waiting.told and now - waiting.since >= UNREACHABLE_AFTER:
                waiting.told = True
                error = VenueUnavailable(f"{self.exchange} cannot be reached yet; the subscription stays")
                subscriber.failed(key, error, gone=False)

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.content.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _lost(self, state: State) -> None:
        self.state = state
        if self._priming is not None:
            self._priming.cancel()  # its answer would be older than the break
        if isinstance(self.content, Books):
            # What was due is shown no more: the book has been touched by what broke it.
            self._due, self._phase = False, "waiting"
            self.content.forget()

    def _publish_soon(self, received_ms: int) -> None:
        self._received_ms = received_ms
        if not self._due:
            self._due = True
            self._tick.publish(self.settle)

    def _publish(self) -> None:
        self._due = False
        self.cursor = self.cursor.next()
        self.last_event_ms = self._received_ms
        self.content.publish(self.cursor, self._received_ms)
        self._events.inc()

    def _hold(self, events: Sequence[Trade | Candle]) -> None:
        self._held.extend(events)
        self._held_more.set()
        if len(self._held) > MAX_HELD:
            metrics.HELD_OVERFLOWS.labels(self.exchange).inc()
            self._end_prime(())

    async def _prime(self) -> None:
        """Fetch the recent past, at most ``PRIME_TIMEOUT`` long, and let the stream flow."""
        history: Sequence[Trade | Candle] = ()
        try:
            async with asyncio.timeout(PRIME_TIMEOUT):
                history = await self._history() if self._history else ()
        except (GatewayError, TimeoutError) as error:
            metrics.PRIME_FAILURES.labels(self.exchange, self.stream.channel).inc()
            log.warning(
                "prime_failed", extra={"exchange": self.exchange, "stream": self.stream.name, "error": str(error)}
            )
        if self.stream.replays and not self._held:
            try:
                async with asyncio.timeout(REPLAY_WINDOW):
                    self._held_more.clear()
                    await self._held_more.wait()
            except TimeoutError:
                log.debug("no_replay", extra={"exchange": self.exchange, "stream": self.stream.name})
        if self._phase == "priming":
            self._end_prime(history)

    def _end_prime(self, history: Sequence[Trade | Candle]) -> None:
        """History before what was held: at the start as the ring's first event, later as frames like any other."""
        held, self._held = self._held, []
        rows = [*history, *held]
        now_ms = self._clock_ms()
        if self._begun:
            if self.content.accept(rows):
                self._publish_soon(now_ms)
        elif self.content.prime(self.cursor.next(), rows, now_ms):
            self.cursor = self.cursor.next()
            self.last_event_ms = now_ms
        self._flow()

    def _flow(self) -> None:
        self._phase, self.state, self._begun = "flowing", "live", True
        self._run(self._admit())

    async def _admit(self) -> None:
        """Let in those who waited."""
        while self._waiting and self._phase == "flowing":
            (key, subscriber), wish = next(iter(self._waiting.items()))
            del self._waiting[key, subscriber]
            try:
                await self.join(key, subscriber, snapshot=wish.snapshot, rewind=wish.rewind)
            except SubscriptionLimit as error:
                subscriber.failed(key, error, gone=True)

    def _everyone(self) -> list[tuple[TopicKey, Subscriber]]:
        joined = [(topic.key, s) for topic in self.content.topics() for s in topic.fanout.subscribers()]
        return [*self._waiting, *self._joining, *joined]

    def _run(self, work: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
