"""Hyperliquid's ``POST /info``: what is asked, and what is made of the answers (docs/venues/hyperliquid.md)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from exchanges.errors import VenueBusy
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.hyperliquid import CAPABILITIES, Hyperliquid
from exchanges.hyperliquid.parse import texts
from exchanges.venue import TIMEFRAMES_MS
from tests.exchanges.hyperliquid.test_streams import instrument
from tests.exchanges.web import Answer, Request, Web

pytestmark = pytest.mark.jumping_clock

T0 = 1_794_301_200_000  # ms
MINUTE, DAY = 60_000, 86_400_000
TRADE_ROW = {
    "coin": "ETH",
    "side": "A",
    "px": "3117.44",
    "sz": "12.007",
    "time": T0,
    "hash": "0x91aa",
    "tid": 18220514407712,
    "users": ["0x77b2", "0x3a01"],
}
Ask = Callable[[Hyperliquid], Awaitable[Any]]


def recent(*rows: tuple[str, int]) -> list[dict[str, Any]]:
    """Rows by id, a letter or digit read in base 36, and by their time after T0."""
    return [{**TRADE_ROW, "tid": int(id, 36), "time": T0 + after} for id, after in rows]


def candle_row(open_ms: int) -> dict[str, Any]:
    times = {"t": open_ms, "T": open_ms + MINUTE - 1, "s": "ETH", "i": "1m"}
    return times | {"o": "10.0", "c": "11.0", "h": "12.0", "l": "9.5", "v": "4.2", "n": 13}


def says(web: Web, answer: object, status: int = 200) -> None:
    web.always(Answer(orjson.dumps(answer), status=status))


def asked(web: Web) -> Any:
    """The body of the only request."""
    (request,) = web.requests
    return orjson.loads(request.body)


def trades(coin: str = "ETH", **differences: Any) -> Ask:
    question = {"since": None, "until": None, "limit": 100, "params": {}, **differences}
    return lambda venue: venue.fetch_trades(instrument(coin), **question)


def candles(timeframe: str = "1m", **differences: Any) -> Ask:
    question = {"since": None, "until": None, "limit": 100, **differences}
    return lambda venue: venue.fetch_candles(instrument(), timeframe, **question)


def book(levels: int = 20) -> Ask:
    return lambda venue: venue.fetch_book(instrument("@107", "spot"), levels=levels)


EMPTY_BOOK = {"coin": "@107", "time": T0, "levels": [[], []]}


@pytest.mark.parametrize(
    ("ask", "answer", "body"),
    [
        (trades(), [], {"type": "recentTrades", "coin": "ETH"}),
        (trades("xyz:SP500", since=7, until=9), [], {"type": "recentTrades", "coin": "xyz:SP500"}),
        (trades("kPEPE", limit=5000), [], {"type": "recentTrades", "coin": "kPEPE"}),
        (book(1), EMPTY_BOOK, {"type": "l2Book", "coin": "@107"}),
        (book(20), EMPTY_BOOK, {"type": "l2Book", "coin": "@107"}),
    ],
    ids=["trades", "trades of a time", "more trades than there are", "a shallow book", "a deep book"],
)
async def test_all_is_asked_of_one_address_as_json(
    hyperliquid: Hyperliquid, web: Web, ask: Ask, answer: Any, body: Any
) -> None:
    says(web, answer)
    await ask(hyperliquid)
    (request,) = web.requests
    assert (request.method, request.path, request.query) == ("POST", "/base/info", {})
    assert orjson.loads(request.body) == body
    assert request.headers["content-type"] == "application/json"  # anything else is answered 415
    assert request.headers["user-agent"] == "market-gateway"  # none was reported to be answered 429


async def test_a_base_url_given_for_spot_alone_serves_both_markets(web: Web) -> None:
    says(web, [])
    venue = Hyperliquid(spot_rest_url=f"{web.url}/spot")
    assert await trades()(venue) == []
    await venue.close()
    assert [request.path for request in web.requests] == ["/spot/info"]


# -- trades ------------------------------------------------------------------------------------------------------------


async def test_a_trade_is_what_the_stream_would_have_said(hyperliquid: Hyperliquid, web: Web) -> None:
    says(web, [TRADE_ROW])
    assert await trades()(hyperliquid) == [
        Trade(
            id="18220514407712",
            timestamp_ms=T0,
            taker_side="sell",
            price=3117.44,
            amount=12.007,
            cost=37431.10208,
            raw=TRADE_ROW,
        )
    ]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([("c", 30), ("a", 20), ("z", 20), ("b", 10)], id="newest first"),
        pytest.param([("b", 10), ("z", 20), ("a", 20), ("c", 30)], id="oldest first"),
        pytest.param([("c", 30), ("b", 10), ("a", 20), ("z", 20)], id="in no order"),
    ],
)
async def test_recent_trades_come_oldest_first_whatever_the_venues_order(
    hyperliquid: Hyperliquid, web: Web, rows: list[tuple[str, int]]
) -> None:
    says(web, recent(*rows))
    # The fills of one order share a time; ids are hashes and say nothing of their order.
    assert [trade.id for trade in await trades()(hyperliquid)] == [str(int(id, 36)) for id in "bzac"]


@pytest.mark.parametrize(
    ("question", "ids"),
    [
        pytest.param({}, ["1", "2", "3", "4"], id="all"),
        pytest.param({"limit": 2}, ["3", "4"], id="the newest"),
        pytest.param({"since": T0 + 20}, ["2", "3", "4"], id="from a time, inclusive"),
        pytest.param({"since": T0 + 20, "limit": 2}, ["2", "3"], id="the first from a time"),
        pytest.param({"until": T0 + 30}, ["1", "2", "3"], id="to a time, inclusive"),
        pytest.param({"until": T0 + 30, "limit": 2}, ["2", "3"], id="the newest to a time"),
        pytest.param({"since": T0 + 20, "until": T0 + 30, "limit": 1}, ["2"], id="the first between two times"),
        pytest.param({"since": T0 + 99}, [], id="none so late"),
        pytest.param({"until": T0}, [], id="none so early"),
    ],
)
async def test_recent_trades_are_cut_to_what_was_asked(
    hyperliquid: Hyperliquid, web: Web, question: dict[str, Any], ids: list[str]
) -> None:
    says(web, recent(("4", 40), ("3", 30), ("2", 20), ("1", 10)))
    assert [trade.id for trade in await trades(**question)(hyperliquid)] == [str(int(id, 36)) for id in ids]


# -- candles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeframe", "question", "window"),
    [
        pytest.param("1m", {"since": T0}, {"startTime": T0, "endTime": T0 + 100 * MINUTE}, id="since"),
        pytest.param("1m", {"since": 0}, {"startTime": 0, "endTime": 100 * MINUTE}, id="since the beginning of time"),
        pytest.param("1m", {"until": T0}, {"startTime": T0 - 100 * MINUTE, "endTime": T0}, id="until"),
        pytest.param("1m", {"until": 7}, {"startTime": 0, "endTime": 7}, id="until the beginning of time"),
        pytest.param("1m", {"until": 0}, {"startTime": 0, "endTime": 0}, id="until the first millisecond"),
        pytest.param("1m", {"since": T0, "until": T0 + 9}, {"startTime": T0, "endTime": T0 + 9}, id="a short span"),
        pytest.param(
            "1m", {"since": T0, "until": T0 + DAY}, {"startTime": T0, "endTime": T0 + 100 * MINUTE}, id="a long span"
        ),
        pytest.param("3d", {"since": T0}, {"startTime": T0, "endTime": T0 + 300 * DAY}, id="a longer timeframe"),
        pytest.param(
            "1M", {"since": T0, "limit": 2}, {"startTime": T0, "endTime": T0 + 62 * DAY}, id="the longest months"
        ),
        pytest.param(
            "1m",
            {"until": T0, "limit": 9000},
            {"startTime": T0 - 5000 * MINUTE, "endTime": T0},
            id="no more than there are",
        ),
    ],
)
async def test_a_window_holds_as_many_candles_as_were_asked_for(
    hyperliquid: Hyperliquid, web: Web, timeframe: str, question: dict[str, int], window: dict[str, int]
) -> None:
    says(web, [])
    assert await candles(timeframe, **question)(hyperliquid) == []
    assert asked(web) == {"type": "candleSnapshot", "req": {"coin": "ETH", "interval": timeframe, **window}}


@pytest.mark.parametrize("timeframe", CAPABILITIES.timeframes)
async def test_the_newest_candles_are_asked_for_without_an_end(
    hyperliquid: Hyperliquid, web: Web, timeframe: str
) -> None:
    says(web, [])
    now_ms = time.time_ns() // 1_000_000
    await candles(timeframe, limit=10)(hyperliquid)
    request = asked(web)["req"]
    span = 10 * (31 * DAY if timeframe == "1M" else TIMEFRAMES_MS[timeframe])
    assert set(request) == {"coin", "interval", "startTime"}
    assert now_ms - span <= request["startTime"] < now_ms - span + 10_000


async def test_candles_come_as_the_venue_gives_them_and_are_never_said_to_be_closed(
    hyperliquid: Hyperliquid, web: Web
) -> None:
    says(web, [candle_row(T0), candle_row(T0 + MINUTE)])
    past, forming = await candles()(hyperliquid)
    assert past == Candle(open_time_ms=T0, open=10.0, high=12.0, low=9.5, close=11.0, volume=4.2, closed=None)
    assert (forming.open_time_ms, forming.closed) == (T0 + MINUTE, None)


@pytest.mark.parametrize(
    ("question", "minutes"),
    [
        pytest.param({}, [0, 1, 2, 3], id="all"),
        pytest.param({"limit": 2}, [2, 3], id="the newest"),
        pytest.param({"since": T0, "limit": 2}, [0, 1], id="the first from a time"),
        pytest.param({"until": T0 + 3 * MINUTE, "limit": 2}, [2, 3], id="the newest to a time"),
    ],
)
async def test_what_the_venue_gives_beyond_the_limit_is_cut_at_the_right_end(
    hyperliquid: Hyperliquid, web: Web, question: dict[str, Any], minutes: list[int]
) -> None:
    says(web, [candle_row(T0 + minute * MINUTE) for minute in range(4)])
    found = await candles(**question)(hyperliquid)
    assert [candle.open_time_ms for candle in found] == [T0 + minute * MINUTE for minute in minutes]


# -- books and instruments ---------------------------------------------------------------------------------------------


async def test_a_book_has_its_levels_as_numbers_and_no_sequence(hyperliquid: Hyperliquid, web: Web) -> None:
    bids, asks = [{"px": "44.87", "sz": "31.5", "n": 3}], [{"px": "44.88", "sz": "7.25", "n": 1}]
    answer = {**EMPTY_BOOK, "levels": [bids, asks]}
    says(web, answer)
    assert await book()(hyperliquid) == BookSnapshot(
        bids=[(44.87, 31.5)], asks=[(44.88, 7.25)], sequence=0, timestamp_ms=T0, raw=answer
    )
    assert texts(answer) == ([("44.87", "31.5")], [("44.88", "7.25")])


TOKENS = [{"name": "USDC", "szDecimals": 8, "index": 0}, {"name": "HYPE", "szDecimals": 2, "index": 150}]
LISTS: dict[str, Any] = {
    "spotMeta": {"tokens": TOKENS, "universe": [{"name": "@107", "tokens": [150, 0], "index": 107}]},
    "allPerpMetas": [{"universe": [{"name": "HYPE", "szDecimals": 2}], "collateralToken": 0}],
}


async def lists(request: Request) -> Answer:
    return Answer(orjson.dumps(LISTS[orjson.loads(request.body)["type"]]))


@pytest.mark.parametrize(
    ("group", "symbols", "types"),
    [("perp", ["HYPE/USDC:USDC"], ["spotMeta", "allPerpMetas"]), ("spot", ["HYPE/USDC"], ["spotMeta"])],
)
async def test_each_group_of_instruments_has_its_own_list(
    hyperliquid: Hyperliquid, web: Web, group: str, symbols: list[str], types: list[str]
) -> None:
    web.answer = lists
    assert [i.symbol for i in await hyperliquid.fetch_instruments(group)] == symbols
    assert [orjson.loads(request.body)["type"] for request in web.requests] == types


async def test_both_groups_at_once_ask_for_the_tokens_once(hyperliquid: Hyperliquid, web: Web) -> None:
    web.answer = lists
    await asyncio.gather(*(hyperliquid.fetch_instruments(group) for group in CAPABILITIES.instrument_groups))
    assert sorted(orjson.loads(request.body)["type"] for request in web.requests) == ["allPerpMetas", "spotMeta"]


async def test_a_venue_that_is_closed_waits_for_no_answer(hyperliquid: Hyperliquid, web: Web) -> None:
    heard = asyncio.Event()

    async def never(_: Request) -> Answer:
        heard.set()
        return await asyncio.Future()

    web.answer = never
    asking = asyncio.ensure_future(trades()(hyperliquid))
    async with asyncio.timeout(5):
        await heard.wait()
        await hyperliquid.close()
        await asyncio.wait([asking])
    assert asking.cancelled()


# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "answer", "weight"),
    [
        (trades(), [], 21),
        (candles(limit=60), [], 21),
        (candles(limit=9000), [], 104),
        (book(), EMPTY_BOOK, 2),
    ],
    ids=["trades", "few candles", "all candles", "a book"],
)
async def test_a_request_is_paid_for_by_the_venues_weight(
    hyperliquid: Hyperliquid, web: Web, ask: Ask, answer: Any, weight: int
) -> None:
    says(web, answer)
    before = spent()
    await ask(hyperliquid)
    assert spent() - before == weight


def spent() -> float:
    labels = {"exchange": "hyperliquid", "pool": "requests"}
    return REGISTRY.get_sample_value("gateway_upstream_budget_used_total", labels) or 0.0


async def test_its_budget_is_a_part_of_the_venues_minute(hyperliquid: Hyperliquid, web: Web) -> None:
    says(web, EMPTY_BOOK)
    hyperliquid.budgets["requests"].take(360 + 12 * 5)
    with pytest.raises(VenueBusy) as busy:
        await book()(hyperliquid)
    assert busy.value.retry_after == pytest.approx(5.2, abs=0.1)
