"""Runs one feed into its topics: cursor, state, subscribers, and what the venue says as it comes.

Where another node of the cluster owns the feed, what that published is sent on here, under its cursors (``hear``).
Which of the two it is may change at any time, and nobody who has a topic of it is lost by that (``tenure.py``).

A stream of trades or candles begins when its feed is live: ``recovery.py`` holds what arrives and fetches the venue's
recent past, and both together become the ring's first event, sent to nobody: so REST, ``rewind`` and the stream share
one cursor from the start, and none of the three can repeat or miss a row of another. After a loss what was missed is
fetched and published in order, behind a ``gap`` that says how much it was and whether it is proven to be all.

No await lies between a message and its place behind a cursor, so no lock exists.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from exchanges.book import OrderBook
from exchanges.errors import GatewayError, SubscribeFailed
from exchanges.events import BookDelta, BookSnapshot, Candle, Trade, VoidTrade
from exchanges.feed import State
from exchanges.venue import Stream
from topics import metrics
from topics.audience import Audience
from topics.books import Books
from topics.candles import Candles
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.recovery import Fetch, Recovery
from topics.resume import follows
from topics.ring import Entry, Row
from topics.subscriber import NOWHERE
from topics.tick import Tick
from topics.trades import Trades
from topics.wire import Gap, GapReason, Status, gap_json, is_gap, skipped_json, status_json

REACH = 1.0  # seconds that a follower may be behind the owner


class Upstream:
    """One feed's cursor, state and subscribers. Implements ``exchanges.feed.Listener``."""

    def __init__(
        self,
        key: TopicKey,
        stream: Stream,
        content: Trades | Candles | Books,
        *,
        epoch: int | None,
        tick: Tick,
        clock_ms: Callable[[], int],
        fetch: Fetch | None,
        refused: Callable[["Upstream", SubscribeFailed], None],
    ) -> None:
        """``epoch``: it is this node's; None: whose it is will be said by ``own`` or ``follow``."""
        self.key = key  # of the topic it was started for; a book feed may serve others too
        self.exchange = exchange = key.exchange
        self.stream = stream
        self.content = content
        self.cursor = NOWHERE if epoch is None else Cursor(epoch, 0)
        self._epoch = epoch or 0
        self.past_known = asyncio.Event()
        if epoch is not None:
            self.past_known.set()
        self.following = False  # it is another node's
        self.owner: str | None = None  # the name of that node; None: it is this one's
        self._news = asyncio.Event()  # more of it has been heard
        self._lost_place = False  # what is followed of a book lacks something, and was not told so by its owner
        self.status = Status("connecting", "connecting", epoch or clock_ms(), None, "", 0, None)
        self.on_status: Callable[[Status], None] = lambda _: None  # told of every change
        self.last_event_ms: int | None = None
        self._tick = tick
        self._clock_ms = clock_ms
        self._refused = refused
        self._recovery: Recovery | None = None
        if not isinstance(content, Books):
            self._recovery = Recovery(content, fetch, stream, exchange, begin=self._begin_with, mended=self._mended)
        self.flowing = False  # the feed is live, and nothing has to be made up for first
        self.begun = False  # it has flowed before, so that somebody may have a place in its stream
        self._lossy = False  # the feed was lost, and what was missed has not been made up for
        self._due = False
        self._received_ms = 0
        self.audience = Audience(self, tick)
        self._events = metrics.EVENTS.labels(exchange, stream.channel)
        self._followed = metrics.FOLLOWED.labels(exchange, stream.channel)

    # -- whose it is ---------------------------------------------------------------------------------------------------

    def own(self, epoch: int, entries: Sequence[Entry] = (), rows: Sequence[Row] = ()) -> None:
        """Publish under ``epoch`` from now on, behind the ``entries`` and ``rows`` that the ring holds.

        Called before the feed is opened. What was missed in between is made up for as after any other loss.
        """
        if self._epoch:  # it was this node's before, and somebody else's in between
            self._on_lost()
        followed, self.following = self.following, False
        self._epoch, self.flowing, self._lost_place = epoch, False, False
        if isinstance(self.content, Books):
            self.content.forget()
        elif entries:
            self.content.restore(entries, rows)
            self._stand_at(entries[-1].cursor)
            self._lossy = True
        if not self.cursor.epoch:
            self.cursor = Cursor(epoch, 0)
        self.past_known.set()
        if followed:
            self._set_state("reconnecting", "taking it over")

    def follow(self, newest: Cursor | None) -> None:
        """Another node publishes it; ``newest`` of that is the newest event in the ring, or was heard."""
        if self._epoch:
            self._on_lost()
            self._set_state("reconnecting", "another node takes it over")
        self._epoch, self.following = 0, True
        if newest is not None and newest > self.cursor:
            self._stand_at(newest)
        self.past_known.set()

    def hear(self, entries: Sequence[Entry]) -> bool:
        """Send on what the feed's owner has published; False: it lost its place in a book, and is to hear all of it."""
        again = self._lost_place
        for entry in entries:
            if entry.cursor > self.cursor:
                self._hear(entry)
                self.cursor = entry.cursor
                self._followed.count += 1
            elif again and isinstance(self.content, Books):
                self.content.follow(entry, show=entry.cursor == self.cursor)
        if entries:
            self.last_event_ms = self._clock_ms()
            self._news.set()
        if self._bookless:
            lost, self._lost_place = self.flowing, self._lost_place or self.flowing
            self.flowing = False
            if lost:
                self._set_state("resyncing", "sequence gap")
            return not lost
        if not self.flowing and entries and (self.state == "live" or self._lost_place):
            self._lost_place = False
            self._flow()
        return True

    async def reach(self, cursor: Cursor) -> None:
        """Wait a moment for what the feed's owner has published until ``cursor``, if that is not here yet."""
        end = asyncio.get_running_loop().time() + REACH
        while self.following and cursor > self.cursor and (left := end - asyncio.get_running_loop().time()) > 0:
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._news.wait()

    def told(self, state: State, reason: str, attempt: int, retry_in: float | None) -> None:
        """Its owner has said how it is."""
        if self._lost_place and state == "live":
            return  # there, and here as soon as a whole book has come
        self._set_state(state, reason, attempt, retry_in)
        if state not in ("live", "stale"):
            self.flowing = False
        elif not self.flowing and (state == "live" or self.begun) and not self._bookless:
            self._flow(state)

    # -- what the feed says --------------------------------------------------------------------------------------------

    def on_events(self, events: Sequence[Trade | VoidTrade | Candle], received_ms: int) -> None:
        assert self._recovery is not None
        assert not isinstance(self.content, Books)
        if not self.begun:
            self._recovery.hold(events)
            return
        if self.content.accept(events):  # type: ignore[arg-type]  # a feed's events are of its channel
            self._publish_soon(received_ms)
        if self.content.open:
            self._recovery.mend(lost=self._lossy)

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        assert isinstance(self.content, Books)
        self.content.hear(event)
        self.content.accept([book])
        self._publish_soon(received_ms)
        if not self.flowing:
            self._flow()

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        if state == "live":
            self._on_live()
        elif state == "stale":
            self._set_state(state, reason)
        else:
            self._on_lost()
            first = state == "reconnecting" and not self.begun
            self._set_state("connecting" if first else state, reason, attempt, retry_in)

    def on_unreadable(self) -> None:
        """What could not be read is looked for by REST, as after a loss; the stream is the same and goes on."""
        if self.flowing and self._recovery is not None and not isinstance(self.content, Books):
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

    @property
    def state(self) -> str:
        return self.status.state

    @property
    def _bookless(self) -> bool:
        """It is a book's, and there is none to show."""
        return isinstance(self.content, Books) and self.content.book is None

    @property
    def live(self) -> bool:
        """Its ring or book may be answered from."""
        return self.flowing and self.state == "live"

    def fail(self, error: GatewayError) -> None:
        """It will not run."""
        self.audience.fail(error)
        self.past_known.set()

    def settle(self) -> None:
        """Publish what is pending, so that the newest state has a cursor."""
        if self._due:
            self._publish()

    def check(self, now: float) -> None:
        """Once a second: what time alone brings, and who has waited too long. ``now`` is loop time."""
        if self._recovery is not None and self.flowing and not (self.following or isinstance(self.content, Books)):
            if self.content.check():
                self._publish_soon(self._clock_ms())
            if self.content.open:
                self._recovery.mend(lost=False)
        self.audience.check(now)

    async def close(self) -> None:
        if self._recovery is not None:
            self._recovery.stop()
        await self.audience.close()
        self.content.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _on_live(self) -> None:
        if self.flowing:
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
        elif self.begun:
            self.settle()  # what came before the loss stands before its gap
            self.content.broken()
        self.flowing, self._lossy = False, self.begun
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
            self.on_status(self.status)

    def _tell_status(self) -> None:
        told = {topic.key: self._status_frame(topic.key) for topic in self.content.topics()}
        for topic in self.content.topics():
            topic.fanout.tell(told[topic.key])
        for key, subscriber in self.audience.newcomers:
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
        if self.cursor.epoch != self._epoch and not isinstance(self.content, Books):
            self._begin_epoch()
        self.last_event_ms = self._received_ms
        more = True
        while more:
            self.cursor = self._next()
            more = self.content.publish(self.cursor, self._received_ms)
            self._events.count += 1

    def _begin_epoch(self) -> None:
        """The stream went on before it was asked what was missed: nothing was, as far as its own proof goes."""
        assert not isinstance(self.content, Books)
        before, missing = self.cursor, 0 if self.content.proven else None
        self.cursor = self._next()
        self._declare(Gap("EPOCH_CHANGED", before, self.content.newest_ms, self.cursor.next(), None, missing, 0))

    def _next(self) -> Cursor:
        return self.cursor.next() if self.cursor.epoch == self._epoch else Cursor(self._epoch, 1)

    def _begin_with(self, history: Sequence[Any] | None, held: Sequence[Any]) -> None:
        assert not isinstance(self.content, Books)
        now_ms = self._clock_ms()
        if self.content.prime(self.cursor.next(), history, held, now_ms):
            self.cursor = self.cursor.next()
            self.last_event_ms = now_ms
            for topic in self.content.topics():
                topic.fanout.start_at(self.cursor)
        self._flow()

    def _stand_at(self, cursor: Cursor) -> None:
        """What was published until ``cursor`` is known, and was sent to nobody who is not here already."""
        self.cursor = cursor
        if not self.begun:
            self.begun = True
            for topic in self.content.topics():
                topic.fanout.start_at(cursor)

    def _hear(self, entry: Entry) -> None:
        content = self.content
        if isinstance(content, Books):
            content.follow(entry)
            return
        if is_gap(entry.payload):
            for topic in content.topics():
                topic.fanout.declare(entry.cursor, frame(entry.payload))
            content.ring.append(entry.cursor, entry.payload)
        else:
            if self.cursor.epoch and not follows(self.cursor, entry):
                self._skip(entry)
            content.follow(entry)
        self.begun = True

    def _skip(self, entry: Entry) -> None:
        """Between the event before and ``entry`` there were others, which nobody kept."""
        reason = "RING_TRIMMED" if entry.cursor.epoch == self.cursor.epoch else "EPOCH_CHANGED"
        metrics.GAPS.labels(self.exchange, self.stream.channel, reason, "false").inc()
        for topic in self.content.topics():
            topic.fanout.tell(frame(skipped_json(topic.key, self.cursor, entry.cursor)))

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
        if not self.flowing:
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

    def _flow(self, state: State = "live") -> None:
        self.flowing = self.begun = True
        if state == "live":
            self._set_state(state)
        self.audience.admit()
