"""Market time: the wall clock's milliseconds, less the time spent frozen or asleep."""

import time

LEAP_MS = 30_000  # the simulator looks at the clock many times a second: more than this and the machine was asleep


class Clock:
    """Never goes backwards. Frozen, it stands at one millisecond; thawed, it goes on from there."""

    def __init__(self) -> None:
        self._behind = 0  # ms that were spent frozen or asleep
        self._stop: int | None = None
        self._last = 0

    def now(self) -> int:
        now = time.time_ns() // 1_000_000 - self._behind
        if self._stop is not None:
            now = min(now, self._stop)
        if self._last and now - self._last > LEAP_MS:
            # Hours of every market would have to be lived at once; the markets slept as well.
            self._behind += now - self._last
            return self._last
        self._last = max(self._last, now)
        return self._last

    @property
    def frozen(self) -> bool:
        return self._stop is not None

    @property
    def stop_ms(self) -> int:
        """When it stands still, or will."""
        assert self._stop is not None
        return self._stop

    def freeze(self, at_ms: int) -> None:
        """Stand still as soon as ``at_ms`` is reached."""
        self._stop = at_ms

    def thaw(self) -> None:
        if self._stop is not None:
            wall = time.time_ns() // 1_000_000
            self._behind = max(self._behind, wall - self._stop)
            self._stop = None
