"""A recorded session, held against the documents: what is sent is described, and what is described is sent."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gateway import answers, frames, shapes
from tests.system import processes
from tests.system.processes import Client
from tests.system.switchboard import Switchboard

BTC = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}
TRADES = {"channel": "trades", **BTC}
QUIET = {"channel": "trades", "exchange": "bybit", "symbol": "BTC/USDC:USDC"}
DELTA = {"channel": "orderbook", **BTC, "params": {"levels": 5, "mode": "delta"}}
MODELS = {f"frame-{model.__name__}": model for model in frames.FRAMES}
ROWS: dict[str, TypeAdapter[Any]] = {
    "/v1/fetchMarkets": TypeAdapter(answers.Markets),
    "/v1/fetchTrades": TypeAdapter(list[shapes.Trade]),
    "/v1/fetchOHLCV": TypeAdapter(list[shapes.Ohlcv]),
    "/v1/fetchOrderBook": TypeAdapter(shapes.OrderBook),
}
UNSEEN = {"frame-Lagged"}  # needs a client that does not read; its shape is checked beside what writes it


@pytest.fixture(scope="module")
def own(simulator_url: str) -> Iterator[str]:
    with processes.gateway(simulator_url, limits__heartbeat="1", limits__drain="1", limits__request_burst="200") as url:
        yield url


@pytest.fixture
async def asked(own: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=own, timeout=10) as http:
        yield http


def validators(document: dict[str, Any], pointers: dict[str, str]) -> dict[str, Draft202012Validator]:
    registry = Registry().with_resource("urn:doc", Resource(contents=document, specification=DRAFT202012))
    return {
        name: Draft202012Validator({"$ref": f"urn:doc{pointer}"}, registry=registry)
        for name, pointer in pointers.items()
    }


async def test_every_answer_is_as_described(asked: httpx2.AsyncClient) -> None:
    document = (await asked.get("/openapi.json")).json()
    assert document["servers"] == [{"url": str(asked.base_url).rstrip("/")}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            example = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
            answer = await asked.request(method, path, json=example)
            told = operation["responses"][str(answer.status_code)]
            assert answer.status_code == 200, (path, answer.text)
            assert set(told["headers"]) - {name for name in told["headers"] if name in answer.headers} <= {"X-Cursor"}
            if "application/json" not in told["content"]:
                continue
            escaped = path.replace("/", "~1")
            pointer = f"#/paths/{escaped}/{method}/responses/200/content/application~1json/schema"
            errors = list(validators(document, {"it": pointer})["it"].iter_errors(answer.json()))
            assert errors == [], (path, errors[0].message, list(errors[0].absolute_path))


async def test_the_rows_of_every_exchange_and_market_are_as_described(asked: httpx2.AsyncClient) -> None:
    for offer in (await asked.get("/v1/capabilities")).json()["exchanges"]:
        choice = offer["channels"]["trades"]["markets"]
        for value in choice["values"]:
            about = {"exchange": offer["exchange"], "params": {choice["param"]: value}}
            markets = (await asked.post("/v1/fetchMarkets", json={**about, "includeInactive": True})).json()
            ROWS["/v1/fetchMarkets"].validate_json(json.dumps(markets))
            symbol = next(market["symbol"] for market in markets["markets"] if market["active"])
            for path in ("/v1/fetchTrades", "/v1/fetchOHLCV", "/v1/fetchOrderBook"):
                answer = await asked.post(path, json={**about, "symbol": symbol})
                assert answer.status_code == 200, (path, about, answer.text)
                ROWS[path].validate_json(answer.content)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/fetchTrades", {**BTC, "limit": 0}, 400),
        ("/v1/fetchTrades", {"exchange": "nowhere", "symbol": "X"}, 400),
        ("/v1/fetchOHLCV", {**BTC, "timeframe": "7m"}, 400),
        ("/v1/fetchOrderBook", {**BTC, "params": {"group": "5"}}, 501),
    ],
)
async def test_every_refusal_is_as_described(
    asked: httpx2.AsyncClient, path: str, body: dict[str, Any], status: int
) -> None:
    document = (await asked.get("/openapi.json")).json()
    answer = await asked.post(path, json=body)
    assert answer.status_code == status
    assert answer.json()["code"] in document["paths"][path]["post"]["responses"][str(status)]["description"]
    assert list(validators(document, {"it": "#/components/schemas/RestError"})["it"].iter_errors(answer.json())) == []


async def test_every_frame_is_as_described_and_every_description_is_of_one_that_was_sent(
    own: str, asked: httpx2.AsyncClient, control: httpx2.AsyncClient
) -> None:
    document = (await asked.get("/asyncapi.json")).json()
    async with processes.client(own) as base, processes.client(own) as client:
        await base.send(op="ping")
        await base.expect(type="pong")
        await session(client, Switchboard(control))
        processes.stop(own)  # the last of this module's: it ends with a goaway
        await client.expect(type="goaway")
        messages = document["components"]["messages"]
        pointers = {name: one["payload"]["$ref"] for name, one in messages.items() if name.startswith("frame-")}
        described = validators(document, pointers)
        seen = set[str]()
        for text in (*base.frames, *client.frames):
            fitting = {name for name, frame in described.items() if frame.is_valid(json.loads(text))}
            assert len(fitting) == 1, (fitting, text[:500])
            MODELS[min(fitting)].model_validate_json(text)
            seen |= fitting
        assert set(described) - seen == UNSEEN


async def session(client: Client, switchboard: Switchboard) -> None:
    """Something of everything."""
    await client.send(op="hello", id=1)
    await client.send(op="ping", id=2, t=1)
    await client.send(op="ping", id=2)  # then t is null
    await client.send(
        op="subscribe", id="b", topics=[TRADES, DELTA, {"channel": "ohlcv", **BTC, "rewind": 5}, {"channel": "ohlcv"}]
    )
    await client.expect(type="batch")
    await client.expect(kind="delta")
    await client.send(op="subscribe", channel="orderbook", **BTC)
    await client.send(op="subscribe", **QUIET)
    await client.send(op="subscribe", **TRADES)
    await client.expect(type="alreadySubscribed")
    await client.send(op="list")
    await client.expect(type="subscriptions")
    await client.send(op="unsubscribe", **TRADES)
    await client.expect(type="unsubscribed")
    await client.send(op="subscribe", **TRADES, since="1-1")
    await client.expect(type="caughtUp")
    await client.send(op="pause", id=3)
    await client.expect(type="paused")
    await client.expect(type="heartbeat")
    await client.send(op="resume", id=4)
    await client.expect(type="resumed")
    await client.send(op="snapshot", **DELTA)
    await client.expect(kind="snapshot")
    await switchboard.inject("binance", "drop", symbol="BTCUSDT", channel="trades")
    await client.expect(type="gap", reason="VENUE_SKIP")
    await switchboard.inject("bybit", "refuse_handshake", status=429, retry_after=1)
    await switchboard.inject("bybit", "reset")
    await client.expect(type="status", scope="exchange", state="unavailable")
    await client.expect(type="status", scope="topic", state="live")
