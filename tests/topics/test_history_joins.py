"""An answer with a cursor, and the stream after that cursor, are together the market's trades: no hole, none twice.

The model is the market itself: trades numbered 1, 2, 3, …, several of them at one time. The venue's REST knows a trade
at once, the stream brings it later, answers come late, and the feed breaks.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchanges.events import Trade
from tests.topics.distant_ring import DistantRing
from tests.topics.reader import numbers, turns
from tests.topics.scripted_venue import EPOCH_MS, SYMBOL, ScriptedPool, ScriptedVenue, exchange, trade
from topics.history import Answer, History, Span
from topics.key import Cursor
from topics.manager import Manager
from topics.ring import Entry, MemoryRing, RingBudget, Row
from topics.wire import rows_of

STREAM = "BTCUSDT@trades"
TRADES_PER_MS = 3

spans = st.tuples(st.none() | st.integers(0, 12), st.integers(1, 12))  # since in ms after the beginning, limit
steps = st.one_of(
    st.tuples(st.just("trade"), st.integers(1, 4)),
    st.tuples(st.just("bring"), st.integers(1, 6)),
    st.tuples(st.just("flow"), st.integers(1, 4)),
    st.tuples(st.just("turn"), st.integers(1, 4)),
    st.tuples(st.just("ask"), spans),
    st.tuples(st.sampled_from(["break", "live", "slow", "fast"]), st.just(0)),
)


def at(number: int) -> int:
    return EPOCH_MS + number // TRADES_PER_MS


@dataclass
class Market:
    manager: Manager
    venue: ScriptedVenue
    pool: ScriptedPool
    newest: int = 0
    connected: bool = False
    under_way: list[Trade] = field(default_factory=list)  # made, and not brought by the stream yet
    asked: list[tuple[Span, asyncio.Task[Answer]]] = field(default_factory=list)
    gates: list[asyncio.Event] = field(default_factory=list)  # behind which the venue's answers wait

    async def take(self, step: str, value: int | tuple[int | None, int]) -> None:
        match step, value:
            case "turn", int(count):
                await turns(count)
            case "flow", int(count):
                for _ in range(count):
                    await self.take("trade", 1)
                    await self.take("bring", 1)
                    await turns(2)
            case "trade", int(count):
                fresh = [trade(n, at=at(n)) for n in range(self.newest + 1, self.newest + count + 1)]
                self.newest += count
                self.venue.trades += fresh
                if self.connected:
                    self.under_way += fresh
            case "bring", int(count) if self.under_way:
                brought, self.under_way = self.under_way[:count], self.under_way[count:]
                self.pool.listeners[STREAM].on_events(brought, EPOCH_MS)
            case "break", _ if self.connected:
                self.connected = False
                self.under_way.clear()
                self.pool.listeners[STREAM].on_state("reconnecting", "closed")
            case "live", _ if not self.connected:
                self.connected = True
                self.pool.listeners[STREAM].on_state("live", "")
            case "slow", _:
                self.venue.answering = asyncio.Event()
                self.gates.append(self.venue.answering)
            case "fast", _:
                self.venue.answering.set()
            case "ask", (since, int(limit)):
                self.ask(Span(since=None if since is None else EPOCH_MS + since, until=None, limit=limit))

    async def finish(self) -> None:
        """Let every answer and every trade arrive."""
        for gate in self.gates:
            gate.set()
        await asyncio.gather(*(asking for _, asking in self.asked))
        await turns(12)
        await self.take("flow", 1)
        await self.take("bring", 1_000)
        await turns(12)

    def ask(self, span: Span) -> None:
        history = History(self.manager, clock_ms=lambda: EPOCH_MS)
        key, instrument = self.manager.resolve("trades", None, SYMBOL, {})
        asking = history.trades(key, instrument, span, newest_first=False, params={})
        self.asked.append((span, asyncio.create_task(asking)))


def logging(kind: type[MemoryRing], log: list[Entry], events: int) -> MemoryRing:
    """A ring of ``kind`` that holds ``events`` and writes every event it was ever given to ``log``."""

    class Logging(kind):  # type: ignore[misc, valid-type]
        def append(self, cursor: Cursor, payload: bytes, rows: Sequence[Row] = ()) -> None:
            log.append(Entry(cursor, payload))
            super().append(cursor, payload, rows)

    return Logging(RingBudget(), max_events=events, max_young_events=events)


@pytest.mark.parametrize("kind", [MemoryRing, DistantRing])
@settings(max_examples=200, deadline=None)
@given(script=st.lists(steps, max_size=30), held=st.integers(1, 12))
async def test_an_answer_and_the_stream_after_its_cursor_are_all_trades_once(
    kind: type[MemoryRing], script: list[tuple[str, int | tuple[int | None, int]]], held: int
) -> None:
    venue, pool, log = ScriptedVenue(), ScriptedPool(), list[Entry]()
    manager = Manager(
        {"scripted": await exchange(venue, pool)},
        ring=lambda: logging(kind, log, held),
        clock_ms=lambda: EPOCH_MS,
    )
    manager.start(*manager.resolve("trades", None, SYMBOL, {}))
    market = Market(manager, venue, pool)

    for step, value in [*script, ("live", 0)]:
        await market.take(step, value)
    await market.finish()

    for span, asking in market.asked:
        answer = asking.result()
        ids = numbers(orjson.loads(answer.body))
        assert len(ids) <= span.limit
        assert ids == consecutive(ids[:1], len(ids))
        if ids and span.since is not None:
            assert span.since <= at(ids[0])
            assert ids[0] == 1 or at(ids[0] - 1) < span.since
        if answer.cursor is not None:
            after = [n for entry in log if entry.cursor > answer.cursor for n in numbers(rows_of(entry.payload))]
            assert [*ids, *after] == consecutive(ids[:1], market.newest - ids[0] + 1)
    await manager.aclose()


def consecutive(first: list[int], count: int) -> list[int]:
    return list(range(first[0], first[0] + count)) if first else []
