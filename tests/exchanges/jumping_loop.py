"""An event loop whose clock jumps to the next timer as soon as nothing else is left to do.

Waits of ten seconds cost milliseconds, with the real constants and real sockets: on loopback whatever was sent has
arrived by the time the loop is idle. A test that waits for what never comes runs into its own deadline at once.
"""

import asyncio
import selectors
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

IDLE = 0.004  # real seconds without I/O after which nothing more is expected


class JumpingSelector(selectors.DefaultSelector):
    def __init__(self, idle: float) -> None:
        super().__init__()
        self.idle = idle
        self.jumped = 0.0  # seconds
        self.threads = 0  # at work; the clock stands while it cannot be known how long they need

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= self.idle or self.threads:
            return super().select(timeout)
        events = super().select(self.idle)
        if not events:
            self.jumped += timeout - self.idle
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """``idle`` may be 0 where no sockets are used."""

    def __init__(self, idle: float = IDLE) -> None:
        self._jumping = JumpingSelector(idle)
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.jumped

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1
