"""Hyperliquid's ``POST /info`` when it goes wrong: there are no error objects, only a status, a text or ``null``."""

from typing import Any

import pytest

from exchanges.errors import BadMessage, GatewayError, UpstreamError, VenueBusy, VenueUnavailable
from exchanges.hyperliquid import Hyperliquid
from exchanges.hyperliquid.rest import refusal
from tests.exchanges.hyperliquid.test_rest import EMPTY_BOOK, TRADE_ROW, Ask, book, candle_row, candles, says, trades
from tests.exchanges.web import Answer, Web

pytestmark = pytest.mark.jumping_clock


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        pytest.param(trades(), {"a": 1}, id="an object for trades"),
        pytest.param(trades(), 7, id="a number for trades"),
        pytest.param(trades(), [7], id="a number for a trade"),
        pytest.param(trades(), [{**TRADE_ROW, "px": "NaN"}], id="a price that is none"),
        pytest.param(trades(), [{**TRADE_ROW, "side": "C"}], id="a third side"),
        pytest.param(trades(), [TRADE_ROW, {"tid": 1}], id="half a trade"),
        pytest.param(candles(), 7, id="a number for candles"),
        pytest.param(candles(), [candle_row(1), None], id="null for a candle"),
        pytest.param(candles(), [{**candle_row(1), "c": "0"}], id="a candle that closes at nothing"),
        pytest.param(candles(), [{**candle_row(1), "t": "1"}], id="a text for an open time"),
        pytest.param(book(), [], id="a list for a book"),
        pytest.param(book(), {**EMPTY_BOOK, "levels": [[]]}, id="one side"),
        pytest.param(book(), {**EMPTY_BOOK, "levels": [[{"px": "NaN", "sz": "1"}], []]}, id="a level that is none"),
        pytest.param(book(), {**EMPTY_BOOK, "time": -1}, id="a time that is none"),
    ],
)
async def test_an_answer_that_is_not_documented_is_refused(
    hyperliquid: Hyperliquid, web: Web, ask: Ask, answer: Any
) -> None:
    says(web, answer)
    with pytest.raises(BadMessage):
        await ask(hyperliquid)


@pytest.mark.parametrize("ask", [trades(), candles(), book()], ids=["trades", "candles", "book"])
@pytest.mark.parametrize("status", [200, 500])
async def test_null_means_a_coin_the_venue_does_not_know(
    hyperliquid: Hyperliquid, web: Web, ask: Ask, status: int
) -> None:
    says(web, None, status)
    with pytest.raises(UpstreamError, match="does not know") as raised:
        await ask(hyperliquid)
    assert (raised.value.code, raised.value.retryable) == ("UPSTREAM_ERROR", False)


@pytest.mark.parametrize(
    ("status", "body", "error", "retryable"),
    [
        (400, b"Failed to parse the request body as JSON", UpstreamError, False),
        (415, b"Expected request with `Content-Type: application/json`", UpstreamError, False),
        (422, b"Failed to deserialize the JSON body into the target type", UpstreamError, False),
        (404, b"", UpstreamError, False),
        (429, b"null", VenueBusy, True),
        (500, b'{"error":"x"}', VenueUnavailable, True),
        (502, b"<html>Bad Gateway</html>", VenueUnavailable, True),
        (503, b"null", VenueUnavailable, True),
        (302, b"[]", VenueUnavailable, True),  # its host is what the settings say: no redirects
        (200, b"<html>maintenance</html>", VenueUnavailable, True),
    ],
)
async def test_the_venues_errors_are_told_as_ours(
    hyperliquid: Hyperliquid, web: Web, status: int, body: bytes, error: type[GatewayError], retryable: bool
) -> None:
    web.always(Answer(body, status=status))
    with pytest.raises(error) as raised:
        await trades()(hyperliquid)
    assert (type(raised.value), raised.value.retryable) == (error, retryable)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({}, 60.0),
        ({"Retry-After": "Sat, 21 Nov 2026 12:00:30 GMT", "Date": "Sat, 21 Nov 2026 12:00:00 GMT"}, 30.0),
    ],
    ids=["said", "not said, as far as is known of it", "a date"],
)
async def test_how_long_the_venue_wants_us_to_wait_is_passed_on(
    hyperliquid: Hyperliquid, web: Web, headers: dict[str, str], pause: float
) -> None:
    web.always(Answer(b"null", status=429, headers=headers))
    with pytest.raises(VenueBusy) as raised:
        await candles()(hyperliquid)
    assert raised.value.retry_after == pytest.approx(pause, abs=0.1)


async def test_a_firewalls_page_is_told_without_a_word_of_it(hyperliquid: Hyperliquid, web: Web) -> None:
    web.always(Answer(b"<html>blocked by secret-waf-7</html>", status=403))
    with pytest.raises(UpstreamError, match=r"HTTP status 403") as raised:
        await book()(hyperliquid)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("group", ["perp", "spot"])
async def test_a_group_of_which_a_list_fails_fails(hyperliquid: Hyperliquid, web: Web, group: str) -> None:
    web.always(Answer(b"<html>", status=502))
    with pytest.raises(VenueUnavailable):
        await hyperliquid.fetch_instruments(group)


@pytest.mark.parametrize("answer", [[], {}, 0, b"html"])
def test_below_400_only_null_is_an_error(answer: Any) -> None:
    assert refusal(200, answer) is None
