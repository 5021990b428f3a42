"""Clients that do not read, against a running gateway: what they lose is declared to the last event, or they are cut.

A slow client's receive buffer is as small as the kernel lets it be, so that the gateway feels within kilobytes that it
does not read; its books are deep, so that these come within a second.
"""

import asyncio
import json
import socket
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError

from tests.system import processes
from tests.system.processes import Client

PERP = ("BTC/USDT:USDT", "ETH/USDT:USDT")
BOOKS = [
    *({"channel": "orderbook", "exchange": "binance", "symbol": one, "params": {"levels": 1000}} for one in PERP),
    *({"channel": "orderbook", "exchange": "bybit", "symbol": one, "params": {"levels": 1000}} for one in PERP),
    *({"channel": "orderbook", "exchange": "binance", "symbol": one, "params": {"levels": 500}} for one in PERP),
]
CANDLES = [{"channel": "ohlcv", "exchange": "binance", "symbol": one, "params": {}} for one in PERP]
TRADES = [
    *({"channel": "trades", "exchange": "binance", "symbol": one, "params": {}} for one in PERP),
    *({"channel": "trades", "exchange": "bybit", "symbol": one, "params": {}} for one in PERP),
    {"channel": "trades", "exchange": "hyperliquid", "symbol": "BTC/USDC:USDC", "params": {}},
]
TOPICS = BOOKS + CANDLES + TRADES
MISSED_BYTES = 200 * 1024  # of the trades of one topic: more than a client is given of it

Topic = tuple[str, str]


class Witness(Client):
    """Remembers what came of each topic, in order, as it comes: to read it all again would make a client slow."""

    def __init__(self, client: Client) -> None:
        super().__init__(client.connection)
        self.by_topic: dict[Topic, list[dict[str, Any]]] = defaultdict(list)
        self.newest: dict[Topic, tuple[int, ...]] = {}
        self.trade_bytes: Counter[Topic] = Counter()

    async def next(self) -> dict[str, Any]:
        message = await super().next()
        if "topic" in message and (message["type"] == "gap" or "data" in message):
            topic = message["channel"], json.dumps(message["topic"])
            self.by_topic[topic].append(message)
            if "cursor" in message:
                self.newest[topic] = place(message)
            self.trade_bytes[topic] += len(self.frames[-1]) * (message["type"] == "trades")
        return message

    def is_at(self, goal: dict[Topic, tuple[int, ...]]) -> bool:
        return all(self.newest.get(topic, (0,)) >= place for topic, place in goal.items())


@asynccontextmanager
async def slow_client(url: str) -> AsyncIterator[Witness]:
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect((host, int(port)))
    async with processes.client(url, sock=connection, max_queue=1) as one:
        yield Witness(one)


@asynccontextmanager
async def polite_client(url: str, topics: Sequence[dict[str, Any]] = TOPICS) -> AsyncIterator[Witness]:
    """One that reads all the time, whatever the others do."""
    async with processes.client(url) as client:
        one = Witness(client)
        await one.send(op="hello")
        await subscribe(one, topics)
        reading = asyncio.create_task(read_on(one))
        yield one
        assert not reading.done()
        reading.cancel()


async def read_on(client: Client) -> None:
    while True:
        await client.next()


async def subscribe(client: Witness, topics: Sequence[dict[str, Any]]) -> None:
    """Until each of them has brought data."""
    await client.send(op="subscribe", id="all", topics=topics)
    await client.expect(type="batch", id="all")
    while len(client.newest) < len(topics):
        await client.next()


def place(message: dict[str, Any]) -> tuple[int, ...]:
    return tuple(map(int, message["cursor"].split("-")))


