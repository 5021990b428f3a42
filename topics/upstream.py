"""Runs one feed into its topics: cursor, state, subscribers, and what the venue says as it comes.

A stream of trades or candles begins when its feed is live: ``recovery.py`` holds what arrives and fetches the venue's
recent past, and both together become the ring's first event, sent to nobody: so REST, ``rewind`` and the stream share
one cursor from the start, and none of the three can repeat or miss a row of another. After a loss what was missed is
fetched and published in order, behind a ``gap`` that says how much it was and whether it is proven to be all.

No await lies between a message and its place behind a cursor, so no lock exists.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from exchanges.book import OrderBook
from exchanges.errors import GatewayError, SubscribeFailed
from exchanges.events import Candle, Trade, VoidTrade
from exchanges.feed import State
from exchanges.venue import Stream
from topics import metrics
from topics.audience import Audience
from topics.books import Books
from topics.candles import Candles
from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.recovery import Fetch, Recovery
from topics.ring import Entry, Row
from topics.tick import Tick
from topics.trades import Trades
from topics.wire import Gap, GapReason, Status, gap_json, status_json


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
        self.past_known = asyncio.Event()
        if not past:
            self.past_known.set()
        self.status = Status("connecting", "connecting", epoch, None, "", 0, None)
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
            self.begun = self._lossy = True
            for topic in self.content.topics():
                topic.fanout.start_at(self.cursor)
        self.past_known.set()

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

    def on_book(self, book: OrderBook, received_ms: int) -> None:
        assert isinstance(self.content, Books)
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
        if self._recovery is not None and self.flowing and not isinstance(self.content, Books):
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
        if self.cursor.epoch != self._epoch:
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

    def _flow(self) -> None:
        self.flowing = self.begun = True
        self._set_state("live")
        self.audience.admit()
