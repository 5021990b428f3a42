"""Joins two copies of one stream while one connection takes over from another. Pure: no socket, no clock.

Either copy is whole and in the venue's order, but one may be ahead of the other by any time. The old copy is passed on
until it has said what the new one said first: from there the two overlap, nothing can be missing between them, and
whatever goes further than what was passed on last is passed on, whichever says it. So the listener hears one stream:
in order, nothing missing, nothing twice.
"""

from collections.abc import Sequence
from math import inf

from exchanges.events import BookDelta, BookSnapshot, Candle, Event, Trade, VoidTrade

MAX_HELD = 1000  # events of the new copy; with one more the old one counts as silent

Position = tuple[float, ...]
START: Position = (-inf,)


class Seam:
    """``dense``: trade ids are integers that rise. Elsewhere trades of both copies pass: they are told apart by id."""

    def __init__(self, *, dense: bool) -> None:
        self._dense = dense
        self._last = START  # how far what was passed on goes
        self._held: list[Event] = []  # of the new copy, while something may be missing between the two
        self.joined = False

    def old(self, events: Sequence[Event]) -> Sequence[Event]:
        """What to pass on of a message of the old connection, and of what was held."""
        passed = self._beyond(events)
        if self._held and self._reaches(self._held[0]):
            return [*passed, *self.release()]
        return passed

    def new(self, events: Sequence[Event]) -> Sequence[Event]:
        """What to pass on of a message of the new connection."""
        if not self.joined and (self._held or not self._reaches(events[0])):
            self._held += events
            return self.release() if len(self._held) > MAX_HELD else ()
        self.joined = True
        return self._beyond(events)

    def release(self) -> Sequence[Event]:
        """What is held; the old copy will say no more, or has caught up."""
        held, self._held, self.joined = self._held, [], True
        return self._beyond(held)

    def _reaches(self, event: Event) -> bool:
        """Whether the old copy has come as far as ``event``, so that nothing is missing before it."""
        position = self._position(event)
        return position is None or position <= self._last

    def _beyond(self, events: Sequence[Event]) -> Sequence[Event]:
        found = []
        for event in events:
            position = self._position(event)
            if position is not None:
                if position <= self._last:
                    continue
                self._last = position
            found.append(event)
        return found

    def _position(self, event: Event) -> Position | None:
        """Where ``event`` stands in its stream; None: it has no place, and passes."""
        match event:
            case BookDelta(last_sequence=sequence) | BookSnapshot(sequence=sequence) if sequence > 0:
                return (sequence,)
            case Trade(id=id) | VoidTrade(id=id) if self._dense:
                return (int(id),)
            case Candle():
                return (event.open_time_ms, event.closed is True, event.volume or 0.0)
            case _:
                return None
