"""What clients were shown against the simulator's own market, venue by venue, once it stands still."""

import asyncio
from typing import Any

import pytest
from httpx2 import AsyncClient

from tests.system import processes
from tests.system.processes import Client, until
from tests.system.test_upstreams import keep_reading

# exchange, unified symbol, params → the simulator's venue and symbol, and the deepest book
MARKETS = {
    "binance": ("binance", "ETH/USDT:USDT", {}, "binance", "ETHUSDT", 50),
    "binance spot": ("binance", "ETH/USDT", {"type": "spot"}, "binance-spot", "ETHUSDT", 50),
    "binance non-ASCII": ("binance", "币安人生/USDT:USDT", {}, "binance", "币安人生USDT", 20),
    "bybit": ("bybit", "ETH/USDT:USDT", {}, "bybit", "ETHUSDT", 50),
    "bybit spot": ("bybit", "ETH/USDT", {"category": "spot"}, "bybit", "spot/ETHUSDT", 50),
    "bybit inverse": ("bybit", "BTC/USD:BTC", {"category": "inverse"}, "bybit", "BTCUSD", 50),
    "hyperliquid": ("hyperliquid", "ETH/USDC:USDC", {}, "hyperliquid", "ETH", 5),
    "hyperliquid plain book": ("hyperliquid", "KPEPE/USDC:USDC", {}, "hyperliquid", "kPEPE", 20),
    "hyperliquid spot": ("hyperliquid", "HYPE/USDC", {"type": "spot"}, "hyperliquid", "@107", 5),
    "hyperliquid builder dex": ("hyperliquid", "XYZ-SP500/USDC:USDC", {}, "hyperliquid", "xyz:SP500", 5),
}


@pytest.mark.parametrize("market", MARKETS)
async def test_the_book_ends_true_and_every_trade_is_in_the_ledger_once(
    gateway_url: str, control: AsyncClient, market: str
) -> None:
    exchange, symbol, params, venue, venue_symbol, levels = MARKETS[market]
    topic = {"exchange": exchange, "symbol": symbol}
    async with processes.client(gateway_url) as client:
        await client.send(op="subscribe", channel="trades", rewind=20, **topic, params=params)
        await client.send(op="subscribe", channel="orderbook", **topic, params={**params, "levels": levels})
        while not client.received(type="orderbook") or len(trades_of(client)) < 5:
            await client.next()
        reading = asyncio.create_task(keep_reading(client))
        await control.post("/control/freeze", json={"frozen": True})
        try:
            query = {"venue": venue, "symbol": venue_symbol}
            truth = (await control.get("/control/book", params=query)).json()
            ledger = (await control.get("/control/trades", params={**query, "limit": 100_000})).json()
            expected = {side: numbers(truth[side][:levels]) for side in ("bids", "asks")}

            async def equal() -> bool:
                return last_book(client) == expected

            await until(equal)
        finally:
            await control.post("/control/freeze", json={"frozen": False})
            reading.cancel()
    shown = trades_of(client)
    facts = {(float(row["price"]), row["taker_side"], row["timestamp_ms"]) for row in ledger}
    assert len(shown) >= 5
    assert len({trade["id"] for trade in shown}) == len(shown)
    assert {(trade["price"], trade["side"], trade["timestamp"]) for trade in shown} <= facts


def trades_of(client: Client) -> list[dict[str, Any]]:
    return [trade for frame in client.received(type="trades") for trade in frame["data"]]


def numbers(levels: list[list[str]]) -> list[list[float]]:
    return [[float(price), float(amount)] for price, amount in levels]


def last_book(client: Client) -> dict[str, Any]:
    data = client.received(type="orderbook")[-1]["data"]
    return {"bids": data["bids"], "asks": data["asks"]}
