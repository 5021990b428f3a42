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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from redis.exceptions import NoScriptError, RedisError, ResponseError

from topics import metrics
from topics.key import Cursor
from topics.place import Place, connect
from topics.ring import MAX_BYTES, MAX_YOUNG_EVENTS, Entry, Row

log = logging.getLogger("topics.store")

TIMEOUT = 0.5  # seconds for any answer
PROBE_EVERY = 1.0  # seconds between two tries while Redis is away
IDLE_CHECK = 1.0  # seconds without a write after which it is asked whether it is there
FAREWELL = 2.0  # seconds for the last writes at the end
EVENTS_AT_ONCE = 500  # of one feed in one write
RINGS_AT_ONCE = 100  # feeds in one write
LOAD_AT_ONCE = 2_000  # events
KEPT_FOR_MS = 24 * 3_600_000  # a feed's events and candles after the last write
UNKNOWN = "not asked yet"
SEEN, UNSEEN = b"d", b"h"  # the one field of an event: its JSON, as it was sent, or to nobody

# KEYS: events, epoch, candles. ARGV: our epoch, the id of the newest event that should be there ("0-0": none), the
# oldest id to keep, the ms to keep it for, the number of events; then id, field and payload of each, then field and
# value of each candle, "" to drop. Gives 1; 0 where that newest event is not there any more. Refuses with FENCED where
# a later owner has written. What is there already, by a write whose answer was lost, is passed over.
WRITE = """
local mine = tonumber(ARGV[1])
local held = tonumber(redis.call('GET', KEYS[2]) or '0')
local top_epoch, top_seq = 0, 0
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #about, 2 do
    if about[i] == 'last-generated-id' then
      local epoch, seq = string.match(about[i + 1], '(%d+)-(%d+)')
      top_epoch, top_seq = tonumber(epoch), tonumber(seq)
    end
  end
end
if held > mine or top_epoch > mine then
  return redis.error_reply('FENCED ' .. math.max(held, top_epoch))
end
if held < mine then redis.call('SET', KEYS[2], ARGV[1]) end
local epoch, seq = string.match(ARGV[2], '(%d+)-(%d+)')
epoch, seq = tonumber(epoch), tonumber(seq)
if top_epoch < epoch or (top_epoch == epoch and top_seq < seq) then return 0 end
local last = 5 + 3 * tonumber(ARGV[5])
for i = 6, last, 3 do
  local epoch, seq = string.match(ARGV[i], '(%d+)-(%d+)')
  epoch, seq = tonumber(epoch), tonumber(seq)
  if epoch > top_epoch or (epoch == top_epoch and seq > top_seq) then
    redis.call('XADD', KEYS[1], ARGV[i], ARGV[i + 1], ARGV[i + 2])
  end
end
for i = last + 1, #ARGV, 2 do
  if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[3], ARGV[i])
  else redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1]) end
end
redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return 1
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
        self._lacking: dict[Kept, None] = {}
        self._wake, self._tried = asyncio.Event(), asyncio.Event()
        self.problem: str | None = UNKNOWN  # in a word, why nothing can be written; None: it can
        self._answers = False  # it may be read from: one that is full answers too

    async def run(self) -> None:
        """Write what rings lack, until cancelled."""
        while True:
            await self._try()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise asyncio.CancelledError  # redis-py 8.1 swallows it in the midst of a pipeline
            self._tried.set()
            if self.problem is not None:
                await asyncio.sleep(self._probe_every)
            elif not self._lacking:
                self._wake.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_CHECK):
                        await self._wake.wait()

    async def aclose(self) -> None:
        """Write what is left, if Redis takes it in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL):
                while self._lacking and self.problem is None:
                    await self._try()
        await self._redis.aclose()

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
                entries.append(entry_of(id, fields))
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
        async with self._redis.pipeline(transaction=False) as pipe:
            for ring, batch in batches:
                place = ring.place
                pipe.evalsha(self._script, 3, place.events, place.epoch, place.candles, *_arguments(batch))
            answers = await pipe.execute(raise_on_error=False)
        failure: Exception | None = None
        for (ring, batch), answer in zip(batches, answers, strict=True):
            if isinstance(answer, ResponseError) and str(answer).startswith("FENCED"):
                metrics.FENCED.inc()
                log.warning("fenced", extra={"place": ring.place.events, "error": str(answer)})
                ring.fenced()
            elif isinstance(answer, NoScriptError):
                self._script = ""  # it was started anew
                self.mark(ring)
            elif isinstance(answer, Exception):
                failure = failure or answer
                self.mark(ring)
            elif answer == 0:
                ring.vanished()
                self.mark(ring)
            else:
                metrics.STORED.inc(len(batch.entries))
                ring.written(batch)
                if batch.more:
                    self.mark(ring)
        if failure is not None:
            raise failure

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


def _arguments(batch: Batch) -> list[Any]:
    arguments: list[Any] = [batch.epoch, str(batch.kept), str(batch.oldest), KEPT_FOR_MS, len(batch.entries)]
    for entry in batch.entries:
        arguments += (str(entry.cursor), UNSEEN if entry.unseen else SEEN, entry.payload)
    for open_time, row in batch.rows:
        arguments += (open_time, b"" if row is None else b"%d:%b%b" % (len(row.payload), row.payload, row.meta))
    return arguments


def entry_of(id: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    """An event as its stream has it."""
    epoch, _, seq = id.partition(b"-")
    unseen = fields.get(UNSEEN)
    return Entry(Cursor(int(epoch), int(seq)), fields[SEEN] if unseen is None else unseen, unseen is not None)


def _row(open_time_ms: int, value: bytes) -> Row:
    size, _, rest = value.partition(b":")
    return Row(open_time_ms, rest[: int(size)], rest[int(size) :])
