"""What is kept of a feed in Redis, and how it is put there and read.

Of a feed's keys (``place.py``) its events, its candles and its epoch are written here. The last never expires: a
writer of an older epoch is refused, whatever became of the events. No connection: ``store.py`` has that.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from topics.key import Cursor
from topics.place import Place, bulks
from topics.ring import Entry, Row

KEPT_FOR_MS = 24 * 3_600_000  # a feed's events and candles after the last write
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


class Keeper(Protocol):
    """Who keeps rings, as a ring sees it."""

    def mark(self, ring: Kept) -> None:
        """``ring`` has something that is to be written."""
        ...

    def takes(self, place: Place) -> bool:
        """What is marked there is written, as far as anybody knows."""
        ...


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


def row_of(open_time_ms: int, value: bytes) -> Row:
    size, _, rest = value.partition(b":")
    return Row(open_time_ms, rest[: int(size)], rest[int(size) :])
