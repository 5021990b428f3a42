"""The simulated Hyperliquid's channels: whole books on one clock, touches, replayed trades, candles, contexts."""

import asyncio
import base64
import json
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from exchanges.simulator.server import Simulator

from .conftest import Dial, Socket

PATH = "/hyperliquid/ws"
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(autouse=True)
def fresh_allowance(simulator: Simulator) -> None:
    """The simulator is one for the whole file, what it allows an address in a minute is for each test."""
    simulator.floor.venues["hyperliquid"].forgive()


async def listen(dial: Dial, *subscriptions: dict[str, Any]) -> Socket:
    """A socket whose subscriptions are all acknowledged and whose data is still to be received.

    On a busy machine the first data may come before the last acknowledgement.
    """
    socket = await dial(PATH)
    async with asyncio.timeout(5):
        await socket.connection.recv()  # the greeting
    for subscription in subscriptions:
        await socket.send({"method": "subscribe", "subscription": subscription})
    await socket.acknowledged(lambda message: message["channel"] == "subscriptionResponse", len(subscriptions))
    return socket


async def first_of_each(socket: Socket, kind: Callable[[Any], str], count: int) -> dict[str, Any]:
    """The first message of ``count`` kinds; a stream may repeat itself before another has begun."""
    found: dict[str, Any] = {}
    while len(found) < count:
        message = await socket.receive()
        found.setdefault(kind(message), message["data"])
    return found


async def freeze(http: httpx2.AsyncClient) -> int:
    return int((await http.post("/control/freeze", json={"frozen": True})).json()["time"])


async def truth(http: httpx2.AsyncClient, coin: str) -> Any:
    return (await http.get("/control/book", params={"venue": "hyperliquid", "symbol": coin})).json()


async def ledger(http: httpx2.AsyncClient, coin: str) -> list[dict[str, Any]]:
    params = {"venue": "hyperliquid", "symbol": coin, "limit": 20_000}
    rows: list[dict[str, Any]] = (await http.get("/control/trades", params=params)).json()
    return rows


def facts(rows: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(row["px"], row["sz"], row["time"]) for row in rows]


async def test_fast_books_have_five_levels_and_say_so_and_plain_ones_twenty(dial: Dial) -> None:
    socket = await listen(
        dial, {"type": "l2Book", "coin": "BTC", "fast": True}, {"type": "l2Book", "coin": "BTC"}
    )  # fmt: skip
    frames = await first_of_each(socket, lambda message: str(message["data"].get("fast")), 2)
    assert {kind: [len(side) for side in frame["levels"]] for kind, frame in frames.items()} == {
        "True": [5, 5],
        "None": [20, 20],
    }
    for frame in frames.values():
        bids, asks = ([float(level["px"]) for level in side] for side in frame["levels"])
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert bids[0] < asks[0]


async def test_books_of_all_coins_come_in_one_burst_with_one_time(dial: Dial) -> None:
    coins = ["BTC", "ZEN", "MATIC", "xyz:SP500", "@107", "PURR/USDC"]
    socket = await listen(dial, *({"type": "l2Book", "coin": coin, "fast": True} for coin in coins))
    bursts: dict[int, list[str]] = {}
    while sum(1 for burst in bursts.values() if len(burst) == len(coins)) < 3:
        book = (await socket.receive())["data"]
        bursts.setdefault(book["time"], []).append(book["coin"])
    # The first of each coin came when its subscription began, which is another time.
    times = [at for at, burst in bursts.items() if len(burst) == len(coins)]
    assert all(set(bursts[at]) == set(coins) for at in times)
    assert all(340 <= later - earlier <= 740 for earlier, later in pairwise(times[-2:]))
    assert len(bursts) <= 3 + len(coins)


async def test_a_plain_book_is_seconds_apart_and_the_end_of_time_brings_the_last(
    dial: Dial, http: httpx2.AsyncClient
) -> None:
    socket = await listen(dial, {"type": "l2Book", "coin": "ETH"}, {"type": "l2Book", "coin": "ETH", "nSigFigs": 4})
    await first_of_each(socket, lambda message: str("spread" in message["data"]), 2)
    now = await freeze(http)
    last = await socket.until(lambda message: message["data"]["time"] == now and "spread" not in message["data"])
    book = last["data"]
    true = await truth(http, "ETH")
    sides = [[[level["px"], level["sz"]] for level in side] for side in book["levels"]]
    assert sides == [true["bids"][:20], true["asks"][:20]]


async def test_another_subscriber_does_not_disturb_the_clock(dial: Dial) -> None:
    subscription = {"type": "l2Book", "coin": "BTC", "fast": True}
    first = await listen(dial, subscription)
    await first.receive()
    boundary = (await first.receive())["data"]["time"]
    late = await listen(dial, subscription)
    await late.receive()
    times = [boundary, *[(await first.receive())["data"]["time"] for _ in range(2)]]
    assert all(340 <= later - earlier <= 740 for earlier, later in pairwise(times))


async def test_a_delisted_coin_streams_empty_books_and_nothing_else(dial: Dial) -> None:
    kinds: list[dict[str, Any]] = [
        {"type": "bbo"}, {"type": "trades"}, {"type": "candle", "interval": "1m"}, {"type": "l2Book", "fast": True},
    ]  # fmt: skip
    socket = await listen(dial, *({**kind, "coin": "MATIC"} for kind in kinds))
    frames = [await socket.receive() for _ in range(2)]
    assert {frame["channel"] for frame in frames} == {"l2Book"}
    assert [frame["data"]["levels"] for frame in frames] == [[[], []]] * 2


