"""Market time: the wall clock's milliseconds, less the time spent frozen."""

import time


class Clock:
    """Never goes backwards. Frozen, it stands at one millisecond; thawed, it goes on from there."""

    def __init__(self) -> None:
        self._behind = 0  # ms that were spent frozen
        self._stop: int | None = None
        self._last = 0

    def now(self) -> int:
        now = time.time_ns() // 1_000_000 - self._behind
        if self._stop is not None:
            now = min(now, self._stop)
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
