"""One websocket to a venue, from its handshake to its end: reads, writes at the venue's pace, notices silence.

It carries streams by their names and knows nothing of feeds; who owns it decides what a message means. It is made
afresh for every handshake and nothing of it outlives the loss.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from socket import gaierror
from ssl import SSLError
from typing import Any, Protocol

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from exchanges import metrics
from exchanges.budget import Budget
from exchanges.direct import DirectConnection
from exchanges.errors import BadMessage
from exchanges.venue import Endpoint, Parsed

log = logging.getLogger("exchanges.connection")

OPEN_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0
MAX_MESSAGE = 16 * 1024 * 1024
MAX_BAD_MESSAGES = 10  # a minute; one more and the connection is given up
CHECK_EVERY = 1.0  # seconds


class HandshakeFailed(Exception):
    """There is no connection. ``status`` and ``headers`` (names in lower case) of an HTTP answer, if there was one."""

    def __init__(self, reason: str, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.headers = reason, status, headers or {}


class GivenUp(Exception):
    """We gave the connection up; ``str()`` says why."""


class Owner(Protocol):
    """Who a connection belongs to. Calls come straight from its read and write, with no await in between."""

    def on_parsed(self, connection: "Connection", parsed: Parsed) -> None: ...

    def on_unreadable(self, connection: "Connection") -> None:
        """A message could not be read, so nobody knows what it was about."""
        ...

    def on_asking(self, connection: "Connection", name: str) -> None:
        """The subscription to ``name`` is about to be sent: its answer may overtake whatever comes after the send."""
        ...

    def may_ask(self, connection: "Connection") -> bool:
        """Whether the next message may be sent; ``Connection.wake`` has it asked again."""
        ...

    def on_check(self, connection: "Connection", now: float) -> None:
        """Once a second; ``now`` is loop time."""
        ...


class connect_directly(connect):
    """Follows no redirect: the venue's host is what the settings say."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


async def shake_hands(endpoint: Endpoint, *, open_timeout: float = OPEN_TIMEOUT) -> DirectConnection:
    """An open websocket.

    Raises:
        HandshakeFailed: there is none.
    """
    try:
        opened = await connect_directly(
            endpoint.url,
            create_connection=DirectConnection,
            open_timeout=open_timeout,
            close_timeout=CLOSE_TIMEOUT,
            ping_interval=endpoint.ping_interval if endpoint.ping is None else None,
            ping_timeout=endpoint.ping_interval,
            max_size=MAX_MESSAGE,
            max_queue=None,
            compression=None,
            proxy=None,
            user_agent_header="market-gateway",
        )
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise _failure(error) from error
    assert isinstance(opened, DirectConnection)
    return opened


