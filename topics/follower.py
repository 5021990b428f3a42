"""Reads what other nodes publish of the feeds they own, as it comes.

Some feeds share a connection to Redis and one blocking read. It waits ``BLOCK`` seconds at the most, so that a feed
which joins it, or a server that has gone, is not noticed later than that; and after each answer a moment passes, in
which more comes for the next one. In a Redis Cluster a read may not span slots, so that each feed has a connection of
its own there; nobody joins it, and it waits longer.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from redis.exceptions import RedisError

from topics.kept import entry_of
from topics.key import Cursor
from topics.place import ELSEWHERE, Doubt, Line, Place, bulks
from topics.ring import Entry
from topics.store import TIMEOUT

log = logging.getLogger("topics.follower")

FEEDS_AT_ONCE = 50  # with two streams each, in one read
EVENTS_AT_ONCE = 500  # of one feed
BLOCK = 0.2  # seconds
BLOCK_ALONE = 1.0  # seconds, of a feed with a connection of its own: a thousand that are silent ask a thousand times
PAUSE = 0.001  # seconds between two reads
OPENING_AT_ONCE = 20  # connections of a server's: a thousand together would all be too late


class Hearer(Protocol):
    """A feed that is followed."""

    place: Place

    def heard(self, entries: Sequence[Entry]) -> None:
        """Its owner has published these."""
        ...

    def told(self, words: bytes) -> None:
        """Its owner has said this of it."""
        ...

    def lost(self) -> None:
        """Redis does not answer: nobody knows what the owner publishes."""
        ...

    def found(self) -> None:
        """It does again. What it has now may not begin where the reading ended."""
        ...


class Follower:
    """All that this node follows at one server."""

    def __init__(
        self, url: str, *, probe_every: float, clustered: bool = False, doubted: Doubt = lambda error: None
    ) -> None:
        """``clustered`` and ``doubted`` as of ``store.Store``."""
        self._feeds_at_once, block = (1, BLOCK_ALONE) if clustered else (FEEDS_AT_ONCE, BLOCK)
        gate = asyncio.Semaphore(OPENING_AT_ONCE)
        self._reader = partial(Reader, url, probe_every, block=block, gate=gate, doubted=doubted)
        self._readers: dict[Reader, asyncio.Task[None]] = {}
        self._carriers: dict[Hearer, Reader] = {}

    def __len__(self) -> int:
        return len(self._carriers)

    def follow(self, hearer: Hearer, *, after: Cursor, told: str) -> None:
        """Tell ``hearer`` of everything behind the event ``after`` and the state whose entry id is ``told``."""
        self.stop(hearer)
        reader = next((one for one in self._readers if len(one) < self._feeds_at_once), None)
        if reader is None:
            reader = self._reader()
            self._readers[reader] = asyncio.create_task(reader.run(), name="follower")
        self._carriers[hearer] = reader
        reader.add(hearer, str(after), told)

    def stop(self, hearer: Hearer) -> None:
        """Tell it nothing more."""
        reader = self._carriers.pop(hearer, None)
        if reader is not None:
            reader.remove(hearer)
            if not len(reader):
                self._readers.pop(reader).cancel()

    def part_with(self, stays: Callable[[Place], bool]) -> list[Hearer]:
        """Those that are to follow elsewhere from now on."""
        gone = [hearer for hearer in self._carriers if not stays(hearer.place)]
        for hearer in gone:
            self.stop(hearer)
        return gone

    async def aclose(self) -> None:
        tasks = list(self._readers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Reader:
    """One connection's."""

    def __init__(self, url: str, probe_every: float, *, block: float, gate: asyncio.Semaphore, doubted: Doubt) -> None:
        """``gate``: who may connect at the moment."""
        self._line, self._gate = Line(url, timeout=TIMEOUT), gate
        self._probe_every, self._block, self._doubted = probe_every, block, doubted
        self._places: dict[bytes, bytes] = {}  # stream → the id behind which it is read
        self._tell: dict[bytes, Callable[[list[Any]], None]] = {}
        self._hearers: dict[Hearer, None] = {}
        self._away = False
        self._astray = False  # what is read lies on another server, or is on the way to it
        self._streams = b""  # the command but for the ids; empty: it is to be made anew

    def __len__(self) -> int:
        return len(self._hearers)

    def add(self, hearer: Hearer, after: str, told: str) -> None:
        events, states = hearer.place.events.encode(), hearer.place.states.encode()
        self._hearers[hearer], self._streams = None, b""
        self._places |= {events: after.encode(), states: told.encode()}
        self._tell |= {events: partial(_hear, hearer), states: partial(_tell, hearer)}

    def remove(self, hearer: Hearer) -> None:
        del self._hearers[hearer]
        self._streams = b""
        for name in (hearer.place.events, hearer.place.states):
            del self._places[name.encode()], self._tell[name.encode()]

    async def run(self) -> None:
        try:
            while True:
                try:
                    await self._read()
                except Exception as error:  # what came is no answer that we know of
                    log.exception("follow_failed", extra={"place": "all"})
                    self._lose(error)
                await asyncio.sleep(self._probe_every if self._away or self._astray else PAUSE)
        finally:
            with suppress(RedisError, OSError):
                await self._line.aclose()

    async def _read(self) -> None:
        try:
            if not self._line.is_open:
                async with self._gate:
                    await self._line.open(within=TIMEOUT)
            places = dict(self._places)
            found = await self._ask(places)
        except (RedisError, OSError) as error:
            if self._astray or not isinstance(error, ELSEWHERE):  # else it is soon known where
                self._lose(error)
            self._astray = isinstance(error, ELSEWHERE)
            self._doubted(error)
            return
        self._astray = False
        if self._away:
            self._away = False
            for hearer in list(self._hearers):
                hearer.found()
            return  # each will say anew from where it is to be told
        for stream, entries in found.items():
            if self._places.get(stream) == places[stream]:  # it has not left meanwhile
                self._places[stream] = entries[-1][0]
                self._say(stream, entries)

    async def _ask(self, places: Mapping[bytes, bytes]) -> dict[bytes, list[Any]]:
        """Entries of each stream that has any behind its place, as (id, (field, value)).

        The command is packed here: with a hundred streams the library takes longer for it than for all else.
        """
        if not self._streams:
            head = [b"XREAD", b"COUNT", b"%d" % EVENTS_AT_ONCE, b"BLOCK", b"%d" % round(self._block * 1000), b"STREAMS"]
            self._streams = b"*%d\r\n" % (len(head) + 2 * len(places)) + bulks(*head, *places)
        answer: Any = await self._line.ask(self._streams + bulks(*places.values()), within=self._block + TIMEOUT)
        return dict(answer or ())  # RESP3 has a map there, RESP2 pairs

    def _say(self, stream: bytes, entries: list[Any]) -> None:
        try:
            self._tell[stream](entries)
        except Exception:  # one feed's failure must not end the reading of all others
            log.exception("follow_failed", extra={"place": stream.decode()})

    def _lose(self, error: Exception) -> None:
        if not self._away:
            log.warning("follow_interrupted", extra={"kind": type(error).__name__, "error": str(error)[:200]})
        self._away = True
        for hearer in list(self._hearers):
            hearer.lost()


def _hear(hearer: Hearer, entries: Sequence[Any]) -> None:
    hearer.heard([entry_of(id, *field) for id, field in entries])


def _tell(hearer: Hearer, states: Sequence[Any]) -> None:
    for _, (_, words) in states:
        hearer.told(words)
