"""The composition root: settings → venues, manager and doors, and the order in which they start and stop."""

import asyncio
import gc
import hashlib
import ipaddress
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import orjson
from prometheus_client import start_http_server
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exchanges import registry
from exchanges.catalogue import CatalogueKeeper
from exchanges.errors import (
    GatewayError,
    Internal,
    NotSubscribed,
    ServerBusy,
    SubscriptionLimit,
    ValidationFailed,
)
from exchanges.pool import Pool
from gateway import health, metrics, origins, rest, socket, specs
from gateway.drain import drain
from gateway.http import REFUSALS, sane_request_id
from gateway.lag import LoopWatch
from gateway.limits import Addresses, Door, Proxies, Requests
from gateway.pages import Pages, folder
from gateway.replies import STATUSES, error_body
from gateway.settings import LimitSettings, Settings
from gateway.siblings import Siblings
from gateway.state import VERSION, Gateway
from topics.cluster import Cluster
from topics.history import History
from topics.manager import Exchange, Manager

log = logging.getLogger("gateway.app")

EXPOSED_HEADERS = ("X-Request-Id", "X-Topic-State", "X-Cursor", "X-Data-Age-Ms", "Retry-After")
SWEPT_AT_ONCE = 500  # sessions, between two turns of the loop
FIRST_CATALOGUE = 3.0  # seconds the start waits for catalogues, so that a first request seldom comes too early


