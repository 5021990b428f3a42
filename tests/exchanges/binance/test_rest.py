"""Binance's REST: what is asked, in which words, and what is made of the answers (docs/venues/binance.md)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from exchanges.binance import Binance
from exchanges.binance.parse import texts
from exchanges.binance.rest import refusal
from exchanges.errors import (
    BadMessage,
    GatewayError,
    UpstreamError,
    ValidationFailed,
    VenueBusy,
    VenueUnavailable,
)
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.instrument import Instrument
from tests.exchanges.web import Answer, Request, Web

pytestmark = pytest.mark.jumping_clock

T0 = 1_794_301_200_000  # ms
FUTURE_MS = 32_503_680_000_000  # the year 3000: no candle that ends then is closed
AGG_ROW = {"a": 77, "p": "3117.45", "q": "0.640", "nq": "0.640", "f": 5, "l": 6, "T": T0, "m": True}
RECENT_ROW = {
    "id": 501,
    "price": "3117.45",
    "qty": "0.640",
    "quoteQty": "1995.16",
    "time": T0,
    "isBuyerMaker": False,
    "isRPITrade": False,
}


def recent(*times: int) -> list[dict[str, Any]]:
    return [{**RECENT_ROW, "id": number, "time": T0 + time} for number, time in enumerate(times)]


def kline(open_ms: int, close_ms: int) -> list[Any]:
    return [open_ms, "10.0", "12.0", "9.5", "11.0", "4.2", close_ms, "46.2", 13, "2.1", "23.1", "0"]


def instrument(market: str = "linear", venue_symbol: str = "ETHUSDT") -> Instrument:
    return Instrument(
        exchange="binance",
        market=market,
        symbol="any",
        venue_symbol=venue_symbol,
        base="ETH",
        quote="USDT",
        settle=None,
        kind="perp",
        active=True,
        tick_size=None,
        min_order_size=None,
        contract_size=None,
        info={},
    )


@pytest.fixture
async def binance(web: Web) -> AsyncIterator[Binance]:
    venue = Binance(rest_url=f"{web.url}/futures", spot_rest_url=f"{web.url}/spot")
    yield venue
    await venue.close()


def says(web: Web, answer: object, status: int = 200) -> None:
    web.always(Answer(orjson.dumps(answer), status=status))


Ask = Callable[[Binance], Awaitable[Any]]


def trades(market: str = "linear", **differences: Any) -> Ask:
    question = {"since": None, "until": None, "limit": 100, "params": {}, **differences}
    return lambda venue: venue.fetch_trades(instrument(market), **question)


def candles(market: str = "linear", timeframe: str = "1m", **differences: Any) -> Ask:
    question = {"since": None, "until": None, "limit": 100, **differences}
    return lambda venue: venue.fetch_candles(instrument(market), timeframe, **question)


def book(levels: int, market: str = "linear") -> Ask:
    return lambda venue: venue.fetch_book(instrument(market), levels=levels)


EMPTY_BOOK = {"lastUpdateId": 7, "bids": [], "asks": []}
RAW = {"params": {"name": "trade"}}


@pytest.mark.parametrize(
    ("ask", "path", "query"),
    [
        (trades(), "/futures/fapi/v1/aggTrades", {"limit": "100"}),
        (trades(limit=5000), "/futures/fapi/v1/aggTrades", {"limit": "1000"}),
        (trades(since=7, until=9), "/futures/fapi/v1/aggTrades", {"limit": "100", "startTime": "7", "endTime": "9"}),
        (trades(since=0), "/futures/fapi/v1/aggTrades", {"limit": "100", "startTime": "0"}),
        (trades(until=9), "/futures/fapi/v1/aggTrades", {"limit": "100", "endTime": "9"}),
        (trades(params={"name": "aggTrade"}), "/futures/fapi/v1/aggTrades", {"limit": "100"}),
        (trades("spot"), "/spot/api/v3/aggTrades", {"limit": "100"}),
        (trades(**RAW), "/futures/fapi/v1/trades", {"limit": "100"}),
        (trades(**RAW, limit=5000), "/futures/fapi/v1/trades", {"limit": "1000"}),
        (trades(**RAW, since=7), "/futures/fapi/v1/trades", {"limit": "1000"}),
        (trades("spot", **RAW), "/spot/api/v3/trades", {"limit": "100"}),
        (candles(), "/futures/fapi/v1/klines", {"interval": "1m", "limit": "100"}),
        (candles(timeframe="1M", limit=9000), "/futures/fapi/v1/klines", {"interval": "1M", "limit": "1500"}),
        (candles("spot", limit=9000), "/spot/api/v3/klines", {"interval": "1m", "limit": "1000"}),
        (
            candles(since=7, until=9),
            "/futures/fapi/v1/klines",
            {"interval": "1m", "limit": "100", "startTime": "7", "endTime": "9"},
        ),
    ],
)
async def test_what_is_asked_for_rows(binance: Binance, web: Web, ask: Ask, path: str, query: dict[str, str]) -> None:
    says(web, [])
    assert await ask(binance) == []
    (request,) = web.requests
    assert (request.method, request.path, request.query) == ("GET", path, {"symbol": "ETHUSDT", **query})


@pytest.mark.parametrize(
    ("levels", "limit"), [(1, 5), (5, 5), (6, 10), (20, 20), (21, 50), (200, 500), (1000, 1000), (5000, 1000)]
)
async def test_a_book_is_asked_for_in_the_smallest_size_that_serves(
    binance: Binance, web: Web, levels: int, limit: int
) -> None:
    says(web, {"lastUpdateId": 7, "bids": [], "asks": []})
    await book(levels)(binance)
    assert web.requests[0].path == "/futures/fapi/v1/depth"
    assert web.requests[0].query == {"symbol": "ETHUSDT", "limit": str(limit)}


async def test_symbols_beyond_ascii_reach_the_venue_as_they_are(binance: Binance, web: Web) -> None:
    says(web, [])
    await binance.fetch_trades(instrument(venue_symbol="币安人生USDT"), since=None, until=None, limit=5, params={})
    assert web.requests[0].query["symbol"] == "币安人生USDT"


async def test_aggregate_trades_come_oldest_first_as_the_venue_gives_them(binance: Binance, web: Web) -> None:
    says(web, [AGG_ROW, {**AGG_ROW, "a": 78, "m": False}])
    first, second = await trades()(binance)
    assert first == Trade(
        id="77", timestamp_ms=T0, taker_side="sell", price=3117.45, amount=0.64, cost=1995.168, raw=AGG_ROW
    )
    assert (second.id, second.taker_side) == ("78", "buy")


async def test_recent_trades_have_the_cost_the_venue_says(binance: Binance, web: Web) -> None:
    says(web, [RECENT_ROW])
    assert await trades(**RAW)(binance) == [
        Trade(id="501", timestamp_ms=T0, taker_side="buy", price=3117.45, amount=0.64, cost=1995.16, raw=RECENT_ROW)
    ]


@pytest.mark.parametrize(
    ("question", "ids"),
    [
        pytest.param({}, ["0", "1", "2", "3"], id="all"),
        pytest.param({"limit": 2}, ["2", "3"], id="the newest"),
        pytest.param({"since": T0 + 20}, ["1", "2", "3"], id="from a time, inclusive"),
        pytest.param({"since": T0 + 20, "limit": 2}, ["1", "2"], id="the first from a time"),
        pytest.param({"until": T0 + 30}, ["0", "1", "2"], id="to a time, inclusive"),
        pytest.param({"until": T0 + 30, "limit": 2}, ["1", "2"], id="the newest to a time"),
        pytest.param({"since": T0 + 20, "until": T0 + 30, "limit": 1}, ["1"], id="the first between two times"),
        pytest.param({"since": T0 + 99}, [], id="none so late"),
        pytest.param({"until": T0}, [], id="none so early"),
    ],
)
async def test_recent_trades_are_cut_to_what_was_asked(
    binance: Binance, web: Web, question: dict[str, int], ids: list[str]
) -> None:
    says(web, recent(10, 20, 30, 40))
    assert [trade.id for trade in await trades(**RAW, **question)(binance)] == ids


async def test_candles_come_with_the_forming_one_last(binance: Binance, web: Web) -> None:
    says(web, [kline(T0, T0 + 59_999), kline(FUTURE_MS, FUTURE_MS + 59_999)])
    past, forming = await candles()(binance)
    assert past == Candle(open_time_ms=T0, open=10.0, high=12.0, low=9.5, close=11.0, volume=4.2, closed=True)
    assert (forming.open_time_ms, forming.closed) == (FUTURE_MS, False)


async def test_a_candle_is_closed_once_its_last_millisecond_has_passed(binance: Binance, web: Web) -> None:
    now_ms = time.time_ns() // 1_000_000
    says(web, [kline(now_ms - 60_000, now_ms - 1_000), kline(now_ms - 1_000, now_ms + 59_000)])
    assert [candle.closed for candle in await candles()(binance)] == [True, False]


@pytest.mark.parametrize(("times", "timestamp_ms"), [({"E": T0 + 3, "T": T0}, T0), ({}, None)], ids=["futures", "spot"])
async def test_a_book_has_its_sequence_and_its_levels_as_numbers(
    binance: Binance, web: Web, times: dict[str, int], timestamp_ms: int | None
) -> None:
    answer = {"lastUpdateId": 9_921_740_018_822, **times, "bids": [["3117.40", "1.0"]], "asks": [["3117.50", "2"]]}
    says(web, answer)
    assert await book(20)(binance) == BookSnapshot(
        bids=[(3117.4, 1.0)],
        asks=[(3117.5, 2.0)],
        sequence=9_921_740_018_822,
        timestamp_ms=timestamp_ms,
        raw=answer,
    )
    assert texts(answer) == ([("3117.40", "1.0")], [("3117.50", "2")])


@pytest.mark.parametrize(("group", "path"), [("linear", "/futures/fapi/v1"), ("spot", "/spot/api/v3")])
async def test_each_group_of_instruments_has_its_own_list(binance: Binance, web: Web, group: str, path: str) -> None:
    says(web, {"symbols": []})
    assert await binance.fetch_instruments(group) == []
    assert [request.path for request in web.requests] == [f"{path}/exchangeInfo"]


# -- what a stream asks by REST ----------------------------------------------------------------------------------------


async def test_a_books_stream_syncs_with_the_deepest_snapshot(binance: Binance, web: Web) -> None:
    says(web, {"lastUpdateId": 7, "bids": [], "asks": []})
    stream = binance.stream("orderbook", instrument("spot"), {"levels": 5})
    assert stream.snapshot is not None
    assert (await stream.snapshot()).sequence == 7
    assert (web.requests[0].path, web.requests[0].query["limit"]) == ("/spot/api/v3/depth", "1000")


@pytest.mark.parametrize(
    ("market", "rows", "fingerprint", "path"),
    [
        ("linear", recent(0), "0", "/futures/fapi/v1/trades"),
        ("spot", [AGG_ROW], "77", "/spot/api/v3/aggTrades"),
        ("linear", [], None, "/futures/fapi/v1/trades"),
    ],
)
async def test_a_streams_witness_is_the_newest_trade_asked_for_where_it_is_cheapest(
    binance: Binance, web: Web, market: str, rows: list[Any], fingerprint: str | None, path: str
) -> None:
    says(web, rows)
    stream = binance.stream("ohlcv", instrument(market), {"timeframe": "1m"})
    assert stream.witness is not None
    assert await stream.witness() == fingerprint
    assert (web.requests[0].path, web.requests[0].query) == (path, {"symbol": "ETHUSDT", "limit": "1"})


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        pytest.param(trades(), {"a": 1}, id="an object for rows"),
        pytest.param(trades(), [7], id="a number for a trade"),
        pytest.param(trades(), [{**AGG_ROW, "p": "NaN"}], id="a price that is none"),
        pytest.param(trades(**RAW), [{"id": 1}], id="half a trade"),
        pytest.param(trades(**RAW), None, id="null"),
        pytest.param(candles(), [[T0, "1"]], id="half a candle"),
        pytest.param(candles(), [[*kline(T0, T0)[:6], "x"]], id="a close time of letters"),
        pytest.param(book(20), {"bids": [], "asks": []}, id="a book without its sequence"),
        pytest.param(book(20), [], id="a list for a book"),
        pytest.param(book(20), {"lastUpdateId": 7, "bids": [["NaN", "1"]], "asks": []}, id="a level that is none"),
    ],
)
async def test_an_answer_that_is_not_documented_is_refused(binance: Binance, web: Web, ask: Ask, answer: Any) -> None:
    says(web, answer)
    with pytest.raises(BadMessage):
        await ask(binance)


@pytest.mark.parametrize(
    ("status", "body", "error", "retryable"),
    [
        (400, {"code": -1121, "msg": "Invalid symbol."}, UpstreamError, False),
        (400, {"code": -4166, "msg": "Search window is restricted to recent 2 days only."}, ValidationFailed, False),
        (400, {"code": -1003, "msg": "Too many requests"}, VenueBusy, True),
        (429, {"code": -1003, "msg": "Too many requests"}, VenueBusy, True),
        (418, {"code": -1003, "msg": "Way too many requests"}, VenueBusy, True),
        (500, {"code": -1000, "msg": "An unknown error occurred"}, VenueUnavailable, True),
        (503, {}, VenueUnavailable, True),
        (451, {"code": 0, "msg": "Service unavailable from a restricted location"}, UpstreamError, False),
    ],
)
async def test_the_venues_errors_are_told_as_ours(
    binance: Binance, web: Web, status: int, body: Any, error: type[GatewayError], retryable: bool
) -> None:
    says(web, body, status)
    with pytest.raises(error) as raised:
        await trades()(binance)
    assert (type(raised.value), raised.value.retryable) == (error, retryable)


async def test_a_firewalls_page_is_told_without_a_word_of_it(binance: Binance, web: Web) -> None:
    web.always(Answer(b"<html>blocked by secret-waf-7</html>", status=403))
    with pytest.raises(UpstreamError, match=r"HTTP status 403, code None") as raised:
        await trades()(binance)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("answer", [None, [], {}, {"code": -1121}, b"html"])
def test_below_400_nothing_is_an_error(answer: Any) -> None:
    assert refusal(200, answer) is None


# -- what it costs -----------------------------------------------------------------------------------------------------


def listing(group: str) -> Ask:
    return lambda venue: venue.fetch_instruments(group)


@pytest.mark.parametrize(
    ("ask", "pool", "answer", "weight"),
    [
        (trades(), "futures requests", [], 20),
        (trades("spot"), "spot requests", [], 4),
        (trades(**RAW), "futures requests", [], 5),
        (trades("spot", **RAW), "spot requests", [], 25),
        (candles(limit=100), "futures requests", [], 1),
        (candles(limit=101), "futures requests", [], 2),
        (candles(limit=501), "futures requests", [], 5),
        (candles(limit=9000), "futures requests", [], 10),
        (candles("spot", limit=9000), "spot requests", [], 2),
        (book(50), "futures requests", EMPTY_BOOK, 2),
        (book(100), "futures requests", EMPTY_BOOK, 5),
        (book(101), "futures requests", EMPTY_BOOK, 10),
        (book(1000), "futures requests", EMPTY_BOOK, 20),
        (book(100, "spot"), "spot requests", EMPTY_BOOK, 5),
        (book(500, "spot"), "spot requests", EMPTY_BOOK, 25),
        (book(9000, "spot"), "spot requests", EMPTY_BOOK, 50),
        (listing("linear"), "futures requests", {"symbols": []}, 1),
        (listing("spot"), "spot requests", {"symbols": []}, 20),
    ],
)
async def test_a_request_is_paid_for_by_the_venues_weight(
    binance: Binance, web: Web, ask: Ask, pool: str, answer: object, weight: int
) -> None:
    says(web, answer)
    before = {name: spent(name) for name in binance.budgets}
    await ask(binance)
    assert {name: spent(name) - before[name] for name in before if spent(name) != before[name]} == {pool: weight}


def spent(pool: str) -> float:
    labels = {"exchange": "binance", "pool": pool}
    return REGISTRY.get_sample_value("gateway_upstream_budget_used_total", labels) or 0.0


async def test_each_page_of_missed_trades_is_paid_for(binance: Binance, web: Web) -> None:
    pages = iter([[{**AGG_ROW, "a": n} for n in range(1000)], []])

    async def answer(_: Request) -> Answer:
        return Answer(orjson.dumps(next(pages)))

    web.answer, before = answer, spent("futures requests")
    await binance.fetch_missed(instrument(), after="-1", params={})
    assert spent("futures requests") - before == 40


async def test_snapshots_wait_for_budget_when_clients_no_longer_do(binance: Binance, web: Web) -> None:
    says(web, EMPTY_BOOK)
    binance.budgets["futures requests"].take(720 + 24 * 10)  # ten seconds more than a full bucket
    with pytest.raises(VenueBusy) as busy:
        await book(5)(binance)
    assert busy.value.retry_after == pytest.approx(10.1, abs=0.2)
    snapshot = binance.stream("orderbook", instrument(), {"levels": 5}).snapshot
    assert snapshot is not None
    clock = asyncio.get_running_loop().time
    begun = clock()
    assert await snapshot()
    assert clock() - begun == pytest.approx(10.8, abs=0.2)


async def test_a_witness_is_asked_only_while_half_of_the_budget_is_left(binance: Binance, web: Web) -> None:
    says(web, recent(0))
    witness = binance.stream("trades", instrument(), {}).witness
    assert witness is not None
    assert await witness() == "0"
    binance.budgets["futures requests"].take(360)
    with pytest.raises(VenueBusy):
        await witness()


async def test_futures_and_spot_are_counted_apart_and_banned_together(binance: Binance, web: Web) -> None:
    says(web, [])
    binance.budgets["futures requests"].take(100_000)
    assert await trades("spot")(binance) == []
    web.always(Answer(status=418))
    with pytest.raises(VenueBusy):
        await trades("spot")(binance)
    with pytest.raises(VenueBusy) as held_back:
        await trades()(binance)
    assert held_back.value.retry_after == pytest.approx(120.0, abs=0.2)
