"""THE upstream socket loop: connect, subscribe, heal, move on before the venue cuts. Knows no venue by name.

One socket carries one feed, or several where the venue's budget makes ``pool.py`` share it. When its connection is lost
every feed is told and it connects afresh, as soon as the site's gate lets it. Before the venue cuts a connection, or
when it announces to, a second one takes over: all streams are asked for there too, both copies are joined
(``seam.py``), and the old connection is closed once the new one carries everything. Of that no feed notices anything.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf

from exchanges import metrics
from exchanges.budget import Budget
from exchanges.connection import ENDINGS, Connection, HandshakeFailed, shake_hands
from exchanges.direct import DirectConnection
from exchanges.errors import SubscribeFailed
from exchanges.events import Accepted, Event, Leaving, Refused, Unknown
from exchanges.feed import Feed
from exchanges.gate import Gate, Outlook
from exchanges.takeover import Rotation, Takeover
from exchanges.venue import Endpoint, Parsed

log = logging.getLogger("exchanges.socket")

SUSPECT_WINDOW = 1.0  # seconds after a subscribe in which a closing socket is its fault
MAX_STRIKES = 2
MAX_UNKNOWN_KINDS = 100  # remembered per process, so that each is logged once

_seen_unknown: set[tuple[str, str]] = set()


class Socket:
    """One feed's or several feeds' way to a venue, as long as there are any; implements ``feed.Carrier``."""

    def __init__(
        self,
        exchange: str,
        endpoint: Endpoint,
        gate: Gate,
        *,
        clock_ms: Callable[[], int],
        messages_budget: Budget | None = None,
        rotation: Rotation = Rotation(),  # noqa: B008  # immutable
    ) -> None:
        self.exchange = exchange
        self.endpoint = endpoint
        self.now_ms = clock_ms
        self._gate = gate
        self._messages_budget = messages_budget
        self._rotation = rotation
        self._feeds: dict[str, Feed] = {}  # by stream name
        self._by_request: dict[str, Feed] = {}
        self._current: Connection | None = None
        self._takeover: Takeover | None = None  # also shortly after
        self._cautious = False  # subscribe one at a time: one of several subscriptions closed the last connection
        self._closing: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._feeds)

    @property
    def connected(self) -> bool:
        return self._current is not None

    def add(self, feed: Feed) -> None:
        self._feeds[feed.stream.name] = feed
        self._by_request[feed.stream.request] = feed
        if self._current is not None:
            self._ask(feed)
        else:
            # Not before whoever opens the feed has it.
            asyncio.get_running_loop().call_soon(self._tell_newcomer, feed)

    def remove(self, feed: Feed) -> None:
        """Unsubscribe. The caller closes the socket when nothing is left on it."""
        del self._feeds[feed.stream.name]
        del self._by_request[feed.stream.request]
        self._drop(feed)
        feed.close()

    def resubscribe(self, feed: Feed, reason: str) -> None:
        log.warning("resubscribe", extra={"exchange": self.exchange, "stream": feed.stream.name, "reason": reason})
        if self._current is not None:
            self._drop(feed)
            self._ask(feed)

    def refused(self, feed: Feed, reason: str) -> None:
        metrics.REFUSALS.labels(self.exchange).inc()
        log.warning("refused", extra={"exchange": self.exchange, "stream": feed.stream.name, "reason": reason})
        feed.listener.on_refused(SubscribeFailed(f"{self.exchange} refused the subscription: {reason[:200]}"))

    def abandon(self, feed: Feed, reason: str) -> None:
        if self._current is not None:
            self._current.give_up(reason)

    async def run(self) -> None:
        """Keep a connection up until cancelled."""
        try:
            while True:
                try:
                    await self._session()
                except Exception:  # a listener's bug costs this connection, and neither the socket nor the process
                    log.exception("session_failed", extra={"exchange": self.exchange})
                    self._let_go()
                    self._gate.lost("our bug")
        finally:
            self._let_go()
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _session(self) -> None:
        self._current = await self._connect()
        for feed in self._feeds.values():
            self._ask(feed)
        await self._carry()

    async def _connect(self) -> Connection:
        while True:
            try:
                return self._open(await self._gate.handshake(self._shake_hands, self._tell))
            except HandshakeFailed as error:
                outlook = self._gate.outlook
                self._log_failed(error, outlook.retry_in if outlook else 0.0)
                if outlook is not None:
                    self._tell(outlook)

    def _log_failed(self, error: HandshakeFailed, retry_in: float) -> None:
        extra = {"exchange": self.exchange, "url": self.endpoint.url, "reason": error.reason}
        cause = str(error.__cause__)[:200]
        log.warning("handshake_failed", extra={**extra, "error": cause, "retry_in": round(retry_in, 2)})

    async def _shake_hands(self) -> DirectConnection:
        return await shake_hands(self.endpoint)

    def _open(self, websocket: DirectConnection) -> Connection:
        extra = {"exchange": self.exchange, "url": self.endpoint.url, "feeds": len(self)}
        log.info("upstream_open", extra=extra)
        return Connection(self.exchange, self.endpoint, websocket, self, messages_budget=self._messages_budget)

    def _close(self, connection: Connection) -> None:
        task = asyncio.create_task(connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _let_go(self) -> None:
        if self._current is not None:
            self._close(self._current)
        if self._takeover is not None and self._takeover.under_way:
            self._close(self._takeover.fresh)
        self._current = self._takeover = None

    def _ask(self, feed: Feed) -> None:
        assert self._current is not None
        self._current.ask(feed.stream.name, feed.stream.subscribe)
        if self._takeover is not None and self._takeover.under_way:
            self._takeover.ask(feed.stream)

    def _drop(self, feed: Feed) -> None:
        if self._current is not None:
            self._current.drop(feed.stream.name, feed.stream.unsubscribe)
        if self._takeover is not None:
            self._takeover.drop(feed.stream)

    # -- a connection's life -------------------------------------------------------------------------------------------

    async def _carry(self) -> None:
        """Serve the feeds on the current connection, and on those that take over, until one ends and none follows."""
        rotating = asyncio.create_task(self._rotate(), name=f"rotation {self.exchange}")
        try:
            while (connection := self._current) is not None:
                await asyncio.wait([connection.ended])
                if connection is self._current:
                    self._lost(connection, connection.ended.result())
        finally:
            rotating.cancel()
            (ended,) = await asyncio.gather(rotating, return_exceptions=True)
            if isinstance(ended, Exception):
                log.error("session_failed", extra={"exchange": self.exchange}, exc_info=ended)

    def _lost(self, connection: Connection, reason: str) -> None:
        if self.endpoint.closes_on_refusal:
            self._blame()
        if self._takeover is not None and self._takeover.under_way:
            self._end(connection, reason, retry_in=0.0)
            self._promote(self._takeover, reason)  # it has all streams, or has asked for them
            return
        self._current = self._takeover = None
        self._gate.lost(reason)
        outlook = self._gate.outlook
        assert outlook is not None
        self._end(connection, reason, retry_in=outlook.retry_in)
        self._tell(outlook if outlook.unavailable else outlook._replace(reason=reason))

    def _end(self, connection: Connection, reason: str, *, retry_in: float) -> None:
        metrics.DISCONNECTS.labels(self.exchange, reason if reason in ENDINGS else "abandoned").inc()
        extra = {"exchange": self.exchange, "url": self.endpoint.url, "reason": reason, "messages": connection.messages}
        log.warning("upstream_lost", extra={**extra, "retry_in": round(retry_in, 2)})
        self._close(connection)

    def _tell(self, outlook: Outlook) -> None:
        reason, attempt, retry_in, unavailable = outlook
        for feed in list(self._feeds.values()):
            feed.lost(reason, attempt=attempt, retry_in=retry_in, unavailable=unavailable)

    def _tell_newcomer(self, feed: Feed) -> None:
        known = self._feeds.get(feed.stream.name) is feed
        if known and self._current is None and (outlook := self._gate.outlook) is not None:
            reason, attempt, retry_in, unavailable = outlook
            feed.lost(reason, attempt=attempt, retry_in=retry_in, unavailable=unavailable)

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

    # -- taking over ---------------------------------------------------------------------------------------------------

    async def _rotate(self) -> None:
        """Have a fresh connection take over whenever the current one is about to be cut."""
        loop, rested_at = asyncio.get_running_loop(), -inf
        while (connection := self._current) is not None:
            await self._until_due(connection)
            await asyncio.sleep(rested_at - loop.time())
            outcome = await self._take_over()
            rested_at = loop.time() + self._rotation.rest
            metrics.ROTATIONS.labels(self.exchange, outcome).inc()
            log.info("rotation", extra={"exchange": self.exchange, "url": self.endpoint.url, "outcome": outcome})
            if outcome in ("refused", "failed"):
                await asyncio.sleep(self._rotation.pause * random.uniform(0.5, 1.5))  # noqa: S311

    async def _until_due(self, connection: Connection) -> None:
        age = self.endpoint.lifetime * random.uniform(*self._rotation.begin)  # noqa: S311
        with suppress(TimeoutError):
            async with asyncio.timeout_at(connection.opened_at + age if age < inf else None):
                await connection.leaving.wait()

    async def _take_over(self) -> str:
        """Replace the current connection; how that ended."""
        try:
            fresh = self._open(await self._gate.handshake(self._shake_hands, _no_news))
        except HandshakeFailed as error:
            self._log_failed(error, self._rotation.pause)
            return "refused"
        self._takeover = takeover = Takeover(fresh, [feed.stream for feed in self._feeds.values()])
        await takeover.until_carried(self._feeds.keys(), self._rotation)
        if not takeover.under_way:
            return "cut"  # the old one did not live to see it
        if fresh.ended.done():
            takeover.end(self._rotation.overlap)
            self._end(fresh, fresh.ended.result(), retry_in=self._rotation.pause)
            return "failed"
        old = self._current
        assert old is not None
        self._promote(takeover, "rotated")
        metrics.DISCONNECTS.labels(self.exchange, "rotated").inc()
        self._close(old)
        return "done"

    def _promote(self, takeover: Takeover, reason: str) -> None:
        """The fresh connection is the only one from now on. What it does not carry yet was lost with the other one."""
        self._current = takeover.fresh
        takeover.end(self._rotation.overlap)
        for name, feed in list(self._feeds.items()):
            self._pass_on(feed, takeover.release(name))
            if name in takeover.carried and feed.asked_at is not None:
                continue
            if feed.asked_at is not None:
                feed.lost(reason, attempt=1)
            if (asked_at := takeover.fresh.asked.get(name)) is not None:
                feed.started(self, asked_at)
                if name in takeover.carried:
                    self._pass_on(feed, [Accepted()])

    # -- what a connection says (connection.Owner) ---------------------------------------------------------------------

    def on_parsed(self, connection: Connection, parsed: Parsed) -> None:
        name, events = parsed
        if not connection.spoke:
            connection.spoke = True
            self._gate.heard()
        if not events:
            return
        first = events[0]
        if isinstance(first, Unknown):  # about one of our streams or about none
            self._on_unknown(first.kind)
        elif isinstance(first, Leaving):
            log.info("leaving", extra={"exchange": self.exchange, "url": self.endpoint.url, "reason": first.reason})
            connection.leaving.set()
        elif (feed := self._feeds.get(name) or self._by_request.get(name)) is not None:
            if self._takeover is not None:
                events = self._takeover.hear(connection, feed.stream.name, events)
            self._pass_on(feed, events)
        elif isinstance(first, Refused):  # of no request we know: about the socket as a whole
            log.warning("refused", extra={"exchange": self.exchange, "stream": "", "reason": first.reason[:200]})

    def on_unreadable(self, connection: Connection) -> None:
        if self._takeover is None or not self._takeover.under_way:  # else the other copy has it
            for feed in list(self._feeds.values()):
                feed.unreadable()

    def on_asking(self, connection: Connection, name: str) -> None:
        if connection is self._current and (feed := self._feeds.get(name)) is not None:
            feed.started(self, asyncio.get_running_loop().time())

    def may_ask(self, connection: Connection) -> bool:
        waits = any(feed.asked_at is not None and not feed.accepted for feed in self._feeds.values())
        return not (self._cautious and waits)

    def on_check(self, connection: Connection, now: float) -> None:
        if connection is not self._current:
            return
        if self._takeover is not None and now > self._takeover.joins_until:
            self._takeover = None
        for feed in list(self._feeds.values()):
            feed.check(now)

    def _pass_on(self, feed: Feed, events: Sequence[Event]) -> None:
        if events:
            feed.receive(events, self.now_ms())
            if self._cautious and feed.accepted and self._current is not None:
                self._current.wake()

    def _on_unknown(self, kind: str) -> None:
        metrics.UNKNOWN_MESSAGES.labels(self.exchange).inc()
        if (self.exchange, kind) not in _seen_unknown and len(_seen_unknown) < MAX_UNKNOWN_KINDS:
            _seen_unknown.add((self.exchange, kind))
            log.warning("unknown_message", extra={"exchange": self.exchange, "kind": kind})


def _no_news(outlook: Outlook) -> None:
    """The old connection goes on: nobody misses the new one yet."""


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
