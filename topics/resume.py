"""Going on from a cursor: what became of it, and what is sent again, frame by frame as it was sent before.

A ring answers for as far back as it reaches; where it does not reach, or where the feed has begun anew, a ``gap``
stands in the place of what is missing. Nothing is sent here: ``upstream.py`` does that, and joins who came to the end.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import MAX_YOUNG_EVENTS, Entry, Ring
from topics.wire import is_gap, skipped_json

PORTION_EVENTS = 500
PORTION_BYTES = 192 * 1024  # given to a client before it is waited for
PORTIONS_KEPT = 16

ResumeStatus = Literal["recovered", "partial", "lost", "epochChanged", "ahead", "snapshot"]


class Resume(NamedTuple):
    """What becomes of a cursor, as of when it was asked.

    recovered: everything after it is sent. partial, lost: some of it, or none, because the ring holds no more.
    epochChanged: the feed began anew since; what the ring holds is sent. ahead: there is no such place yet, it goes on
    from now. snapshot: a book's newest state is sent.
    """

    status: ResumeStatus
    since: Cursor
    until: Cursor
    events: int  # from there to here that are sent

    @property
    def fields(self) -> dict[str, Any]:
        """As in the answer to a subscribe."""
        return {"status": self.status, "from": str(self.since), "to": str(self.until), "count": self.events}


async def judge(ring: Ring, since: Cursor, newest: Callable[[], Cursor]) -> Resume:
    """``newest`` is asked after the ring was read, which may take a while."""
    entries, until = await ring.since(since), newest()
    if since > until:
        return Resume("ahead", since, until, 0)
    if entries is None:
        entries, until = await ring.last(MAX_YOUNG_EVENTS), newest()
    if since.epoch != until.epoch:
        return Resume("epochChanged", since, until, len(entries))
    whole = len(entries) == until.seq - since.seq
    status: ResumeStatus = "recovered" if whole else "partial" if entries else "lost"
    return Resume(status, since, until, len(entries))


class Portion(NamedTuple):
    """Frames to be sent again, and the last event in them."""

    frames: bytes
    until: Cursor


class Replay:
    """One feed's past, as it is sent again.

    A crowd that comes back at once asks from the same few places: who asks from the same one, before anything new was
    published, is given the same bytes.
    """

    def __init__(self, key: TopicKey, ring: Ring) -> None:
        self._key = key
        self._ring = ring
        self._made: dict[tuple[Cursor, bool], Portion] = {}
        self._newest: Cursor | None = None  # when those were made

    async def portion(self, place: Cursor, *, extended: bool, newest: Callable[[], Cursor]) -> Portion:
        """What comes after ``place``; it ends at the newest event if nothing comes after that.

        ``extended``: who asks knows what a gap is. What was published before this returns is in it, or comes in the
        next portion.
        """
        self._forget_old(newest())
        if (made := self._made.get((place, extended))) is not None:
            return made
        entries = await self._ring.since(place, PORTION_EVENTS)
        if entries is None:
            entries = (await self._ring.last(MAX_YOUNG_EVENTS))[:PORTION_EVENTS]
        self._forget_old(newest())
        portion = self._made[place, extended] = self._make(place, entries, newest(), extended=extended)
        return portion

    def _forget_old(self, newest: Cursor) -> None:
        if newest != self._newest or len(self._made) >= PORTIONS_KEPT:
            self._made.clear()
            self._newest = newest

    def _make(self, place: Cursor, entries: Sequence[Entry], newest: Cursor, *, extended: bool) -> Portion:
        frames, size, at = list[bytes](), 0, place
        for entry in entries:
            if size >= PORTION_BYTES:
                break
            if extended and not follows(at, entry):
                frames.append(frame(skipped_json(self._key, at, entry.cursor)))
            if extended or not is_gap(entry.payload):
                frames.append(frame(entry.payload))
                size += len(frames[-1])
            at = entry.cursor
        if not entries and at < newest:  # the feed began anew, and has said nothing yet
            frames += [frame(skipped_json(self._key, at, newest))] if extended else []
            at = newest
        return Portion(b"".join(frames), at)


def follows(place: Cursor, entry: Entry) -> bool:
    """Nothing is missing between the two, or the entry says itself that there is."""
    if entry.cursor.epoch != place.epoch:
        return is_gap(entry.payload)
    return entry.cursor.seq == place.seq + 1
