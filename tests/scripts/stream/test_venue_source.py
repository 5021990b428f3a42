"""A stream straight from a simulated venue that does what venues do on a bad day."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx2
import pytest

from exchanges.venue import Channel
from scripts.stream.outcome import NotReached, Refused
from scripts.stream.venue_source import VenueSource
from tests.system import processes

SYMBOLS = {"binance": "BTC/USDT:USDT", "bybit": "BTC/USDT:USDT", "hyperliquid": "BTC/USDC:USDC"}
Frame = Mapping[str, Any]
Break = Callable[..., Awaitable[None]]


@pytest.fixture(autouse=True)
def at_the_simulator(simulator_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, url in processes.simulated(simulator_url).items():
        monkeypatch.setenv(name, url)


@pytest.fixture
async def harm(control: httpx2.AsyncClient) -> AsyncIterator[Break]:
    async def inject(venue: str, kind: str, **more: Any) -> None:
        (await control.post("/control/faults", json={"venue": venue, "kind": kind, **more})).raise_for_status()

    yield inject
    await control.delete("/control/faults")


class Heard:
    """Runs a source, and waits for what it says."""

    def __init__(self, exchange: str, channel: Channel, *, rewind: int = 0, **params: Any) -> None:
        self.frames: list[Frame] = []
        self._looked_at = 0
        self._news = asyncio.Event()
        self._source = VenueSource(exchange, channel, SYMBOLS[exchange], params, rewind=rewind)

    async def __aenter__(self) -> "Heard":
        self._task = asyncio.create_task(self._source.run(self._deliver))
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _deliver(self, frame: Frame) -> None:
        self.frames.append(frame)
        self._news.set()

    async def until(self, condition: Callable[[Frame], Any]) -> Frame:
        """The first frame, of those not yet looked at, that is so."""
        async with asyncio.timeout(processes.PATIENCE):
            while True:
                for frame in self.frames[self._looked_at :]:
                    self._looked_at += 1
                    if condition(frame):
                        return frame
                if self._task.done():
                    self._task.result()
                self._news.clear()
                await self._news.wait()


def of(kind: str, **fields: Any) -> Callable[[Frame], bool]:
    return lambda frame: frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items())


async def test_the_past_comes_first_and_each_trade_once() -> None:
    async with Heard("binance", "trades", rewind=20) as heard:
        past = await heard.until(of("trades"))
        await heard.until(of("trades"))
    assert len(past["data"]) == 20
    ids = [int(row["id"]) for frame in heard.frames if frame["type"] == "trades" for row in frame["data"]]
    assert ids == sorted(set(ids))


async def test_candles_of_the_past_are_closed_and_the_newest_is_forming() -> None:
    async with Heard("bybit", "ohlcv", rewind=10, timeframe="1m") as heard:
        frame = await heard.until(of("ohlcv"))
    assert [meta["closed"] for meta in frame["meta"]] == [True] * 9 + [False]


async def test_a_message_that_the_venue_leaves_out_is_declared_by_its_count(harm: Break) -> None:
    async with Heard("binance", "trades") as heard:
        await heard.until(of("trades"))
        await harm("binance", "drop", channel="trades", count=1)
        gap = await heard.until(of("gap"))
    assert (gap["reason"], gap["missing"] >= 1, gap["backfilled"]) == ("VENUE_SKIP", True, False)


async def test_where_trades_are_not_counted_a_lost_connection_may_have_cost_some(harm: Break) -> None:
    async with Heard("bybit", "trades") as heard:
        await heard.until(of("trades"))
        await harm("bybit", "reset", count=1)
        await heard.until(of("status", state="reconnecting"))
        gap = await heard.until(of("gap"))
    assert (gap["reason"], gap["missing"]) == ("VENUE_LOST", None)


async def test_where_a_venue_repeats_trades_and_one_is_known_nothing_is_missing(harm: Break) -> None:
    async with Heard("hyperliquid", "trades", rewind=10) as heard:
        await heard.until(of("trades"))
        await harm("hyperliquid", "reset", count=1)
        await heard.until(of("status", state="reconnecting"))
        await heard.until(of("status", state="live"))
        await heard.until(of("trades"))
    assert [frame for frame in heard.frames if frame["type"] == "gap"] == []


async def test_candles_go_on_whole_after_a_lost_connection(harm: Break) -> None:
    async with Heard("binance", "ohlcv", rewind=5, timeframe="1m") as heard:
        await heard.until(of("ohlcv"))
        await harm("binance", "reset", count=1)
        await heard.until(of("status", state="reconnecting"))
        await heard.until(of("status", state="live"))
        frame = await heard.until(of("ohlcv"))
    assert all(meta["complete"] for meta in frame["meta"])


@pytest.mark.parametrize(
    ("exchange", "channel", "params", "words"),
    [
        ("hyperliquid", "ohlcv", {"timeframe": "6h"}, "no such timeframe on this exchange; allowed: 1m, 3m"),
        ("hyperliquid", "orderbook", {"levels": 21}, "levels must be 1 to 20 on this exchange; allowed: "),
    ],
)
async def test_what_a_venue_does_not_have_is_refused_with_what_it_has(
    exchange: str, channel: Channel, params: dict[str, Any], words: str
) -> None:
    source = VenueSource(exchange, channel, SYMBOLS[exchange], params, rewind=0)
    with pytest.raises(Refused) as refused:
        await source.run(lambda frame: None)
    assert words in str(refused.value)


async def test_a_venue_that_does_not_answer_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_BYBIT__REST_URL", "http://127.0.0.1:1/bybit")
    with pytest.raises(NotReached, match="bybit has not given its list of markets yet"):
        await VenueSource("bybit", "trades", "BTC/USDT:USDT", {}, rewind=0).run(lambda frame: None)
