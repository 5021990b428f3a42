"""Several processes of one gateway on one port, started, watched and ended by this one, which serves nobody.

Each is a node of its own (``topics/cluster.py``): they meet in Redis, and it does not matter to a client which of them
the system gives its connection to. Each has a listening socket, made here, so that who comes while a worker starts
anew waits for it. One that ends is started again; one that does not answer is killed first.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric

from gateway.settings import Settings
from gateway.siblings import Siblings, merged_families

log = logging.getLogger("gateway.workers")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds before a worker that ended is started again; doubles
SETTLED = 30.0  # seconds after which one that ends had not failed to start
LOOK_EVERY, LOOKS = 5.0, 4  # seconds; unanswered in a row, the worker is killed
GRACE = 20.0  # seconds to end in


class Worker(NamedTuple):
    """What a worker is told by the process that started it, on its command line."""

    number: int  # from 1
    directory: Path  # where the workers find each other
    listening: int  # file descriptor of its socket
    alive: int  # file descriptor that ends when the process that started it does

    @property
    def arguments(self) -> list[str]:
        return ["--worker", f"{self.number}:{self.listening}:{self.alive}:{self.directory}"]

    @classmethod
    def parse(cls, text: str) -> "Worker":
        number, listening, alive, directory = text.split(":", 3)
        return cls(int(number), Path(directory), int(listening), int(alive))

    def watch(self) -> None:
        """End when the process that started it has ended, however it did. Called in a running loop."""
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.remove_reader(self.alive)  # it would be told again with every turn of the loop
            os.kill(os.getpid(), signal.SIGTERM)

        loop.add_reader(self.alive, end)


async def serve(settings: Settings, sockets: Sequence[socket.socket], arguments: Sequence[str]) -> None:
    """Run one worker for each of ``sockets`` until told to stop. ``arguments``: of the command, for each of them."""
    with tempfile.TemporaryDirectory(prefix="market-gateway-") as directory:
        siblings = Siblings(settings.node, Path(directory), 0, len(sockets))
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, stopping.set)
        read, write = os.pipe()  # nobody writes: it ends with this process
        if not settings.loopback:
            registry = CollectorRegistry()
            registry.register(_Workers(siblings, loop))
            host, _, port = settings.metrics.bind.rpartition(":")
            start_http_server(int(port), host, registry)
        command, patience = [sys.executable, "-m", "gateway", *arguments], GRACE + settings.limits.drain
        workers = [(Worker(number, Path(directory), one.fileno(), read), one) for number, one in enumerate(sockets, 1)]
        running = [
            asyncio.create_task(_keep(*one, siblings, command=command, stopping=stopping, patience=patience))
            for one in workers
        ]
        try:
            await asyncio.gather(*running)
        finally:
            os.close(read)
            os.close(write)


async def _keep(
    worker: Worker,
    listening: socket.socket,
    siblings: Siblings,
    *,
    command: Sequence[str],
    stopping: asyncio.Event,
    patience: float,
) -> None:
    """Start it, and again whenever it ends, until ``stopping``; then it has ``patience`` seconds to end in."""
    pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
    while not stopping.is_set():
        began = loop.time()
        process = await asyncio.create_subprocess_exec(
            *command, *worker.arguments, pass_fds=(worker.listening, worker.alive)
        )
        ended, stop = asyncio.create_task(process.wait()), asyncio.create_task(stopping.wait())
        looking = asyncio.create_task(_look_after(worker, siblings, process, every=LOOK_EVERY))
        await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
        looking.cancel()
        stop.cancel()
        if stopping.is_set():
            listening.close()  # or who comes while it ends would wait here, for nobody
            await _end(process, patience)
            return
        log.error("worker_ended", extra={"worker": worker.number, "code": process.returncode})
        pause = FIRST_PAUSE if loop.time() - began > SETTLED else min(2 * pause, LONGEST_PAUSE)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stopping.wait()


async def _look_after(worker: Worker, siblings: Siblings, process: asyncio.subprocess.Process, *, every: float) -> None:
    """Kill it when it does not answer. ``every``: seconds between two looks."""
    silent = 0
    while silent < LOOKS:
        await asyncio.sleep(every)
        silent = 0 if await siblings.ask_one(worker.number, "alive") else silent + 1
    log.error("worker_hangs", extra={"worker": worker.number})
    with suppress(ProcessLookupError):  # it has ended in that moment
        process.kill()


async def _end(process: asyncio.subprocess.Process, patience: float) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class _Workers:
    """Collects what the workers count, for the metrics server's thread."""

    def __init__(self, siblings: Siblings, loop: asyncio.AbstractEventLoop) -> None:
        self._siblings, self._loop = siblings, loop

    def collect(self) -> list[Metric]:
        answers = asyncio.run_coroutine_threadsafe(self._siblings.ask("metrics"), self._loop).result()
        return merged_families([answer.decode() for answer in answers])
