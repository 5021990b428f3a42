"""Bybit's REST answers over real sockets: the envelope, pages, orders, limits, errors with HTTP 200."""

import time
from typing import Any

import httpx2
import pytest

from exchanges.simulator import bybit_rest
from exchanges.simulator.server import Simulator

from .conftest import Dial

pytestmark = pytest.mark.asyncio(loop_scope="module")
MARKET = "/bybit/v5/market"


async def result(http: httpx2.AsyncClient, path: str, **query: Any) -> Any:
    answer = (await http.get(f"{MARKET}/{path}", params=query)).json()
    assert (answer["retCode"], answer["retMsg"], answer["retExtInfo"]) == (0, "OK", {})
    return answer["result"]


async def test_an_answer_is_in_an_envelope_with_the_time(http: httpx2.AsyncClient) -> None:
    answer = (await http.get(f"{MARKET}/time")).json()
    assert list(answer) == ["retCode", "retMsg", "result", "retExtInfo", "time"]
    assert answer["result"] == {"timeSecond": str(answer["time"] // 1000), "timeNano": f"{answer['time']}000000"}


async def test_contracts_come_in_pages_and_spot_in_one(http: httpx2.AsyncClient) -> None:
    whole = await result(http, "instruments-info", category="linear")
    assert whole["nextPageCursor"] == ""
    rows, cursor = [], ""
    for _ in range(len(whole["list"])):
        page = await result(http, "instruments-info", category="linear", limit=3, cursor=cursor)
        assert len(page["list"]) <= 3
        rows += page["list"]
        cursor = page["nextPageCursor"]
        if not cursor:
            break
    assert rows == whole["list"]
    spot = await result(http, "instruments-info", category="spot", limit=1)
    assert [row["symbol"] for row in spot["list"]] == ["BTCUSDT", "ETHUSDT", "ZENUSDT"]
    assert "nextPageCursor" not in spot
    assert "contractType" not in spot["list"][0]


async def test_only_trading_contracts_are_listed_unless_asked_for(http: httpx2.AsyncClient) -> None:
    listed = {row["symbol"]: row for row in (await result(http, "instruments-info", category="linear"))["list"]}
    assert {row["status"] for row in listed.values()} == {"Trading"}
    closed = (await result(http, "instruments-info", category="linear", status="Closed"))["list"]
    assert [row["symbol"] for row in closed] == ["FTMUSDT"]
    assert closed[0]["symbol"] not in listed
    by_symbol = (await result(http, "instruments-info", category="linear", symbol="MATICUSDT"))["list"]
    assert [row["status"] for row in by_symbol] == ["Delivering"]
    assert (await result(http, "instruments-info", category="linear", status="PreLaunch"))["list"] == []
    assert len((await result(http, "instruments-info", category="linear", baseCoin="BTC"))["list"]) == 3


async def test_contract_type_and_not_delivery_time_says_what_is_dated(http: httpx2.AsyncClient) -> None:
    rows = (await result(http, "instruments-info", category="linear"))["list"]
    rows += (await result(http, "instruments-info", category="inverse"))["list"]
    dated = {row["symbol"] for row in rows if row["contractType"].endswith("Futures")}
    ending = {row["symbol"] for row in rows if row["deliveryTime"] != "0"}
    assert ending - dated == {"10000LADYSUSDT"}
    assert {symbol[:6] for symbol in dated} == {"BTCUSD"}
    assert {row["settleCoin"] for row in rows} == {"USDT", "USDC", "BTC"}


async def test_trades_are_newest_first_and_those_of_the_ledger(http: httpx2.AsyncClient) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    for category, key, most in (("linear", "BTCUSDT", 1000), ("spot", "spot/BTCUSDT", 60), ("inverse", "BTCUSD", 1000)):
        symbol = key.removeprefix("spot/")
        rows = (await result(http, "recent-trade", category=category, symbol=symbol, limit=most))["list"]
        query = {"venue": "bybit", "symbol": key, "limit": most}
        ledger = (await http.get("/control/trades", params=query)).json()
        facts = [(row["price"], row["size"], row["side"].lower(), int(row["time"])) for row in reversed(rows)]
        assert facts == [(t["price"], t["amount"], t["taker_side"], t["timestamp_ms"]) for t in ledger]
        assert len({row["execId"] for row in rows}) == len(rows)
        seqs = [int(row["seq"]) for row in rows]
        assert seqs == sorted(seqs, reverse=True)


async def test_candles_are_newest_first_and_cut_at_either_end(http: httpx2.AsyncClient) -> None:
    query = {"category": "linear", "symbol": "ETHUSDT", "interval": "5"}
    rows = (await result(http, "kline", **query))["list"]
    opens = [int(row[0]) for row in rows]
    assert opens == list(range(opens[0], opens[0] - 200 * 300_000, -300_000))
    part = (await result(http, "kline", **query, start=opens[50], end=opens[40]))["list"]
    assert part == rows[40:51]
    first = (await result(http, "kline", **query, start=opens[50], limit=3))["list"]
    assert first == rows[48:51]  # without an end: the first of the window, still newest first
    newest = (await result(http, "kline", **query, start=opens[50], end=opens[40], limit=3))["list"]
    assert newest == rows[40:43]  # with both ends: the newest of it
    within = (await result(http, "kline", **query, start=opens[50] + 1, end=opens[49]))["list"]
    assert within == rows[49:51]  # it begins with the candle that contains the start
    without_category = (await result(http, "kline", symbol="ETHUSDT", interval="5", end=opens[1], limit=2))["list"]
    assert without_category == rows[1:3]


@pytest.mark.parametrize("interval", ["1", "3", "5", "15", "30", "60", "120", "240", "360", "720", "D", "W", "M"])
async def test_every_interval_has_candles(http: httpx2.AsyncClient, interval: str) -> None:
    rows = (await result(http, "kline", category="inverse", symbol="BTCUSD", interval=interval, limit=3))["list"]
    assert [len(row) for row in rows] == [7, 7, 7]
    assert all(float(row[3]) <= float(row[1]) <= float(row[2]) for row in rows)


async def test_an_inverse_candle_counts_contracts_and_its_turnover_coin(http: httpx2.AsyncClient) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    query = {"venue": "bybit", "symbol": "BTCUSD", "limit": 20_000}
    ledger = (await http.get("/control/trades", params=query)).json()
    rows = (await result(http, "kline", category="inverse", symbol="BTCUSD", interval="1", limit=2))["list"]
    for row in rows:
        inside = [t for t in ledger if int(row[0]) <= t["timestamp_ms"] < int(row[0]) + 60_000]
        assert int(row[5]) == sum(int(t["amount"]) for t in inside)
        turnover = sum(round(float(t["amount"]) / float(t["price"]), 8) for t in inside)
        assert float(row[6]) == pytest.approx(turnover, abs=1e-8)
    assert any(int(row[5]) for row in rows)


async def test_the_book_has_the_number_of_the_1000_level_topic(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await dial("/bybit/v5/public/linear")
    await socket.send({"op": "subscribe", "args": ["orderbook.1000.BTCUSDT", "orderbook.50.BTCUSDT"]})
    updates: dict[str, set[int]] = {"orderbook.1000.BTCUSDT": set(), "orderbook.50.BTCUSDT": set()}
    for _ in range(20):
        frame = await socket.until(lambda message: "topic" in message)
        updates[frame["topic"]].add(frame["data"]["u"])
    book = await result(http, "orderbook", category="linear", symbol="BTCUSDT")
    while book["u"] > max(updates["orderbook.1000.BTCUSDT"]):
        frame = await socket.until(lambda message: "topic" in message)
        updates[frame["topic"]].add(frame["data"]["u"])
    assert book["u"] in updates["orderbook.1000.BTCUSDT"]
    assert book["u"] not in updates["orderbook.50.BTCUSDT"]
    assert (len(book["b"]), len(book["a"])) == (25, 25)


@pytest.mark.parametrize(
    ("category", "key", "default"), [("linear", "ETHUSDT", 25), ("inverse", "BTCUSD", 25), ("spot", "spot/ETHUSDT", 1)]
)
async def test_the_book_is_the_true_one(http: httpx2.AsyncClient, category: str, key: str, default: int) -> None:
    await http.post("/control/freeze", json={"frozen": True})
    truth = (await http.get("/control/book", params={"venue": "bybit", "symbol": key})).json()
    symbol = key.removeprefix("spot/")
    short = await result(http, "orderbook", category=category, symbol=symbol)
    deep = await result(http, "orderbook", category=category, symbol=symbol, limit=1000)
    assert (short["b"], short["a"]) == (truth["bids"][:default], truth["asks"][:default])
    assert (deep["b"], deep["a"]) == (truth["bids"][:1000], truth["asks"][:1000])
    assert deep["seq"] == truth["sequence"]
    assert short["u"] == deep["u"]


async def test_tickers_are_of_a_symbol_or_of_a_category(http: httpx2.AsyncClient) -> None:
    linear = (await result(http, "tickers", category="linear"))["list"]
    assert len(linear) == 8
    dated = [row["symbol"] for row in linear if "fundingRate" not in row]
    assert [symbol[:8] for symbol in dated] == ["BTCUSDT-"]
    spot = (await result(http, "tickers", category="spot", symbol="BTCUSDT"))["list"]
    assert float(spot[0]["bid1Price"]) < float(spot[0]["ask1Price"])


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("orderbook", {"symbol": "BTCUSDT"}, 10001),
        ("orderbook", {"category": "linear"}, 10001),
        ("orderbook", {"category": "nonsense", "symbol": "BTCUSDT"}, 10404),
        ("orderbook", {"category": "linear", "symbol": "NOPEUSDT"}, 10001),
        ("orderbook", {"category": "linear", "symbol": "FTMUSDT"}, 10001),
        ("orderbook", {"category": "linear", "symbol": "BTCUSD"}, 10001),
        ("orderbook", {"category": "spot", "symbol": "NOPEUSDT"}, 170121),
        ("orderbook", {"category": "linear", "symbol": "BTCUSDT", "limit": 1001}, 10001),
        ("orderbook", {"category": "linear", "symbol": "BTCUSDT", "limit": "x"}, 10001),
        ("recent-trade", {"category": "spot", "symbol": "BTCUSDT", "limit": 61}, 10001),
        ("kline", {"symbol": "BTCUSDT", "interval": "480"}, 10001),
        ("kline", {"symbol": "BTCUSDT", "interval": "1m"}, 10001),
        ("instruments-info", {"category": "linear", "cursor": "nonsense"}, 10001),
        ("instruments-info", {"category": "linear", "limit": 1001}, 10001),
        ("nonsense", {}, 10404),
    ],
)
async def test_errors_come_with_http_200(http: httpx2.AsyncClient, path: str, query: dict[str, Any], code: int) -> None:
    reply = await http.get(f"{MARKET}/{path}", params=query)
    assert reply.status_code == 200
    assert (reply.json()["retCode"], reply.json()["result"]) == (code, {})


async def test_an_address_that_asks_too_often_is_banned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bybit_rest, "REQUESTS", 5)
    monkeypatch.setattr(bybit_rest, "REQUESTS_WITHIN", 0.05)  # long over at the last request; the ban is not
    async with Simulator(seed=7) as simulator, httpx2.AsyncClient(base_url=simulator.url) as http:
        for _ in range(100):
            reply = await http.get(f"{MARKET}/time")
            if reply.status_code != 200:
                break
        assert (reply.status_code, reply.text) == (403, "access too frequent")
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            assert (await http.get(f"{MARKET}/time")).status_code == 403
