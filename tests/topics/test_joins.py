"""Whenever a client joins, what it is given first and what follows are one unbroken run of the market's trades.

The model is the market itself: trades numbered 1, 2, 3, … A reader is right if its trades are consecutive, end with the
newest one, and begin exactly as far back as it asked for; and if its frames are consecutive by cursor.
"""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.topics.distant_ring import DistantRing
from tests.topics.reader import Reader, turns
from tests.topics.scripted_venue import EPOCH_MS, ScriptedVenue, candle, trades, upstream
from topics.ring import MemoryRing, RingBudget
from topics.upstream import Upstream

RINGS = pytest.mark.parametrize("kind", [MemoryRing, DistantRing])

steps = st.one_of(
    st.tuples(st.just("trade"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["join", "join meanwhile"]), st.integers(0, 8)),
    st.tuples(st.just("turn"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["break", "live", "slow", "fast"]), st.just(0)),
)


@dataclass
class Market:
    """A market that trades on while its feed breaks and its REST answers come late."""

    upstream: Upstream
    venue: ScriptedVenue
    newest: int = 0
    connected: bool = False
    readers: list[tuple[Reader, int, int | None]] = field(default_factory=list)  # rewind, and the first trade if known
    joining: list[asyncio.Task[None]] = field(default_factory=list)

    def trade(self, count: int) -> None:
        fresh = trades(self.newest + 1, self.newest + count)
        self.newest += count
        self.venue.trades += fresh
        if self.connected:
            self.upstream.on_events(fresh, EPOCH_MS)

    def join(self, rewind: int, first: int | None) -> asyncio.Task[None]:
        reader = Reader(extended=True)
        self.readers.append((reader, rewind, first))
        self.joining.append(
            asyncio.create_task(self.upstream.audience.join(self.upstream.key, reader, snapshot=False, rewind=rewind))
        )
        return self.joining[-1]

    async def take(self, step: str, number: int) -> None:
        match step:
            case "trade":
                self.trade(number)
            case "join":
                # A live upstream knows every trade there was.
                await self.join(number, self.newest + 1 - min(number, self.newest) if self.upstream.live else None)
            case "join meanwhile":
                self.join(number, None)
            case "turn":
                await turns(number)
            case "break" if self.connected:
                self.connected = False
                self.upstream.on_state("reconnecting", "closed")
            case "live" if not self.connected:
                self.connected = True
                self.upstream.on_state("live", "")
            case "slow":
                self.venue.answering.clear()
            case "fast":
                self.venue.answering.set()

    async def settle(self) -> None:
        """Heal, and let everything arrive."""
        await self.take("live", 0)
        self.venue.answering.set()
        await turns(12 + 4 * len(self.readers))  # those who waited are let in one after the other
        await asyncio.gather(*self.joining)
        self.trade(1)
        await turns(12)


@RINGS
@settings(max_examples=150, deadline=None)
@given(script=st.lists(steps, max_size=25))
@example(script=[("live", 0), ("join", 0), ("join", 0), ("break", 0), ("trade", 1), ("live", 0), ("trade", 1)])
async def test_who_joins_gets_an_unbroken_run_up_to_the_newest_trade(
    kind: type[MemoryRing], script: list[tuple[str, int]]
) -> None:
    venue = ScriptedVenue()
    running = upstream(venue, "trades", ring=kind(RingBudget()))
    market = Market(running, venue)

    for step, number in script:
        await market.take(step, number)
    await market.settle()

    for reader, rewind, first in market.readers:
        assert reader.ids == list(range(first or reader.ids[0], market.newest + 1))
        assert reader.seqs == list(range(reader.seqs[0], running.cursor.seq + 1))
        first_frame = next(message for message in reader.messages if message["type"] == "trades")
        if rewind and len(first_frame["data"]) < rewind:
            assert reader.ids[0] == 1
    await running.close()


@RINGS
@settings(max_examples=60, deadline=None)
@given(script=st.lists(st.tuples(st.sampled_from(["candle", "join", "turn"]), st.integers(1, 3)), max_size=25))
async def test_who_joins_candles_knows_the_newest_state_of_each_that_changed(
    kind: type[MemoryRing], script: list[tuple[str, int]]
) -> None:
    venue, minute, close = ScriptedVenue(), 1, 100.0
    running = upstream(venue, "ohlcv", ring=kind(RingBudget()))
    running.on_state("live", "")
    await turns()
    readers: list[Reader] = []
    joining: list[asyncio.Task[None]] = []
    for step, number in script:
        if step == "candle":
            minute, close = minute + number // 3, close + 1.0
            running.on_events([candle(minute, close=close)], EPOCH_MS)
        elif step == "join":
            readers.append(Reader(extended=True))
            joining.append(
                asyncio.create_task(running.audience.join(running.key, readers[-1], snapshot=True, rewind=number))
            )
        else:
            await turns(number)
    await asyncio.gather(*joining)
    running.on_events([candle(minute, close=close + 1)], EPOCH_MS)
    await turns()

    for reader in readers:
        newest = {row[0]: row[4] for message in reader.messages for row in message.get("data", [])}
        assert newest[max(newest)] == close + 1
        assert reader.seqs == list(range(reader.seqs[0], running.cursor.seq + 1))
    await running.close()
