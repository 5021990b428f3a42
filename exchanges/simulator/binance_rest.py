"""How Binance's REST API takes a request: parameters, weights, errors. What it answers is in ``binance_endpoints.py``.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
and https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .binance_dialect import BUSY
from .binance_instrument import Instrument
from .clock import Clock
from .history import MINUTE
from .venue import Counters

REFUSED_BEFORE_BAN = 30  # requests in a minute after the first 429 that turn it into a 418
BAN_MS = 2 * MINUTE  # the shortest there is; the longest is three days


class BadRequest(Exception):
    """A request Binance answers with HTTP 400 and ``{"code", "msg"}``; it costs its weight all the same."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Query:
    """The parameters of one request, read the way Binance reads them."""

    def __init__(self, parameters: Mapping[str, str], find: Callable[[str], Instrument | None]) -> None:
        self._parameters = parameters
        self._find = find

    def get(self, name: str) -> str | None:
        return self._parameters.get(name) or None

    def text(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise BadRequest(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return value

    def integer(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if not value.isdecimal():
            raise BadRequest(-1130, f"Data sent for parameter '{name}' is not valid.")
        return int(value)

    def limit(self, default: int, highest: int, *, clamp: bool = False) -> int:
        """``clamp``: spot takes more than it gives."""
        value = self.integer("limit")
        value = default if value is None else value
        if value < 1 or (value > highest and not clamp):
            raise BadRequest(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(value, highest)

    def instrument(self, name: str = "symbol") -> Instrument:
        found = self._find(self.text(name).upper())
        if found is None:
            raise BadRequest(-1121, "Invalid symbol.")
        return found


class Weights:
    """The venue's request weight: counted per clock minute, not over a sliding one.

    Who goes on after being refused is banned, and stays so whatever the minute.
    """

    def __init__(self, limit: int, counters: Counters) -> None:
        self._limit = limit
        self._counters = counters
        self._minute = 0
        self._refused = 0
        self._banned_until = 0

    def forgive(self) -> None:
        self._counters.weight = self._refused = self._banned_until = 0

    def spend(self, weight: int, now_ms: int) -> tuple[int, int] | None:
        """The HTTP status of a refusal and the seconds to wait, or None."""
        if now_ms < self._banned_until:
            return self._refuse(418, self._banned_until - now_ms)
        if now_ms // MINUTE != self._minute:
            self._minute, self._counters.weight, self._refused = now_ms // MINUTE, 0, 0
        self._counters.weight += weight
        if self._counters.weight <= self._limit:
            return None
        self._refused += 1
        if self._refused <= REFUSED_BEFORE_BAN:
            return self._refuse(429, MINUTE - now_ms % MINUTE)
        self._banned_until = now_ms + BAN_MS
        return self._refuse(418, BAN_MS)

    def _refuse(self, status: int, wait_ms: int) -> tuple[int, int]:
        self._counters.refused["request"] += 1
        return status, -(-wait_ms // 1000)


Answer = Callable[[Query, int], Any]  # the body of the reply to a query, at a time in ms


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path's weight, which a query costs before anything is checked, and its answer."""

    weight: Callable[[Query], int]
    answer: Answer


def rest_routes(
    prefix: str,
    endpoints: Mapping[str, Endpoint],
    *,
    find: Callable[[str], Instrument | None],
    weights: Weights,
    counters: Counters,
    clock: Clock,
) -> list[BaseRoute]:
    async def serve(request: Request) -> Response:
        path = request.url.path.partition(prefix)[2]
        endpoint = endpoints[path]
        counters.requests[prefix + path] += 1
        now = clock.now()
        query = Query(request.query_params, find)
        refused = weights.spend(endpoint.weight(query), now)
        headers = {"X-MBX-USED-WEIGHT-1M": str(counters.weight), "Content-Type": "application/json;charset=UTF-8"}
        if refused is not None:
            status, wait = refused
            return Response(BUSY, status, headers | {"Retry-After": str(wait)})
        try:
            return Response(orjson.dumps(endpoint.answer(query, now)), headers=headers)
        except BadRequest as bad:
            return Response(orjson.dumps({"code": bad.code, "msg": bad.message}), 400, headers)

    return [Route(prefix + path, serve) for path in endpoints]


def steps(*table: tuple[int, int], default: int) -> Callable[[Query], int]:
    """A weight by ``limit``: (highest limit, weight) rows, ascending; ``default`` when it is omitted or nonsense."""

    def weigh(query: Query) -> int:
        text = query.get("limit")
        if text is None or not text.isdecimal():
            return default
        return next((weight for highest, weight in table if int(text) <= highest), table[-1][1])

    return weigh


def fixed(weight: int) -> Callable[[Query], int]:
    return lambda _query: weight


def by_symbol(one: int, every: int) -> Callable[[Query], int]:
    return lambda query: one if query.get("symbol") else every
