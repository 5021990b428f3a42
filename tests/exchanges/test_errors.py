"""The public codes: programs of clients depend on them, so that a change here is a change of the contract."""

import pytest

from exchanges import errors
from exchanges.errors import BadMessage, CrossedBook, GatewayError, SequenceGap, UpstreamError

CODES = [
    ("InvalidMessage", "INVALID_MESSAGE", False),
    ("InvalidCommand", "INVALID_COMMAND", False),
    ("ValidationFailed", "VALIDATION_ERROR", False),
    ("InvalidTopic", "INVALID_TOPIC", False),
    ("BadSymbol", "BAD_SYMBOL", False),
    ("BadCursor", "BAD_CURSOR", False),
    ("UnsupportedExchange", "UNSUPPORTED_EXCHANGE", False),
    ("UnsupportedFeature", "UNSUPPORTED_FEATURE", False),
    ("NotSubscribed", "NOT_SUBSCRIBED", False),
    ("SubscriptionLimit", "SUBSCRIPTION_LIMIT", False),
    ("RateLimited", "RATE_LIMITED", True),
    ("UpstreamCapacity", "UPSTREAM_CAPACITY", True),
    ("ServerBusy", "SERVER_BUSY", True),
    ("ShuttingDown", "SHUTTING_DOWN", True),
    ("Internal", "INTERNAL", False),
    ("UpstreamError", "UPSTREAM_ERROR", False),
    ("SubscribeFailed", "SUBSCRIBE_FAILED", False),
    ("VenueUnavailable", "UPSTREAM_ERROR", True),
    ("VenueTimeout", "UPSTREAM_TIMEOUT", True),
    ("VenueBusy", "UPSTREAM_CAPACITY", True),
    ("BadMessage", "UPSTREAM_DATA_INVALID", False),
]


@pytest.mark.parametrize(("name", "code", "retryable"), CODES)
def test_every_error_has_its_code_and_says_whether_to_try_again(name: str, code: str, retryable: bool) -> None:
    error = getattr(errors, name)
    assert (error.code, error.retryable) == (code, retryable)


def test_the_table_above_has_them_all() -> None:
    found = {
        name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, GatewayError)
    }
    assert found - {"GatewayError"} <= {name for name, _, _ in CODES}


def test_an_error_carries_words_for_people_and_facts_for_programs() -> None:
    error = errors.BadSymbol("no such symbol", field="symbol", suggestions=["BTC/USDT"])
    assert (str(error), error.retry_after) == ("no such symbol", None)
    assert error.details == {"field": "symbol", "suggestions": ["BTC/USDT"]}


def test_what_a_venue_sent_is_kept_for_the_log_only_and_not_all_of_it() -> None:
    error = BadMessage("toy", "KeyError('p')", b"secret" * 1_000)
    assert (len(error.raw), error.problem) == (200, "KeyError('p')")
    assert str(error) == "toy sent a message that could not be read"


@pytest.mark.parametrize("fault", [SequenceGap(expected=7, got=9), CrossedBook(11.0, 10.0)])
def test_a_fault_of_a_book_is_never_told_as_an_error_of_the_venues(fault: Exception) -> None:
    assert not isinstance(fault, GatewayError | UpstreamError)
