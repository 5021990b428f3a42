"""Coming back with a cursor: to the same gateway, to one started anew, and from a REST answer to the stream."""

import json
from typing import Any

import httpx2
import pytest

from tests.system import processes
from tests.system.processes import Client

BTC = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}
TRADES: dict[str, Any] = {"op": "subscribe", "channel": "trades", **BTC}
CANDLES: dict[str, Any] = {"op": "subscribe", "channel": "ohlcv", **BTC}
BOOK: dict[str, Any] = {"op": "subscribe", "channel": "orderbook", **BTC}


def cursor(message: dict[str, Any]) -> tuple[int, int]:
    epoch, _, seq = message["cursor"].partition("-")
    return int(epoch), int(seq)


def texts(client: Client, channel: str) -> dict[str, str]:
    """Data frames and topic-wide gaps as they came, by cursor."""
    found = {}
    for text in client.frames:
        message = json.loads(text)
        if message["type"] in (channel, "gap") and "cursor" in message:
            assert message["cursor"] not in found, "twice"
            found[message["cursor"]] = text
    return found


@pytest.mark.parametrize("command", [TRADES, CANDLES], ids=["trades", "ohlcv"])
async def test_who_comes_back_gets_byte_for_byte_what_the_others_got_meanwhile(
    gateway_url: str, command: dict[str, Any]
) -> None:
    channel = command["channel"]
    async with processes.client(gateway_url) as witness:
        await witness.send(op="hello")
        await witness.send(**command)
        await witness.expect(type=channel)
        async with processes.client(gateway_url) as first:
            await first.send(**command, snapshot=False)
            seen = (await first.expect(type=channel))["cursor"]
        for _ in range(12 if channel == "trades" else 3):
            await witness.expect(type=channel)

        async with processes.client(gateway_url) as second:
            await second.send(op="hello")
            await second.send(**command, id="r", since=seen)
            ack = await second.expect(type="subscribed")
            caught_up = await second.expect(type="caughtUp")
            live = await second.expect(type=channel)
            while witness.received(type=channel)[-1]["cursor"] != live["cursor"]:
                await witness.expect(type=channel)

    resume = ack["resume"]
    assert (resume["status"], resume["from"], ack["id"]) == ("recovered", seen, "r")
    ours, theirs = texts(second, channel), texts(witness, channel)
    assert resume["count"] <= len(ours) - 1
    assert list(ours) == [key for key in theirs if cursor({"cursor": key}) > cursor({"cursor": seen})]
    assert all(theirs[key] == text for key, text in ours.items())
    assert cursor(caught_up) == (cursor(live)[0], cursor(live)[1] - 1)


async def test_a_rest_answer_and_the_stream_from_its_cursor_join_exactly(
    gateway_url: str, http: httpx2.AsyncClient
) -> None:
    async with processes.client(gateway_url) as witness, processes.client(gateway_url) as client:
        await witness.send(**TRADES)
        await witness.expect(type="trades")
        answer = await http.post("/v1/fetchTrades", json={**BTC, "limit": 50})
        await witness.expect(type="trades")
        await client.send(**TRADES, since=answer.headers["X-Cursor"])
        for _ in range(5):
            await client.expect(type="trades")

    ids = [int(row["id"]) for row in answer.json()]
    ids += [int(row["id"]) for frame in client.received(type="trades") for row in frame["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


async def test_a_book_comes_back_with_its_newest_state(gateway_url: str) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="hello")
        await client.send(**BOOK)
        seen = (await client.expect(type="orderbook"))["cursor"]
        await client.send(op="unsubscribe", **{key: BOOK[key] for key in ("channel", "exchange", "symbol")})
        await client.expect(type="unsubscribed")

        await client.send(**BOOK, since=seen)
        ack = await client.expect(type="subscribed")
        book = await client.expect(type="orderbook")

    assert ack["resume"]["status"] == "snapshot"
    assert cursor(book) >= cursor({"cursor": seen})


async def test_after_a_restart_the_epoch_is_another_one_and_the_client_is_told(simulator_url: str) -> None:
    with processes.gateway(simulator_url) as url:
        async with processes.client(url) as client:
            await client.send(**TRADES)
            seen = await client.expect(type="trades")
    with processes.gateway(simulator_url) as url:
        async with processes.client(url) as client:
            await client.send(op="hello")
            await client.send(**TRADES, since=seen["cursor"])
            ack = await client.expect(type="subscribed")
            gap = await client.expect(type="gap")
            history = await client.expect(type="trades")
            await client.expect(type="caughtUp")
            live = await client.expect(type="trades")

    assert ack["resume"]["status"] == "epochChanged"
    assert (gap["reason"], gap["from"]["cursor"], gap["missing"]) == ("EPOCH_CHANGED", seen["cursor"], None)
    assert cursor(live)[0] > cursor(seen)[0]
    ids = [int(row["id"]) for frame in (history, live) for row in frame["data"]]
    assert int(seen["data"][-1]["id"]) in ids  # the venue's own past covers the restart
    assert ids == sorted(set(ids))


async def test_a_cursor_from_the_future_goes_on_from_now(gateway_url: str) -> None:
    async with processes.client(gateway_url) as client:
        await client.send(op="hello")
        await client.send(**TRADES, since="9999999999999-1")
        ack = await client.expect(type="subscribed")
        await client.expect(type="trades")

    assert ack["resume"]["status"] == "ahead"
    assert client.received(type="gap") == []
