"""When one connection takes over from another, and what of both is news meanwhile. Opens and closes no connection."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf
from typing import NamedTuple

from exchanges.connection import Connection
from exchanges.events import Accepted, Event, Refused
from exchanges.seam import Seam
from exchanges.venue import Stream


class Rotation(NamedTuple):
    """When and how a connection is replaced by a fresh one. Seconds."""

    begin: tuple[float, float] = (0.95, 0.99)  # of its lifetime; at random, so that not all sockets move together
    overlap: float = 2.0  # both are listened to, after the fresh one carries everything
    patience: float = 30.0  # for the fresh one to carry everything, beside the time it takes to ask
    pause: float = 60.0  # after an attempt that failed; half as much to half as much again
    rest: float = 10.0  # between two attempts, whatever the venue announces


class Takeover:
    """One attempt: from the second connection's first word until the two copies need no joining any more."""

    def __init__(self, fresh: Connection, streams: Iterable[Stream]) -> None:
        self.fresh = fresh
        self.carried: set[str] = set()  # streams the fresh one was heard on, or that were accepted there
        self.joins_until = inf  # loop time; inf: both are listened to
        self._seams: dict[str, Seam] = {}
        self._progress = asyncio.Event()
        fresh.ended.add_done_callback(lambda _: self._progress.set())
        for stream in streams:
            self.ask(stream)

    @property
    def under_way(self) -> bool:
        return self.joins_until == inf

    def ask(self, stream: Stream) -> None:
        """Ask for ``stream`` on the fresh connection too; afresh only after ``drop``."""
        self._seams[stream.name] = Seam(dense=stream.dense)
        self.fresh.ask(stream.name, stream.subscribe)

    def drop(self, stream: Stream) -> None:
        """Nobody wants ``stream`` any more, or not what comes of it before it is asked for again."""
        self._seams.pop(stream.name, None)
        self.carried.discard(stream.name)
        if self.under_way:
            self.fresh.drop(stream.name, stream.unsubscribe)
        self._progress.set()

    def hear(self, connection: Connection, name: str, events: Sequence[Event]) -> Sequence[Event]:
        """What of one connection's message about the stream called ``name`` is news."""
        if connection is self.fresh and self.under_way:
            if isinstance(events[0], Refused):
                connection.give_up("refused")  # what the other one carries is not lost for that
                return ()
            self.carried.add(name)
            self._progress.set()
            if isinstance(events[0], Accepted):
                return ()
        seam = self._seams.get(name)
        if seam is None or isinstance(events[0], Accepted | Refused):
            return events
        return seam.new(events) if connection is self.fresh else seam.old(events)

    def release(self, name: str) -> Sequence[Event]:
        """What was held of the stream called ``name``: the other connection says no more."""
        seam = self._seams.get(name)
        return () if seam is None else seam.release()

    def end(self, overlap: float) -> None:
        """One of the two is gone. What comes late of what was passed on is no news for ``overlap`` seconds more."""
        self.joins_until = asyncio.get_running_loop().time() + overlap
        self._progress.set()

    async def until_carried(self, wanted: Iterable[str], rotation: Rotation) -> None:
        """Wait until the fresh one carries all of ``wanted`` (a live view), and for the overlap.

        Returns early when it is lost, or ended, and after as long as is reasonable.
        """
        asking = sum(1 for _ in wanted) * self.fresh.endpoint.subscribe_interval
        with suppress(TimeoutError):
            async with asyncio.timeout(asking + rotation.patience):
                while self._waits() and not self.carried.issuperset(wanted):
                    await self._next_progress()
        with suppress(TimeoutError):
            async with asyncio.timeout(rotation.overlap):
                while self._waits():
                    await self._next_progress()

    def _waits(self) -> bool:
        return self.under_way and not self.fresh.ended.done()

    async def _next_progress(self) -> None:
        self._progress.clear()
        await self._progress.wait()
