"""What operators see: alive, ready, status, capabilities, metrics."""

from dataclasses import asdict
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from gateway.siblings import Answers, merged_metrics, merged_status
from gateway.state import VERSION, Gateway
from topics.key import MODES, THROTTLES_MS
from topics.manager import Exchange, Manager
from topics.upstream import Upstream


async def healthz(_: Request) -> Response:
    """Alive: the loop answers."""
    return _json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 ready or degraded with reasons; 503 when no traffic should come."""
    gateway: Gateway = request.app.state.gateway
    reasons = reasons_not_ready(gateway.manager)
    if gateway.draining:
        return _json({"status": "draining", "reasons": ["shutting down"]}, status=503)
    if len([reason for reason in reasons if reason.endswith("no catalogue")]) == len(gateway.manager.exchanges):
        return _json({"status": "starting", "reasons": reasons}, status=503)
    return _json({"status": "degraded" if reasons else "ready", "reasons": reasons})


def reasons_not_ready(manager: Manager) -> list[str]:
    conditions = {name: exchange.condition for name, exchange in manager.exchanges.items()}
    reasons = [f"{name}: {condition.reason}" for name, condition in conditions.items() if condition.reason]
    if manager.cluster is not None and (problem := manager.cluster.problem) is not None:
        reasons.append(f"redis: {problem}")
    return reasons


async def status(request: Request) -> Response:
    """Exchanges, and one row for each upstream subscription."""
    gateway: Gateway = request.app.state.gateway
    own = orjson.dumps(status_of(gateway))
    if gateway.siblings is None:
        return Response(own, media_type="application/json")
    return _json(merged_status(gateway.siblings.name, [own, *await gateway.siblings.ask("status")]))


def status_of(gateway: Gateway) -> dict[str, Any]:
    """Of this process alone."""
    manager = gateway.manager
    return {
        "node": gateway.node,
        "version": VERSION,
        "uptimeMs": gateway.clock_ms() - gateway.started_ms,
        "exchanges": [
            {
                "exchange": name,
                "state": exchange.condition.state,
                "sockets": exchange.pool.sockets,
                "budget": budget(exchange),
            }
            for name, exchange in manager.exchanges.items()
        ],
        "feeds": [feed_row(upstream, node=gateway.node) for upstream in manager.upstreams()],
        "clients": len(gateway.sessions),
    }


def budget(exchange: Exchange) -> dict[str, Any]:
    """What we allow ourselves of the venue's limits: sockets, what is left of each pool, and a ban's end."""
    pools = {**exchange.venue.budgets, **exchange.pool.budgets}
    return {
        "maxSockets": exchange.pool.max_sockets,
        "maxStreamsPerSocket": exchange.pool.max_streams,
        "left": {name: {"now": round(pool.left), "of": round(pool.capacity)} for name, pool in pools.items()},
        "bannedForMs": round(exchange.pool.breaker.remaining * 1000),
    }


def feed_row(upstream: Upstream, *, node: str) -> dict[str, Any]:
    """``params`` are those of the upstream subscription's first topic; a book feed may serve several depths."""
    return {
        "exchange": upstream.exchange,
        "channel": upstream.stream.channel,
        "symbol": upstream.key.symbol,
        "params": dict(upstream.key.params),
        "state": upstream.state,
        "lastEvent": upstream.last_event_ms,
        "cursor": str(upstream.cursor),
        "subscribers": len(upstream.audience),
        "owner": upstream.owner or node,
    }


async def capabilities(request: Request) -> Response:
    """What each exchange offers, with no upstream call."""
    gateway: Gateway = request.app.state.gateway
    rows = [
        {"exchange": name, "channels": channels(asdict(exchange.venue.capabilities))}
        for name, exchange in gateway.manager.exchanges.items()
    ]
    return _json({"exchanges": rows, "defaultExchange": gateway.manager.default_exchange})


def channels(offer: dict[str, Any]) -> dict[str, Any]:
    """A venue's ``Capabilities`` by channel."""
    markets = {"param": offer["market_param"], "default": offer["default_market"], "values": sorted(offer["markets"])}
    return {
        "trades": {
            "markets": markets,
            "names": list(offer["trade_streams"]),
            "maxRows": offer["max_trades"],
            "backfill": offer["trades_backfill"],
        },
        "orderbook": {
            "markets": markets,
            "levels": list(offer["levels"]),
            "defaultLevels": offer["default_levels"],
            "throttleMs": list(THROTTLES_MS),
            "modes": list(MODES),
            "checksum": offer["checksum"],
        },
        "ohlcv": {"markets": markets, "timeframes": list(offer["timeframes"]), "maxRows": offer["max_candles"]},
    }


async def metrics(request: Request) -> Response:
    gateway: Gateway = request.app.state.gateway
    text = generate_latest()
    if gateway.siblings is not None:
        others = await gateway.siblings.ask("metrics")
        text = merged_metrics([answer.decode() for answer in (text, *others)])
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def answers(gateway: Gateway) -> Answers:
    """To the gateway's other processes."""
    return {"metrics": generate_latest, "status": lambda: orjson.dumps(status_of(gateway)), "alive": lambda: b"yes"}


def _json(content: Any, *, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status_code=status, media_type="application/json")
