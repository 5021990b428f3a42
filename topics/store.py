"""Keeps rings in Redis, off the way of a message: what is appended in a turn is written in one go after it.

A ring is whole in memory, and Redis has a copy that outlives the process. So there is no queue: what Redis lacks is
what the ring holds beyond the last event it took, and while Redis is away nothing piles up. When it is back, it is
given all that is still held; if it came back empty, everything. Events that memory had to drop meanwhile are counted,
and show in the copy as a hole between two cursors.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from topics import metrics
from topics.kept import WRITE, Batch, Kept, Past, entry_of, packed, row_of
from topics.key import Cursor
from topics.place import ELSEWHERE, Doubt, Line, Place, close, connect
from topics.ring import MAX_BYTES, MAX_YOUNG_EVENTS, Entry

log = logging.getLogger("topics.store")

TIMEOUT = 0.5  # seconds for any answer
PROBE_EVERY = 1.0  # seconds between two tries while Redis is away
EVERY = 0.005  # seconds from one write to the next at the least: what comes meanwhile shares it
IDLE_CHECK = 1.0  # seconds without a write after which it is asked whether it is there
FAREWELL = 2.0  # seconds for the last writes at the end
EVENTS_AT_ONCE = 500  # of one feed in one write
RINGS_AT_ONCE = 100  # feeds in one write
LOAD_AT_ONCE = 2_000  # events
UNKNOWN = "not asked yet"


class Away(Exception):
    """Redis does not answer, or not as it should."""


class Store:
    """One server for the rings of this process that lie there."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT,
        probe_every: float = PROBE_EVERY,
        clustered: bool = False,
        doubted: Doubt = lambda error: None,
        told: Callable[[bool], object] = metrics.REDIS_UP.set,
    ) -> None:
        """``clustered``: it is one of a Redis Cluster's, where no command may span slots.

        ``doubted`` is told why it may not be the one any more; ``told``, after each try, if it takes what is written.
        """
        self._redis = connect(url, timeout=timeout)
        self._probe_every, self._clustered = probe_every, clustered
        self._doubted, self._told = doubted, told
        self._script = ""
        self._line, self._timeout = Line(url, timeout=timeout), timeout
        self._lacking: dict[Kept, None] = {}
        self.astray: dict[Kept, None] = {}  # refused, for they lie on another server, or are on the way to it
        self._wake, self._tried = asyncio.Event(), asyncio.Event()
        self.problem: str | None = UNKNOWN  # in a word, why nothing can be written; None: it can
        self._answers = False  # it may be read from: one that is full answers too

    async def run(self) -> None:
        """Write what rings lack, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._try()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # redis-py 8.1 swallows it in the midst of a pipeline
            self._tried.set()
            if self.problem is not None:
                await asyncio.sleep(self._probe_every)
                continue
            if not self._lacking:
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_CHECK):
                        await self._wake.wait()
            await asyncio.sleep(max(0.0, began + EVERY - loop.time()))

    async def aclose(self) -> None:
        """Write what is left, if Redis takes it in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._lacking and self.problem is None:
                    await self._try()
        await self._line.aclose()
        await close(self._redis)

    def mark(self, ring: Kept) -> None:
        """``ring`` has something that is to be written."""
        self._lacking[ring] = None
        self._wake.set()

    def takes(self, _: Place) -> bool:
        return self.problem is None

    def part_with(self, stays: Callable[[Place], bool]) -> list[Kept]:
        """What is to be written elsewhere from now on; of what stays, what was refused is tried again."""
        rings, self.astray = [*self._lacking, *self.astray], {}
        self._lacking = dict.fromkeys(ring for ring in rings if stays(ring.place))
        self._wake.set()
        return [ring for ring in rings if not stays(ring.place)]

    async def load(self, place: Place, *, after: Cursor | None = None) -> Past:
        """What is kept of a feed, behind ``after`` if that is given.

        Raises:
            Away: nobody can know.
        """
        await self._tried.wait()
        if not self._answers:
            raise Away(self.problem)
        try:
            return await self._load(place, after)
        except ELSEWHERE as error:
            self._doubted(error)
            raise Away(f"it is not there: {error}") from error
        except (RedisError, OSError) as error:
            self._failed(error)
            raise Away(str(error)) from error
        except (LookupError, ValueError) as error:  # somebody else's keys
            raise Away(f"{place.events} is none of ours: {error!r}") from error

    async def _load(self, place: Place, after: Cursor | None) -> Past:
        entries, size, end = list[Entry](), 0, "+"
        start = "-" if after is None else f"({after}"
        while len(entries) < MAX_YOUNG_EVENTS and size < MAX_BYTES:
            found: Any = await self._redis.xrevrange(place.events, max=end, min=start, count=LOAD_AT_ONCE)
            for id, fields in found:
                ((field, payload),) = fields.items()
                entries.append(entry_of(id, field, payload))
                size += len(entries[-1].payload)
            if len(found) < LOAD_AT_ONCE:
                break
            end = f"({found[-1][0].decode()}"
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hgetall(place.candles)  # after the events: so they are at least as new
            pipe.xrevrange(place.states, count=1)
            candles, told = await pipe.execute()
        rows = [row_of(int(open_time), value) for open_time, value in candles.items()]
        if not told:
            return Past(entries[::-1], sorted(rows))
        ((id, fields),) = told
        return Past(entries[::-1], sorted(rows), id.decode(), fields[b"d"])

    async def _try(self) -> None:
        """One write of what is lacking, or a question whether it is there."""
        rings = list(self._lacking)[:RINGS_AT_ONCE]
        for ring in rings:
            del self._lacking[ring]
        try:
            if not self._script:
                self._script = await self._redis.script_load(WRITE)
            if rings:
                await self._write(rings)
            else:
                await self._redis.ping()
        except asyncio.CancelledError:
            self._lacking |= dict.fromkeys(rings)
            raise
        except (RedisError, OSError) as error:
            self._lacking |= dict.fromkeys(rings)
            self._failed(error)
            with suppress(RedisError, OSError):
                await self._redis.connection_pool.disconnect()  # the answer to a late command fits no other one
        else:
            self._answered()

    async def _write(self, rings: Sequence[Kept]) -> None:
        """Raises the first failure that is not about one feed, after taking note of all that succeeded."""
        batches = [(ring, batch) for ring in rings if (batch := _lacking(ring)) is not None]
        if not batches:
            return
        try:
            answers: Sequence[Any] = await self._call(batches)
        except ResponseError as error:
            if isinstance(error, NoScriptError):
                self._script = ""  # it was started anew
                self._lacking |= dict.fromkeys(rings)
                return
            if self._clustered or len(batches) == 1:
                raise
            answers = await self._each(batches)
        failure: Exception | None = None
        stored = 0
        for (ring, batch), answer in zip(batches, answers, strict=True):
            self.astray.pop(ring, None)
            if isinstance(answer, Exception):
                refusal = self._refused(ring, answer)
                failure = failure or refusal
            elif answer < 0:
                metrics.FENCED.inc()
                log.warning("fenced", extra={"place": ring.place.events})
                ring.fenced()
            elif answer == 0:
                ring.vanished()
                self.mark(ring)
            else:
                stored += len(batch.entries)
                ring.written(batch)
                if batch.more:
                    self.mark(ring)
        metrics.STORED.inc(stored)
        if failure is not None:
            raise failure

    def _refused(self, ring: Kept, error: Exception) -> Exception | None:
        """Try it again; gives the error if others may have it, too."""
        if isinstance(error, ELSEWHERE):
            self.astray[ring] = None
            self._doubted(error)
            return None
        self.mark(ring)
        if isinstance(error, NoScriptError):
            self._script = ""  # it was started anew
            return None
        return error

    async def _call(self, batches: Sequence[tuple[Kept, Batch]]) -> Sequence[Any]:
        """Write all of them by one command: what a command costs is the same for one feed or a hundred.

        Where no command may span slots it is one for each, sent together; then a refusal is an answer among others.
        """
        if not self._clustered:
            answers: Sequence[Any] = await self._line.ask(packed(self._script, batches), within=self._timeout)
            return answers
        commands = [packed(self._script, [one]) for one in batches]
        replies = await self._line.ask_each(commands, within=self._timeout)
        return [reply if isinstance(reply, Exception) else reply[0] for reply in replies]

    async def _each(self, batches: Sequence[tuple[Kept, Batch]]) -> Sequence[Any]:
        """Write them one by one, for something is wrong with one of them."""
        answers = list[Any]()
        for one in batches:
            try:
                answers += await self._call([one])
            except ResponseError as error:
                answers.append(error)
        return answers

    def _answered(self) -> None:
        if self.problem is not None:
            log.info("redis_up")
        self.problem, self._answers = None, True
        self._told(True)

    def _failed(self, error: Exception) -> None:
        kind = type(error).__name__
        metrics.REDIS_ERRORS.labels(kind if kind in KINDS else "other").inc()
        if self.problem in (None, UNKNOWN):
            log.warning("redis_away", extra={"kind": kind, "error": str(error)[:200]})
        self.problem, self._answers = kind, isinstance(error, ResponseError)
        self._told(False)
        self._doubted(error)


KINDS = ("ConnectionError", "TimeoutError", "BusyLoadingError", "ReadOnlyError", "OutOfMemoryError", "ResponseError")


def _lacking(ring: Kept) -> Batch | None:
    try:
        return ring.lacking(EVENTS_AT_ONCE)
    except Exception:  # one ring's failure must not end the keeping of all others
        log.exception("store_failed", extra={"place": ring.place.events})
        return None
