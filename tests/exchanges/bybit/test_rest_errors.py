"""Bybit's REST when it goes wrong: errors come as HTTP 200 with a code, and HTTP 403 is the address's limit."""

from typing import Any

import orjson
import pytest

from exchanges.bybit import Bybit
from exchanges.bybit.rest import refusal
from exchanges.errors import BadMessage, GatewayError, UpstreamError, VenueBusy, VenueUnavailable
from tests.exchanges.bybit.test_rest import (
    BOOK,
    T0,
    TRADE_ROW,
    Ask,
    book,
    candles,
    envelope,
    kline,
    says,
    trades,
)
from tests.exchanges.web import Answer, Web

pytestmark = pytest.mark.jumping_clock


def instruments() -> Ask:
    return lambda venue: venue.fetch_instruments("linear")


ASKS = pytest.mark.parametrize(
    "ask", [trades(), candles(), book(), instruments()], ids=["trades", "candles", "book", "instruments"]
)


@pytest.mark.parametrize(
    ("ask", "result"),
    [
        pytest.param(trades(), {"list": [7]}, id="a number for a trade"),
        pytest.param(trades(), {"list": [{**TRADE_ROW, "price": "NaN"}]}, id="a price that is none"),
        pytest.param(trades(), {"list": [{**TRADE_ROW, "side": "None"}]}, id="a third side"),
        pytest.param(trades(), {"list": [{**TRADE_ROW, "time": "soon"}]}, id="a time of letters"),
        pytest.param(trades(), {"list": [{**TRADE_ROW, "execId": None}]}, id="null for an id"),
        pytest.param(trades(), {"list": [TRADE_ROW, {"execId": "1"}]}, id="half a trade"),
        pytest.param(trades("inverse"), {"list": [{**TRADE_ROW, "price": "0"}]}, id="a price without a reciprocal"),
        pytest.param(candles(), {"list": [["1794301200000", "1"]]}, id="half a candle"),
        pytest.param(candles("inverse"), {"list": [kline(0)[:6]]}, id="a candle without its turnover"),
        pytest.param(candles(), {"list": [[*kline(0)[:4], "0", "1", "1"]]}, id="a candle that closes at nothing"),
        pytest.param(candles(), {"list": [["x", *kline(0)[1:]]]}, id="an open time of letters"),
        pytest.param(candles(), {"list": [kline(1), None]}, id="null for a candle"),
        pytest.param(candles(), {"list": {"0": kline(0)}}, id="an object for rows"),
        pytest.param(book(), {"b": [], "a": []}, id="a book without its time"),
        pytest.param(book(), {"b": [], "ts": T0}, id="one side"),
        pytest.param(book(), {**BOOK, "ts": T0, "b": [["NaN", "1"]]}, id="a level that is none"),
        pytest.param(book(), {**BOOK, "ts": T0, "b": [["1", "1", "0"]]}, id="a level of three numbers"),
        pytest.param(book(), {**BOOK, "ts": -1}, id="a time that is none"),
        pytest.param(instruments(), {"list": "rows"}, id="a text for rows"),
        pytest.param(instruments(), {"list": [{}]}, id="an empty row"),
    ],
)
async def test_a_result_that_is_not_documented_is_refused(bybit: Bybit, web: Web, ask: Ask, result: Any) -> None:
    says(web, result)
    with pytest.raises(BadMessage):
        await ask(bybit)


@ASKS
@pytest.mark.parametrize("result", [None, {}, {"list": None, "b": None}], ids=repr)
async def test_a_result_without_rows_is_refused(bybit: Bybit, web: Web, ask: Ask, result: Any) -> None:
    says(web, result)
    with pytest.raises(BadMessage):
        await ask(bybit)


@ASKS
@pytest.mark.parametrize("answer", [None, {"retCode": 0}], ids=repr)
async def test_an_answer_without_a_result_is_refused(bybit: Bybit, web: Web, ask: Ask, answer: Any) -> None:
    web.always(Answer(orjson.dumps(answer)))
    with pytest.raises(BadMessage):
        await ask(bybit)