async def test_who_reads_again_is_told_exactly_what_it_lost_and_has_the_newest_of_the_rest(simulator_url: str) -> None:
    with processes.gateway(simulator_url, limits__stall="25") as url:  # to lose trades takes longer than that allows
        async with polite_client(url) as polite, slow_client(url) as slow:
            await slow.send(op="hello")
            await subscribe(slow, TOPICS)
            stop = len(slow.frames)
            before = polite.trade_bytes.copy()
            await until(lambda: max((polite.trade_bytes - before).values(), default=0) > MISSED_BYTES, patience=25.0)
            goal = polite.newest.copy()
            while not slow.is_at(goal):
                await slow.next()
            await until(lambda: polite.is_at(slow.newest))

    since = [json.loads(text) for text in slow.frames[stop:]]
    gaps = [message for message in since if message["type"] == "gap" and message["reason"] == "CLIENT_SLOW"]
    warnings = [message for message in since if message["type"] == "warning"]
    assert {message["code"] for message in warnings} == {"CLIENT_LAGGED"}
    assert {gap["channel"] for gap in gaps} >= {"trades"}
    assert all(gap["summary"]["count"] == gap["missing"] > 0 for gap in gaps if gap["channel"] == "trades")
    for topic, messages in slow.by_topic.items():
        if topic[0] == "orderbook":
            assert_books_are_right(messages, polite.by_topic[topic])
        else:
            assert_complete(messages)
            assert_complete(polite.by_topic[topic])
    assert polite.received(type="warning") == []


def assert_complete(messages: list[dict[str, Any]]) -> None:
    """Delivered and declared are everything between the first event and the last, in order."""
    seqs = [place(message)[1] for message in messages if "cursor" in message]
    declared = sum(message["events"] for message in messages if message.get("reason") == "CLIENT_SLOW")
    assert seqs == sorted(set(seqs))
    assert len(seqs) + declared == seqs[-1] - seqs[0] + 1, messages[0]["topic"]


def assert_books_are_right(messages: list[dict[str, Any]], everything: list[dict[str, Any]]) -> None:
    """Each view, to the newest, is the one that everybody had at that cursor; it never goes back."""
    views = {message["cursor"]: message["data"] for message in everything}
    places = [place(message) for message in messages]
    assert places == sorted(set(places))
    assert messages[-1]["data"] == views[messages[-1]["cursor"]]
    assert all(views[message["cursor"]] == message["data"] for message in messages if message["cursor"] in views)


@pytest.mark.parametrize("hello", [True, False])
async def test_who_never_reads_is_cut_with_a_reset_and_a_polite_client_misses_nothing(
    simulator_url: str, hello: bool
) -> None:
    with processes.gateway(simulator_url, limits__stall="1") as url:
        async with polite_client(url):
            pass  # the feeds have begun, and what their beginnings had to make up for is not the slow client's doing
        async with polite_client(url) as polite, slow_client(url) as slow, httpx2.AsyncClient(base_url=url) as http:
            if hello:
                await slow.send(op="hello")
            await slow.send(op="subscribe", topics=TOPICS)
            await processes.until(lambda: metric(http, "gateway_clients_stopped"))
            stopped_at = asyncio.get_running_loop().time()
            await processes.until(lambda: metric(http, 'gateway_clients_closed_total{code="4101"}'))
            cut_after = asyncio.get_running_loop().time() - stopped_at
            start = len(polite.frames)
            await until(lambda: len(polite.frames) > start + 50)
            with pytest.raises(ConnectionClosedError) as closed:
                await read_on(slow)
            left = (await http.get("/metrics")).text

    assert closed.value.rcvd is None  # a reset, after what the kernel had already
    assert cut_after < 1.0 + 1.0 + 0.5  # the stall, the round of every second, and asking for it
    assert "\ngateway_clients_stopped 0.0\n" in left
    assert "\ngateway_clients 1.0\n" in left
    for topic, messages in polite.by_topic.items():
        if topic[0] == "trades":
            assert_complete(messages)
    assert polite.received(type="warning") == polite.received(type="gap") == []


async def metric(http: httpx2.AsyncClient, sample: str) -> bool:
    """It is more than nothing."""
    lines = (await http.get("/metrics")).text.splitlines()
    return any(line.startswith(f"{sample} ") and not line.endswith(" 0.0") for line in lines)


async def until(condition: Callable[[], bool], patience: float = processes.PATIENCE) -> None:
    async def asked() -> bool:
        return condition()

    await processes.until(asked, patience)
