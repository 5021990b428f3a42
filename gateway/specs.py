"""The protocol for programs: OpenAPI of REST, AsyncAPI of the websocket. Pure.

They are made of the models that parse (``commands.py``, ``rest.py``) and those that describe what is sent
(``shapes.py``). Both say where the gateway is in the words of who asks: behind a proxy those are the proxy's.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway import answers, commands, frames, rest, shapes
from gateway.examples import FRAMES
from gateway.http import REFUSALS
from gateway.replies import CLOSES, STATUSES
from gateway.state import VERSION

TEMPLATE = "#/components/schemas/{model}"
TITLE = "market-gateway"
ABOUT = "Market data of several crypto exchanges in CCXT's shapes. In words: docs/protocol.md of the project."
LICENSE = {"name": "MIT", "identifier": "MIT"}

BTC = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}
DAY = 86_400_000


class Operation(NamedTuple):
    method: str
    path: str
    summary: str
    answer: Any  # a model, a list of one, or rows; None: text
    body: type[BaseModel] | None = None
    example: Mapping[str, Any] | None = None
    about_data: bool = False  # it has the headers that tell of a topic


OPERATIONS = (
    Operation(
        "post",
        "/v1/fetchTrades",
        "trades, oldest first",
        [shapes.Trade],
        rest.FetchTrades,
        {**BTC, "limit": 3},
        about_data=True,
    ),
    Operation(
        "post",
        "/v1/fetchOHLCV",
        "candles, ascending, the forming one last",
        "ohlcv",
        rest.FetchOHLCV,
        {**BTC, "timeframe": "1m", "limit": 3},
        about_data=True,
    ),
    Operation(
        "post",
        "/v1/fetchOrderBook",
        "one book, best levels first",
        shapes.OrderBook,
        rest.FetchOrderBook,
        {**BTC, "limit": 10},
        about_data=True,
    ),
    Operation(
        "post",
        "/v1/fetchMarkets",
        "the catalogue of one exchange",
        answers.Markets,
        rest.FetchMarkets,
        {"exchange": "binance", "params": {"type": "spot"}},
    ),
    Operation("get", "/v1/capabilities", "what each exchange offers, by channel", answers.Capabilities),
    Operation("get", "/v1/status", "exchanges, upstream subscriptions, clients", answers.NodeStatus),
    Operation("get", "/healthz", "the process answers", answers.Health),
    Operation("get", "/readyz", "ready or degraded; 503 when no traffic should come", answers.Readiness),
    Operation("get", "/metrics", "for Prometheus; on this port only where the gateway listens on loopback", None),
)

HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "X-Request-Id": ({"type": "string"}, "the request's own if it is a sane one, else a new one"),
    "X-Topic-State": (
        {"type": "string", "enum": ["live", "stale", "cold"]},
        "live: the topic runs; stale: it is not live now; cold: nobody watches it",
    ),
    "X-Cursor": (
        {"type": "string", "pattern": r"^\d+-\d+$"},
        "only if the answer ends at the stream's newest event: subscribe with since from here",
    ),
    "X-Data-Age-Ms": ({"type": "integer"}, "since the stream's last event where there is a cursor, else 0"),
    "Retry-After": ({"type": "integer"}, "seconds; only where there is advice"),
}
BODY_TOO_LARGE = 413
REFUSED = {status: "SERVER_BUSY" if status == 503 else "VALIDATION_ERROR" for status in REFUSALS}  # at the door
COMMANDS: dict[type[BaseModel], tuple[str, Mapping[str, Any]]] = {
    commands.Hello: ("hello", {"op": "hello", "id": 1, "client": "acme/1.2"}),
    commands.One: ("topic", {"op": "subscribe", "id": "a", "channel": "trades", **BTC, "rewind": 50}),
    commands.Batch: (
        "batch",
        {
            "op": "subscribe",
            "id": "b",
            "topics": [
                {"channel": "orderbook", **BTC, "params": {"levels": 20, "mode": "delta"}},
                {"channel": "ohlcv", **BTC, "params": {"timeframe": "1m"}, "rewind": 300},
            ],
        },
    ),
    commands.Plain: ("all", {"op": "list", "id": 3}),
    commands.Rest: ("pause", {"op": "pause", "id": 4}),
    commands.Ping: ("ping", {"op": "ping", "id": 5, "t": 20_000 * DAY}),
}


def openapi(server: str) -> dict[str, Any]:
    """OpenAPI 3.1; ``server``: the gateway's URL."""
    return {**deepcopy(_openapi()), "servers": [{"url": server}]}


def asyncapi(host: str, *, secure: bool) -> dict[str, Any]:
    """AsyncAPI 3.0; ``host``: the gateway's name and port."""
    server = {"host": host, "protocol": "wss" if secure else "ws"}
    return {**deepcopy(_asyncapi()), "servers": {"gateway": server}}


