"""Binance's REST endpoints over a real socket: replies, errors, weights."""

from itertools import pairwise
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")
FUTURES, SPOT = "/binance/fapi/v1", "/binance-spot/api/v3"


async def get(http: httpx2.AsyncClient, path: str, **params: Any) -> Any:
    reply = await http.get(path, params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize(
    ("path", "params", "code", "message"),
    [
        ("depth", {"symbol": "NOPEUSDT"}, -1121, "Invalid symbol."),
        ("depth", {"symbol": "FTMUSDT"}, -1121, "Invalid symbol."),
        ("depth", {"symbol": "BTCUSDT", "limit": 7}, -4021, "7 is not valid depth limit"),
        ("trades", {"symbol": "BTCUSDT", "limit": "x"}, -1130, "Data sent for parameter 'limit' is not valid."),
        ("trades", {"symbol": "BTCUSDT", "limit": 1001}, -1130, "Data sent for parameter 'limit' is not valid."),
        ("klines", {"symbol": "BTCUSDT", "interval": "1s"}, -1120, "Invalid interval."),
        (
            "aggTrades", {"symbol": "BTCUSDT", "startTime": 1_600_000_000_000}, -4166,
            "Search window is restricted to recent 2 days only.",
        ),
        (
            "klines", {"interval": "1m"}, -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
    ],
)  # fmt: skip
async def test_errors_are_binances(
    http: httpx2.AsyncClient, path: str, params: dict[str, Any], code: int, message: str
) -> None:
    reply = await http.get(f"{FUTURES}/{path}", params=params)
    assert reply.status_code == 400
    assert reply.json() == {"code": code, "msg": message}
    assert int(reply.headers["X-MBX-USED-WEIGHT-1M"]) > 0  # a refused request costs its weight


async def test_exchange_info_lists_what_trades_and_what_does_not(http: httpx2.AsyncClient) -> None:
    info = await get(http, f"{FUTURES}/exchangeInfo")
    rows = {row["symbol"]: row for row in info["symbols"]}

    assert {"BTCUSDT", "ETHUSDT", "1000PEPEUSDT", "币安人生USDT", "BTCUSDC"} <= rows.keys()
    assert rows["FTMUSDT"]["status"] == "SETTLING"
    dated = next(row for row in rows.values() if row["contractType"] == "CURRENT_QUARTER")
    assert dated["symbol"].startswith("BTCUSDT_")
    assert dated["deliveryDate"] > info["serverTime"]
    assert rows["BTCUSDT"]["filters"][0]["tickSize"] == "0.10"


async def test_the_book_is_the_true_book(http: httpx2.AsyncClient) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    truth = await get(http, "/control/book", venue="binance", symbol="BTCUSDT")
    depth = await get(http, f"{FUTURES}/depth", symbol="btcusdt", limit=1000)

    assert depth["lastUpdateId"] == truth["sequence"]
    assert depth["bids"] == truth["bids"][:1000]
    assert depth["asks"] == truth["asks"][:1000]
    assert len(depth["bids"]) == len(depth["asks"]) == 1000


async def test_trades_are_the_newest_of_the_ledger_oldest_first(http: httpx2.AsyncClient) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    ledger = await get(http, "/control/trades", venue="binance", symbol="BTCUSDT", limit=1000)
    rows = await get(http, f"{FUTURES}/trades", symbol="BTCUSDT", limit=1000)

    assert len(rows) == 1000
    facts = [(row["price"], row["qty"], row["time"], row["isBuyerMaker"]) for row in rows]
    assert facts == [(row["price"], row["amount"], row["timestamp_ms"], row["taker_side"] == "sell") for row in ledger]
    ids = [row["id"] for row in rows]
    assert ids == sorted(set(ids))
    assert ids[-1] - ids[0] > 999  # the prints that are not book trades are missing here


async def test_aggregates_can_be_paged_by_id_and_by_time(http: httpx2.AsyncClient) -> None:
    newest = await get(http, f"{FUTURES}/aggTrades", symbol="BTCUSDT", limit=500)
    first = newest[0]

    paged = await get(http, f"{FUTURES}/aggTrades", symbol="BTCUSDT", fromId=first["a"], limit=20)
    assert paged == newest[:20]
    since, until = first["T"] + 1, newest[9]["T"]
    timed = await get(http, f"{FUTURES}/aggTrades", symbol="BTCUSDT", startTime=since, endTime=until, limit=1000)
    assert timed == [row for row in newest if since <= row["T"] <= until]


@pytest.mark.parametrize(("path", "base"), [(FUTURES, "binance"), (SPOT, "binance-spot")])
async def test_paging_by_id_meets_every_aggregate_once(http: httpx2.AsyncClient, path: str, base: str) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    newest = await get(http, f"{path}/aggTrades", symbol="BTCUSDT", limit=1000)
    pages: list[Any] = []
    after = newest[0]["a"]
    while page := await get(http, f"{path}/aggTrades", symbol="BTCUSDT", fromId=after, limit=170):
        pages += page
        after = page[-1]["a"] + 1
    assert pages == newest
    assert [row["a"] for row in newest] == list(range(newest[0]["a"], newest[0]["a"] + len(newest)))
    told = (await http.get("/control/truth/trades", params={"venue": base, "symbol": "BTCUSDT"})).json()
    assert pages[-1]["a"] >= told["trades"][-1]["id"]


@pytest.mark.parametrize("path", [FUTURES, SPOT])
async def test_an_id_of_the_future_has_no_aggregates_yet(http: httpx2.AsyncClient, path: str) -> None:
    (last,) = await get(http, f"{path}/aggTrades", symbol="BTCUSDT", limit=1)
    assert await get(http, f"{path}/aggTrades", symbol="BTCUSDT", fromId=last["a"] + 100_000) == []


@pytest.mark.parametrize("time", ["startTime", "endTime"])
async def test_an_id_and_a_time_cannot_be_mixed(http: httpx2.AsyncClient, time: str) -> None:
    reply = await http.get(f"{FUTURES}/aggTrades", params={"symbol": "BTCUSDT", "fromId": 1, time: 1_795_000_000_000})
    assert (reply.status_code, reply.json()["code"]) == (400, -1128)


async def test_more_than_a_page_is_refused_on_futures_and_cut_on_spot(http: httpx2.AsyncClient) -> None:
    query = {"symbol": "BTCUSDT", "fromId": 1, "limit": 1001}
    assert (await http.get(f"{FUTURES}/aggTrades", params=query)).json()["code"] == -1130
    assert len(await get(http, f"{SPOT}/aggTrades", **query)) == 1000


@pytest.mark.parametrize(("path", "weight"), [(FUTURES, 1), (SPOT, 2)])
async def test_the_day_of_a_symbol_ends_with_its_last_trade(http: httpx2.AsyncClient, path: str, weight: int) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    (last,) = await get(http, f"{path}/trades", symbol="BTCUSDT", limit=1)
    used = int((await http.get(f"{path}/ping")).headers["X-MBX-USED-WEIGHT-1M"])
    reply = await http.get(f"{path}/ticker/24hr", params={"symbol": "BTCUSDT"})
    day = reply.json()
    assert int(reply.headers["X-MBX-USED-WEIGHT-1M"]) == used + weight
    assert (day["lastId"], day["lastPrice"], day["lastQty"]) == (last["id"], last["price"], last["qty"])
    assert day["firstId"] < day["lastId"]


@pytest.mark.parametrize(("path", "weight"), [(FUTURES, 2), (SPOT, 2)])
async def test_the_best_prices_are_those_of_the_book(http: httpx2.AsyncClient, path: str, weight: int) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    book = await get(http, f"{path}/depth", symbol="BTCUSDT", limit=5)
    used = int((await http.get(f"{path}/ping")).headers["X-MBX-USED-WEIGHT-1M"])
    reply = await http.get(f"{path}/ticker/bookTicker", params={"symbol": "BTCUSDT"})
    best = reply.json()
    assert int(reply.headers["X-MBX-USED-WEIGHT-1M"]) == used + weight
    assert [best["bidPrice"], best["bidQty"]] == book["bids"][0]
    assert [best["askPrice"], best["askQty"]] == book["asks"][0]
    assert best.get("lastUpdateId") == (book["lastUpdateId"] if path == FUTURES else None)


@pytest.mark.parametrize("interval", ["1m", "15m", "1h", "8h", "1d", "3d", "1w", "1M"])
async def test_klines_of_every_timeframe_end_with_the_running_candle(http: httpx2.AsyncClient, interval: str) -> None:
    rows = await get(http, f"{FUTURES}/klines", symbol="ETHUSDT", interval=interval, limit=10)
    now = (await get(http, f"{FUTURES}/time"))["serverTime"]

    assert len(rows) == 10
    assert rows[-1][0] <= now <= rows[-1][6] + 1000
    assert all(before[6] + 1 == after[0] for before, after in pairwise(rows))
    assert all(float(row[3]) <= float(row[1]) <= float(row[2]) for row in rows)


async def test_klines_from_a_start_time_are_the_first_ones_after_it(http: httpx2.AsyncClient) -> None:
    rows = await get(http, f"{FUTURES}/klines", symbol="BTCUSDT", interval="1m", limit=1500)
    start = rows[200][0] - 1
    assert (await get(http, f"{FUTURES}/klines", symbol="BTCUSDT", interval="1m", startTime=start, limit=3)) == rows[
        200:203
    ]
    end = rows[1000][0]
    assert (await get(http, f"{FUTURES}/klines", symbol="BTCUSDT", interval="1m", endTime=end, limit=2)) == rows[
        999:1001
    ]


async def test_klines_agree_with_the_ledger(http: httpx2.AsyncClient) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    ledger = await get(http, "/control/trades", venue="binance-spot", symbol="BTCUSDT", limit=40_000)
    rows = await get(http, f"{SPOT}/klines", symbol="BTCUSDT", interval="1s", startTime=ledger[0]["timestamp_ms"])
    for row in rows[1:]:
        inside = [trade for trade in ledger if row[0] <= trade["timestamp_ms"] <= row[6]]
        assert row[8] == len(inside)
        assert float(row[5]) == pytest.approx(sum(float(trade["amount"]) for trade in inside))
        if inside:
            assert (row[1], row[4]) == (inside[0]["price"], inside[-1]["price"])


async def test_spot_writes_eight_decimals_and_takes_more_than_it_gives(http: httpx2.AsyncClient) -> None:
    depth = await get(http, f"{SPOT}/depth", symbol="BTCUSDT", limit=5000)
    assert depth.keys() == {"lastUpdateId", "bids", "asks"}
    assert len(depth["bids"]) > 1000
    assert len(depth["bids"][0][0].partition(".")[2]) == len(depth["bids"][0][1].partition(".")[2]) == 8
    assert len(await get(http, f"{SPOT}/trades", symbol="BTCUSDT", limit=5000)) == 1000
    assert [row["symbol"] for row in (await get(http, f"{SPOT}/exchangeInfo", symbol="ETHBTC"))["symbols"]] == [
        "ETHBTC"
    ]


async def test_states_are_answered_for_one_symbol_or_all(http: httpx2.AsyncClient) -> None:
    one = await get(http, f"{FUTURES}/premiumIndex", symbol="BTCUSDT")
    assert float(one["markPrice"]) > 0
    assert one["nextFundingTime"] > one["time"]
    every = {row["symbol"]: row for row in await get(http, f"{FUTURES}/premiumIndex")}
    dated = next(row for symbol, row in every.items() if "_" in symbol)
    assert (dated["lastFundingRate"], dated["nextFundingTime"]) == ("", 0)
    day = await get(http, f"{FUTURES}/ticker/24hr", symbol="BTCUSDT")
    assert float(day["lowPrice"]) <= float(day["lastPrice"]) <= float(day["highPrice"])
    assert day["count"] > 100_000
    rates = await get(http, f"{FUTURES}/fundingRate", symbol="BTCUSDT", limit=3)
    assert [after["fundingTime"] - before["fundingTime"] for before, after in pairwise(rates)] == [
        28_800_000,
        28_800_000,
    ]
