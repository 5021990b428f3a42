"""This node's part in a cluster that meets in one Redis: what it keeps there, owns, and follows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from topics.follower import Follower
from topics.lease import TTL, Leases
from topics.store import PROBE_EVERY, Store

log = logging.getLogger("topics.cluster")

AGAIN_AFTER = 1.0  # seconds, after a failure of our own


class Cluster:
    """One for all feeds of this process. Runs from ``start`` to ``aclose``."""

    def __init__(
        self,
        url: str,
        node: str,
        *,
        clock_ms: Callable[[], int],
        lease_seconds: float = TTL,
        probe_every: float = PROBE_EVERY,
    ) -> None:
        """``probe_every``: seconds between two tries while Redis is away."""
        self.store = Store(url, probe_every=probe_every)
        self.leases = Leases(url, node, clock_ms=clock_ms, ttl=lease_seconds, probe_every=probe_every)
        self.follower = Follower(url, probe_every=probe_every)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(_for_ever(one.run)) for one in (self.store, self.leases)]

    async def aclose(self) -> None:
        """Keep what is left, then let others have it."""
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.follower.aclose()
        await self.store.aclose()
        await self.leases.aclose()


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Without it nothing would be kept, or every lease would end, and nobody would hear of it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("cluster_failed")
            await asyncio.sleep(AGAIN_AFTER)
