"""One run: frames from a source to a display, until it is enough. Owns the clock and the signals."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live

from . import plain, words
from .content import Row
from .outcome import FINISHED, INTERRUPTED, TERMINATED
from .screen import screen
from .watch import Watch

FRAME_TIME = 0.125  # seconds between two pictures
COLUMNS = {
    "trades": "time side price amount cost",
    "orderbook": "time; bid and ask: price, amount, amount of all levels; spread; mid",
    "ohlcv": "open time, open, high, low, close, volume, state",
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Source(Protocol):
    async def run(self, deliver: Callable[[Mapping[str, Any]], None]) -> None: ...


class Display(Protocol):
    def show(self, watch: Watch, rows: Sequence[Row]) -> None:
        """``rows`` are new."""
        ...

    async def run(self, watch: Watch) -> None:
        """Until cancelled."""
        ...


class Lines:
    """For pipes: a line for each row as it comes."""

    def __init__(self) -> None:
        self._headed = False

    def show(self, watch: Watch, rows: Sequence[Row]) -> None:
        if watch.topic is not None and not self._headed:
            self._headed = True
            print(f"# {watch.channel} of {words.topic(watch.topic)}: {COLUMNS[watch.channel]}")
        for row in rows:
            print(plain.line(row))
        sys.stdout.flush()

    async def run(self, watch: Watch) -> None:
        await asyncio.Event().wait()


class Terminal:
    """The whole terminal, drawn anew a few times a second; its last picture stays when it ends."""

    def __init__(self, console: Console, *, direct: bool) -> None:
        self._console = console
        self._direct = direct

    def show(self, watch: Watch, rows: Sequence[Row]) -> None:
        """The next picture will."""

    async def run(self, watch: Watch) -> None:
        try:
            with Live(console=self._console, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(self._picture(watch), refresh=True)
                    await asyncio.sleep(FRAME_TIME)
        finally:
            if watch.updates:
                self._console.print(self._picture(watch))

    def _picture(self, watch: Watch) -> Any:
        width, height = self._console.size
        return screen(watch, now_ms(), width=width, height=height - 1, direct=self._direct)


async def run(
    watch: Watch, source: Source, display: Display, *, seconds: float | None = None, iterations: int | None = None
) -> int:
    """The exit status, when it is enough.

    Raises:
        Ended: the source has no more, and why.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()

    def finish(status: int) -> None:
        if not done.done():
            done.set_result(status)

    def deliver(frame: Mapping[str, Any]) -> None:
        if done.done():
            return
        try:
            display.show(watch, watch.take(frame, now_ms()))
        except BrokenPipeError:  # as with `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            finish(FINISHED)
        except Exception as error:  # a source calls from within a socket's read, which must not fail
            done.set_exception(error)
        if iterations is not None and watch.updates >= iterations:
            finish(FINISHED)

    for number, status in ((signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)):
        with suppress(NotImplementedError):  # Windows; Ctrl-C is an exception there
            loop.add_signal_handler(number, finish, status)
    tasks = [asyncio.create_task(source.run(deliver)), asyncio.create_task(display.run(watch))]
    try:
        awaited: list[asyncio.Future[Any]] = [done, *tasks]
        await asyncio.wait(awaited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        return done.result() if done.done() else FINISHED
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