@pytest.mark.parametrize("time", [None, "1794301200000"])
async def test_candles_need_the_venues_clock_to_tell_which_is_forming(bybit: Bybit, web: Web, time: Any) -> None:
    web.always(Answer(orjson.dumps(envelope({"list": [kline(0)]}, time))))
    with pytest.raises(BadMessage):
        await candles()(bybit)


@pytest.mark.parametrize(
    ("status", "body", "error", "retryable"),
    [
        (200, {"retCode": 10001, "retMsg": "params error: symbol invalid", "result": {}}, UpstreamError, False),
        (200, {"retCode": 10029, "retMsg": "symbol is invalid"}, UpstreamError, False),
        (200, {"retCode": 170121, "retMsg": "Invalid symbol."}, UpstreamError, False),
        (200, {"retCode": 10024, "retMsg": "compliance rules triggered"}, UpstreamError, False),
        (404, {"retCode": 10404, "retMsg": "path not found"}, UpstreamError, False),
        (200, {"retCode": "0"}, UpstreamError, False),
        (200, {}, UpstreamError, False),
        (200, {"retCode": 10006, "retMsg": "Too many visits!"}, VenueBusy, True),
        (429, {"retCode": 10006, "retMsg": "Too many visits!"}, VenueBusy, True),
        (403, {"retCode": 10024, "retMsg": "compliance rules triggered"}, VenueBusy, True),
        (200, {"retCode": 10016, "retMsg": "Server error."}, VenueUnavailable, True),
        (500, {"retCode": 10016, "retMsg": "Server error."}, VenueUnavailable, True),
        (502, {"message": "upstream connect error"}, VenueUnavailable, True),
        (503, {}, VenueUnavailable, True),
        (504, None, VenueUnavailable, True),
    ],
)
async def test_the_venues_errors_are_told_as_ours(
    bybit: Bybit, web: Web, status: int, body: Any, error: type[GatewayError], retryable: bool
) -> None:
    web.always(Answer(orjson.dumps(body), status=status))
    with pytest.raises(error) as raised:
        await trades()(bybit)
    assert (type(raised.value), raised.value.retryable) == (error, retryable)


@pytest.mark.parametrize(
    ("answer", "pause"),
    [
        (Answer(b'{"retCode":10006}'), 1.0),
        (Answer(b"access too frequent", status=403), 600.0),
        (Answer(b"", status=429, headers={"Retry-After": "7"}), 7.0),
        (Answer(b"", status=429), 60.0),
        (Answer(b'{"retCode":10016}'), None),
    ],
    ids=["one endpoint's limit", "the address's limit", "said", "not said", "a restart"],
)
async def test_how_long_the_venue_wants_us_to_wait_is_passed_on(
    bybit: Bybit, web: Web, answer: Answer, pause: float | None
) -> None:
    web.always(answer)
    with pytest.raises(UpstreamError) as raised:
        await candles()(bybit)
    assert raised.value.retry_after == (None if pause is None else pytest.approx(pause, abs=0.1))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(b"<html>blocked by secret-waf-7</html>", status=403),
        Answer(b"<html>secret-waf-7 maintenance</html>"),
        Answer(b'{"retCode":10001,"retMsg":"secret-waf-7"}'),
    ],
    ids=["a firewall's page", "a page in place of JSON", "the venue's words"],
)
async def test_what_the_venue_said_reaches_no_client(bybit: Bybit, web: Web, answer: Answer) -> None:
    web.always(answer)
    with pytest.raises(UpstreamError) as raised:
        await book()(bybit)
    assert "secret" not in str(raised.value)


async def test_a_page_that_fails_takes_the_whole_list_along(bybit: Bybit, web: Web) -> None:
    pages = iter([envelope({"list": [], "nextPageCursor": "second"}), {"retCode": 10016}])

    async def page(_: object) -> Answer:
        return Answer(orjson.dumps(next(pages)))

    web.answer = page
    with pytest.raises(VenueUnavailable):
        await bybit.fetch_instruments("linear")


@pytest.mark.parametrize("answer", [{"retCode": 0}, None, [], b"html"])
def test_what_carries_no_code_is_no_refusal(answer: Any) -> None:
    assert refusal(200, answer) is None
