"""The fetch endpoints of a running gateway, and how they join the stream."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.system import processes
from tests.system.test_session import BTC, VENUES

ENDPOINTS = ("fetchTrades", "fetchOHLCV", "fetchOrderBook")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("exchange", VENUES)
async def test_every_endpoint_answers_for_every_venue(http: AsyncClient, exchange: str, endpoint: str) -> None:
    symbol, params = VENUES[exchange]
    answer = await http.post(f"/v1/{endpoint}", json={"exchange": exchange, "symbol": symbol, "params": params})
    assert answer.status_code == 200
    assert answer.headers["X-Topic-State"] in ("live", "cold")
    assert answer.headers["X-Request-Id"]
    body = answer.json()
    assert body["bids"][0][0] < body["asks"][0][0] if endpoint == "fetchOrderBook" else len(body) > 0


@pytest.mark.parametrize("exchange", VENUES)
async def test_markets_are_listed_with_the_names_they_answer_to(http: AsyncClient, exchange: str) -> None:
    markets = (await http.post("/v1/fetchMarkets", json={"exchange": exchange})).json()["markets"]
    by_id = {market["marketId"]: market for market in markets}
    assert len(by_id) == len(markets)
    for market in markets:
        book = {"exchange": exchange, "symbol": market["marketId"], "limit": 1}
        assert (await http.post("/v1/fetchOrderBook", json=book)).json()["symbol"] == market["unifiedSymbol"]


async def test_inactive_markets_are_listed_only_when_asked_for(http: AsyncClient) -> None:
    active = (await http.post("/v1/fetchMarkets", json={"exchange": "binance"})).json()["markets"]
    every = (await http.post("/v1/fetchMarkets", json={"exchange": "binance", "includeInactive": True})).json()
    assert all(market["active"] for market in active)
    assert len(every["markets"]) > len(active)


async def test_a_cursor_from_rest_is_where_the_stream_goes_on(http: AsyncClient, gateway_url: str) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="subscribe", channel="trades", **BTC)
        await client.expect(type="trades")
        answer = await http.post("/v1/fetchTrades", json={**BTC, "limit": 200})
        for _ in range(5):
            last = await client.expect(type="trades")
        after = [
            trade["id"]
            for frame in client.received(type="trades")
            for trade in frame["data"]
            if seq(frame["cursor"]) > seq(answer.headers["X-Cursor"])
        ]
    assert answer.headers["X-Topic-State"] == "live"
    assert seq(last["cursor"]) > seq(answer.headers["X-Cursor"])
    ids = [int(trade["id"]) for trade in answer.json()] + [int(id) for id in after]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def seq(cursor: str) -> int:
    return int(cursor.split("-")[1])


async def test_more_rows_than_the_ring_holds_are_merged_with_the_venues(http: AsyncClient, gateway_url: str) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="subscribe", channel="trades", **BTC)
        await client.expect(type="trades")
        rows = (await http.post("/v1/fetchTrades", json={**BTC, "limit": 1000})).json()
    ids = [int(row["id"]) for row in rows]
    assert ids == list(range(ids[0], ids[0] + 1000))


async def test_since_and_until_are_inclusive_and_desc_reverses(http: AsyncClient) -> None:
    rows = (await http.post("/v1/fetchTrades", json={**BTC, "limit": 50})).json()
    first, last = rows[10]["timestamp"], rows[20]["timestamp"]
    query: dict[str, Any] = {**BTC, "since": first, "params": {"until": last}}
    ascending = (await http.post("/v1/fetchTrades", json=query)).json()
    query["params"]["order"] = "desc"
    descending = (await http.post("/v1/fetchTrades", json=query)).json()
    assert ascending == [row for row in rows if first <= row["timestamp"] <= last]
    assert descending == ascending[::-1]


async def test_live_candles_are_served_without_asking_the_venue(
    http: AsyncClient, gateway_url: str, control: AsyncClient
) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="subscribe", channel="ohlcv", **BTC, params={"timeframe": "15m"})
        await client.expect(type="ohlcv")
        before = (await control.get("/control/counters")).json()["binance"]["requests"]
        answer = await http.post("/v1/fetchOHLCV", json={**BTC, "timeframe": "15m", "limit": 100})
        after = (await control.get("/control/counters")).json()["binance"]["requests"]
    assert len(answer.json()) == 100
    assert answer.headers["X-Topic-State"] == "live"
    assert after.get("/fapi/v1/klines") == before.get("/fapi/v1/klines")


WRONG = {
    "not JSON": ("fetchTrades", "{", 400, "INVALID_MESSAGE"),
    "no symbol": ("fetchTrades", {"exchange": "binance"}, 400, "INVALID_TOPIC"),
    "unknown symbol": ("fetchTrades", {"exchange": "binance", "symbol": "NO/NE"}, 400, "BAD_SYMBOL"),
    "unknown exchange": ("fetchTrades", {"exchange": "mtgox", "symbol": "X"}, 400, "UNSUPPORTED_EXCHANGE"),
    "unknown timeframe": ("fetchOHLCV", {**BTC, "timeframe": "7m"}, 400, "INVALID_TOPIC"),
    "limit of a wrong type": ("fetchTrades", {**BTC, "limit": "5"}, 400, "VALIDATION_ERROR"),
    "limit of 0": ("fetchTrades", {**BTC, "limit": 0}, 400, "VALIDATION_ERROR"),
    "negative since": ("fetchTrades", {**BTC, "since": -1}, 400, "VALIDATION_ERROR"),
    "unknown field": ("fetchTrades", {**BTC, "size": 1}, 400, "VALIDATION_ERROR"),
    "unknown order": ("fetchTrades", {**BTC, "params": {"order": "up"}}, 400, "VALIDATION_ERROR"),
    "too deep": ("fetchOrderBook", {**BTC, "limit": 5000}, 400, "INVALID_TOPIC"),
    "body of another kind": ("fetchTrades", "[]", 400, "VALIDATION_ERROR"),
    "body too large": ("fetchTrades", "x" * 70_000, 413, "VALIDATION_ERROR"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_said(http: AsyncClient, case: str) -> None:
    endpoint, body, status, code = WRONG[case]
    content = {"content": body} if isinstance(body, str) else {"json": body}
    answer = await http.post(f"/v1/{endpoint}", **content, headers={"X-Request-Id": "mine-1"})  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["requestId"] == answer.headers["X-Request-Id"] == "mine-1"


async def test_headers_can_be_read_by_a_page_on_localhost(http: AsyncClient) -> None:
    answer = await http.post("/v1/fetchTrades", json=BTC, headers={"Origin": "http://localhost:3000"})
    assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert "X-Cursor" in answer.headers["Access-Control-Expose-Headers"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/status", "/v1/capabilities", "/metrics", "/"])
async def test_every_page_for_operators_answers(http: AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 200


async def test_status_has_a_row_for_each_upstream(http: AsyncClient, gateway_url: str) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="subscribe", channel="trades", **BTC)
        await client.expect(type="trades")
        status = (await http.get("/v1/status")).json()
    (row,) = [f for f in status["feeds"] if (f["channel"], f["exchange"], f["symbol"]) == ("trades", *BTC.values())]
    assert (row["state"], row["subscribers"]) == ("live", 1)
    assert status["clients"] >= 1
