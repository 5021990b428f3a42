"""This node's part in a cluster that meets in one Redis: what it keeps there, owns, and follows.

That Redis is one server, or a Redis Cluster: several, each with slots of its own. A shard is what meets in one server;
all of a feed is in one (``place.py``). There is one way to heal: whoever is told that something lies elsewhere, or is
told nothing, doubts the map; it is asked for anew, and what does not lie where it is kept is given to its new shard. So
a failover, slots that move, and servers that come up later are the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

from redis.exceptions import RedisError

from topics import metrics
from topics.follower import Follower
from topics.kept import Kept
from topics.lease import TTL, Leases
from topics.place import ELSEWHERE, SLOTS, Doubt, Place, slot_of
from topics.shards import Address, ClusterUrl, Map, ask
from topics.store import PROBE_EVERY, TIMEOUT, UNKNOWN, Store

log = logging.getLogger("topics.cluster")

AGAIN_AFTER = 1.0  # seconds, after a failure of our own
MOVING = "slots are moving"


class Shard:
    """What meets in one server. Runs from ``start`` to ``aclose``."""

    def __init__(
        self,
        url: str,
        node: str,
        *,
        clock_ms: Callable[[], int],
        lease_seconds: float,
        probe_every: float,
        clustered: bool,
        told: Callable[[bool], object],
        doubted: Doubt,
    ) -> None:
        """``clustered``, ``told`` and ``doubted`` as of ``store.Store``."""
        self.store = Store(url, probe_every=probe_every, clustered=clustered, told=told, doubted=doubted)
        self.leases = Leases(url, node, clock_ms=clock_ms, ttl=lease_seconds, probe_every=probe_every, doubted=doubted)
        self.follower = Follower(url, probe_every=probe_every, clustered=clustered, doubted=doubted)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = self._tasks or [asyncio.create_task(_for_ever(one.run)) for one in (self.store, self.leases)]

    async def stop(self) -> None:
        """Begin nothing more."""
        await _end(self._tasks)

    async def aclose(self) -> None:
        """Keep what is left, then let others have it."""
        await self.stop()
        await self.follower.aclose()
        await self.store.aclose()
        await self.leases.aclose()


class Cluster:
    """One for all feeds of this process. Runs from ``start`` to ``aclose``. Implements ``kept.Keeper``."""

    def __init__(
        self,
        url: str,
        node: str,
        *,
        clock_ms: Callable[[], int],
        lease_seconds: float = TTL,
        probe_every: float = PROBE_EVERY,
    ) -> None:
        """``probe_every``: seconds between two tries while Redis is away, and between two questions for the map."""
        self._url, self._probe_every = ClusterUrl.of(url), probe_every
        self._shard = partial(
            Shard,
            node=node,
            clock_ms=clock_ms,
            lease_seconds=lease_seconds,
            probe_every=probe_every,
            clustered=self._url is not None,
            told=lambda _: metrics.REDIS_UP.set(self.problem is None),
        )
        self._shards: dict[Address, Shard] = {}  # of a Redis Cluster, by its primaries
        self._servers: list[Address] = []  # that the last map named
        self._map_problem: str | None = None
        self._doubt = asyncio.Event()
        self._asked_first: Address | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        if self._url is None:
            only = self._shard(url, doubted=lambda error: None)
        else:  # until there is a map: what is not at the first it will say, and while that is away nobody knows better
            only, self._map_problem = self._shard_at(self._url.seeds[0]), UNKNOWN
        self.shards = [only]
        self._by_slot = self.shards * SLOTS

    @property
    def problem(self) -> str | None:
        """In a word, why not everything can be written; None: it can."""
        problems = [self._map_problem, *(shard.store.problem for shard in self.shards)]
        moving = MOVING if any(shard.store.astray for shard in self.shards) else None
        return next((problem for problem in problems if problem is not None), moving)

    @property
    def following(self) -> int:
        """How many feeds."""
        return sum(len(shard.follower) for shard in self.shards)

    def shard(self, place: Place) -> Shard:
        """Where it lies, as far as is known. Ask again each time: it may move."""
        return self._by_slot[slot_of(place)]

    def mark(self, ring: Kept) -> None:
        self.shard(ring.place).store.mark(ring)

    def takes(self, place: Place) -> bool:
        return self.shard(place).store.problem is None

    def start(self) -> None:
        if self._url is None:
            self._start_shards()
        else:
            self._tasks = [asyncio.create_task(_for_ever(partial(self._know, self._url)))]

    async def aclose(self) -> None:
        await _end(self._tasks)
        await asyncio.gather(*self._retiring, return_exceptions=True)
        await asyncio.gather(*(shard.aclose() for shard in self.shards))

    # -- a Redis Cluster's map -----------------------------------------------------------------------------------------

    async def _know(self, url: ClusterUrl) -> None:
        """Ask for the map at first, and whenever it is in doubt."""
        while True:
            self._doubt.clear()
            found = await self._ask(url)
            if found is not None:
                self._arrange(found)
            self._start_shards()  # not before: claims at the wrong one would be in vain
            await asyncio.sleep(self._probe_every)
            if found is not None:
                await self._doubt.wait()

    def _doubted(self, address: Address, error: Exception) -> None:
        if isinstance(error, ELSEWHERE):
            self._asked_first = address  # it knows better than others what is not its own
        self._doubt.set()

    async def _ask(self, url: ClusterUrl) -> Map | None:
        """Of the first server that tells; None: nobody does."""
        for address in self._askable(url):
            try:
                found = await ask(url, address, within=TIMEOUT)
            except (RedisError, OSError, ValueError) as error:
                problem = error
            else:
                self._map_problem = None
                return found
        if self._map_problem in (None, UNKNOWN):
            log.warning("slots_unknown", extra={"kind": type(problem).__name__, "error": str(problem)[:200]})
        self._map_problem = type(problem).__name__
        metrics.REDIS_UP.set(0)
        return None

    def _askable(self, url: ClusterUrl) -> Iterator[Address]:
        """Those that are likely to answer first."""
        first, self._asked_first = self._asked_first, None
        well = [address for address, shard in self._shards.items() if shard.store.problem is None]
        return iter(dict.fromkeys([*([first] if first else []), *well, *self._servers, *url.seeds]))

    def _arrange(self, found: Map) -> None:
        """Each feed to the shard where it lies now. No await: nobody sees it half done."""
        self._servers = list(found.servers)
        before, by_slot = self.shards, list(self._by_slot)
        for first, last, address in found.ranges:
            by_slot[first : last + 1] = [self._shard_at(address)] * (last + 1 - first)
        changed, self._by_slot = by_slot != self._by_slot, by_slot
        self.shards = list(dict.fromkeys(by_slot))
        self._shards = {address: shard for address, shard in self._shards.items() if shard in self.shards}
        for shard in before:
            self._resettle(shard)
            if shard not in self.shards:
                task = asyncio.create_task(self._retire(shard))
                self._retiring.add(task)
                task.add_done_callback(self._retiring.discard)
        if changed:
            log.info("slots_moved", extra={"primaries": [f"{host}:{port}" for host, port in self._shards]})

    def _shard_at(self, address: Address) -> Shard:
        assert self._url is not None
        if address not in self._shards:
            url, doubted = self._url.server(address), partial(self._doubted, address)
            self._shards[address] = self._shard(url, doubted=doubted)
        return self._shards[address]

    def _resettle(self, shard: Shard) -> None:
        """Give all that it has, and that lies elsewhere, to where it lies."""
        stays = partial(self._lies, shard)
        for ring in shard.store.part_with(stays):
            self.mark(ring)
        parted = shard.leases.part_with(stays)
        for other in self.shards:
            other.leases.take_over(parted.of(partial(self._lies, other)))
        for hearer in shard.follower.part_with(stays):
            hearer.found()  # it reads, and follows, where it lies now

    def _lies(self, shard: Shard, place: Place) -> bool:
        return self.shard(place) is shard

    async def _retire(self, shard: Shard) -> None:
        """It has no slots any more."""
        await shard.stop()
        self._resettle(shard)  # what was under way
        with suppress(RedisError, OSError):
            await shard.aclose()

    def _start_shards(self) -> None:
        for shard in self.shards:
            shard.start()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Without it nothing would be kept, or every lease would end, and nobody would hear of it."""
    while True:
        try:
            await work()
        except Exception:
            log.exception("cluster_failed")
            await asyncio.sleep(AGAIN_AFTER)
