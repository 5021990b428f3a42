"""A stream through a gateway that does what gateways do on a bad day."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from websockets.asyncio.server import ServerConnection, serve

from scripts.stream.gateway_source import GatewaySource, pause
from scripts.stream.outcome import NotReached, Refused
from tests.scripts.stream.frames import TOPIC, subscribed, trades
from tests.system.processes import PATIENCE

ASKED = {"channel": "trades", "exchange": "binance", "symbol": "BTC/USDT:USDT", "params": {}}
Frame = dict[str, Any]


def error(code: str, *, retryable: bool, **more: Any) -> Frame:
    return {"type": "error", "code": code, "message": "no", "retryable": retryable, **more}


class Gateway:
    """Greets, then gives each connection the next of ``scripts``: frames to send, and a code to close with, if any."""

    def __init__(self, *scripts: tuple[list[Frame], int | None]) -> None:
        self.subscribes: list[Frame] = []
        self._scripts = list(scripts)

    async def talk(self, socket: ServerConnection) -> None:
        assert orjson.loads(await socket.recv())["op"] == "hello"
        await socket.send('{"type":"hello"}')
        self.subscribes.append(orjson.loads(await socket.recv()))
        frames, code = self._scripts.pop(0)
        for frame in frames:
            await socket.send(orjson.dumps(frame).decode())
        if code is not None:
            await socket.close(code)
        await socket.wait_closed()


@asynccontextmanager
async def served(talk: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    async with serve(talk, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/ws"


async def heard(url: str, *, until: str) -> list[Frame]:
    """The frames up to the first of a type; an end is raised."""
    frames: list[Frame] = []
    found = asyncio.Event()

    def deliver(frame: Any) -> None:
        frames.append(frame)
        if frame["type"] == until:
            found.set()

    running = asyncio.create_task(GatewaySource(url, ASKED, rewind=50).run(deliver))
    waiting = asyncio.create_task(found.wait())
    try:
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
    return frames


async def test_a_lost_stream_is_gone_on_with_behind_its_last_cursor() -> None:
    had = {**trades(1), "cursor": "17-4"}
    gateway = Gateway(([subscribed(), had], 1012), ([subscribed(), {"type": "caughtUp"}], None))
    async with served(gateway.talk) as url:
        frames = await heard(url, until="caughtUp")

    first, second = gateway.subscribes
    assert (first["rewind"], first.get("since")) == (50, None)
    assert (second.get("rewind"), second["since"]) == (None, "17-4")
    lost = frames[3]
    assert (lost["type"], lost["state"], lost["reason"]) == ("link", "lost", "closed with 1012")
    assert 250 <= lost["retryInMs"] <= 500


async def test_the_cursor_of_a_gap_counts_too() -> None:
    gap = {"type": "gap", "reason": "UPSTREAM_RECONNECT", "cursor": "17-5", "missing": 1}
    gateway = Gateway(([{**trades(1), "cursor": "17-4"}, gap], 1012), ([{"type": "caughtUp"}], None))
    async with served(gateway.talk) as url:
        await heard(url, until="caughtUp")
    assert gateway.subscribes[1]["since"] == "17-5"


async def test_what_would_be_refused_again_ends_it_in_the_gateways_words() -> None:
    details = {"field": "symbol", "suggestions": ["BTC/USDT", "BTC/USDT:USDT"]}
    refusal = error("BAD_SYMBOL", retryable=False, op="subscribe", details=details)
    async with served(Gateway(([refusal], None)).talk) as url:
        with pytest.raises(Refused, match=r"^BAD_SYMBOL: no; did you mean BTC/USDT, BTC/USDT:USDT$"):
            await heard(url, until="never")


async def test_a_subscription_that_the_venue_refuses_later_ends_it_too() -> None:
    frames = [subscribed("connecting"), error("SUBSCRIBE_FAILED", retryable=False, topic=TOPIC)]
    async with served(Gateway((frames, None)).talk) as url:
        with pytest.raises(Refused, match="SUBSCRIBE_FAILED"):
            await heard(url, until="never")


async def test_a_subscription_that_was_not_made_yet_is_asked_for_again_when_it_may_be() -> None:
    busy = error("UPSTREAM_CAPACITY", retryable=True, op="subscribe", retryAfterMs=700)
    gateway = Gateway(([busy], None), ([subscribed()], None))
    async with served(gateway.talk) as url:
        frames = await heard(url, until="subscribed")
    assert frames[1]["retryInMs"] == 700
    assert len(gateway.subscribes) == 2


async def test_news_of_trouble_that_leaves_the_subscription_ends_nothing() -> None:
    trouble = error("UPSTREAM_ERROR", retryable=True, topic=TOPIC)
    gateway = Gateway(([subscribed(), trouble, trades(1)], None))
    async with served(gateway.talk) as url:
        frames = await heard(url, until="trades")
    assert [frame["type"] for frame in frames] == ["link", "subscribed", "error", "trades"]


async def test_a_connection_closed_by_our_fault_is_not_made_again() -> None:
    async with served(Gateway(([subscribed()], 4005)).talk) as url:
        with pytest.raises(Refused, match="closed with 4005"):
            await heard(url, until="never")


async def test_a_websocket_that_does_not_say_hello_is_no_gateway() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"event":"error"}')
        await socket.wait_closed()

    async with served(talk) as url:
        with pytest.raises(NotReached, match="answers, but is no market-gateway"):
            await heard(url, until="never")


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"), [(1, 0.0, 0.5), (1, 1.0, 0.25), (3, 0.0, 2.0), (3, 0.5, 1.5), (10_000, 0.0, 15.0)]
)
def test_pauses_double_up_to_a_bound_and_differ_by_chance(attempt: int, chance: float, seconds: float) -> None:
    assert pause(attempt, chance) == seconds
