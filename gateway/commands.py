"""What a client may send over the websocket, parsed once at the door. Pure.

Inside the door nothing is checked again: a command object is valid but for what only a catalogue can know.
"""

from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from exchanges.errors import GatewayError, InvalidCommand, InvalidMessage, InvalidTopic, ValidationFailed
from exchanges.venue import CHANNELS, Channel
from topics.key import KNOWN_PARAMS

MAX_REWIND = 1_000
PARAMS = "which stream of the symbol: " + ", ".join(sorted(KNOWN_PARAMS))

Id = Annotated[str, StringConstraints(max_length=64)] | int
Name = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TopicRequest(Wire):
    """Which topic, and how to join it. The latter never becomes part of the topic."""

    channel: Channel
    exchange: Name | None = Field(default=None, description="left out: the default exchange")
    symbol: Name | None = Field(
        default=None, description="unified, or any other name of it", examples=["BTC/USDT:USDT"]
    )
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)
    since: Name | None = Field(default=None, description="the cursor behind which to go on")
    rewind: int = Field(default=0, ge=0, le=MAX_REWIND, description="rows of the past that come first")
    snapshot: bool | None = Field(default=None, description="the current state first; by default of books and candles")


class One(TopicRequest):
    """One topic: ``subscribe``, ``unsubscribe``, or a whole frame of it now."""

    op: Literal["subscribe", "unsubscribe", "snapshot"]
    id: Id | None = None


class Batch(Wire):
    """Several topics; each is answered by itself, and then all of them."""

    op: Literal["subscribe", "unsubscribe"]
    id: Id | None = None
    topics: list[Any]  # each parsed on its own: one bad item never affects the others


class Plain(Wire):
    """End all subscriptions, or list them."""

    op: Literal["unsubscribeAll", "list"]
    id: Id | None = None


class Rest(Wire):
    """``pause`` and ``resume``, of the given topics or of all."""

    op: Literal["pause", "resume"]
    id: Id | None = None
    topics: list[Any] | None = None


class Ping(Wire):
    """With ``id`` or ``t`` the answer has times, too."""

    op: Literal["ping"]
    id: Id | None = None
    t: int | float | None = None


class Hello(Wire):
    """Who is there; from then on frames of all types are sent."""

    op: Literal["hello"]
    id: Id | None = None
    client: Annotated[str, StringConstraints(max_length=128)] | None = None
    token: Annotated[str, StringConstraints(max_length=4096)] | None = None


Command = One | Batch | Plain | Rest | Ping | Hello
MODELS: dict[str, type[Command]] = {
    "subscribe": One,
    "unsubscribe": One,
    "snapshot": One,
    "unsubscribeAll": Plain,
    "list": Plain,
    "pause": Rest,
    "resume": Rest,
    "ping": Ping,
    "hello": Hello,
}
TOPIC_REQUEST = TypeAdapter(TopicRequest)


def parse(message: dict[str, Any]) -> Command:
    """The command in one message that ``read`` gave.

    Raises:
        InvalidCommand, InvalidTopic, ValidationFailed: what is wrong and what is allowed.
    """
    op = message.get("op")
    model: type[Command] | None = MODELS.get(op) if isinstance(op, str) else None
    if model is None:
        raise InvalidCommand("unknown operation", field="op", allowed=sorted(MODELS))
    if model is One and "topics" in message and op != "snapshot":
        model = Batch
    try:
        return model.model_validate(message)
    except ValidationError as error:
        raise explain(error, model) from error


def read(text: str | bytes) -> dict[str, Any]:
    """The JSON object in ``text``.

    Raises:
        InvalidMessage: it is none.
    """
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidMessage("a command is one JSON object") from error
    if not isinstance(message, dict):
        raise InvalidMessage("a command is one JSON object")
    return message


def parse_topic(item: Any) -> TopicRequest:
    """One item of a batch. Raises as ``parse`` does."""
    try:
        return TOPIC_REQUEST.validate_python(item)
    except ValidationError as error:
        raise explain(error, TopicRequest) from error


def identity(message: Any) -> str | int | None:
    """The ``id`` to echo, also of a command that is otherwise wrong."""
    value = message.get("id") if isinstance(message, dict) else None
    if isinstance(value, str) and len(value) <= 64:
        return value
    return value if type(value) is int else None


def explain(error: ValidationError, model: type[BaseModel]) -> GatewayError:
    """The first problem as our error: which field, what was wrong, what is allowed."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # The first part is the field; what follows names alternatives of its type in the library's words.
    field = "".join(str(part)[:64] for part in problem["loc"][:1])
    if problem["type"] == "extra_forbidden":
        return InvalidCommand("unknown field", field=field, allowed=sorted(model.model_fields))
    if field == "channel":
        return InvalidTopic("no such channel", field=field, allowed=list(CHANNELS))
    if field in ("symbol", "exchange") or field.startswith("params"):
        return InvalidTopic(f"{field}: {problem['msg']}", field=field)
    return ValidationFailed(f"{field}: {problem['msg']}", field=field)
