"""The simulated venues as one process on one port, a path per venue, and a control endpoint for tests beside them.

Knows venues only as rows of a table. One task owns time: it lets the markets live, delivers what is due, sends the
venues' pings, and is cancelled when the server stops.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import TracebackType

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Router

from . import binance, bybit, hyperliquid
from .clock import Clock
from .control import control_routes
from .gate import Gate
from .sockets import SimulatorProtocol
from .switchboard import Switchboard
from .venue import Venue

log = logging.getLogger("exchanges.simulator")

VENUES: Mapping[str, Callable[[Clock, str], Venue]] = {
    "binance": binance.futures,
    "binance-spot": binance.spot,
    "bybit": bybit.bybit,
    "hyperliquid": hyperliquid.hyperliquid,
}
TICK = 0.02  # seconds between two looks at what is due; the fastest stream of any venue is not much faster
IDLE_TICKS = 100  # before the markets that nobody looks at begin to live in the background
FREEZE_GRID_MS = 100  # markets stop at the end of a tenth of a second, where no venue's aggregation is left half done


class Floor:
    """The venues of one simulator and their time. ``run`` is the only task there is besides the clients' sessions."""

    def __init__(self, seed: int) -> None:
        self.clock = Clock()
        self.venues = {name: make(self.clock, f"{seed}") for name, make in VENUES.items()}
        self.faults = Switchboard(self.venues)

    async def run(self) -> None:
        ticks, venues = 0, list(self.venues.values())
        while True:
            await asyncio.sleep(TICK)
            self.tick()
            ticks += 1
            if ticks > IDLE_TICKS:  # a short-lived simulator does not pay for what nobody asked for
                venues[ticks % len(venues)].markets.catch_up()
            if ticks % 50 == 0:
                self.keep_alive()

    def tick(self, *, flush: bool = False) -> None:
        """Deliver what is due, or with ``flush`` everything there is."""
        now = self.clock.now()
        for venue in self.venues.values():
            if venue.faults.busy:
                venue.sweep()
            venue.streams.tick(now, flush=flush)
            for connection in venue.connections:
                connection.flush()

    async def freeze(self) -> int:
        """Stop market time and bring every subscriber to the final state; the time it stands at, in ms."""
        if not self.clock.frozen:
            self.clock.freeze(self.clock.now() // FREEZE_GRID_MS * FREEZE_GRID_MS + 2 * FREEZE_GRID_MS - 1)
        stop = self.clock.stop_ms
        await asyncio.sleep((stop - self.clock.now() + 5) / 1000)
        self.tick(flush=True)
        return stop

    def thaw(self) -> None:
        """Let market time go on from where it stands, so behind the wall clock by the time frozen."""
        self.clock.thaw()

    def keep_alive(self) -> None:
        """Send the pings that are due."""
        for venue in self.venues.values():
            if venue.heartbeat is not None:
                now = self.clock.now() + venue.faults.skew_ms
                for connection in list(venue.connections):
                    connection.keep_alive(now, every=venue.heartbeat.every, pong_within=venue.heartbeat.pong_within)


def app(seed: int, floor: Floor | None = None) -> Starlette:
    """The ASGI app; its lifespan runs the markets. Needs ``SimulatorProtocol`` as uvicorn's websocket protocol."""
    floor = floor or Floor(seed)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(floor.run(), name="simulator")
        task.add_done_callback(_tell_failure)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    venues = [Mount(f"/{name}", Gate(Router(venue.routes), venue)) for name, venue in floor.venues.items()]
    return Starlette(routes=[Mount("/control", routes=control_routes(floor)), *venues], lifespan=lifespan)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("simulator_stopped", exc_info=task.exception())


class _Server(uvicorn.Server):
    """uvicorn inside somebody else's process: it must not take over the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Simulator:
    """The simulator on a port of its own, in the running event loop.

    ``async with Simulator(seed=1, port=0) as simulator:`` then ``simulator.url`` (http) and ``simulator.ws_url``;
    ``simulator.floor.venues["binance"].markets["BTCUSDT"]`` is the truth itself, ``simulator.floor.faults`` the switch
    that makes it go wrong on the way.
    """

    def __init__(self, seed: int = 1, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.floor = Floor(seed)
        self._socket = _listen(host, port)
        self._server = _Server(_config(app(seed, self.floor)))
        self._task: asyncio.Task[None] | None = None
        host, port = self._socket.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self.ws_url = f"ws://{host}:{port}"

    async def __aenter__(self) -> "Simulator":
        self._task = asyncio.create_task(self._server.serve([self._socket]), name="simulator server")
        while not self._server.started:
            if self._task.done():
                self._task.result()
                raise RuntimeError("the simulator did not start")
            await asyncio.sleep(0.005)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._server.should_exit = True
        await self._task
        self._socket.close()


async def serve(host: str, port: int, seed: int) -> None:
    """Run until a signal; the first line printed is the URL."""
    listener = _listen(host, port)
    server = uvicorn.Server(_config(app(seed)))
    address = listener.getsockname()
    print(f"http://{address[0]}:{address[1]}", flush=True)
    await server.serve([listener])


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket that says it is TCP: asyncio turns Nagle's delay off only where the protocol number is set."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(256)
    return listener


def _config(application: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        ws=SimulatorProtocol,
        ws_ping_interval=None,  # the venues' own pings, not uvicorn's
        ws_per_message_deflate=False,  # frames are shared and written as they are
        access_log=False,
        log_config=None,  # the demo's gateway has configured logging for this process
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