async def test_the_best_bid_and_ask_come_only_when_they_changed_and_end_true(
    dial: Dial, http: httpx2.AsyncClient
) -> None:
    socket = await listen(dial, {"type": "bbo", "coin": "BTC"})
    touches = [(await socket.receive())["data"] for _ in range(6)]
    assert all(one["bbo"] != next_["bbo"] for one, next_ in pairwise(touches))
    assert all(one["time"] < next_["time"] for one, next_ in pairwise(touches))
    now = await freeze(http)
    true = await truth(http, "BTC")
    while [[level["px"], level["sz"]] for level in touches[-1]["bbo"]] != [true["bids"][0], true["asks"][0]]:
        touches.append((await socket.receive())["data"])
    assert touches[-1]["time"] <= now


async def test_every_subscription_to_trades_begins_with_past_ones(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await listen(dial, {"type": "trades", "coin": "BTC"})
    for _ in range(2):  # a resubscription on the same socket gets them again
        replayed = (await socket.receive())["data"]
        assert 10 <= len(replayed) <= 30
        assert replayed[-1]["time"] - replayed[0]["time"] <= 20_000
        true = {(t["price"], t["amount"], t["timestamp_ms"]) for t in await ledger(http, "BTC")}
        assert set(facts(replayed)) <= true
        for method in ("unsubscribe", "subscribe"):
            await socket.send({"method": method, "subscription": {"type": "trades", "coin": "BTC"}})
            await socket.until(lambda message: message["channel"] == "subscriptionResponse")


async def test_trades_after_the_replay_are_the_ledger_without_a_hole(dial: Dial, http: httpx2.AsyncClient) -> None:
    await listen(dial, {"type": "trades", "coin": "BTC"})  # somebody who was here before
    socket = await listen(dial, {"type": "trades", "coin": "BTC"})
    rows = list((await socket.receive())["data"])
    for _ in range(4):
        rows += (await socket.receive())["data"]
    await freeze(http)
    last = (await ledger(http, "BTC"))[-1]
    while rows[-1]["time"] < last["timestamp_ms"]:
        rows += (await socket.receive())["data"]
    true = [(t["price"], t["amount"], t["timestamp_ms"]) for t in await ledger(http, "BTC")]
    assert facts(rows) == true[-len(rows) :]
    assert len({row["tid"] for row in rows}) == len(rows)
    assert [row["tid"] for row in rows] != sorted(row["tid"] for row in rows)
    assert {row["side"] for row in rows} <= {"A", "B"}


async def test_a_candle_is_one_object_without_a_closed_flag_and_ends_as_fetched(
    dial: Dial, http: httpx2.AsyncClient
) -> None:
    socket = await listen(dial, {"type": "candle", "coin": "BTC", "interval": "1m"})
    candle = (await socket.receive())["data"]
    assert candle.keys() == {"t", "T", "s", "i", "o", "c", "h", "l", "v", "n"}
    await freeze(http)
    request = {"coin": "BTC", "interval": "1m", "startTime": candle["t"]}
    fetched = await http.post("/hyperliquid/info", json={"type": "candleSnapshot", "req": request})
    last = fetched.json()[-1]
    while candle != last:
        candle = (await socket.receive())["data"]


async def test_contexts_come_on_a_channel_of_their_own_for_spot(dial: Dial) -> None:
    socket = await listen(
        dial, {"type": "activeAssetCtx", "coin": "kPEPE"}, {"type": "activeAssetCtx", "coin": "@107"},
        {"type": "activeAssetCtx", "coin": "MATIC"},
    )  # fmt: skip
    frames = await first_of_each(socket, lambda message: f"{message['channel']} {message['data']['coin']}", 3)
    assert frames.keys() == {"activeAssetCtx kPEPE", "activeSpotAssetCtx @107", "activeAssetCtx MATIC"}
    assert float(frames["activeAssetCtx kPEPE"]["ctx"]["oraclePx"]) > 0
    assert frames["activeAssetCtx MATIC"]["ctx"]["impactPxs"] is None


async def test_all_market_channels_state_every_coin(dial: Dial) -> None:
    socket = await listen(
        dial, {"type": "allMids"}, {"type": "allMids", "dex": "xyz"}, {"type": "allDexsAssetCtxs"},
        {"type": "fastAssetCtxs"}, {"type": "spotAssetCtxs"}, {"type": "assetCtxs"},
    )  # fmt: skip

    def kind(message: Any) -> str:
        mids_of = message["data"].get("dex", "main") if message["channel"] == "allMids" else ""
        return f"{message['channel']} {mids_of}".strip()

    first_data = await first_of_each(socket, kind, 6)
    assert "@107" in first_data["allMids main"]["mids"]
    assert first_data["allMids xyz"].keys() == {"mids", "dex"}
    contexts = first_data["allDexsAssetCtxs"]["ctxs"]
    assert [(dex, len(rows)) for dex, rows in contexts] == [("", 6), ("xyz", 1)]
    assert len(first_data["assetCtxs"]["ctxs"]) == 6
    assert {"PURR/USDC", "@107", "@142"} < {row["coin"] for row in first_data["spotAssetCtxs"]}
    first = json.loads(zlib.decompress(base64.b64decode(first_data["fastAssetCtxs"]), wbits=-15))
    assert len(first) == 9
    changed = await socket.until(lambda message: message["channel"] == "fastAssetCtxs")
    assert 0 < len(json.loads(zlib.decompress(base64.b64decode(changed["data"]), wbits=-15))) < 9


async def test_snapshots_can_be_lost(dial: Dial, http: httpx2.AsyncClient) -> None:
    socket = await listen(dial, {"type": "l2Book", "coin": "BTC", "fast": True})
    await socket.receive()
    before = (await socket.receive())["data"]["time"]
    await http.post("/control/lose", json={"venue": "hyperliquid", "symbol": "BTC", "count": 1})
    assert (await socket.receive())["data"]["time"] - before > 900