class Connection:
    """An open websocket at work for ``owner``."""

    def __init__(
        self,
        exchange: str,
        endpoint: Endpoint,
        websocket: DirectConnection,
        owner: Owner,
        *,
        messages_budget: Budget | None = None,
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self.exchange = exchange
        self.endpoint = endpoint
        self.opened_at = self._heard = loop.time()
        self.messages = self.bytes = 0
        self.spoke = False  # something that could be read; kept by the owner
        self.asked: dict[str, float] = {}  # loop time of the last subscription, by stream name
        self.leaving = asyncio.Event()  # the venue is about to close it
        self.ended: asyncio.Future[str] = loop.create_future()  # why it was lost
        self._websocket = websocket
        self._owner = owner
        self._budget = messages_budget
        self._outbox: deque[tuple[str, bool, str]] = deque()  # stream, whether it subscribes, text: two a stream
        self._wake = asyncio.Event()
        self._given_up = asyncio.Event()
        self._why = ""
        self._bad: deque[float] = deque(maxlen=MAX_BAD_MESSAGES + 1)
        self._task = asyncio.create_task(self._run(), name=f"connection {exchange}")

    def ask(self, name: str, text: str) -> None:
        """Subscribe to the stream called ``name``."""
        self._queue(name, True, text)

    def drop(self, name: str, text: str) -> None:
        """Unsubscribe, if it was asked for; what is still to be sent about it is not sent."""
        self._outbox = deque(item for item in self._outbox if item[0] != name)
        if name in self.asked:
            self._queue(name, False, text)

    def wake(self) -> None:
        self._wake.set()

    def give_up(self, reason: str) -> None:
        if not self._given_up.is_set():
            self._why = reason
            self._given_up.set()

    async def close(self) -> None:
        """Say goodbye; the peer has a second to answer."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self.ended.done():
            self.ended.set_result("cancelled")  # before it began
        await self._websocket.close()

    async def _run(self) -> None:
        metrics.SOCKETS.labels(self.exchange).inc()
        metrics.CONNECTS.labels(self.exchange).inc()
        reason = "cancelled"
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write())
                tasks.create_task(self._watch())
                self._websocket.listen(self._on_message)
                await self._websocket.end()
        except* (OSError, TimeoutError, ConnectionClosed, GivenUp) as errors:
            reason = _ending(errors)
        except* Exception:
            log.exception("session_failed", extra={"exchange": self.exchange})
            reason = "our bug"
        finally:
            self._websocket.listen(_ignore)
            metrics.SOCKETS.labels(self.exchange).dec()
            if not self.ended.done():
                self.ended.set_result("maintenance" if self.leaving.is_set() and reason == "closed" else reason)

    def _on_message(self, raw: bytes) -> None:
        """No await lies between this and the topics' pending frames: nothing comes between a cursor and its place."""
        if self._why:
            return
        self._heard = self._loop.time()
        self.messages += 1
        self.bytes += len(raw)
        try:
            try:
                parsed = self.endpoint.parse(raw)
            except BadMessage as error:
                self._on_bad(error)
            else:
                self._owner.on_parsed(self, parsed)
        except Exception:  # a listener's bug costs this connection, and neither the socket nor the process
            log.exception("session_failed", extra={"exchange": self.exchange})
            self.give_up("our bug")

    def _on_bad(self, error: BadMessage) -> None:
        metrics.BAD_MESSAGES.labels(self.exchange).inc()
        if not self._bad or self._heard - self._bad[-1] > 1.0:
            log.warning(
                "bad_message", extra={"exchange": self.exchange, "problem": error.problem, "raw": repr(error.raw)}
            )
        self._bad.append(self._heard)
        if len(self._bad) > MAX_BAD_MESSAGES and self._heard - self._bad[0] < 60.0:
            self.give_up("bad messages")
            return
        self._owner.on_unreadable(self)

    async def _write(self) -> None:
        """Send what is due, at the pace the venue allows."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox and self._owner.may_ask(self):
                if self._budget is not None:
                    await asyncio.sleep(self._budget.take(1))
                    if not self._outbox:
                        break  # dropped while we waited
                name, subscribes, text = self._outbox.popleft()
                if subscribes:
                    self.asked[name] = loop.time()
                    self._owner.on_asking(self, name)
                else:
                    self.asked.pop(name, None)
                await self._websocket.send(text)
                await asyncio.sleep(self.endpoint.subscribe_interval)

    async def _watch(self) -> None:
        """Once a second: ping, notice silence, let the owner notice what has not come, report totals."""
        loop, pinged, counted = asyncio.get_running_loop(), self.opened_at, (0, 0)
        try:
            while True:
                await self._until_check()
                now = loop.time()
                counted = self._report(counted)
                if now - self._heard > self.endpoint.idle_timeout:
                    raise GivenUp("idle")
                if self.endpoint.ping is not None and now - pinged >= self.endpoint.ping_interval:
                    pinged = now
                    if self._budget is not None:
                        self._budget.take(1)  # never waits: without it the connection dies
                    await self._websocket.send(self.endpoint.ping)
                self._owner.on_check(self, now)
        finally:
            self._report(counted)

    async def _until_check(self) -> None:
        try:
            async with asyncio.timeout(CHECK_EVERY):
                await self._given_up.wait()
        except TimeoutError:
            return
        raise GivenUp(self._why)

    def _report(self, counted: tuple[int, int]) -> tuple[int, int]:
        metrics.MESSAGES.labels(self.exchange).inc(self.messages - counted[0])
        metrics.BYTES.labels(self.exchange).inc(self.bytes - counted[1])
        return self.messages, self.bytes

    def _queue(self, name: str, subscribes: bool, text: str) -> None:
        self._outbox.append((name, subscribes, text))
        self._wake.set()


def _ignore(message: bytes) -> None:
    """The connection is over for its owner."""


REDIRECTS = range(300, 400)
FAILURES: dict[type[Exception], str] = {  # the first that fits
    TimeoutError: "open timeout",
    SSLError: "tls",
    gaierror: "dns",
    ConnectionRefusedError: "refused",
    ConnectionError: "reset",
    OSError: "unreachable",
}
MAINTENANCE = (1001, 1012)  # "going away" and "service restart"
CLOSE_REASONS = {1002: "protocol error", 1007: "protocol error", 1009: "too big", 1011: "ping timeout"}  # by us
# What a lost connection is counted by; a stream that gives its connection up has its own words.
ENDINGS = {"idle", "bad messages", "closed", "maintenance", "reset", "rotated", "our bug", *CLOSE_REASONS.values()}


def _failure(error: Exception) -> HandshakeFailed:
    """Why there is no connection, in a word or two that are safe to show and to count by."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        headers = {name.lower(): value for name, value in error.response.headers.raw_items()}
        return HandshakeFailed("redirect" if status in REDIRECTS else "http error", status=status, headers=headers)
    return HandshakeFailed(next((word for kind, word in FAILURES.items() if isinstance(error, kind)), "bad handshake"))


def _ending(errors: BaseExceptionGroup[Any]) -> str:
    """The first cause of a connection's end, in such words too."""
    error = errors.exceptions[0]
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    match error:
        case GivenUp():
            return str(error)
        case ConnectionClosed(sent=sent) if sent is not None and not error.rcvd_then_sent:
            return CLOSE_REASONS.get(sent.code, "closed")
        case ConnectionClosed(rcvd=rcvd) if rcvd is not None:
            return "maintenance" if rcvd.code in MAINTENANCE else "closed"
        case _:
            return "reset"  # or gone without a word
