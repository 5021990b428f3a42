"""The control endpoint: what a test may ask of the simulator, and what it may do to it. Plain HTTP, JSON both ways."""

from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

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
        connections = list(floor.venues[wanted["venue"]].connections)
        for connection in connections:
            if wanted.get("close_code") is None:
                connection.abort()
            else:
                connection.close(wanted["close_code"], "dropped")
        return _json({"dropped": len(connections)})

    async def lose(request: Request) -> Response:
        wanted = await request.json()
        floor.venues[wanted["venue"]].lose(wanted["symbol"], wanted.get("count", 1))
        return _json({})

    async def reset(request: Request) -> Response:
        wanted = await request.json()
        restart = floor.venues[wanted["venue"]].reset
        if restart is None:
            return Response("books of this venue never begin anew", 400)
        restart(wanted["symbol"])
        return _json({})

    return [
        Route("/counters", counters),
        Route("/book", book),
        Route("/trades", trades),
        Route("/freeze", freeze, methods=["POST"]),
        Route("/drop", drop, methods=["POST"]),
        Route("/lose", lose, methods=["POST"]),
        Route("/reset", reset, methods=["POST"]),
    ]


def _counters(venue: Venue) -> dict[str, Any]:
    counters = venue.counters
    return {
        "connections": len(venue.connections),
        "connections_total": counters.connections_total,
        "subscriptions": dict(counters.subscriptions),
        "subscribes_total": counters.subscribes_total,
        "requests": dict(counters.requests),
        "weight": counters.weight,
    }


def _market(floor: "Floor", request: Request) -> tuple[Venue, Market]:
    venue = floor.venues[request.query_params["venue"]]
    return venue, venue.markets[request.query_params["symbol"]]


def _json(body: Any) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
