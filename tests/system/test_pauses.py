"""Pause and resume against a running gateway: nothing comes meanwhile, and afterwards what was missed or how much."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.system import processes
from tests.system.processes import Client

BTC = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}
TRADES: dict[str, Any] = {"channel": "trades", **BTC}
BOOK: dict[str, Any] = {"channel": "orderbook", **BTC}
CANDLES: dict[str, Any] = {"channel": "ohlcv", **BTC}
EVERYTHING = (TRADES, BOOK, CANDLES)
DATA = ("trades", "orderbook", "ohlcv", "gap")


async def subscribe(client: Client, *topics: dict[str, Any]) -> None:
    """Until each of them has brought data."""
    for topic in topics:
        await client.send(op="subscribe", **topic)
    missing = {topic["channel"] for topic in topics}
    while missing:
        missing.discard((await client.next())["type"])


async def settled(client: Client) -> int:
    """The number of frames until the answer to a ping, behind which nothing is that was sent before it."""
    await client.send(op="ping", id="settled")
    await client.expect(type="pong", id="settled")
    return len(client.frames)


def data_since(client: Client, frame: int) -> list[dict[str, Any]]:
    messages = [json.loads(text) for text in client.frames[frame:]]
    return [message for message in messages if message["type"] in DATA]


def seq(message: dict[str, Any]) -> int:
    return int(message["cursor"].partition("-")[2])


@asynccontextmanager
async def following(url: str, *topics: dict[str, Any]) -> AsyncIterator[Client]:
    """A client that has all of it, read by somebody who waits for it."""
    async with processes.client(url) as polite:
        await polite.send(op="hello")
        await subscribe(polite, *topics)
        yield polite


async def frames_of(polite: Client, channel: str, count: int) -> list[dict[str, Any]]:
    return [await polite.expect(type=channel) for _ in range(count)]


async def test_while_paused_there_is_no_data_and_afterwards_no_trade_is_missing(gateway_url: str) -> None:
    async with following(gateway_url, TRADES) as polite, processes.client(gateway_url) as client:
        await client.send(op="hello")
        await subscribe(client, TRADES)
        await client.send(op="pause", id=1, topics=[TRADES])
        paused = await client.expect(type="paused")
        start = await settled(client)
        await frames_of(polite, "trades", 8)
        await settled(client)
        silent = data_since(client, start)
        await client.send(op="resume", id=2, topics=[TRADES])
        resumed = await client.expect(type="resumed")
        for _ in range(12):
            await client.expect(type="trades")

    assert (paused["id"], resumed["id"]) == (1, 2)
    assert paused["topics"] == resumed["topics"] == [{"channel": "trades", "topic": {**BTC, "params": {}}}]
    assert silent == []
    seqs = [seq(message) for message in client.received(type="trades")]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    assert client.received(type="warning") == client.received(type="gap") == []


async def test_all_topics_are_paused_and_resumed_where_none_is_named(gateway_url: str) -> None:
    async with following(gateway_url, *EVERYTHING) as polite, processes.client(gateway_url) as client:
        await client.send(op="hello")
        await subscribe(client, *EVERYTHING)
        await client.send(op="pause", id="p")
        paused = await client.expect(type="paused", id="p")
        start = await settled(client)
        await frames_of(polite, "trades", 5)
        await frames_of(polite, "ohlcv", 1)
        await settled(client)
        silent = data_since(client, start)
        await client.send(op="resume", id="r")
        await client.expect(type="resumed", id="r")
        missing = {"trades", "orderbook", "ohlcv"}
        while missing:
            missing.discard((await client.next())["type"])

    assert [row["channel"] for row in paused["topics"]] == ["trades", "orderbook", "ohlcv"]
    assert silent == []


async def test_a_resumed_book_begins_with_its_newest_full_view(gateway_url: str) -> None:
    async with following(gateway_url, BOOK) as polite, processes.client(gateway_url) as client:
        await client.send(op="hello")
        await subscribe(client, BOOK)
        await client.send(op="pause", topics=[BOOK])
        await client.expect(type="paused")
        start = await settled(client)
        newest = (await frames_of(polite, "orderbook", 10))[-1]
        await client.send(op="resume", topics=[BOOK])
        view = await client.expect(type="orderbook")
        after = await client.expect(type="orderbook")
        while seq(newest) < seq(view):
            newest = await polite.expect(type="orderbook")

    assert data_since(client, start)[0] == view
    assert len(view["data"]["bids"]) == len(view["data"]["asks"]) == 20
    assert seq(after) > seq(view)
    same = {message["cursor"]: message["data"] for message in polite.received(type="orderbook")}
    assert view["data"] == same[view["cursor"]]


async def test_resumed_candles_are_the_changed_ones(gateway_url: str) -> None:
    async with following(gateway_url, CANDLES) as polite, processes.client(gateway_url) as client:
        await client.send(op="hello")
        await subscribe(client, CANDLES)
        await client.send(op="pause", topics=[CANDLES])
        await client.expect(type="paused")
        start = await settled(client)
        await frames_of(polite, "ohlcv", 4)
        await client.send(op="resume", topics=[CANDLES])
        first = await client.expect(type="ohlcv")
        while seq(polite.received(type="ohlcv")[-1]) < seq(first):
            await polite.expect(type="ohlcv")

    before = client.received(type="ohlcv")[-2]
    missed = [m for m in polite.received(type="ohlcv") if seq(before) < seq(m) <= seq(first)]
    newest = {row[0]: row for message in missed for row in message["data"]}
    declared = sum(m["events"] for m in data_since(client, start) if m["type"] == "gap" and m["reason"] == "PAUSED")
    assert first["data"] == [newest[time] for time in sorted(newest)]
    assert declared + 1 == seq(first) - seq(before)


async def test_a_base_client_may_pause_too_and_is_told_nothing_it_does_not_know(gateway_url: str) -> None:
    async with following(gateway_url, TRADES) as polite, processes.client(gateway_url) as client:
        await subscribe(client, TRADES)
        await client.send(op="pause", id=1)
        await client.send(op="ping", id=2)
        await client.expect(type="pong", id=2)
        start = len(client.frames)
        await frames_of(polite, "trades", 3)
        await settled(client)
        silent = data_since(client, start)
        await client.send(op="resume", id=3)
        await client.expect(type="trades")

    assert silent == []
    assert {message["type"] for message in client.received()} == {"subscribed", "trades", "pong"}


async def test_an_unsubscribe_while_paused_is_for_good(gateway_url: str) -> None:
    async with following(gateway_url, TRADES) as polite, processes.client(gateway_url) as client:
        await client.send(op="hello")
        await subscribe(client, TRADES)
        await client.send(op="pause")
        await client.expect(type="paused")
        await client.send(op="unsubscribe", **TRADES)
        await client.expect(type="unsubscribed")
        await client.send(op="resume", id=1, topics=[TRADES])
        refused = await client.expect(type="error", id=1)
        start = await settled(client)
        await frames_of(polite, "trades", 3)
        await settled(client)
        silent = data_since(client, start)
        await subscribe(client, TRADES)  # awake again

    assert (refused["code"], silent) == ("NOT_SUBSCRIBED", [])


async def test_a_topic_paused_twice_is_resumed_once(gateway_url: str) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="hello")
        await subscribe(client, TRADES)
        for command in ("pause", "pause", "resume", "resume"):
            await client.send(op=command)
        for _ in range(5):
            await client.expect(type="trades")

    assert [len(client.received(type=kind)) for kind in ("paused", "resumed", "gap")] == [2, 2, 0]


@pytest.mark.parametrize("topic", EVERYTHING, ids=lambda topic: topic["channel"])
async def test_a_pause_before_the_feed_is_live_holds_when_it_is(simulator_url: str, topic: dict[str, Any]) -> None:
    with processes.gateway(simulator_url) as url:
        async with processes.client(url) as client:
            await client.send(op="hello")
            await client.send(op="subscribe", **topic)
            await client.send(op="pause")
            await client.expect(type="paused")
            await client.expect(type="status", state="live")
            async with following(url, topic) as polite:
                await frames_of(polite, topic["channel"], 2)
            await settled(client)
            silent = data_since(client, 0)
            await client.send(op="resume")
            await client.expect(type="resumed")
            await client.expect(type=topic["channel"])

    assert silent == []


async def test_what_a_pause_kept_back_is_delivered_or_declared_to_the_last_event(simulator_url: str) -> None:
    with processes.gateway(simulator_url) as url:
        async with following(url, TRADES) as polite, processes.client(url) as client:
            await client.send(op="hello")
            await subscribe(client, TRADES)
            await client.send(op="pause")
            await client.expect(type="paused")
            first = await settled(client)
            await frames_of(polite, "trades", 6)
            await client.send(op="resume")
            await client.expect(type="resumed")
            for _ in range(3):
                await client.expect(type="trades")

    got = data_since(client, first)
    gaps = [message for message in got if message["type"] == "gap"]
    seqs = [seq(message) for message in client.received(type="trades")]
    assert all(gap["reason"] == "PAUSED" and gap["summary"]["count"] == gap["missing"] for gap in gaps)
    assert len(seqs) + sum(gap["events"] for gap in gaps) == seqs[-1] - seqs[0] + 1
