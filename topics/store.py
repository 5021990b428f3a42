"""Keeps rings in Redis, off the way of a message: what is appended in a turn is written in one go after it.

A ring is whole in memory, and Redis has a copy that outlives the process. So there is no queue: what Redis lacks is
what the ring holds beyond the last event it took, and while Redis is away nothing piles up. When it is back, it is
given all that is still held; if it came back empty, everything. Events that memory had to drop meanwhile are counted,
and show in the copy as a hole between two cursors.

Of a feed's keys (``place.py``) its events, its candles and its epoch are written here. The last never expires: a
writer of an older epoch is refused, whatever became of the events.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from redis.exceptions import NoScriptError, RedisError, ResponseError

from topics import metrics
from topics.key import Cursor
from topics.place import Line, Place, bulks, close, connect
from topics.ring import MAX_BYTES, MAX_YOUNG_EVENTS, Entry, Row

log = logging.getLogger("topics.store")

TIMEOUT = 0.5  # seconds for any answer
PROBE_EVERY = 1.0  # seconds between two tries while Redis is away
EVERY = 0.005  # seconds from one write to the next at the least: what comes meanwhile shares it
IDLE_CHECK = 1.0  # seconds without a write after which it is asked whether it is there
FAREWELL = 2.0  # seconds for the last writes at the end
EVENTS_AT_ONCE = 500  # of one feed in one write
RINGS_AT_ONCE = 100  # feeds in one write
LOAD_AT_ONCE = 2_000  # events
KEPT_FOR_MS = 24 * 3_600_000  # a feed's events and candles after the last write
UNKNOWN = "not asked yet"
SEEN, UNSEEN = b"d", b"h"  # the one field of an event: its JSON, as it was sent, or to nobody

# For each feed three KEYS (events, epoch, candles) and in ARGV, behind the ms to keep it for: one text of our epoch,
# the id of the newest event that should be there ("0-0": none), the oldest id to keep, the number of events and of
# candles; then field + id and payload of each event, and field and value of each candle, "" to drop. Gives for each
# feed 1; 0 where that newest event is not there any more; -1 where a later owner has written: then nothing is. What is
# there already, by a write whose answer was lost, is passed over.
WRITE = """
local keep, at = ARGV[1], 2
local function write(events, epoch_key, candles)
  local mine, kept, oldest, added, changed = string.match(ARGV[at], '(%d+) (%S+) (%S+) (%d+) (%d+)')
  mine = tonumber(mine)
  local first, last = at + 1, at + 2 * tonumber(added)
  local rows = last + 2 * tonumber(changed)
  at = rows + 1
  local held = tonumber(redis.call('GET', epoch_key) or '0')
  local top_epoch, top_seq = 0, 0
  local about = redis.call('EXISTS', events) == 1 and redis.call('XINFO', 'STREAM', events) or {}
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      local epoch, seq = string.match(about[i + 1], '(%d+)-(%d+)')
      top_epoch, top_seq = tonumber(epoch), tonumber(seq)
    end
  end
  if held > mine or top_epoch > mine then return -1 end
  if held < mine then redis.call('SET', epoch_key, string.format('%.0f', mine)) end
  local function beyond(id)
    local epoch, seq = string.match(id, '(%d+)-(%d+)')
    epoch, seq = tonumber(epoch), tonumber(seq)
    return epoch > top_epoch or (epoch == top_epoch and seq > top_seq)
  end
  if beyond(kept) then return 0 end
  for i = first, last, 2 do
    local id = string.sub(ARGV[i], 2)
    if beyond(id) then redis.call('XADD', events, id, string.sub(ARGV[i], 1, 1), ARGV[i + 1]) end
  end
  for i = last + 1, rows, 2 do
    if ARGV[i + 1] == '' then redis.call('HDEL', candles, ARGV[i])
    else redis.call('HSET', candles, ARGV[i], ARGV[i + 1]) end
  end
  redis.call('XTRIM', events, 'MINID', '~', oldest)
  redis.call('PEXPIRE', events, keep)
  if rows > last then redis.call('PEXPIRE', candles, keep) end
  return 1
