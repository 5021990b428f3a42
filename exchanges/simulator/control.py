"""The control endpoint: what a test may ask of the simulator, and what it may do to it. Plain HTTP, JSON both ways."""

from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .faults import NotAllowed
from .market import Market
from .venue import Venue

if TYPE_CHECKING:
    from .server import Floor


def control_routes(floor: "Floor") -> list[BaseRoute]:
    async def counters(_request: Request) -> Response:
        return _json({name: _counters(venue) for name, venue in floor.venues.items()})

    async def freeze(request: Request) -> Response:
        wanted = await request.json()
        if wanted["frozen"]:
            await floor.freeze()
        else:
            floor.thaw()
        return _json({"frozen": floor.clock.frozen, "time": floor.clock.now()})

    async def book(request: Request) -> Response:
        venue, market = _market(floor, request)
        return _json(
            {
                "bids": [
                    [market.prices.text(price), market.amounts.text(amount)] for price, amount in market.bids.top()
                ],
                "asks": [
                    [market.prices.text(price), market.amounts.text(amount)] for price, amount in market.asks.top()
                ],
                "sequence": venue.sequence(request.query_params["symbol"]),
            }
        )

    async def trades(request: Request) -> Response:
        _venue, market = _market(floor, request)
        newest = market.trades.newest(int(request.query_params.get("limit", "1000")))
        return _json(
            [
                {
                    "id": trade.id,
                    "price": market.prices.text(trade.price),
                    "amount": market.amounts.text(trade.amount),
                    "taker_side": trade.taker_side,
                    "timestamp_ms": trade.time_ms,
                }
                for trade in newest
            ]
        )

    async def drop(request: Request) -> Response:
        wanted = await request.json()
        code = wanted.get("close_code")
        how = {"kind": "reset"} if code is None else {"kind": "hangup", "code": code}
        return _json({"dropped": floor.faults.inject(venue=wanted["venue"], **how).injected})

    async def lose(request: Request) -> Response:
        wanted = await request.json()
        place = {"venue": wanted["venue"], "symbol": wanted["symbol"], "channel": "orderbook"}
        floor.faults.inject(kind="drop", count=wanted.get("count", 1), **place)
        return _json({})

    async def reset(request: Request) -> Response:
        wanted = await request.json()
        restart = floor.venues[wanted["venue"]].reset
        if restart is None:
            return Response("books of this venue never begin anew", 400)
        restart(wanted["symbol"])
        return _json({})

    async def forgive(request: Request) -> Response:
        floor.venues[(await request.json())["venue"]].forgive()
        return _json({})

    return [
        Route("/counters", counters),
        Route("/book", book),
        Route("/trades", trades),
        Route("/freeze", freeze, methods=["POST"]),
        Route("/drop", drop, methods=["POST"]),
        Route("/lose", lose, methods=["POST"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/forgive", forgive, methods=["POST"]),
        *fault_routes(floor),
        *_truth_routes(floor),
    ]


def fault_routes(floor: "Floor", *, under: str = "") -> list[BaseRoute]:
    """``/faults``: what is not allowed is answered with a 400 that says what is."""

    async def inject(request: Request) -> Response:
        try:
            wanted = orjson.loads(await request.body())
            if not isinstance(wanted, dict):
                raise NotAllowed("a fault is a JSON object")
            return _json({"id": floor.faults.inject(**wanted).id})
        except (orjson.JSONDecodeError, NotAllowed) as error:
            return _json({"error": str(error)}, 400)

    async def remove(request: Request) -> Response:
        query = request.query_params
        try:
            if unknown := query.keys() - {"id", "venue"}:
                raise NotAllowed(f"{', '.join(sorted(unknown))} cannot be asked for; allowed: id, venue")
            identity = int(query["id"]) if "id" in query else None
            return _json({"removed": floor.faults.remove(identity=identity, venue=query.get("venue"))})
        except (ValueError, NotAllowed) as error:
            return _json({"error": str(error)}, 400)

    async def state(_request: Request) -> Response:
        return _json(floor.faults.state())

    return [
        Route(f"{under}/faults", inject, methods=["POST"]),
        Route(f"{under}/faults", remove, methods=["DELETE"]),
        Route(f"{under}/faults", state),
    ]


def _truth_routes(floor: "Floor") -> list[BaseRoute]:
    """``/truth``: what the venues stated, whatever became of it on the way."""

    async def books(request: Request) -> Response:
        venue, _ = _market(floor, request)
        symbol, since = request.query_params["symbol"], int(request.query_params.get("since", "0"))
        return _json(venue.books(symbol).read(since))

    async def trades(request: Request) -> Response:
        venue, _ = _market(floor, request)
        query = request.query_params
        tapes = venue.tapes(query["symbol"])
        stream = query.get("stream", next(iter(tapes)))
        if stream not in tapes:
            return _json({"error": f"stream {stream!r} is unknown; allowed: {', '.join(tapes)}"}, 400)
        return _json(tapes[stream].read(int(query.get("since", "0")), venue.faults.skew_ms))

    return [Route("/truth/books", books), Route("/truth/trades", trades)]


def _counters(venue: Venue) -> dict[str, Any]:
    counters = venue.counters
    return {
        "handshakes_total": counters.handshakes_total,
        "connections": len(venue.connections),
        "connections_total": counters.connections_total,
        "subscriptions": dict(counters.subscriptions),
        "subscribes_total": counters.subscribes_total,
        "requests_total": counters.requests_total,
        "requests": dict(counters.requests),
        "weight": counters.weight,
        "refused": dict(counters.refused),
        "usage": venue.usage(),
    }


def _market(floor: "Floor", request: Request) -> tuple[Venue, Market]:
    venue = floor.venues[request.query_params["venue"]]
    return venue, venue.markets[request.query_params["symbol"]]


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
