"""How late the event loop is, what held it up, and whether the wall clock was set meanwhile.

A loop that is held up holds up every client, and cannot say so itself. So a thread looks at it, and where it has not
been back for too long, writes down what it is at. While it is held up nothing answers ``/healthz`` either.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from gateway import metrics

log = logging.getLogger("gateway.lag")

EVERY = 0.25  # seconds between two looks at the clock
TOO_LONG = 0.25  # seconds the loop may be late before what it is at is written down
JUMP = 1.0  # seconds by which the wall clock may leave the monotonic one between two looks
INNERMOST = 12  # calls of a stack that are written down


class LoopWatch:
    """Of the running loop, from ``run`` until that is cancelled."""

    def __init__(
        self,
        *,
        too_long: float = TOO_LONG,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._too_long, self._wall, self._monotonic = too_long, wall, monotonic
        self._beaten = monotonic()  # when the loop was last seen
        self._ended = threading.Event()
        self._thread = threading.get_ident()  # the loop's

    async def run(self) -> None:
        watching = threading.Thread(target=self._watch, name="loop watch", daemon=True)
        watching.start()
        try:
            while True:
                before, wall = self._monotonic(), self._wall()
                await asyncio.sleep(EVERY)
                self._beaten = now = self._monotonic()
                metrics.LOOP_LAG.observe(max(0.0, now - before - EVERY))
                self._compare(self._wall() - wall - (now - before))
        finally:
            self._ended.set()
            watching.join()

    def _compare(self, jump: float) -> None:
        if abs(jump) > JUMP:
            metrics.CLOCK_JUMPS.inc()
            log.warning("clock_jumped", extra={"seconds": round(jump, 3)})

    def _watch(self) -> None:
        written = 0.0  # the beat after which it was held up, as last written down
        while not self._ended.wait(self._too_long / 2):
            beaten = self._beaten
            if self._monotonic() - beaten > EVERY + self._too_long and beaten != written:
                written = beaten
                frame = sys._current_frames().get(self._thread)
                at = traceback.format_stack(frame)[-INNERMOST:]
                log.warning("loop_held_up", extra={"at": "".join(at)})