end
local answers = {}
for i = 1, #KEYS, 3 do answers[#answers + 1] = write(KEYS[i], KEYS[i + 1], KEYS[i + 2]) end
return answers
"""


class Past(NamedTuple):
    """What was kept of a feed, oldest first."""

    entries: Sequence[Entry]
    rows: Sequence[Row] = ()
    told: str = "0-0"  # where the states that its owner told end
    words: bytes | None = None  # the last of them; None: it has told none


NOTHING = Past(())


class Batch(NamedTuple):
    """What a ring has that Redis lacks."""

    epoch: int
    kept: Cursor  # the newest event that should be there already
    oldest: Cursor  # held by the ring; what is older may go
    entries: Sequence[Entry]
    rows: Sequence[tuple[int, Row | None]]  # by open time; None: the ring holds it no more
    more: bool  # there is more than fits in one write


class Kept(Protocol):
    """A ring, as the store sees it."""

    place: Place

    def lacking(self, count: int) -> Batch | None:
        """At most ``count`` events; None: nothing is lacking."""
        ...

    def written(self, batch: Batch) -> None: ...

    def vanished(self) -> None:
        """What was written of it is not there any more, or not all of it."""
        ...

    def fenced(self) -> None:
        """A later owner has written: this is not the owner any more."""
        ...


class Away(Exception):
    """Redis does not answer, or not as it should."""


class Store:
    """One Redis for all rings of this process."""

    def __init__(self, url: str, *, timeout: float = TIMEOUT, probe_every: float = PROBE_EVERY) -> None:
        self._redis = connect(url, timeout=timeout)
        self._probe_every = probe_every
        self._script = ""
        self._line, self._timeout = Line(url, timeout=timeout), timeout
        self._lacking: dict[Kept, None] = {}
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
        rows = [_row(int(open_time), value) for open_time, value in candles.items()]
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
            if len(batches) == 1:
                raise
            answers = await self._each(batches)
        failure: Exception | None = None
        stored = 0
        for (ring, batch), answer in zip(batches, answers, strict=True):
            if isinstance(answer, Exception):
                failure = failure or answer
                self.mark(ring)
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

    async def _call(self, batches: Sequence[tuple[Kept, Batch]]) -> Sequence[Any]:
        """Write all of them by one command: what a command costs is the same for one feed or a hundred."""
        answers: Sequence[Any] = await self._line.ask(packed(self._script, batches), within=self._timeout)
        return answers

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
        metrics.REDIS_UP.set(1)

    def _failed(self, error: Exception) -> None:
        kind = type(error).__name__
        metrics.REDIS_ERRORS.labels(kind if kind in KINDS else "other").inc()
        metrics.REDIS_UP.set(0)
        if self.problem in (None, UNKNOWN):
            log.warning("redis_away", extra={"kind": kind, "error": str(error)[:200]})
        self.problem, self._answers = kind, isinstance(error, ResponseError)


KINDS = ("ConnectionError", "TimeoutError", "BusyLoadingError", "ReadOnlyError", "OutOfMemoryError", "ResponseError")


def _lacking(ring: Kept) -> Batch | None:
    try:
        return ring.lacking(EVENTS_AT_ONCE)
    except Exception:  # one ring's failure must not end the keeping of all others
        log.exception("store_failed", extra={"place": ring.place.events})
        return None


def packed(script: str, batches: Sequence[tuple[Kept, Batch]]) -> bytes:
    """The command as Redis reads it. Packed here, for the library's way takes as long as all else that a write costs
    (``scripts/bench_choices.py``)."""
    arguments = [b"%d" % KEPT_FOR_MS]
    for _, batch in batches:
        sizes = len(batch.entries), len(batch.rows)
        arguments.append(b"%d %d-%d %d-%d %d %d" % (batch.epoch, *batch.kept, *batch.oldest, *sizes))
        for (epoch, seq), payload, unseen in batch.entries:
            arguments += (b"%b%d-%d" % (UNSEEN if unseen else SEEN, epoch, seq), payload)
        for open_time, row in batch.rows:
            value = b"" if row is None else b"%d:%b%b" % (len(row.payload), row.payload, row.meta)
            arguments += (b"%d" % open_time, value)
    keys = 3 * len(batches)
    head = b"*%d\r\n" % (3 + keys + len(arguments)) + bulks(b"EVALSHA", script.encode(), b"%d" % keys)
    return b"".join((head, *(_keys(ring.place) for ring, _ in batches), bulks(*arguments)))


@lru_cache(maxsize=4_096)
def _keys(place: Place) -> bytes:
    return bulks(place.events.encode(), place.epoch.encode(), place.candles.encode())


def entry_of(id: bytes, field: bytes, payload: bytes) -> Entry:
    """An event as its stream has it.

    Raises:
        ValueError: it is none of ours.
    """
    if field not in (SEEN, UNSEEN):
        raise ValueError(f"no event has a field {field!r}")
    epoch, _, seq = id.partition(b"-")
    return Entry(Cursor(int(epoch), int(seq)), payload, field == UNSEEN)


def _row(open_time_ms: int, value: bytes) -> Row:
    size, _, rest = value.partition(b":")
    return Row(open_time_ms, rest[: int(size)], rest[int(size) :])
