"""THE upstream socket loop: connect, subscribe, read, heal. Knows no venue by name.

One socket carries one feed, or several where the venue's budget makes ``pool.py`` share it. A dead or silent socket and
too many unreadable messages end the session: every feed is told, a jittered pause follows, and it connects afresh.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from exchanges import metrics
from exchanges.errors import BadMessage, SubscribeFailed
from exchanges.events import Refused, Unknown
from exchanges.feed import Feed
from exchanges.venue import Endpoint, Parsed

log = logging.getLogger("exchanges.socket")

OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds; full jitter
MAX_MESSAGE = 16 * 1024 * 1024
MAX_BAD_MESSAGES = 10  # a minute; one more and the socket is given up
YIELD_EVERY = 64  # messages read without giving the loop a turn
SUSPECT_WINDOW = 1.0  # seconds after a subscribe in which a closing socket is its fault
MAX_STRIKES = 2
MAX_UNKNOWN_KINDS = 100  # remembered per process, so that each is logged once

_seen_unknown: set[tuple[str, str]] = set()


class SocketDead(Exception):
    """We gave the socket up; ``str()`` says why."""


class Socket:
    """One websocket to a venue for as long as it carries a feed; implements ``feed.Carrier``."""

    def __init__(self, exchange: str, endpoint: Endpoint, *, clock_ms: Callable[[], int]) -> None:
        self.exchange = exchange
        self.endpoint = endpoint
        self.now_ms = clock_ms
        self.connected = False
        self._feeds: dict[str, Feed] = {}  # by stream name
        self._by_request: dict[str, Feed] = {}
        self._outbox: deque[tuple[Feed | None, str]] = deque()  # what to send; bounded by the feeds it serves
        self._wake = asyncio.Event()
        self._heard = 0.0  # loop time of the last byte
        self._bad: deque[float] = deque(maxlen=MAX_BAD_MESSAGES + 1)
        self._cautious = False  # subscribe one at a time: one of several subscriptions closed the last session
        self._messages = self._bytes = 0
        self._given_up = ""  # why a feed wants another connection

    def __len__(self) -> int:
        return len(self._feeds)

    def add(self, feed: Feed) -> None:
        self._feeds[feed.stream.name] = feed
        self._by_request[feed.stream.request] = feed
        if self.connected:
            self._send(feed, feed.stream.subscribe)

    def remove(self, feed: Feed) -> None:
        """Unsubscribe. The caller closes the socket when nothing is left on it."""
        del self._feeds[feed.stream.name]
        del self._by_request[feed.stream.request]
        self._outbox = deque(item for item in self._outbox if item[0] is not feed)
        if self.connected and feed.asked_at is not None:
            self._send(None, feed.stream.unsubscribe)
        feed.close()

    def resubscribe(self, feed: Feed, reason: str) -> None:
        log.warning("resubscribe", extra={"exchange": self.exchange, "stream": feed.stream.name, "reason": reason})
        if self.connected:
            self._send(None, feed.stream.unsubscribe)
            self._send(feed, feed.stream.subscribe)

    def refused(self, feed: Feed, reason: str) -> None:
        metrics.REFUSALS.labels(self.exchange).inc()
        log.warning("refused", extra={"exchange": self.exchange, "stream": feed.stream.name, "reason": reason})
        feed.listener.on_refused(SubscribeFailed(f"{self.exchange} refused the subscription: {reason[:200]}"))

    def abandon(self, feed: Feed, reason: str) -> None:
        self._given_up = reason

    async def run(self) -> None:
        """Keep the socket up until cancelled."""
        attempt, reason, spoke = 0, "", False
        while True:
            try:
                await self._session()
            except* (OSError, TimeoutError, ConnectionClosed, InvalidHandshake, InvalidURI, SocketDead) as errors:
                reason, spoke = _describe(errors), self._messages > 0
            except* Exception as errors:
                log.exception("session_failed", extra={"exchange": self.exchange})
                reason, spoke = _describe(errors), False
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # A task group of which a task fails while we are cancelled swallows the cancellation (Python < 3.13).
                raise asyncio.CancelledError
            attempt = 0 if spoke else attempt + 1
            pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))  # noqa: S311
            self._ended(reason, pause)
            await asyncio.sleep(pause)

    async def _session(self) -> None:
        self._messages = self._bytes = 0
        async with asyncio.TaskGroup() as tasks:
            connection = await connect(
                self.endpoint.url,
                open_timeout=OPEN_TIMEOUT,
                close_timeout=CLOSE_TIMEOUT,
                ping_interval=self.endpoint.ping_interval if self.endpoint.ping is None else None,
                ping_timeout=self.endpoint.ping_interval,
                max_size=MAX_MESSAGE,
                max_queue=None,
                compression=None,
                proxy=None,
                user_agent_header="market-gateway",
            )
            try:
                self._opened()
                tasks.create_task(self._write(connection))
                tasks.create_task(self._watch(connection))
                await self._read(connection)
            finally:
                self.connected = False
                metrics.SOCKETS.labels(self.exchange).dec()
                await connection.close()  # waits for the peer at most CLOSE_TIMEOUT

    def _opened(self) -> None:
        self.connected = True
        self._heard = asyncio.get_running_loop().time()
        self._bad.clear()
        self._given_up = ""
        metrics.SOCKETS.labels(self.exchange).inc()
        metrics.CONNECTS.labels(self.exchange).inc()
        log.info("upstream_open", extra={"exchange": self.exchange, "url": self.endpoint.url, "feeds": len(self)})
        self._outbox = deque((feed, feed.stream.subscribe) for feed in self._feeds.values())
        self._wake.set()

    def _ended(self, reason: str, pause: float) -> None:
        label = reason if reason in REASONS else "lost"
        metrics.DISCONNECTS.labels(self.exchange, label).inc()
        extra = {"exchange": self.exchange, "url": self.endpoint.url, "reason": reason, "messages": self._messages}
        log.warning("upstream_lost", extra={**extra, "retry_in": round(pause, 2)})
        self._outbox.clear()
        if self.endpoint.closes_on_refusal:
            self._blame()
        for feed in list(self._feeds.values()):
            feed.lost(reason)

    def _blame(self) -> None:
        """Find the subscription that made the venue close the socket, and give it up after a second time."""
        now = asyncio.get_running_loop().time()
        suspects = [
            feed
            for feed in self._feeds.values()
            if not feed.accepted and feed.asked_at is not None and now - feed.asked_at < SUSPECT_WINDOW
        ]
        self._cautious = len(suspects) > 1
        if len(suspects) == 1:
            suspects[0].strikes += 1
            if suspects[0].strikes >= MAX_STRIKES:
                self.refused(suspects[0], "it closed the connection on it")

    async def _read(self, connection: ClientConnection) -> None:
        loop, parse, turn = asyncio.get_running_loop(), self.endpoint.parse, 0
        while True:
            raw = await connection.recv(decode=False)
            # No await from here to the topics' pending frames: nothing can come between a cursor and its place.
            self._heard = loop.time()
            self._messages += 1
            self._bytes += len(raw)
            try:
                parsed = parse(raw)
            except BadMessage as error:
                self._on_bad(error)
            else:
                self._route(parsed)
            turn += 1
            if turn % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _route(self, parsed: Parsed) -> None:
        name, events = parsed
        if not events:
            return
        if isinstance(events[0], Unknown):  # about one of our streams or about none
            self._on_unknown(events[0].kind)
            return
        feed = self._feeds.get(name) or self._by_request.get(name)
        if feed is not None:
            feed.receive(events, self.now_ms())
            if self._cautious and feed.accepted:
                self._wake.set()
        elif isinstance(events[0], Refused):  # of no request we know: about the socket as a whole
            log.warning("refused", extra={"exchange": self.exchange, "stream": "", "reason": events[0].reason[:200]})

    def _on_unknown(self, kind: str) -> None:
        metrics.UNKNOWN_MESSAGES.labels(self.exchange).inc()
        if (self.exchange, kind) not in _seen_unknown and len(_seen_unknown) < MAX_UNKNOWN_KINDS:
            _seen_unknown.add((self.exchange, kind))
            log.warning("unknown_message", extra={"exchange": self.exchange, "kind": kind})

    def _on_bad(self, error: BadMessage) -> None:
        metrics.BAD_MESSAGES.labels(self.exchange).inc()
        if not self._bad or self._heard - self._bad[-1] > 1.0:
            log.warning(
                "bad_message", extra={"exchange": self.exchange, "problem": error.problem, "raw": repr(error.raw)}
            )
        self._bad.append(self._heard)
        if len(self._bad) > MAX_BAD_MESSAGES and self._heard - self._bad[0] < 60.0:
            raise SocketDead("bad messages")

    async def _write(self, connection: ClientConnection) -> None:
        """Send what is due, at the pace the venue allows."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox and not (self._cautious and self._awaits_answer()):
                feed, text = self._outbox.popleft()
                if feed is not None:
                    feed.started(self, loop.time())  # before the send: its answer may overtake our next line
                await connection.send(text)
                await asyncio.sleep(self.endpoint.subscribe_interval)

    def _awaits_answer(self) -> bool:
        return any(feed.asked_at is not None and not feed.accepted for feed in self._feeds.values())

    async def _watch(self, connection: ClientConnection) -> None:
        """Once a second: ping, notice silence, let feeds notice what has not come, report totals."""
        loop, pinged = asyncio.get_running_loop(), asyncio.get_running_loop().time()
        counted = self._messages, self._bytes
        while True:
            await asyncio.sleep(1.0)
            now = loop.time()
            metrics.MESSAGES.labels(self.exchange).inc(self._messages - counted[0])
            metrics.BYTES.labels(self.exchange).inc(self._bytes - counted[1])
            counted = self._messages, self._bytes
            if self._given_up:
                raise SocketDead(self._given_up)
            if now - self._heard > self.endpoint.idle_timeout:
                raise SocketDead("idle")
            if self.endpoint.ping is not None and now - pinged >= self.endpoint.ping_interval:
                pinged = now
                await connection.send(self.endpoint.ping)
            for feed in list(self._feeds.values()):
                feed.check(now)

    def _send(self, feed: Feed | None, text: str) -> None:
        self._outbox.append((feed, text))
        self._wake.set()


REASONS = {"idle", "bad messages", "refused", "timeout", "closed"}


def _describe(errors: BaseExceptionGroup[Any]) -> str:
    """The first cause, in a word or two that are safe to show and to count by."""
    error = errors.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case SocketDead():
            return str(error)
        case TimeoutError():
            return "timeout"
        case ConnectionClosed():
            return "closed"
        case OSError():
            return "refused"
        case _:
            return type(error).__name__


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
