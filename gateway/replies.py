"""Errors as clients see them: one body for REST and websocket, one table from code to HTTP status. Pure."""

from typing import Any

from exchanges.errors import GatewayError

CLOSE_POLICY = 1008
CLOSE_TOO_BIG = 1009
CLOSE_RESTART = 1012
CLOSE_BAD_COMMANDS = 4005
CLOSE_NO_PONG = 4100
CLOSE_SLOW = 4101
CLOSE_COMMAND_RATE = 4103

CLOSES = {
    CLOSE_POLICY: "too many control frames or frames; do not reconnect unchanged",
    CLOSE_TOO_BIG: "a command that is too big or in too many fragments; do not reconnect unchanged",
    CLOSE_RESTART: "the gateway stops or restarts; reconnect, with jitter",
    CLOSE_BAD_COMMANDS: "too many bad commands in a row; do not reconnect unchanged",
    CLOSE_NO_PONG: "nothing was heard of you; reconnect with backoff",
    CLOSE_SLOW: "you were too slow; reconnect with backoff, and ask for less",
    CLOSE_COMMAND_RATE: "too many commands; reconnect with backoff, and slow down",
}

# Codes without a status (NOT_SUBSCRIBED, SUBSCRIPTION_LIMIT) are never an answer to a REST request.
STATUSES = {
    "INVALID_MESSAGE": 400,
    "INVALID_COMMAND": 400,
    "INVALID_TOPIC": 400,
    "VALIDATION_ERROR": 400,
    "BAD_SYMBOL": 400,
    "BAD_CURSOR": 400,
    "UNSUPPORTED_EXCHANGE": 400,
    "UNSUPPORTED_FEATURE": 501,
    "RATE_LIMITED": 429,
    "SUBSCRIBE_FAILED": 502,
    "UPSTREAM_ERROR": 502,
    "UPSTREAM_DATA_INVALID": 502,
    "UPSTREAM_CAPACITY": 503,
    "SERVER_BUSY": 503,
    "SHUTTING_DOWN": 503,
    "UPSTREAM_TIMEOUT": 504,
    "INTERNAL": 500,
}


def error_body(error: GatewayError) -> dict[str, Any]:
    """``code``, ``message``, ``retryable``, and ``retryAfterMs`` and ``details`` where there are any."""
    body: dict[str, Any] = {"code": error.code, "message": str(error), "retryable": error.retryable}
    if error.retry_after is not None:
        body["retryAfterMs"] = round(error.retry_after * 1000)
    if error.details:
        body["details"] = error.details
    return body
