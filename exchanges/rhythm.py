"""How often one stream speaks, and how late: what counts as silence for it. Pure: it is told the time.

A stream's silence means something only against its own rhythm: ten seconds are long for a busy market and nothing for a
quiet one. Times are seconds of a clock that never jumps, so neither ours nor the venue's wall clock can fake a delay.
"""

from math import inf

SHORTEST_SILENCE, LONGEST_SILENCE = 10.0, 120.0  # seconds that are always, or never, too short to mean anything
USUAL_INTERVALS = 20  # in a row without a message: silence
WEIGHT = 0.2  # of the newest interval in the usual one
CLOCK_JUMP = 300.0  # seconds; a delay that grew by more within a second is a clock that was set


class Rhythm:
    """One subscription's, from the moment it was asked for."""

    def __init__(self, now: float) -> None:
        self.usual: float | None = None  # seconds between two messages; None: not known yet
        self.lag = 0.0  # seconds by which messages come later than the quickest one did
        self._spoke_at = now
        self._quickest = inf

    def beat(self, now: float, *, messages: int, event_ms: int | None) -> None:
        """Once a second: how many messages came since, and when the venue says the newest happened, if it does."""
        if not messages:
            return
        interval = (now - self._spoke_at) / messages
        self.usual = interval if self.usual is None else self.usual + WEIGHT * (interval - self.usual)
        self._spoke_at = now
        if event_ms is not None:
            self._measure(now - event_ms / 1000)

    def _measure(self, delay: float) -> None:
        """``delay`` is off by how the clocks differ, and so is the quickest: only their difference is looked at."""
        if delay - self._quickest > CLOCK_JUMP:
            self._quickest = delay
        self._quickest = min(self._quickest, delay)
        self.lag = delay - self._quickest

    def silence(self, now: float) -> float:
        """Seconds without a message."""
        return now - self._spoke_at

    @property
    def limit(self) -> float:
        """Seconds of silence that mean something."""
        if self.usual is None:
            return SHORTEST_SILENCE
        return min(LONGEST_SILENCE, max(SHORTEST_SILENCE, USUAL_INTERVALS * self.usual))
