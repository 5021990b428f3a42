"""THE upstream HTTP client: one request in flight per question, a deadline, and our errors instead of the library's.

It retries nothing: a client's request is answered now, and those who need persistence (catalogue, book snapshots) have
their own backoff. Every request is paid for by its weight, and none is made while the venue's breaker is open.
Redirects are refused and proxies of the environment ignored, so that a venue's host is what the settings say.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx2
import orjson

from exchanges import metrics
from exchanges.breaker import Breaker
from exchanges.budget import CLIENT, Budget, Patience
from exchanges.errors import UNREADABLE, BadMessage, GatewayError, VenueBusy, VenueTimeout, VenueUnavailable
from exchanges.events import Trade

TIMEOUT = 10.0  # seconds for a whole answer
MAX_BODY = 32 * 1024 * 1024  # Binance spot's exchangeInfo is the largest known, at about 16 MiB
MAX_CONNECTIONS = 10
USER_AGENT = "market-gateway"  # Hyperliquid was reported to answer 429 to a request without one

log = logging.getLogger("exchanges.fetch")

T = TypeVar("T")
Refusal = Callable[[int, Any], GatewayError | None]


class Fetcher:
    """Requests to what one budget of a venue pays for.

    ``refusal`` reads the venue's own error out of (HTTP status, body), None: not an error. ``weight`` is what the venue
    counts for a request. Both kinds raise VenueBusy when it told us to stay away, or when ``patience`` does not reach
    until there is budget.
    """

    def __init__(
        self,
        exchange: str,
        *,
        refusal: Refusal,
        budget: Budget,
        breaker: Breaker,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._exchange = exchange
        self._refusal = refusal
        self._budget = budget
        self._breaker = breaker
        self._client = httpx2.AsyncClient(
            timeout=TIMEOUT,
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS),
            headers={"User-Agent": USER_AGENT},
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )
        self._in_flight: dict[bytes, asyncio.Task[Any]] = {}

    async def get(
        self,
        url: str,
        query: Mapping[str, str | int] | None = None,
        *,
        weight: float = 1,
        patience: Patience = CLIENT,
    ) -> Any:
        """The JSON answer to a GET. Identical requests in flight at the same time share one."""
        return await self._shared("GET", url, query=query, body=None, weight=weight, patience=patience)

    async def post(self, url: str, body: Mapping[str, Any], *, weight: float = 1, patience: Patience = CLIENT) -> Any:
        """The JSON answer to a POST that only reads. Identical requests in flight at the same time share one."""
        return await self._shared("POST", url, query=None, body=body, weight=weight, patience=patience)

    async def close(self) -> None:
        for task in list(self._in_flight.values()):
            task.cancel()
        await asyncio.gather(*self._in_flight.values(), return_exceptions=True)
        await self._client.aclose()

    async def _shared(self, method: str, url: str, *, patience: Patience, **arguments: Any) -> Any:
        # Who waits longer for budget asks for itself: its patience must not be cut, nor anybody's stretched.
        key = orjson.dumps((method, url, arguments, tuple(patience)), option=orjson.OPT_SORT_KEYS)
        task = self._in_flight.get(key)
        if task is None:
            task = self._in_flight[key] = asyncio.create_task(
                self._request(method, url, patience=patience, **arguments)
            )
            task.add_done_callback(lambda done: self._landed(key, done))
        # One asker's cancellation must not take the answer from the others.
        return await asyncio.shield(task)

    def _landed(self, key: bytes, task: asyncio.Task[Any]) -> None:
        del self._in_flight[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: whoever asked may have left before the answer

    async def _request(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str | int] | None,
        body: Mapping[str, Any] | None,
        weight: float,
        patience: Patience,
    ) -> Any:
        try:
            self._breaker.check()
            await asyncio.sleep(self._budget.spend(weight, patience))
            with self._breaker.passage():
                response, content = await self._exchanged(method, url, query=query, body=body)
                banned = self._breaker.refuses(response.status_code, response.headers)
        except VenueBusy:
            self._count("held back")
            raise
        if banned:
            self._count("busy")
            raise VenueBusy(f"{self._exchange} asks us to slow down", retry_after=self._breaker.remaining)
        return self._read(response.status_code, content)

    async def _exchanged(
        self, method: str, url: str, *, query: Mapping[str, str | int] | None, body: Mapping[str, Any] | None
    ) -> tuple[httpx2.Response, bytes]:
        try:
            async with asyncio.timeout(TIMEOUT):
                async with self._client.stream(method, url, params=query, json=body) as response:
                    content = bytearray()
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        if len(content) > MAX_BODY:
                            raise VenueUnavailable(f"{self._exchange} answered with more than {MAX_BODY} bytes")
        except (TimeoutError, httpx2.TimeoutException) as error:
            self._count("timeout")
            raise VenueTimeout(f"{self._exchange} did not answer within {TIMEOUT:g} s") from error
        except httpx2.HTTPError as error:
            self._count("unreachable")
            raise VenueUnavailable(f"{self._exchange} cannot be reached") from error
        return response, bytes(content)

    def _read(self, status: int, content: bytes) -> Any:
        try:
            answer = orjson.loads(content)
        except orjson.JSONDecodeError:
            answer = content  # a firewall's page, or nothing; a refusal that means null sees None
        if refusal := self._refusal(status, answer):
            self._count("refused")
            raise refusal
        if status >= 300 or isinstance(answer, bytes):
            self._count("failed")
            raise VenueUnavailable(f"{self._exchange} answered with HTTP status {status}")
        self._count("ok")
        return answer

    def _count(self, outcome: str) -> None:
        metrics.REQUESTS.labels(self._exchange, outcome).inc()


def read_answer(exchange: str, parse: Callable[[], T]) -> T:
    """What ``parse`` makes of an answer.

    Raises:
        BadMessage: the answer is not what the venue documents.
    """
    try:
        return parse()
    except UNREADABLE as error:
        raise BadMessage(exchange, repr(error)) from error


def within(trades: Sequence[Trade], *, since: int | None, until: int | None, limit: int) -> list[Trade]:
    """Of recent ``trades``, oldest first, those that were asked for; see ``Venue.fetch_trades``."""
    fitting = [
        trade
        for trade in trades
        if (since is None or trade.timestamp_ms >= since) and (until is None or trade.timestamp_ms <= until)
    ]
    return fitting[:limit] if since is not None else fitting[-limit:]


def readable(exchange: str, rows: Sequence[Any], parse: Callable[[Any], T]) -> list[T]:
    """What ``parse`` makes of each row; the rows stand on their own, and what cannot be read is counted and left out.

    Raises:
        BadMessage: not one can be read.
    """
    found: list[T] = []
    problems: list[str] = []
    for row in rows:
        try:
            found.append(parse(row))
        except UNREADABLE as error:
            problems.append(repr(error))
    if problems:
        metrics.SKIPPED_ROWS.labels(exchange).inc(len(problems))
        extra = {"exchange": exchange, "rows": len(problems), "of": len(rows), "first": problems[0][:200]}
        log.warning("rows_skipped", extra=extra)
    if problems and not found:
        raise BadMessage(exchange, problems[0])
    return found
