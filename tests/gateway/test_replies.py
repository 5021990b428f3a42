"""Errors as clients see them, and that no code is forgotten in any table."""

from collections.abc import Iterator

import pytest

from exchanges import errors
from exchanges.errors import BadMessage, GatewayError, Internal, InvalidTopic, RateLimited, VenueBusy
from gateway.replies import STATUSES, error_body

# Codes that a REST request never gets: they are about a websocket connection's subscriptions.
WEBSOCKET_ONLY = {"NOT_SUBSCRIBED", "SUBSCRIPTION_LIMIT"}


def descendants(kind: type[GatewayError]) -> Iterator[type[GatewayError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def test_every_code_has_an_http_status_but_those_of_the_websocket() -> None:
    codes = {kind.code for kind in descendants(GatewayError) if kind.__module__ == errors.__name__}

    assert set(STATUSES) | WEBSOCKET_ONLY >= codes
    assert not WEBSOCKET_ONLY & set(STATUSES)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_MESSAGE", 400),
        ("INVALID_COMMAND", 400),
        ("INVALID_TOPIC", 400),
        ("VALIDATION_ERROR", 400),
        ("BAD_SYMBOL", 400),
        ("UNSUPPORTED_EXCHANGE", 400),
        ("UNSUPPORTED_FEATURE", 501),
        ("RATE_LIMITED", 429),
        ("SUBSCRIBE_FAILED", 502),
        ("UPSTREAM_ERROR", 502),
        ("UPSTREAM_DATA_INVALID", 502),
        ("UPSTREAM_CAPACITY", 503),
        ("SERVER_BUSY", 503),
        ("SHUTTING_DOWN", 503),
        ("UPSTREAM_TIMEOUT", 504),
        ("INTERNAL", 500),
    ],
)
def test_a_code_has_the_status_of_the_contract(code: str, status: int) -> None:
    assert STATUSES[code] == status


@pytest.mark.parametrize(
    ("error", "body"),
    [
        (Internal("our fault"), {"code": "INTERNAL", "message": "our fault", "retryable": False}),
        (
            InvalidTopic("no such mode", field="params.mode", allowed=["full"]),
            {
                "code": "INVALID_TOPIC",
                "message": "no such mode",
                "retryable": False,
                "details": {"field": "params.mode", "allowed": ["full"]},
            },
        ),
        (
            RateLimited("slower", retry_after=0.25),
            {"code": "RATE_LIMITED", "message": "slower", "retryable": True, "retryAfterMs": 250},
        ),
        (
            VenueBusy("wait", retry_after=0.0),
            {"code": "UPSTREAM_CAPACITY", "message": "wait", "retryable": True, "retryAfterMs": 0},
        ),
    ],
)
def test_a_body_says_what_was_wrong_and_whether_to_come_back(error: GatewayError, body: dict[str, object]) -> None:
    assert error_body(error) == body


def test_what_a_venue_sent_is_never_repeated() -> None:
    error = BadMessage("binance", "KeyError('secret')", b"<html>secret</html>")

    assert "secret" not in str(error_body(error))
