"""Bybit's REST: what is asked, in which words, and what is made of the answers (docs/venues/bybit.md)."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from exchanges.bybit import CAPABILITIES, Bybit
from exchanges.bybit.parse import texts
from exchanges.bybit.rest import MAX_PAGES
from exchanges.errors import VenueBusy
from exchanges.events import BookSnapshot, Candle, Trade
from tests.exchanges.bybit.test_streams import INTERVALS, instrument
from tests.exchanges.bybit.test_symbols import contract_row, inverse_row, spot_row
from tests.exchanges.web import Answer, Request, Web

pytestmark = pytest.mark.jumping_clock

T0 = 1_794_301_200_000  # ms
MINUTE, DAY = 60_000, 86_400_000
BOOK = {"s": "ETHUSDT", "b": [["3117.40", "18.25"]], "a": [["3117.45", "0.912"]], "u": 915, "seq": 7, "cts": T0 - 6}
TRADE_ROW = {
    "execId": "9b07c1de-3f42-5a58-8d11-0c4e7d2a6f01",
    "symbol": "ETHUSDT",
    "price": "3117.45",
    "size": "2500",
    "side": "Sell",
    "time": str(T0),
    "isBlockTrade": False,
    "isRPITrade": False,
    "seq": "318840772105",
}
Ask = Callable[[Bybit], Awaitable[Any]]


def recent(*times: int) -> list[dict[str, Any]]:
    """Rows by their time after T0, as the venue gives them: newest first."""
    return [{**TRADE_ROW, "execId": str(number), "time": str(T0 + time)} for number, time in enumerate(times)][::-1]


def kline(minute: int) -> list[str]:
    return [str(T0 + minute * MINUTE), "10.0", "12.0", "9.5", "11.0", "440", "41.5"]


def klines(*minutes: int) -> list[list[str]]:
    """Newest first."""
    return [kline(minute) for minute in minutes][::-1]


def envelope(result: Any, time: Any = T0) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": time}


def says(web: Web, result: Any, time: int = T0) -> None:
    web.always(Answer(orjson.dumps(envelope(result, time))))


def trades(market: str = "linear", **differences: Any) -> Ask:
    question = {"since": None, "until": None, "limit": 100, "params": {}, **differences}
    return lambda venue: venue.fetch_trades(instrument(market=market), **question)


def candles(market: str = "linear", timeframe: str = "1m", **differences: Any) -> Ask:
    question = {"since": None, "until": None, "limit": 100, **differences}
    return lambda venue: venue.fetch_candles(instrument(market=market), timeframe, **question)


def book(market: str = "linear", levels: int = 20) -> Ask:
    return lambda venue: venue.fetch_book(instrument(market=market), levels=levels)


HOMES = {"linear": "/contracts/v5/market", "inverse": "/contracts/v5/market", "spot": "/spot/v5/market"}


@pytest.mark.parametrize("market", HOMES)
@pytest.mark.parametrize(
    ("ask", "path", "query"),
    [
        (partial(trades, limit=50), "recent-trade", {"limit": "50"}),
        (candles, "kline", {"interval": "1", "limit": "102"}),
        (book, "orderbook", {"limit": "20"}),
    ],
    ids=["trades", "candles", "book"],
)
async def test_each_category_is_asked_at_its_address_by_its_name(
    bybit: Bybit, web: Web, market: str, ask: Callable[[str], Ask], path: str, query: dict[str, str]
) -> None:
    says(web, {"list": [], "b": [], "a": [], "ts": T0})
    await ask(market)(bybit)
    (request,) = web.requests
    assert (request.method, request.path) == ("GET", f"{HOMES[market]}/{path}")
    assert request.query == {"category": market, "symbol": "ETHUSDT", **query}


# -- trades ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        (trades(limit=7), "7"),
        (trades(limit=5000), "1000"),
        (trades("inverse", limit=5000), "1000"),
        (trades("spot", limit=5000), "60"),
        (trades(limit=7, since=0), "1000"),
        (trades("spot", limit=7, until=9), "60"),
    ],
)
async def test_bounded_trades_are_sought_among_all_there_are(bybit: Bybit, web: Web, ask: Ask, limit: str) -> None:
    says(web, {"list": []})
    assert await ask(bybit) == []
    query = web.requests[0].query
    assert (query["limit"], set(query)) == (limit, {"category", "symbol", "limit"})  # it takes no times


@pytest.mark.parametrize(
    ("market", "cost"), [("linear", 7793625.0), ("spot", 7793625.0), ("inverse", 0.8019374809539825)]
)
async def test_a_trade_is_what_the_stream_would_have_said(bybit: Bybit, web: Web, market: str, cost: float) -> None:
    says(web, {"category": market, "list": [TRADE_ROW]})
    assert await trades(market)(bybit) == [
        Trade(
            id="9b07c1de-3f42-5a58-8d11-0c4e7d2a6f01",
            timestamp_ms=T0,
            taker_side="sell",
            price=3117.45,
            amount=2500.0,
            cost=cost,
            raw=TRADE_ROW,
        )
    ]


@pytest.mark.parametrize(
    ("question", "ids"),
    [
        pytest.param({}, ["0", "1", "2", "3"], id="all, oldest first"),
        pytest.param({"limit": 2}, ["2", "3"], id="the newest"),
        pytest.param({"since": T0 + 20}, ["1", "2", "3"], id="from a time, inclusive"),
        pytest.param({"since": T0 + 20, "limit": 2}, ["1", "2"], id="the first from a time"),
        pytest.param({"until": T0 + 20}, ["0", "1", "2"], id="to a time, inclusive"),
        pytest.param({"until": T0 + 20, "limit": 2}, ["1", "2"], id="the newest to a time"),
        pytest.param({"since": T0 + 20, "until": T0 + 30, "limit": 1}, ["1"], id="the first between two times"),
        pytest.param({"since": T0 + 99}, [], id="none so late"),
        pytest.param({"until": T0}, [], id="none so early"),
    ],
)
async def test_recent_trades_are_cut_to_what_was_asked(
    bybit: Bybit, web: Web, question: dict[str, int], ids: list[str]
) -> None:
    says(web, {"list": recent(10, 20, 20, 40)})
    assert [trade.id for trade in await trades(**question)(bybit)] == ids


# -- candles -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timeframe", "question", "window"),
    [
        pytest.param("1m", {}, {}, id="the newest"),
        pytest.param("1m", {"until": T0}, {"end": T0}, id="until"),
        pytest.param("1m", {"since": T0}, {"start": T0, "end": T0 + 100 * MINUTE - 1}, id="since"),
        pytest.param("1m", {"since": 0}, {"start": 0, "end": 100 * MINUTE - 1}, id="since the beginning of time"),
        pytest.param("1m", {"since": T0, "until": T0 + 9}, {"start": T0, "end": T0 + 9}, id="a short span"),
        pytest.param(
            "1m", {"since": T0, "until": T0 + DAY}, {"start": T0, "end": T0 + 100 * MINUTE - 1}, id="a long span"
        ),
        pytest.param("1w", {"since": T0}, {"start": T0, "end": T0 + 700 * DAY - 1}, id="a longer timeframe"),
        pytest.param("1M", {"since": T0}, {"start": T0, "end": T0 + 3100 * DAY - 1}, id="the longest months"),
    ],
)
async def test_a_window_ends_with_as_many_candles_as_were_asked_for(
    bybit: Bybit, web: Web, timeframe: str, question: dict[str, int], window: dict[str, int]
) -> None:
    says(web, {"list": []})
    assert await candles(timeframe=timeframe, **question)(bybit) == []
    times = {name: int(value) for name, value in web.requests[0].query.items() if name in ("start", "end")}
    assert times == window


@pytest.mark.parametrize(("timeframe", "interval"), INTERVALS.items())
async def test_a_timeframe_is_the_venues_interval(bybit: Bybit, web: Web, timeframe: str, interval: str) -> None:
    says(web, {"list": []})
    await candles(timeframe=timeframe)(bybit)
    assert web.requests[0].query["interval"] == interval


class History:
    """Answers ``kline`` as the venue does: of the candles from the one that contains ``start``, the newest."""

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes

    async def answer(self, request: Request) -> Answer:
        query = request.query
        if int(query["limit"]) > 1000:
            return Answer(b'{"retCode":10001,"retMsg":"params error: limit is invalid"}')
        start, end = int(query.get("start", "0")), int(query.get("end", str(10 * T0)))
        known = range(T0, T0 + self.minutes * MINUTE, MINUTE)
        opens = [at for at in known if start - MINUTE < at <= end][-int(query["limit"]) :]
        rows = [kline((at - T0) // MINUTE) for at in opens[::-1]]
        return Answer(orjson.dumps(envelope({"list": rows}, T0 + self.minutes * MINUTE)))


@pytest.mark.parametrize(
    ("question", "minutes"),
    [
        pytest.param({"limit": 3}, range(1997, 2000), id="the newest"),
        pytest.param({"limit": 9000}, range(1000, 2000), id="no more than there are in one answer"),
        pytest.param({"until": T0 + 5 * MINUTE, "limit": 3}, range(3, 6), id="the newest to a time, inclusive"),
        pytest.param({"since": T0, "limit": 3}, range(3), id="the first from a time, inclusive"),
        pytest.param({"since": T0 + 1, "limit": 3}, range(1, 4), id="the first from the middle of a candle"),
        pytest.param({"since": T0 + 1, "limit": 1}, range(1, 2), id="one from the middle of a candle"),
        pytest.param({"since": T0, "limit": 1000}, range(1000), id="a full answer"),
        pytest.param({"since": T0 + 1, "limit": 1000}, range(1, 1001), id="a full answer from the middle of a candle"),
        pytest.param({"since": T0, "limit": 9000}, range(1000), id="the first of more than there are in one answer"),
        pytest.param({"since": T0, "until": T0 + MINUTE, "limit": 9}, range(2), id="all between two times"),
        pytest.param({"since": T0 + DAY * 9, "limit": 3}, range(0), id="none so late"),
    ],
)
async def test_candles_are_those_that_were_asked_for_ascending(
    bybit: Bybit, web: Web, question: dict[str, Any], minutes: range
) -> None:
    web.answer = History(2000).answer
    found = await candles(**question)(bybit)
    assert [(candle.open_time_ms - T0) // MINUTE for candle in found] == list(minutes)


async def test_of_short_months_no_more_come_than_were_asked_for(bybit: Bybit, web: Web) -> None:
    says(web, {"list": klines(0, 1, 2)})  # February, March and April lie within twice 31 days
    found = await candles(timeframe="1M", since=T0, limit=2)(bybit)
    assert [candle.open_time_ms for candle in found] == [T0, T0 + MINUTE]


@pytest.mark.parametrize(("market", "volume"), [("linear", 440.0), ("spot", 440.0), ("inverse", 41.5)])
async def test_a_candles_volume_is_in_the_base_coin(bybit: Bybit, web: Web, market: str, volume: float) -> None:
    says(web, {"list": klines(0)}, T0 + DAY)
    assert await candles(market)(bybit) == [
        Candle(open_time_ms=T0, open=10.0, high=12.0, low=9.5, close=11.0, volume=volume, closed=True)
    ]


@pytest.mark.parametrize(
    ("after", "closed"),
    [
        pytest.param(MINUTE + 1, [True, False], id="the newest has begun"),
        pytest.param(2 * MINUTE - 1, [True, False], id="the newest is in its last millisecond"),
        pytest.param(2 * MINUTE, [True, True], id="the newest is over and the next not there yet"),
    ],
)
async def test_only_the_newest_candle_may_be_forming_by_the_venues_clock(
    bybit: Bybit, web: Web, after: int, closed: list[bool]
) -> None:
    says(web, {"list": klines(0, 1)}, T0 + after)
    assert [candle.closed for candle in await candles()(bybit)] == closed


# -- books and instruments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", CAPABILITIES.levels)
async def test_a_book_has_its_levels_as_numbers_and_no_sequence(bybit: Bybit, web: Web, levels: int) -> None:
    result = {**BOOK, "ts": T0}
    says(web, result)
    assert await book(levels=levels)(bybit) == BookSnapshot(
        bids=[(3117.4, 18.25)],
        asks=[(3117.45, 0.912)],
        sequence=0,  # ``u`` is that of the 1,000-level topic alone
        timestamp_ms=T0,
        raw=result,
    )
    assert texts(result) == tuple([tuple(level) for level in BOOK[side]] for side in "ba")
    assert web.requests[0].query["limit"] == str(levels)


@pytest.mark.parametrize(
    ("group", "row", "symbol"),
    [
        ("linear", contract_row("BTCUSDT"), "BTC/USDT:USDT"),
        ("inverse", inverse_row("BTCUSD"), "BTC/USD:BTC"),
        ("spot", spot_row("BTCUSDT"), "BTC/USDT"),
    ],
)
async def test_each_group_of_instruments_has_its_own_list(
    bybit: Bybit, web: Web, group: str, row: dict[str, Any], symbol: str
) -> None:
    says(web, {"category": group, "list": [row]})
    (found,) = await bybit.fetch_instruments(group)
    assert (found.symbol, found.market) == (symbol, group)
    (request,) = web.requests
    assert request.path == f"{HOMES[group]}/instruments-info"
    assert request.query == {"category": group, "limit": "1000"}  # without it 500, and not a word of the rest


async def test_pages_of_instruments_are_read_to_the_last(bybit: Bybit, web: Web) -> None:
    coins = {"": ("ETH", "second%3D1%26"), "second%3D1%26": ("SOL", "third"), "third": ("BTC", "")}

    async def page(request: Request) -> Answer:
        coin, cursor = coins[request.query.get("cursor", "")]
        rows = [contract_row(f"{coin}USDT", coin)]
        return Answer(orjson.dumps(envelope({"list": rows, "nextPageCursor": cursor})))

    web.answer = page
    assert [i.base for i in await bybit.fetch_instruments("linear")] == ["ETH", "SOL", "BTC"]
    assert [request.query.get("cursor") for request in web.requests] == [None, "second%3D1%26", "third"]


async def test_pages_without_end_come_to_an_end(bybit: Bybit, web: Web) -> None:
    says(web, {"list": [contract_row("BTCUSDT")], "nextPageCursor": "again"})
    await bybit.fetch_instruments("linear")
    assert len(web.requests) == MAX_PAGES


# -- what it costs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", [trades(), candles(), book()], ids=["trades", "candles", "a book"])
async def test_requests_are_counted_and_not_weighed(bybit: Bybit, web: Web, ask: Ask) -> None:
    says(web, {**BOOK, "ts": T0, "list": []})
    before = spent()
    await ask(bybit)
    assert spent() - before == 1


def spent() -> float:
    labels = {"exchange": "bybit", "pool": "requests"}
    return REGISTRY.get_sample_value("gateway_upstream_budget_used_total", labels) or 0.0


async def test_after_a_ban_nothing_is_asked_of_any_host_of_it(bybit: Bybit, web: Web) -> None:
    web.always(Answer(b"access too frequent", status=403))
    with pytest.raises(VenueBusy):
        await trades()(bybit)
    with pytest.raises(VenueBusy) as held_back:
        await trades("spot")(bybit)
    assert held_back.value.retry_after == pytest.approx(600.0, abs=0.2)
    assert len(web.requests) == 1
