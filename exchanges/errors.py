"""Every error a client can be told about, with its public code. Imports nothing; says nothing of HTTP.

    GatewayError
    ├── InvalidMessage, InvalidCommand, ValidationFailed, InvalidTopic     the client's words
    ├── BadSymbol, BadCursor, UnsupportedExchange, UnsupportedFeature      no such thing here
    ├── NotSubscribed, SubscriptionLimit, RateLimited                      this connection
    ├── UpstreamCapacity, ServerBusy, ShuttingDown                         budgets
    ├── Internal                                                           our bug
    └── UpstreamError                                                      the venue
        ├── SubscribeFailed    it refused the subscription
        ├── VenueUnavailable   it cannot be reached, or answers with its own failure
        ├── VenueTimeout       it did not answer in time
        ├── VenueBusy          it asks us to wait (429, 418)
        └── BadMessage         it sent what its documentation does not describe

``SequenceGap`` and ``CrossedBook`` are faults of one book; the feed heals them and no client sees them as an error.
"""

from typing import Any


class GatewayError(Exception):
    """A failure a client is told about: ``str()`` is for people, ``code`` and ``details`` for programs."""

    code = "INTERNAL"
    retryable = False

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds, None: no advice
        self.details = details


class InvalidMessage(GatewayError):
    code = "INVALID_MESSAGE"


class InvalidCommand(GatewayError):
    code = "INVALID_COMMAND"


class ValidationFailed(GatewayError):
    code = "VALIDATION_ERROR"


class InvalidTopic(GatewayError):
    code = "INVALID_TOPIC"


class BadSymbol(GatewayError):
    code = "BAD_SYMBOL"


class BadCursor(GatewayError):
    code = "BAD_CURSOR"


class UnsupportedExchange(GatewayError):
    code = "UNSUPPORTED_EXCHANGE"


class UnsupportedFeature(GatewayError):
    code = "UNSUPPORTED_FEATURE"


class NotSubscribed(GatewayError):
    code = "NOT_SUBSCRIBED"


class SubscriptionLimit(GatewayError):
    code = "SUBSCRIPTION_LIMIT"


class RateLimited(GatewayError):
    code = "RATE_LIMITED"
    retryable = True


class UpstreamCapacity(GatewayError):
    code = "UPSTREAM_CAPACITY"
    retryable = True


class ServerBusy(GatewayError):
    code = "SERVER_BUSY"
    retryable = True


class ShuttingDown(GatewayError):
    code = "SHUTTING_DOWN"
    retryable = True


class Internal(GatewayError):
    pass


class UpstreamError(GatewayError):
    code = "UPSTREAM_ERROR"


class SubscribeFailed(UpstreamError):
    code = "SUBSCRIBE_FAILED"


class VenueUnavailable(UpstreamError):
    retryable = True


class VenueTimeout(UpstreamError):
    code = "UPSTREAM_TIMEOUT"
    retryable = True


class VenueBusy(UpstreamError):
    code = "UPSTREAM_CAPACITY"
    retryable = True


class BadMessage(UpstreamError):
    """A message of ``venue`` could not be read; ``raw`` is kept for the log, never for a client."""

    code = "UPSTREAM_DATA_INVALID"

    def __init__(self, venue: str, problem: str, raw: bytes = b"") -> None:
        super().__init__(f"{venue} sent a message that could not be read")
        self.venue, self.problem, self.raw = venue, problem, raw[:200]


# What reading a message that is not as documented can raise; the border turns it into BadMessage. msgspec's errors are
# ValueErrors, and its decoders meet absurd nesting with a RecursionError.
UNREADABLE = (ArithmeticError, AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


class SequenceGap(Exception):
    """A delta does not join the one before."""

    def __init__(self, *, expected: int, got: int) -> None:
        super().__init__(f"expected a delta that follows {expected}, got one that follows {got}")
        self.expected, self.got = expected, got


class CrossedBook(Exception):
    """The best bid is not below the best ask."""

    def __init__(self, best_bid: float, best_ask: float) -> None:
        super().__init__(f"best bid {best_bid} is not below best ask {best_ask}")
        self.best_bid, self.best_ask = best_bid, best_ask