class App:
    """The gateway as an ASGI application; it runs while its lifespan does.

    Websockets do not pass through the framework: its layers are worth 10 KB to each connection. ``routes`` are what the
    command that starts it serves beside the gateway's own.
    """

    def __init__(
        self, settings: Settings, siblings: Siblings | None = None, *, routes: Sequence[BaseRoute] = ()
    ) -> None:
        self.door = door_of(settings.limits)
        self.http = http(settings, self.door, siblings, routes)
        self._hosts = (*origins.LOCAL_HOSTS, settings.host, *settings.allowed_hosts)
        self._origins = settings.allowed_origins

    async def drain(self, hurry: Callable[[], bool]) -> None:
        """Before the end: see ``drain.py``."""
        await drain(self.http.state.gateway, hurry=hurry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == "/v1/ws":
            await self._websocket(scope, receive, send)
        else:
            await self.http(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway: Gateway = self.http.state.gateway
        await receive()  # the request to connect
        if not self._same_house(Headers(scope=scope)):
            message = f"pages of this origin may not connect; {origins.SETTING} lists those that may"
            body = {"code": "FORBIDDEN", "message": message, "retryable": False}
            await deny(send, "origin", 403, body)
            return
        address = gateway.address_of(scope)
        if not gateway.addresses.enter(address):
            most = gateway.limits.connections_per_address
            await deny(send, "address", 503, error_body(ServerBusy(f"one address has at most {most}", retry_after=5.0)))
            return
        try:
            await socket.serve(gateway, scope, receive, send)
        finally:
            gateway.addresses.leave(address)

    def _same_house(self, headers: Headers) -> bool:
        origin, host = headers.get("origin"), headers.get("host")
        return origins.allowed(origin, host, origins=self._origins, hosts=self._hosts)


def http(settings: Settings, door: Door, siblings: Siblings | None, more: Sequence[BaseRoute]) -> Starlette:
    """All that is no websocket; its lifespan is the gateway's."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(settings, door, siblings) as gateway:
            app.state.gateway = gateway
            yield

    endpoints = {
        "/v1/fetchTrades": rest.fetch_trades,
        "/v1/fetchOHLCV": rest.fetch_ohlcv,
        "/v1/fetchOrderBook": rest.fetch_order_book,
        "/v1/fetchMarkets": rest.fetch_markets,
    }
    routes: list[Any] = [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()]
    pages = Pages(folder())
    routes += [Route(path, pages.answer) for path in pages.paths if path != "/"]
    routes += [
        Route("/", partial(index, pages)),
        Route("/openapi.json", openapi),
        Route("/asyncapi.json", asyncapi),
        Route("/v1/capabilities", health.capabilities),
        Route("/v1/status", health.status),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
    ]
    if settings.loopback:
        routes.append(Route("/metrics", health.metrics))
    routes += more
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.allowed_origins,
        allow_origin_regex=origins.LOCAL_ORIGIN,
        allow_methods=["GET", "POST"],
        allow_headers=["Content-Type", "X-Request-Id", "Authorization"],
        expose_headers=EXPOSED_HEADERS,
    )
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(RequestId), cors],
        exception_handlers={
            GatewayError: refuse,
            HTTPException: refuse_http,
            ClientDisconnect: forget,
            Exception: fail,
        },
    )


@asynccontextmanager
async def running(settings: Settings, door: Door, siblings: Siblings | None) -> AsyncIterator[Gateway]:
    """Everything behind the doors, started; stopped on leaving, in the opposite order."""
    exchanges = {name: exchange(name, settings) for name in settings.exchanges}
    redis_url = settings.redis_url.get_secret_value()
    node = settings.node if siblings is None else siblings.node
    cluster = Cluster(redis_url, node, clock_ms=clock_ms) if redis_url else None
    manager = Manager(
        exchanges,
        cluster=cluster,
        default_exchange=settings.default_exchange,
        linger=settings.limits.linger,
        max_feeds=settings.limits.feeds,
        clock_ms=clock_ms,
    )
    gateway = Gateway(
        manager=manager,
        history=History(manager, clock_ms=clock_ms),
        limits=settings.limits,
        door=door,
        addresses=Addresses(settings.limits.connections_per_address),
        requests=Requests(rate=settings.limits.request_rate, burst=settings.limits.request_burst, clock=time.monotonic),
        proxies=Proxies([ipaddress.ip_network(name) for name in settings.trusted_proxies]),
        node=node,
        siblings=siblings,
        clock_ms=clock_ms,
        started_ms=clock_ms(),
    )
    for code in (*STATUSES, NotSubscribed.code, SubscriptionLimit.code):
        metrics.ERRORS.labels(code)  # a rate can be asked of a code from the start on
    for status in REFUSALS:
        metrics.REFUSED.labels(status)
    async with AsyncExitStack() as stack:
        for one in exchanges.values():
            stack.push_async_callback(one.venue.close)
            stack.push_async_callback(one.pool.aclose)
        if cluster is not None:
            cluster.start()
            stack.push_async_callback(cluster.aclose)
        stack.push_async_callback(manager.aclose)
        if siblings is not None:
            await stack.enter_async_context(siblings.answering(health.answers(gateway)))
        elif not settings.loopback:
            host, _, port = settings.metrics.bind.rpartition(":")
            server, _ = start_http_server(int(port), host)
            stack.callback(server.shutdown)
        tasks = [asyncio.create_task(one.catalogue.run()) for one in exchanges.values()]
        tasks += [asyncio.create_task(run) for run in (manager.run(), sweep(gateway), LoopWatch().run())]
        stack.push_async_callback(stop, tasks)
        await first_catalogues(exchanges)
        gc.collect()
        gc.freeze()  # catalogues and code stay for good: looking through them all holds up everybody
        log.info("started", extra={"node": gateway.node, "exchanges": ",".join(exchanges)})
        yield gateway


def exchange(name: str, settings: Settings) -> Exchange:
    section = settings.venue(name)
    urls = {field: value for field, value in section.model_dump().items() if field.endswith("_url")}
    venue = registry.create(name, parts=settings.workers, **urls)
    return Exchange(
        venue=venue,
        catalogue=CatalogueKeeper(venue, cache_dir=settings.cache_dir, source=str(urls)),
        pool=Pool(
            name,
            venue.capabilities.part(settings.workers),
            breaker=venue.breaker,
            max_streams_per_socket=section.max_topics_per_socket,
        ),
    )


async def first_catalogues(exchanges: Mapping[str, Exchange]) -> None:
    try:
        async with asyncio.timeout(FIRST_CATALOGUE):
            await asyncio.gather(*(one.catalogue.loaded.wait() for one in exchanges.values()))
    except TimeoutError:
        missing = [name for name, one in exchanges.items() if not one.catalogue.loaded.is_set()]
        log.warning("no_catalogue_yet", extra={"exchanges": ",".join(missing)})


async def stop(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def sweep(gateway: Gateway) -> None:
    """One timer for all connections: heartbeats, pings, stalled clients."""
    loop, quiet = asyncio.get_running_loop(), gateway.limits.ping_interval
    while True:
        await asyncio.sleep(1.0)
        for number, session in enumerate(list(gateway.sessions)):
            if session.writer.needs_look(loop.time(), quiet):
                session.check(loop.time())
            if number % SWEPT_AT_ONCE == 0:
                await asyncio.sleep(0)


def door_of(limits: LimitSettings) -> Door:
    return Door(
        connections=limits.connections,
        accept_rate=limits.accept_rate,
        accept_burst=limits.accept_burst,
        clock=time.monotonic,
    )


async def deny(send: Send, reason: str, status: int, body: dict[str, Any]) -> None:
    """Refuse a websocket before its handshake is done."""
    metrics.REJECTED.labels(reason).inc()
    headers = [(b"content-type", b"application/json")]
    if "retryAfterMs" in body:
        headers.append((b"retry-after", b"%d" % max(1, body["retryAfterMs"] // 1000)))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": orjson.dumps(body)})


async def index(pages: Pages, request: Request) -> Response:
    """The page for who can show one; for all others what this is and where to go on."""
    if "text/html" in request.headers.get("accept", ""):
        return await pages.answer(request)
    known = {getattr(route, "path", "") for route in request.app.routes} | {"/v1/ws"}
    paths = sorted(path for path in known if path != "/" and not path.endswith("{name}"))
    content = {"name": "market-gateway", "version": VERSION, "paths": paths}
    return Response(orjson.dumps(content, option=orjson.OPT_INDENT_2), media_type="application/json")


async def openapi(request: Request) -> Response:
    return document(request, specs.openapi(str(request.base_url).rstrip("/")))


async def asyncapi(request: Request) -> Response:
    where = request.base_url
    return document(request, specs.asyncapi(where.netloc, secure=where.scheme == "https"))


def document(request: Request, content: dict[str, Any]) -> Response:
    """It changes with the version and with the name that the gateway is asked by: asked for again, mostly 304."""
    body = orjson.dumps(content)
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


async def refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    body = {**error_body(error), "requestId": request.state.request_id}
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return Response(orjson.dumps(body), STATUSES[error.code], headers, media_type="application/json")


async def refuse_http(request: Request, error: Exception) -> Response:
    """No such path, wrong method, body too large: as the router found it, in our words."""
    assert isinstance(error, HTTPException)
    body = {**error_body(ValidationFailed(error.detail)), "requestId": request.state.request_id}
    return Response(orjson.dumps(body), error.status_code, error.headers, media_type="application/json")


async def forget(request: Request, error: Exception) -> Response:
    """The client left in the middle of its request."""
    return Response(status_code=400)


async def fail(request: Request, error: Exception) -> Response:
    reference = request.state.request_id
    log.error("request_failed", exc_info=error, extra={"path": request.scope["path"], "ref": reference})
    return await refuse(request, Internal("something went wrong on our side", ref=reference))


class RequestId:
    """Gives every HTTP request an id (the client's, if it is a sane one) and counts the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = sane_request_id(Request(scope).headers.get("x-request-id", ""))
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
                path = scope["path"] if scope["path"].startswith("/v1/") and message["status"] != 404 else "other"
                metrics.REQUESTS.labels(path, message["status"]).inc()
            await send(message)

        await self._app(scope, receive, send_with_id)


def clock_ms() -> int:
    return time.time_ns() // 1_000_000
