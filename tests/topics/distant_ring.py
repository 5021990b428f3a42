"""A ring as far away as one in another process: it keeps the contract, and reading it takes turns of the loop."""

import asyncio

from topics.key import Cursor
from topics.ring import MAX_YOUNG_EVENTS, Entry, MemoryRing, Row


class DistantRing(MemoryRing):
    async def last(self, count: int) -> list[Entry]:
        await _travel()
        return await super().last(count)

    async def since(self, cursor: Cursor, count: int = MAX_YOUNG_EVENTS) -> list[Entry] | None:
        await _travel()
        return await super().since(cursor, count)

    async def rows(self, count: int) -> list[Row]:
        await _travel()
        return await super().rows(count)


async def _travel() -> None:
    for _ in range(3):  # enough for an event to come and to be published meanwhile
        await asyncio.sleep(0)