@lru_cache(maxsize=1)
def _openapi() -> dict[str, Any]:
    sent: list[type[BaseModel]] = [answers.RestError]
    for operation in OPERATIONS:
        sent += _models(operation.answer)
    bodies = [operation.body for operation in OPERATIONS if operation.body is not None]
    paths: dict[str, Any] = {operation.path: {operation.method: _operation(operation)} for operation in OPERATIONS}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": VERSION, "description": ABOUT, "license": LICENSE},
        "servers": [],
        "paths": paths,
        "components": {"schemas": schemas([*sent, *bodies]), "headers": _headers()},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    names = ["X-Request-Id", *(("X-Topic-State", "X-Cursor", "X-Data-Age-Ms") if operation.about_data else ())]
    told: dict[str, Any] = {
        "operationId": operation.path.rpartition("/")[2],
        "summary": operation.summary,
        "responses": {"200": {"description": operation.summary, "headers": _header_refs(names), **_content(operation)}},
    }
    if operation.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {
                "application/json": {"schema": _ref(operation.body), "example": operation.example},
            },
        }
        told["responses"] |= _failures(_codes())
    else:
        told["responses"] |= _failures({status: [code] for status, code in REFUSED.items() if status != BODY_TOO_LARGE})
    if operation.path == "/readyz":
        busy, starting = told["responses"]["503"]["content"]["application/json"], _ref(answers.Readiness)
        told["responses"]["503"]["description"] = "starting or draining, or SERVER_BUSY"
        busy["schema"] = {"anyOf": [starting, busy["schema"]]}
    return told


def _content(operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    if answer is None:
        return {"content": {"text/plain": {"schema": {"type": "string"}}}}
    if answer == "ohlcv":
        schema: dict[str, Any] = {"type": "array", "items": _row()}
    elif isinstance(answer, list):
        schema = {"type": "array", "items": _ref(answer[0])}
    else:
        schema = _ref(answer)
    return {"content": {"application/json": {"schema": schema}}}


def _codes() -> dict[int, list[str]]:
    """Every status of a question for data, with the codes that it may have."""
    told: dict[int, list[str]] = {}
    for code, status in (*STATUSES.items(), *((code, status) for status, code in REFUSED.items())):
        told.setdefault(status, [])
        if code not in told[status]:
            told[status].append(code)
    return told


def _failures(codes: Mapping[int, Sequence[str]]) -> dict[str, Any]:
    told = {}
    for status in sorted(codes):
        names = ["X-Request-Id", *(("Retry-After",) if status in (429, 502, 503) else ())]
        content = {"application/json": {"schema": _ref(answers.RestError)}}
        told[str(status)] = {
            "description": ", ".join(codes[status]),
            "headers": _header_refs(names),
            "content": content,
        }
    return told


def _headers() -> dict[str, Any]:
    return {name: {"description": about, "schema": schema} for name, (schema, about) in HEADERS.items()}


def _header_refs(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


@lru_cache(maxsize=1)
def _asyncapi() -> dict[str, Any]:
    asked = {f"command-{name}": _message(model, example) for model, (name, example) in COMMANDS.items()}
    told = {f"frame-{model.__name__}": _message(model, FRAMES[model]) for model in frames.FRAMES}
    names = [*asked, *told]
    closes = "".join(f"\n- {code}: {meaning}" for code, meaning in CLOSES.items())
    return {
        "asyncapi": "3.0.0",
        "info": {"title": TITLE, "version": VERSION, "description": ABOUT, "license": {"name": "MIT"}},
        "servers": {},
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/v1/ws",
                "description": f"Text frames of one JSON object each, both ways. Close codes:{closes}",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
                "bindings": {"ws": {"method": "GET"}},
            }
        },
        "operations": {
            "receiveCommand": _exchange("receive", asked, "what a client may send"),
            "sendFrame": _exchange("send", told, "what the gateway sends"),
        },
        "components": {
            "messages": {**asked, **told},
            "schemas": schemas([*COMMANDS, commands.TopicRequest, *frames.FRAMES]),
        },
    }


def _exchange(action: str, messages: Mapping[str, Any], summary: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in messages],
    }


def _message(model: type[BaseModel], example: Mapping[str, Any]) -> dict[str, Any]:
    field = model.model_fields.get("type") or model.model_fields["op"]
    values = list(field.annotation.__args__)  # type: ignore[union-attr]  # a Literal
    return {
        "name": model.__name__,
        "title": " | ".join(values),
        "summary": " ".join((model.__doc__ or "").split()),
        "payload": _ref(model),
        "examples": [{"payload": example}],
    }


def schemas(models: Sequence[type[BaseModel]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of each model and of what it is made of, by name."""
    _, found = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(models)], by_alias=True, ref_template=TEMPLATE
    )
    told: dict[str, Any] = found["$defs"]
    for name, schema in told.items():
        if any(hasattr(module, name) for module in (shapes, answers, frames)):
            _never_null(schema)
    if "Batch" in told:  # each item is parsed on its own, so the model leaves them open
        told["Batch"]["properties"]["topics"]["items"] = _ref(commands.TopicRequest)
    return told


def _never_null(schema: dict[str, Any]) -> None:
    """What may be missing of what we send is missing then, and not null."""
    for field in schema["properties"].values():
        if field.pop("default", ...) is None:
            kinds = [kind for kind in field.pop("anyOf") if kind != {"type": "null"}]
            field.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _models(answer: Any) -> list[type[BaseModel]]:
    found = answer if isinstance(answer, list) else [answer]
    return [one for one in found if isinstance(one, type)]


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": TEMPLATE.format(model=model.__name__)}


def _row() -> dict[str, Any]:
    """A candle."""
    row: dict[str, Any] = schemas([frames.OhlcvFrame])["OhlcvFrame"]["properties"]["data"]["items"]
    return row
