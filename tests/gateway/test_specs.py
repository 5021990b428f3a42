"""The documents themselves: valid, complete, and with examples that hold. Whether they are true: ``tests/system``."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from starlette.testclient import TestClient

from gateway import app, commands, frames, rest, shapes, specs
from gateway.examples import FRAMES
from gateway.http import REFUSALS
from gateway.replies import CLOSES, STATUSES
from gateway.settings import LimitSettings, Settings
from topics.key import Cursor
from topics.wire import lagged_json

ROOT = Path(__file__).parents[2]
ASYNCAPI = ROOT / "web" / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
OPENAPI = specs.openapi("http://127.0.0.1:8787")
STREAM = specs.asyncapi("127.0.0.1:8787", secure=False)


def problems(document: dict[str, Any], name: str, value: Any) -> list[str]:
    """Why ``value`` is none of the schema of that name."""
    registry = Registry().with_resource("urn:doc", Resource(contents=document, specification=DRAFT202012))
    validator = Draft202012Validator({"$ref": f"urn:doc#/components/schemas/{name}"}, registry=registry)
    return [error.message for error in validator.iter_errors(value)]


def test_the_rest_document_is_valid() -> None:
    OpenAPIV31SpecValidator(OPENAPI).validate()


def test_the_stream_document_is_valid() -> None:
    if not ASYNCAPI.exists():
        pytest.skip("AsyncAPI's own schema comes from npm: npm ci --prefix web")
    Draft7Validator(json.loads(ASYNCAPI.read_text())).validate(STREAM)


def test_every_reference_leads_somewhere() -> None:
    for document in (OPENAPI, STREAM):
        for reference in references(document):
            found: Any = document
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["$ref"]] if "$ref" in value else [one for item in value.values() for one in references(item)]
    return [one for item in value for one in references(item)] if isinstance(value, list) else []


def test_every_way_in_is_described_and_nothing_else_is() -> None:
    ways = {route.path for route in app.App(Settings.model_construct()).http.routes}
    pages = {"/", "/openapi.json", "/asyncapi.json", *app.Pages.paths}
    assert set(OPENAPI["paths"]) == ways - pages


def test_every_code_has_its_status() -> None:
    responses = OPENAPI["paths"]["/v1/fetchTrades"]["post"]["responses"]
    told = {
        (code, int(status))
        for status, one in responses.items()
        if status != "200"
        for code in one["description"].split(", ")
    }
    at_the_door = {("SERVER_BUSY" if status == 503 else "VALIDATION_ERROR", status) for status in REFUSALS}
    assert told == set(STATUSES.items()) | at_the_door


def test_no_code_is_known_but_those_that_are_sent() -> None:
    schemas = {**OPENAPI["components"]["schemas"], **STREAM["components"]["schemas"]}
    assert schemas["RestError"]["properties"]["code"]["enum"] == list(STATUSES)
    assert set(schemas["ErrorFrame"]["properties"]["code"]["enum"]) == {
        *STATUSES,
        "NOT_SUBSCRIBED",
        "SUBSCRIPTION_LIMIT",
    }


def test_every_header_that_pages_may_read_is_described() -> None:
    assert set(OPENAPI["components"]["headers"]) == set(app.EXPOSED_HEADERS)


def test_every_close_code_is_described() -> None:
    assert all(f"- {code}: " in STREAM["channels"]["stream"]["description"] for code in CLOSES)


def test_every_command_is_described() -> None:
    told = {
        op
        for name, one in STREAM["components"]["messages"].items()
        if name.startswith("command")
        for op in one["title"].split(" | ")
    }
    assert told == set(commands.MODELS)


@pytest.mark.parametrize("operation", [one for one in specs.OPERATIONS if one.body], ids=lambda one: one.path)
def test_the_example_of_a_request_is_one(operation: specs.Operation) -> None:
    assert operation.body is not None
    operation.body.model_validate(operation.example)
    assert problems(OPENAPI, operation.body.__name__, operation.example) == []


@pytest.mark.parametrize("model", specs.COMMANDS, ids=lambda one: one.__name__)
def test_the_example_of_a_command_is_one(model: type) -> None:
    example = dict(specs.COMMANDS[model][1])
    assert isinstance(commands.parse(example), model)
    assert problems(STREAM, model.__name__, example) == []


@pytest.mark.parametrize("model", frames.FRAMES, ids=lambda one: one.__name__)
def test_the_example_of_a_frame_is_one(model: type[shapes.Shape]) -> None:
    text = json.dumps(FRAMES[model])
    model.model_validate_json(text)
    assert problems(STREAM, model.__name__, json.loads(text)) == []


def test_every_frame_says_what_it_is() -> None:
    assert [model for model in frames.FRAMES if not model.__doc__] == []


def test_the_documents_are_not_sent_again_to_who_has_them() -> None:
    http = TestClient(app.App(Settings.model_construct()).http)
    for path in ("/openapi.json", "/asyncapi.json"):
        first = http.get(path)
        again = http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
        assert http.get(path, headers={"Host": "other.example"}).headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (rest.FetchTrades, {"limit": 0}),
        (rest.FetchTrades, {"colour": "red"}),
        (rest.FetchMarkets, {"includeInactive": "yes"}),
        (commands.One, {"op": "subscribe", "channel": "news"}),
        (commands.Batch, {"op": "subscribe", "topics": [{"channel": "trades", "rewind": 1001}]}),
    ],
)
def test_what_is_refused_is_none_by_the_documents_either(model: type, body: dict[str, Any]) -> None:
    document = OPENAPI if model.__name__ in OPENAPI["components"]["schemas"] else STREAM
    assert problems(document, model.__name__, body)


def test_what_may_be_missing_is_not_said_to_be_null() -> None:
    error = {"type": "error", "code": "INTERNAL", "message": "x", "retryable": False}
    assert problems(STREAM, "ErrorFrame", error) == []
    assert problems(STREAM, "ErrorFrame", {**error, "id": None})
    assert problems(STREAM, "ErrorFrame", {**error, "code": "X"})


def test_a_warning_is_as_it_is_written() -> None:
    topic = {"exchange": "binance", "symbol": "BTC/USDT:USDT", "params": {}}
    loss = {
        "channel": "trades",
        "topic": topic,
        "from": str(Cursor(1, 2)),
        "to": str(Cursor(1, 5)),
        "missing": 7,
        "events": 2,
    }
    assert problems(STREAM, "Lagged", json.loads(lagged_json([loss]))) == []


def test_hello_states_the_limits_by_numbers() -> None:
    assert all(isinstance(value, int | float) for value in LimitSettings().stated.values())
    assert frames.Welcome.model_fields["limits"].annotation == dict[str, int | float]


def test_the_documents_say_where_the_gateway_is() -> None:
    assert OPENAPI["servers"] == [{"url": "http://127.0.0.1:8787"}]
    assert STREAM["servers"]["gateway"] == {"host": "127.0.0.1:8787", "protocol": "ws"}
    assert specs.asyncapi("x", secure=True)["servers"]["gateway"]["protocol"] == "wss"
