"""One feed in a cluster: run by this node, or followed from the one that runs it; and the change between the two.

Implements ``claim.Claimant`` and ``follower.Hearer``. Whose the feed is comes as an answer to a claim; making it so
takes a while (what was published until then is read first), so it is done by a task, one step at a time, until what is
and what is wanted are the same.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

import orjson

from exchanges.errors import SubscribeFailed
from topics.books import Books
from topics.cluster import Cluster, Shard
from topics.kept import NOTHING, Past
from topics.place import Place
from topics.redis_ring import RedisRing
from topics.ring import Entry
from topics.store import Away
from topics.upstream import Upstream
from topics.wire import Status

log = logging.getLogger("topics.tenure")

AGAIN_AFTER = 1.0  # seconds, where what is followed could not be read
FAREWELL = 2.0  # seconds for the last events to be kept before another node may have the feed

Role = Literal["owner", "follower"]


class Tenure:
    """One feed's."""

    def __init__(
        self,
        place: Place,
        cluster: Cluster,
        *,
        new_epoch: Callable[[], int],
        open_feed: Callable[[], None],
        close_feed: Callable[[], None],
    ) -> None:
        self.place = place
        self.epoch = 0
        self.followed = False  # other nodes have subscribers of it
        self.upstream: Upstream
        self.ring: RedisRing
        self._cluster = cluster
        self._new_epoch = new_epoch
        self._open_feed, self._close_feed = open_feed, close_feed
        self._wanted: tuple[Role, int] | None = None  # an owner's with its epoch
        self._is: tuple[Role, int] | None = None
        self._until = 0.0  # as last owned: sure until then
        self._closing = False  # said, and not left to a cancellation: redis-py 8.1 may swallow it
        self._stale = False  # what is followed cannot be heard at the moment
        self._task: asyncio.Task[None] | None = None

    def begin(self, upstream: Upstream, ring: RedisRing) -> None:
        """Find out whose it is, and make it so."""
        self.upstream, self.ring = upstream, ring
        upstream.on_status = self._tell
        self._shard.leases.join(self)

    def stop(self) -> None:
        """Hear nothing more of it, and become nothing else."""
        self._closing = True
        self._shard.follower.stop(self)
        if self._task is not None:
            self._task.cancel()
        if not self.epoch:
            self._shard.leases.leave(self)

    async def close(self) -> None:
        """Let others have it, as soon as all that was published is kept."""
        if self.epoch:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await self.ring.released.wait()
        self._shard.leases.leave(self)

    @property
    def _shard(self) -> Shard:
        return self._cluster.shard(self.place)

    # -- whose it is ---------------------------------------------------------------------------------------------------

    def owned(self, epoch: int, *, until: float, followed: bool) -> None:
        self.upstream.owner, self.followed, self.epoch = None, followed, epoch
        self._until = until
        if self._is == ("owner", epoch):
            self.ring.write_until(until)
        self._want("owner", epoch)

    def held(self, owner: str) -> None:
        self.upstream.owner, self.followed, self.epoch = owner, False, 0
        self.ring.write_until(0.0)
        if self._stale:
            self.found()  # Redis answers, whatever was the matter with it
        self._want("follower", 0)

    def away(self) -> None:
        if self._wanted is None:  # nobody waits for Redis: it is run here until it is known whose it is
            self.epoch = self._new_epoch()
            self._want("owner", self.epoch)
        elif self._wanted[0] == "follower":
            self.lost()

    def untold(self) -> None:
        self._tell(self.upstream.status)

    def fenced(self) -> None:
        """A later owner has written."""
        self._shard.leases.hurry(self)

    # -- what its owner says -------------------------------------------------------------------------------------------

    def heard(self, entries: Sequence[Entry]) -> None:
        if not self.upstream.hear(entries):
            self.found()  # a book's place is lost: it is read again from the last whole one on

    def told(self, words: bytes) -> None:
        said: dict[str, Any] = orjson.loads(words)
        match said["state"]:
            case "released":
                self._shard.leases.hurry(self)
            case "refused":
                self.upstream.on_refused(SubscribeFailed(said["reason"]))
            case state:
                retry_in_ms = said["retryInMs"]
                retry_in = None if retry_in_ms is None else retry_in_ms / 1000
                self.upstream.told(state, said["reason"], said["attempt"], retry_in)

    def lost(self) -> None:
        if not self._stale:
            self._stale = True
            self.upstream.told("stale", "redis is away", 0, None)

    def found(self) -> None:
        self._shard.follower.stop(self)
        self._is, self._stale = None, False
        if not self._closing:
            self._go()

    def refuse(self, error: SubscribeFailed) -> None:
        """The venue will not serve it, wherever it is asked from."""
        if self.epoch:
            self._shard.leases.tell(self, orjson.dumps({"state": "refused", "reason": str(error)}))

    def _tell(self, status: Status) -> None:
        if self.epoch:
            said = {
                "state": status.state,
                "reason": status.reason,
                "attempt": status.attempt,
                "retryInMs": status.retry_in_ms,
            }
            self._shard.leases.tell(self, orjson.dumps(said))

    # -- making it so --------------------------------------------------------------------------------------------------

    def _want(self, role: Role, epoch: int) -> None:
        if self._wanted != (role, epoch) and not self._closing:
            self._wanted = role, epoch
            self._go()

    def _go(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._make_it_so(), name=f"tenure {self.place.events}")

    async def _make_it_so(self) -> None:
        while (wanted := self._wanted) is not None and self._is != wanted and not self._closing:
            role, epoch = wanted
            try:
                done = await (self._own(epoch) if role == "owner" else self._follow())
            except Exception:  # what is kept is of another version, or nobody's
                log.exception("tenure_failed", extra={"place": self.place.events})
                done = False
            if done:
                self._is = wanted
            else:
                await asyncio.sleep(AGAIN_AFTER)

    async def _own(self, epoch: int) -> bool:
        self._shard.follower.stop(self)
        if self._is is not None and self._is[0] == "owner":
            self._close_feed()  # it lost the feed and has it again, so quickly that nobody else was heard of
        await self._read(needed=False)
        if self._closing or self._wanted != ("owner", epoch):
            return True
        self.ring.own(epoch)
        self.ring.write_until(self._until)  # not before: what the ring was for is over
        try:
            self.upstream.own(epoch, *self.ring.contents())
        except Exception:  # what lies there is not ours, or of another version: the feed begins as any other
            log.exception("past_unreadable", extra={"place": self.place.events})
            self.ring.forget()
            self.upstream.own(epoch)
        self._tell(self.upstream.status)  # what is told so far is of the owner before
        self._open_feed()
        return True

    async def _follow(self) -> bool:
        if self._is is not None and self._is[0] == "owner":
            self._close_feed()
            self.upstream.follow(None)
            self.ring.disown()
        past = await self._read(needed=True)
        if past is None:
            self.lost()
            return False
        if self._closing or self._wanted != ("follower", 0):
            return True
        self.upstream.follow(self.ring.newest)
        if past.words is not None:
            self.told(past.words)
        self._shard.follower.follow(self, after=self.upstream.cursor, told=past.told)
        return True

    async def _read(self, *, needed: bool) -> Past | None:
        """Take what was published until now and is not known here yet; None: Redis does not say."""
        book = isinstance(self.upstream.content, Books)
        after = None if book else self.ring.newest
        if book and not needed:
            return NOTHING  # its newest state is the venue's
        try:
            past = await self._shard.store.load(self.place, after=after)
        except Away as error:
            log.warning("past_unknown", extra={"place": self.place.events, "error": str(error)})
            return None
        if after is not None or book:
            self.upstream.hear(past.entries)
            self.ring.refresh(past.rows)
        else:
            self.ring.begin_with(past)
        return past
