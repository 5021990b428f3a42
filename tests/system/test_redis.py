"""A gateway with a real Redis: what a restart keeps, and what an outage of Redis costs its clients: nothing."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from tests.redis_server import RedisServer, binaries, redis_server
from tests.system import processes
from tests.system.processes import Client

BINANCE = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}
BYBIT = {"exchange": "bybit", "symbol": "BTC/USDT:USDT"}
TRADES: dict[str, Any] = {"op": "subscribe", "channel": "trades", **BINANCE}
LOOSE_TRADES: dict[str, Any] = {"op": "subscribe", "channel": "trades", **BYBIT}
CANDLES: dict[str, Any] = {"op": "subscribe", "channel": "ohlcv", **BINANCE}
TOPICS = (TRADES, LOOSE_TRADES, CANDLES)
UNREACHABLE = "redis://127.0.0.1:1"

pytestmark = pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    """Of this module's own: so many gateways ask it for their catalogues that it sends them away for a while."""
    with processes.simulator() as url:
        yield url


@pytest.fixture(params=binaries().values(), ids=binaries())
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with redis_server(request.param) as server:
        yield server


def name(message: dict[str, Any]) -> tuple[str, str]:
    about = message.get("topic", message)
    return message["channel"], about["exchange"]


def frames(client: Client, command: dict[str, Any]) -> list[dict[str, Any]]:
    """Events of one topic, gaps included, in order."""
    messages = [json.loads(text) for text in client.frames]
    return [one for one in messages if "cursor" in one and one["type"] != "caughtUp" and name(one) == name(command)]


async def rows(http: httpx2.AsyncClient, command: dict[str, Any], limit: int = 500) -> list[Any]:
    endpoint = "fetchTrades" if command["channel"] == "trades" else "fetchOHLCV"
    about = {key: command[key] for key in ("exchange", "symbol")}
    answer = await http.post(f"/v1/{endpoint}", json={**about, "limit": limit})
    answer.raise_for_status()
    return list(answer.json())


async def follow_for_a_while(url: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The newest event of each topic that a client was sent."""
    async with processes.client(url) as client:
        for topic in TOPICS:
            await client.send(**topic)
        for _ in range(25):
            await client.expect(type="trades")
        await client.expect(type="ohlcv")
        return {name(topic): frames(client, topic)[-1] for topic in TOPICS}


async def until_kept(server: RedisServer, seen: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Until Redis has the events that a client has seen."""
    missing = {tuple(map(int, event["cursor"].split("-"))) for event in seen.values()}
    async with Redis.from_url(server.url, legacy_responses=False) as redis:
        while missing:
            for key in await redis.keys("*:events"):
                ((id, _),) = await redis.xrevrange(key, count=1)
                top = tuple(map(int, id.split(b"-")))
                missing = {one for one in missing if one[0] != top[0] or one > top}


@pytest.mark.parametrize("end", ["told to stop", "killed"])
async def test_a_restart_keeps_trades_candles_and_their_cursors(
    simulator_url: str, server: RedisServer, end: str
) -> None:
    with processes.gateway(simulator_url, redis_url=server.url) as url:
        seen = await follow_for_a_while(url)
        if end == "killed":
            async with asyncio.timeout(1.0):  # all but the last second is kept
                await until_kept(server, seen)
            processes.RUNNING[url].kill()
    with processes.gateway(simulator_url, redis_url=server.url) as url:
        async with processes.client(url) as client, httpx2.AsyncClient(base_url=url) as http:
            await client.send(op="hello")
            for topic in TOPICS:
                await client.send(**topic, since=seen[name(topic)]["cursor"])
            acks = [await client.expect(type="subscribed") for _ in TOPICS]
            while not all(any(m["type"] == "gap" for m in frames(client, topic)[:-1]) for topic in TOPICS):
                await client.next()
            for _ in range(5):
                await client.expect(type="trades")
            history = await rows(http, TRADES)

    assert {ack["resume"]["status"] for ack in acks} == {"recovered"}
    for topic in TOPICS:
        events = frames(client, topic)
        epoch, _, seq = seen[name(topic)]["cursor"].partition("-")
        gap = next(event for event in events if event["type"] == "gap")
        place = events.index(gap)
        # The old epoch to its end, then the word that there is a new one, then that from its beginning.
        assert [one["cursor"] for one in events[:place]] == [f"{epoch}-{int(seq) + n}" for n in range(1, place + 1)]
        assert (gap["reason"], gap["missing"], gap["backfilled"]) == ("EPOCH_CHANGED", 0, True)
        new = gap["cursor"].partition("-")[0]
        assert int(new) > int(epoch)
        assert [one["cursor"] for one in events[place:]] == [f"{new}-{n}" for n in range(1, len(events) - place + 1)]
    ids = [int(row["id"]) for one in frames(client, TRADES) for row in one.get("data", [])]
    first = int(seen[name(TRADES)]["data"][-1]["id"]) + 1
    assert ids == list(range(first, first + len(ids)))
    assert first - 1 in [int(row["id"]) for row in history]


async def test_while_redis_is_away_clients_notice_nothing_and_operators_do(
    simulator_url: str, server: RedisServer
) -> None:
    with processes.gateway(simulator_url, redis_url=server.url) as url:
        async with processes.client(url) as client, httpx2.AsyncClient(base_url=url) as http:
            for topic in TOPICS:
                await client.send(**topic)
            await client.expect(type="trades")
            healthy = await says_redis_is_away(http)
            server.kill()
            await processes.until(lambda: says_redis_is_away(http))
            answered = (await http.get("/readyz")).json()
            for _ in range(20):
                await client.expect(type="trades")
            answer = await rows(http, TRADES)
            server.start()
            await processes.until(lambda: says_redis_is_here(http))
            await client.expect(type="trades")
            last = frames(client, TRADES)[-1]["cursor"]
    with processes.gateway(simulator_url, redis_url=server.url) as url:
        async with processes.client(url) as client:
            await client.send(**TRADES, since=last)
            ack = await client.expect(type="subscribed")

    assert (healthy, answered["status"], answer != []) == (False, "degraded", True)
    assert ack["resume"]["status"] == "recovered"  # it came back empty, and was given everything again


async def says_redis_is_away(http: httpx2.AsyncClient) -> bool:
    """Of the reasons for which it is not ready; a venue may have been asked too much by the tests before."""
    answer = await http.get("/readyz")
    return answer.status_code == 200 and any(reason.startswith("redis: ") for reason in answer.json()["reasons"])


async def says_redis_is_here(http: httpx2.AsyncClient) -> bool:
    return not await says_redis_is_away(http)


@pytest.mark.parametrize("how", ["absent", "frozen"])
async def test_a_gateway_starts_without_its_redis(simulator_url: str, server: RedisServer, how: str) -> None:
    if how == "frozen":
        server.freeze()
    address = UNREACHABLE if how == "absent" else server.url
    try:
        with processes.gateway(simulator_url, redis_url=address) as url:
            async with processes.client(url) as client, httpx2.AsyncClient(base_url=url) as http:
                await client.send(**TRADES)
                await client.expect(type="trades")
                assert await says_redis_is_away(http)
    finally:
        server.thaw()
