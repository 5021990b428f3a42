"""One upstream subscription: the state between a venue's messages and whoever listens. Opens no socket.

A feed's state dies with its connection, and on a shared socket with its subscription: ``started`` makes it afresh.
There is one way to heal. A sequence break or a crossed book ends the book; a fresh one is synced by a REST snapshot
where the venue has deltas without one, else by subscribing again. The rest of the socket goes on. A stream that died on
a living socket is noticed by its own rhythm (``rhythm.py``): asked for again first, on another connection if that does
not help.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal, Protocol

from exchanges import metrics
from exchanges.book import BookSync, OrderBook
from exchanges.errors import CrossedBook, GatewayError, SequenceGap, SubscribeFailed, UpstreamError
from exchanges.events import (
    Accepted,
    BookDelta,
    BookSnapshot,
    Candle,
    Event,
    Leaving,
    Refused,
    Trade,
    Unknown,
    VoidTrade,
)
from exchanges.rhythm import Rhythm
from exchanges.venue import Stream

log = logging.getLogger("exchanges.feed")

ANSWER_TIMEOUT = 5.0  # seconds for an acknowledgement, or the first snapshot of a book that comes by stream
MAX_TRIES = 2  # times a stream is asked for again before its connection is given up
QUIET_BOOK = 2.0  # seconds without a delta after which a snapshot is asked for all the same
SNAPSHOT_ATTEMPTS = 8
SNAPSHOT_PAUSE = 0.25  # seconds before the second attempt; doubles, up to QUIET_BOOK
CALM = 10.0  # seconds without a fault after which a book's next one is healed at once again
SECOND_LOOK = 5.0  # seconds after the first question to the witness of a silent stream; doubles, up to
LAST_LOOK = 60.0
MAX_LAG, LATE_BEATS = 5.0, 3  # seconds of delay beyond the usual, seen so many seconds in a row: the stream is stale
GRACE = 1.0  # seconds a message may be on its way while REST already tells of it
LATE_TOO_LONG = 30.0  # seconds of that after which it is asked for again

State = Literal["connecting", "live", "stale", "reconnecting", "resyncing", "unavailable"]


class Listener(Protocol):
    """Who a feed speaks to. Calls come straight from the socket's read, with no await in between."""

    @property
    def exact(self) -> bool:
        """Whether somebody wants the venue's own decimals of a book that is about to be synced."""
        ...

    def on_events(self, events: Sequence[Trade | VoidTrade | Candle], received_ms: int) -> None: ...

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        """``book`` has changed and is proven. It is the feed's own, and changes again with the next call.

        ``event`` is what changed it since the last call, None if that was more than one.
        """
        ...

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        """Told on every change, and while reconnecting also when there is news of the next attempt.

        ``stale`` is live but old or silent, and what still comes is good. ``attempt`` counts the connections that
        failed in a row; ``retry_in``: seconds to the next, None: unknown.
        """
        ...

    def on_unreadable(self) -> None:
        """A message that may have been of this stream could not be read."""
        ...

    def on_refused(self, error: SubscribeFailed) -> None:
        """The venue will not serve this; the feed is closed."""
        ...


class Carrier(Protocol):
    """What a feed needs of the socket that carries it."""

    def resubscribe(self, feed: "Feed", reason: str) -> None:
        """Ask the venue for this stream afresh."""
        ...

    def refused(self, feed: "Feed", reason: str) -> None:
        """Drop the feed: the venue will not serve it."""
        ...

    def abandon(self, feed: "Feed", reason: str) -> None:
        """Give the whole connection up for a new one: asking for the stream afresh did not help."""
        ...

    def now_ms(self) -> int: ...


