"""How Bybit's REST API takes a request: the envelope, parameters, errors with HTTP 200, the limit of an address.

Source: https://bybit-exchange.github.io/docs/v5/guide and https://bybit-exchange.github.io/docs/v5/rate-limit
"""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .bybit_instrument import Instrument
from .clock import Clock
from .venue import Counters

REQUESTS, REQUESTS_WITHIN = 600, 5.0  # an address's, in seconds
BAN = 600.0  # seconds of HTTP 403 after that
CATEGORIES = ("linear", "inverse", "spot")
PREFIX = "/v5/market"


class BadRequest(Exception):
    """A request that is answered with HTTP 200 and a ``retCode``."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Query:
    """The parameters of one request. ``find`` gives the instrument of a category and symbol, if it is trading."""

    def __init__(self, parameters: Mapping[str, str], find: Callable[[str, str], Instrument | None]) -> None:
        self._parameters = parameters
        self._find = find

    def get(self, name: str) -> str | None:
        return self._parameters.get(name) or None

    def text(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise BadRequest(10001, f"params error: {name} is required")
        return value

    def integer(self, name: str) -> int | None:
        value = self.get(name)
        if value is None:
            return None
        if not value.isdecimal():
            raise BadRequest(10001, f"params error: {name} is invalid")
        return int(value)

    def limit(self, default: int, highest: int) -> int:
        value = self.integer("limit")
        value = default if value is None else value
        if not 1 <= value <= highest:
            raise BadRequest(10001, "params error: limit is invalid")
        return value

    def category(self, default: str | None = None) -> str:
        category = self.get("category") or default or self.text("category")
        if category not in CATEGORIES:
            raise BadRequest(10404, "params error: category is invalid")
        return category

    def instrument(self, default_category: str | None = None) -> Instrument:
        category = self.category(default_category)
        found = self._find(category, self.text("symbol"))
        if found is None:
            raise (
                BadRequest(170121, "Invalid symbol.")
                if category == "spot"
                else BadRequest(10001, "Not supported symbols")
            )
        return found


class Allowance:
    """So many in so many seconds, over a sliding window."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._taken: deque[float] = deque()

    @property
    def taken(self) -> int:
        return len(self._taken)

    def take(self) -> bool:
        now = time.monotonic()
        while self._taken and self._taken[0] <= now - self._seconds:
            self._taken.popleft()
        if len(self._taken) >= self._most:
            return False
        self._taken.append(now)
        return True


class Gate:
    """All requests of one address; they count together, whatever their path."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._allowance = Allowance(REQUESTS, REQUESTS_WITHIN)
        self._banned_until = 0.0

    def admits(self) -> bool:
        now = time.monotonic()
        if now < self._banned_until:
            return False
        admitted = self._allowance.take()
        self._counters.weight = self._allowance.taken
        if not admitted:
            self._banned_until = now + BAN
        return admitted


Answer = Callable[[Query, int], dict[str, Any]]  # ``result`` of the reply to a query, at a time in ms


def rest_routes(
    endpoints: Mapping[str, Answer],
    *,
    find: Callable[[str, str], Instrument | None],
    counters: Counters,
    clock: Clock,
) -> list[BaseRoute]:
    gate = Gate(counters)

    async def serve(request: Request) -> Response:
        path = request.path_params["path"]
        counters.requests[f"{PREFIX}/{path}"] += 1
        if not gate.admits():
            counters.refused["request"] += 1
            return Response("access too frequent", 403, media_type="text/plain")
        now = clock.now()
        endpoint = endpoints.get(path)
        code, message, result = 0, "OK", {}
        try:
            if endpoint is None:
                raise BadRequest(10404, "Request path not found")
            result = endpoint(Query(request.query_params, find), now)
        except BadRequest as bad:
            code, message = bad.code, bad.message
        body = {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now}
        return Response(orjson.dumps(body), media_type="application/json")

    return [Route(f"{PREFIX}/{{path:path}}", serve)]
