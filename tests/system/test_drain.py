"""The end of a node, announced: who said hello is asked to go, and served until it has gone or its time is over."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from tests.system import processes
from tests.system.processes import Client

TOPIC = {"channel": "trades", "exchange": "binance", "symbol": "BTC/USDT:USDT"}
DRAIN = 3.0


@pytest.fixture
def draining(simulator_url: str) -> Iterator[str]:
    with processes.gateway(simulator_url, limits__drain=str(DRAIN)) as url:
        yield url


@pytest.fixture
async def aware(draining: str) -> AsyncIterator[Client]:
    async with processes.client(draining) as client:
        await client.send(op="hello")
        await client.send(op="subscribe", **TOPIC)
        await client.expect(type="trades")
        yield client


async def test_who_said_hello_is_asked_to_go_and_served_meanwhile(draining: str, aware: Client) -> None:
    processes.stop(draining)
    goaway = await aware.expect(type="goaway")
    assert (goaway["reason"], goaway["graceMs"]) == ("DEPLOY", DRAIN * 1000)
    assert 0 <= goaway["delayMs"] <= DRAIN * 1000 / 2
    await aware.expect(type="trades")


async def test_nobody_new_is_let_in(draining: str, aware: Client) -> None:
    processes.stop(draining)
    await aware.expect(type="goaway")
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{draining}/healthz")


async def test_it_ends_as_soon_as_they_have_gone_and_closes_the_others(draining: str, aware: Client) -> None:
    async with processes.client(draining) as base:
        await base.send(op="subscribe", **TOPIC)
        await base.expect(type="trades")
        began = asyncio.get_running_loop().time()
        processes.stop(draining)
        await aware.expect(type="goaway")
        await aware.connection.close()
        assert await closed(base) == 1012
        assert asyncio.get_running_loop().time() - began < DRAIN
        assert base.received(type="goaway") == []


async def test_who_stays_is_closed_when_its_time_is_over(draining: str, aware: Client) -> None:
    began = asyncio.get_running_loop().time()
    processes.stop(draining)
    assert await closed(aware) == 1012
    assert DRAIN <= asyncio.get_running_loop().time() - began < DRAIN + 3


async def test_who_is_in_a_hurry_interrupts_twice(draining: str, aware: Client) -> None:
    began = asyncio.get_running_loop().time()
    running = processes.RUNNING[draining]
    running.send_signal(signal.SIGINT)
    await aware.expect(type="goaway")
    running.send_signal(signal.SIGINT)
    await asyncio.to_thread(running.wait, processes.PATIENCE)
    assert asyncio.get_running_loop().time() - began < DRAIN


async def closed(client: Client) -> int | None:
    """The code that its connection is closed with."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(processes.PATIENCE):
            while True:
                await client.next()
    return client.connection.close_code