class Feed:
    """One subscription. Its socket calls ``started``, ``receive``, ``check`` once a second, and ``lost``."""

    def __init__(self, exchange: str, stream: Stream, listener: Listener) -> None:
        self.exchange = exchange
        self.stream = stream
        self.listener = listener
        self.accepted = False  # acknowledged, or speaking
        self.spoke = False
        self.strikes = 0  # sockets in a row that died on this subscription
        self.asked_at: float | None = None  # loop time of the last subscribe; None: not asked
        self._state: State = "connecting"
        self._carrier: Carrier | None = None
        self._sync: BookSync | None = None
        self._broken = False  # to be asked for afresh: what still comes belongs to the old subscription
        self._faults, self._fault_at = 0, 0.0  # in a row; loop time of the last
        self._tasks: set[asyncio.Task[None]] = set()
        self._tries = 0  # times in a row it was asked for again and still said nothing
        self._rhythm = Rhythm(0.0)
        self._messages = self._beaten = 0  # ever, and at the last check
        self._newest: Event | None = None
        self._late_beats, self._late_since = 0, 0.0
        self._look_at, self._look_pause = 0.0, SECOND_LOOK  # when the witness is asked next
        self._fingerprint: object = None

    def started(self, carrier: Carrier, now: float) -> None:
        """The subscription was sent; nothing of an earlier one counts any more."""
        self._cancel()
        self._carrier, self.asked_at = carrier, now
        self.accepted = self.spoke = self._broken = False
        self._sync = None
        self._rhythm, self._beaten, self._newest = Rhythm(now), self._messages, None
        self._late_beats = 0
        self._calm()

    def receive(self, events: Sequence[Event], received_ms: int) -> None:
        """Take what one message said about this stream."""
        for index, event in enumerate(events):
            match event:
                case BookDelta() | BookSnapshot():
                    self._hear(event)
                    self._on_book(event, received_ms)
                case Trade() | VoidTrade() | Candle():
                    self._hear(events[-1])
                    self._live("")
                    self.listener.on_events(events[index:] if index else events, received_ms)  # type: ignore[arg-type]  # never mixed
                    return
                case Accepted():
                    self.accepted = True
                    if not self.stream.is_book:
                        self._live("")
                case Refused(reason=reason):
                    assert self._carrier is not None
                    self._carrier.refused(self, reason)
                case Unknown() | Leaving():
                    raise AssertionError("these are the socket's")

    def unreadable(self) -> None:
        """A message on its socket could not be read. A book finds out by itself whether it was one of its own."""
        if self.spoke and not self.stream.is_book:
            self.listener.on_unreadable()

    def check(self, now: float) -> None:
        """Once a second while subscribed: act on what has not come."""
        if self.asked_at is None:
            return
        waited = now - self.asked_at
        event_ms = getattr(self._newest, "timestamp_ms", None)  # candles have none
        self._rhythm.beat(now, messages=self._messages - self._beaten, event_ms=event_ms)
        self._beaten = self._messages
        if self.stream.is_book and self.stream.snapshot is not None and self._sync is None and waited >= QUIET_BOOK:
            self._begin_sync()
        needs_snapshot = self.stream.is_book and self.stream.snapshot is None
        needs_answer = not self.accepted or (needs_snapshot and (self._sync is None or self._sync.book is None))
        if needs_answer and waited >= ANSWER_TIMEOUT:
            self._insist("no answer")
        elif self._rhythm.silence(now) >= self._rhythm.limit:
            self._on_silence(now)
        else:
            self._calm()
            self._on_lag(now)

    def lost(self, reason: str, *, attempt: int = 0, retry_in: float | None = None, unavailable: bool = False) -> None:
        """The socket is gone; it will call ``started`` again, no earlier than in ``retry_in`` seconds where it knows.

        Called again whenever what it says has changed. ``unavailable``: the venue told us to stay away.
        """
        self._cancel()
        self.asked_at, self._tries = None, 0
        self._state = "unavailable" if unavailable else "reconnecting"
        self.listener.on_state(self._state, reason, attempt=attempt, retry_in=retry_in)

    def close(self) -> None:
        self._cancel()
        self.asked_at = None

    def _hear(self, newest: Event) -> None:
        self.accepted = self.spoke = True
        self.strikes = self._tries = 0
        self._messages += 1
        self._newest = newest

    def _live(self, reason: str) -> None:
        if self._state not in ("live", "stale"):  # one that is stale is late, and its next message does not mend that
            self._change("live", reason)

    # -- silence and delay ---------------------------------------------------------------------------------------------

    def _on_silence(self, now: float) -> None:
        """Silent for longer than its rhythm explains. Only the venue's own rhythm, or its REST side, proves a fault."""
        if self.stream.steady:
            self._stale("silent", "silent")
        elif self.stream.witness is not None and now >= self._look_at:
            self._look_at = now + self._look_pause
            self._look_pause = min(LAST_LOOK, 2 * self._look_pause)
            self._run(self._ask_witness(self.stream.witness, self._messages))

    async def _ask_witness(self, witness: Callable[[], Awaitable[object]], messages: int) -> None:
        """Has the market moved since this was asked the last time, and the stream not said more than ``messages``?"""
        try:
            fingerprint = await witness()
        except GatewayError:
            return
        before, self._fingerprint = self._fingerprint, fingerprint
        if before is None or before == fingerprint:
            return
        await asyncio.sleep(GRACE)  # REST may be ahead of the stream
        if self._messages == messages:
            self._stale("silent", "silent while the market trades")

    def _on_lag(self, now: float) -> None:
        """Messages that come later and later: somebody on the way is holding them back."""
        late = self._rhythm.lag > MAX_LAG
        self._late_beats = self._late_beats + 1 if late else 0
        if self._late_beats == LATE_BEATS:
            self._late_since = now
            self._tell_stale("late", f"messages come more than {MAX_LAG:g} s late")
        elif self._late_beats > LATE_BEATS and now - self._late_since >= LATE_TOO_LONG:
            self._insist("late")
        elif not late and self._state == "stale":
            self._change("live", "")

    def _stale(self, kind: str, reason: str) -> None:
        self._tell_stale(kind, reason)
        self._insist(reason)

    def _tell_stale(self, kind: str, reason: str) -> None:
        metrics.STALLS.labels(self.exchange, self.stream.channel, kind).inc()
        log.warning("stream_stale", extra={"exchange": self.exchange, "stream": self.stream.name, "reason": reason})
        self._change("stale", reason)

    def _calm(self) -> None:
        """Nothing is the matter: the next silence is looked into afresh."""
        self._fingerprint = None
        self._look_at, self._look_pause = 0.0, SECOND_LOOK

    def _insist(self, reason: str) -> None:
        """Ask for the stream again; if that did not help, on another connection."""
        assert self._carrier is not None
        self._tries += 1
        if self._tries <= MAX_TRIES:
            self._again(reason)
        else:
            self._tries = 0
            self.asked_at = None
            self._carrier.abandon(self, reason)

    def _change(self, state: State, reason: str) -> None:
        self._state = state
        self.listener.on_state(state, reason)

    def _on_book(self, event: BookSnapshot | BookDelta, received_ms: int) -> None:
        if self._broken:
            return
        if self._sync is None:
            self._begin_sync()
        assert self._sync is not None
        try:
            book = self._sync.on_snapshot(event) if isinstance(event, BookSnapshot) else self._sync.on_delta(event)
        except BOOK_FAULTS as error:
            # After a hole, the delta that showed it is the first that the next snapshot has to join.
            self._resync(error, keep=[event] if isinstance(error, SequenceGap) else ())
            return
        if book is not None and (self._sync.joined or self.stream.snapshot is None):
            several = isinstance(event, BookSnapshot) and self._sync.joined  # deltas that came before it, too
            self._publish(book, received_ms, None if several else event)

    def _publish(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        self._live("")
        self.listener.on_book(book, received_ms, event)

    def _begin_sync(self, pause: float = 0.0) -> None:
        self._sync = BookSync(texts=self.stream.texts if self.listener.exact else None)
        if self.stream.snapshot is not None:
            self._run(self._fetch_snapshot(self._sync, pause))

    def refresh(self, reason: str) -> None:
        """Sync the book afresh although nothing broke: what the listener wants of it can be had in no other way."""
        if self.asked_at is not None and self._state == "live":
            self._start_over(reason, keep=())

    def _resync(self, error: SequenceGap | CrossedBook, keep: Iterable[BookSnapshot | BookDelta]) -> None:
        log.warning("book_resync", extra={"exchange": self.exchange, "stream": self.stream.name, "error": str(error)})
        self._start_over(REASONS[type(error)], keep)

    def _start_over(self, reason: str, keep: Iterable[BookSnapshot | BookDelta]) -> None:
        """Forget the book, this book alone; the next snapshot has to join the deltas of ``keep``."""
        metrics.RESYNCS.labels(self.exchange, reason).inc()
        self._cancel()
        self._change("resyncing", reason)
        pause = self._fault_pause()
        if self.stream.snapshot is None:
            self._broken = True
            self._run(self._again_after(pause, reason))
            return
        self._begin_sync(pause)
        assert self._sync is not None
        for delta in keep:
            if isinstance(delta, BookDelta):
                self._sync.on_delta(delta)

    def _fault_pause(self) -> float:
        """Seconds before a broken book is healed: none at first, more while the venue goes on sending rubbish."""
        now = asyncio.get_running_loop().time()
        self._faults = self._faults + 1 if now - self._fault_at < CALM else 0
        self._fault_at = now
        return min(QUIET_BOOK, SNAPSHOT_PAUSE * 2.0 ** (self._faults - 1)) if self._faults else 0.0

    async def _again_after(self, pause: float, reason: str) -> None:
        await asyncio.sleep(pause)
        self._again(reason)

    def _again(self, reason: str) -> None:
        assert self._carrier is not None
        if self._state in ("live", "stale"):
            self._change("resyncing", reason)  # what was missed meanwhile has to be made up for
        self._broken = True
        self.asked_at = None  # until it is sent, which may take a while on a paced socket, nobody waits for an answer
        self._carrier.resubscribe(self, reason)

    async def _fetch_snapshot(self, sync: BookSync, first_pause: float) -> None:
        """Bring ``sync`` to life, asking again while the snapshot is older than the stream.

        A snapshot that no delta has joined yet proves nothing (it may come from a cache), unless the venue gives the
        same one twice while the stream stays silent: then the market is quiet.
        """
        assert self.stream.snapshot is not None
        assert self._carrier is not None
        pause, previous = SNAPSHOT_PAUSE, None
        await asyncio.sleep(first_pause)
        for _ in range(SNAPSHOT_ATTEMPTS):
            try:
                snapshot = await self.stream.snapshot()
                if sync.joined:
                    return  # a delta has joined the one before meanwhile; this one would turn the book back
                # Caches differ: the next answer may be older than the one before, and than deltas that one covered.
                older = sync.book is not None and snapshot.sequence < sync.book.sequence
                book = None if older else sync.on_snapshot(snapshot)
            except UpstreamError as error:
                pause = max(pause, error.retry_after or 0.0)
                book = None
                log.info("snapshot_failed", extra={"stream": self.stream.name, "error": str(error)})
            except BOOK_FAULTS as error:
                # The kept deltas do not follow each other, or it is no book.
                self._resync(error, keep=sync.kept if isinstance(error, SequenceGap) else ())
                return
            else:
                if book is not None and (sync.joined or previous == snapshot.sequence):
                    self._publish(book, self._carrier.now_ms())
                    return
                if book is None:
                    metrics.SNAPSHOT_RETRIES.labels(self.exchange).inc()
                else:
                    previous, pause = snapshot.sequence, QUIET_BOOK
            await asyncio.sleep(pause)
            if sync.joined:
                return  # a delta came and was published
            pause = min(pause * 2, QUIET_BOOK)
        self._again("no snapshot joins the stream")

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self) -> None:
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()


BOOK_FAULTS = (SequenceGap, CrossedBook)  # a level that is none does not get past ``parse``
REASONS: dict[type[Exception], str] = {SequenceGap: "sequence gap", CrossedBook: "crossed"}
