"""Rings with a copy in a real Redis, and those of a process that comes after."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import Any

from tests.topics.ring_contract import EPOCH
from tests.topics.scripted_venue import ScriptedVenue, instrument, topic_key
from topics.kept import Keeper
from topics.key import Cursor
from topics.place import Place, place_of
from topics.redis_ring import RedisRing
from topics.ring import Entry, RingBudget, Row
from topics.store import Store

PATIENCE = 5.0
LATER = EPOCH + 1_000
VENUE = ScriptedVenue()
PLACE = place_of(topic_key("trades"), VENUE.stream("trades", instrument(), {}))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # another process's state has no event
            await asyncio.sleep(0.005)


async def kept(ring: RedisRing) -> None:
    """Until nothing is lacking."""
    await until(lambda: ring.lacking(1) is None)


def ring_of(keeper: Keeper, place: Place = PLACE, *, epoch: int = EPOCH, **bounds: int) -> RedisRing:
    """Of the feed's owner."""
    ring = RedisRing(RingBudget(), keeper, place, **bounds)
    ring.own(epoch)
    ring.write_until(inf)
    return ring


async def inherited(store: Store, place: Place = PLACE, *, epoch: int = EPOCH + 1, **bounds: int) -> RedisRing:
    """The ring of a process that comes after."""
    ring = ring_of(store, place, epoch=epoch, **bounds)
    ring.begin_with(await store.load(place))
    return ring


class Reborn:
    """Implements ``Ring``: whatever is read is read by another process, after the first has ended."""

    def __init__(self, store: Store, place: Place, bounds: dict[str, int]) -> None:
        self._ring = ring_of(store, place, epoch=LATER, **bounds)
        self._read: Callable[[], Awaitable[RedisRing]] = lambda: inherited(store, place, **bounds)
        self._closed = False

    def append(self, cursor: Cursor, payload: bytes, unseen: bool = False, rows: Any = ()) -> None:
        self._ring.append(cursor, payload, unseen, rows)

    async def last(self, count: int) -> list[Entry]:
        return await (await self._heir()).last(count)

    async def since(self, cursor: Cursor, count: int = 1_000) -> list[Entry] | None:
        return await (await self._heir()).since(cursor, count)

    async def rows(self, count: int) -> list[Row]:
        return await (await self._heir()).rows(count)

    def close(self) -> None:
        self._closed = True
        self._ring.close()

    async def _heir(self) -> RedisRing:
        await kept(self._ring)
        return self._ring if self._closed else await self._read()
