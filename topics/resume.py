"""Going on from a cursor: what became of it, and what is sent again, frame by frame as it was sent before.

A ring answers for as far back as it reaches; where it does not reach, or where the feed has begun anew, a ``gap``
stands in the place of what is missing. Nothing is sent here: ``upstream.py`` does that, and joins who came to the end.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from topics.frame import frame
from topics.key import Cursor, TopicKey
from topics.ring import MAX_YOUNG_EVENTS, Entry, Ring
from topics.wire import is_gap, skipped_json

PORTION_EVENTS = 500
PORTION_BYTES = 192 * 1024  # given to a client before it is waited for

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


class Replay:
    """One subscriber's way from ``since`` to the newest event."""

    def __init__(self, key: TopicKey, ring: Ring, since: Cursor) -> None:
        self._key = key
        self._ring = ring
        self.place = since  # what the subscriber has had

    async def portion(self, *, extended: bool, newest: Callable[[], Cursor]) -> bytes:
        """The next frames; none are left when ``place`` is the newest event.

        ``extended``: the subscriber knows what a gap is. What was published before this returns is in it, or comes in
        the next portion.
        """
        entries = await self._ring.since(self.place, PORTION_EVENTS)
        if entries is None:
            entries = (await self._ring.last(MAX_YOUNG_EVENTS))[:PORTION_EVENTS]
        frames, size = list[bytes](), 0
        for entry in entries:
            if size >= PORTION_BYTES:
                break
            if extended and not self._follows(entry):
                frames.append(self._gap(entry.cursor))
            if extended or not is_gap(entry.payload):
                frames.append(frame(entry.payload))
                size += len(frames[-1])
            self.place = entry.cursor
        until = newest()
        if not entries and self.place < until:  # the feed began anew, and has said nothing yet
            frames.append(self._gap(until) if extended else b"")
            self.place = until
        return b"".join(frames)

    def _follows(self, entry: Entry) -> bool:
        """Nothing is missing between ``place`` and it, or it says itself that there is."""
        if entry.cursor.epoch != self.place.epoch:
            return is_gap(entry.payload)
        return entry.cursor.seq == self.place.seq + 1

    def _gap(self, until: Cursor) -> bytes:
        """From ``place`` to the event at ``until``."""
        return frame(skipped_json(self._key, self.place, until))
