"""``market-gateway serve | demo | simulate | config``."""

import argparse
import asyncio
import errno
import json
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from starlette.routing import BaseRoute
from uvicorn import Server

from gateway import app, logs, metrics, workers
from gateway.http import HttpLimits
from gateway.server import listen, loop_factory, server
from gateway.settings import PREFIX, Settings, SettingsError, VenueSettings, load
from gateway.siblings import Siblings
from gateway.state import VERSION
from gateway.workers import Worker

SIMULATOR_PORT = 8790


class Unusable(Exception):
    """The command cannot run; ``str()`` is the one line to print."""


def main() -> None:
    arguments = parser().parse_args()
    try:
        arguments.command(arguments)
    except (SettingsError, Unusable) as error:
        sys.exit(f"market-gateway: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="market-gateway", description="Realtime market data, one websocket.")
    top.add_argument("--version", action="version", version=f"market-gateway {VERSION}")
    commands = top.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[[argparse.Namespace], None], words: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=words, description=words)
        one.set_defaults(command=run)
        return one

    for name, run, words in (
        ("serve", serve, "serve the real exchanges"),
        ("demo", demo, "serve simulated exchanges: offline, no keys"),
        ("config", config, "print the settings in force"),
    ):
        one = command(name, run, words)
        one.add_argument("--config", type=Path, help="a TOML file of settings")
        if run is serve:
            one.add_argument("--worker", type=Worker.parse, help=argparse.SUPPRESS)
    simulator = command("simulate", simulate, "run the simulated exchanges alone")
    simulator.add_argument("--host", default="127.0.0.1")
    simulator.add_argument("--port", type=int, default=SIMULATOR_PORT)
    simulator.add_argument("--seed", type=int, default=1)
    return top


def serve(arguments: argparse.Namespace) -> None:
    settings = load(arguments.config)
    if arguments.worker is not None:
        run(serve_as_one_of(settings, arguments.worker))
    elif settings.workers > 1:
        config = [] if arguments.config is None else ["--config", str(arguments.config)]
        run(serve_by_workers(settings, ["serve", *config]))
    else:
        run(serve_until_stopped(settings))


def demo(arguments: argparse.Namespace) -> None:
    settings = load(arguments.config)
    run(serve_simulated(settings))


def config(arguments: argparse.Namespace) -> None:
    values = load(arguments.config).model_dump(mode="json")
    sys.stdout.write(json.dumps(values, indent=2) + "\n")


def simulate(arguments: argparse.Namespace) -> None:
    from exchanges.simulator.server import serve as serve_simulator  # noqa: PLC0415  # only this command pays for it

    # Says in one line that the port is taken; the simulator binds it itself.
    bound(arguments.host, arguments.port, setting="--port", alternative=arguments.port + 1).close()
    run(serve_simulator(arguments.host, arguments.port, arguments.seed))


async def serve_until_stopped(settings: Settings, *, about: str = "", routes: Sequence[BaseRoute] = ()) -> None:
    with bound_for(settings, settings.port) as listening:
        port = listening.getsockname()[1]
        logs.configure(settings.log_format, settings.log_level)
        sys.stderr.write(
            f"market-gateway {VERSION} on http://{settings.host}:{port} ({', '.join(settings.exchanges)})\n{about}"
        )
        await gateway_server(settings, routes=routes).serve(sockets=[listening])


async def serve_by_workers(settings: Settings, arguments: Sequence[str]) -> None:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise Unusable(f"this system deals no connections out to several processes: keep {PREFIX}WORKERS=1")
    bound_for(settings, settings.port).close()  # who shares a port is not told that it is taken
    with ExitStack() as stack:
        sockets = [stack.enter_context(bound_for(settings, settings.port, shared=True))]
        port = sockets[0].getsockname()[1]
        sockets += [stack.enter_context(bound_for(settings, port, shared=True)) for _ in range(settings.workers - 1)]
        logs.configure(settings.log_format, settings.log_level)
        sys.stderr.write(
            f"market-gateway {VERSION} on http://{settings.host}:{port} "
            f"({', '.join(settings.exchanges)}; {settings.workers} workers)\n"
        )
        await workers.serve(settings, sockets, arguments)


async def serve_as_one_of(settings: Settings, worker: Worker) -> None:
    logs.configure(settings.log_format, settings.log_level)
    worker.watch()
    siblings = Siblings(settings.node, worker.directory, worker.number, settings.workers)
    with socket.socket(fileno=worker.listening) as listening:
        await gateway_server(settings, siblings).serve(sockets=[listening])


def gateway_server(settings: Settings, siblings: Siblings | None = None, *, routes: Sequence[BaseRoute] = ()) -> Server:
    limits, root = settings.limits, app.App(settings, siblings, routes=routes)
    return server(
        root,
        command_bytes=limits.command_bytes,
        compression=settings.compression == "shared",
        http=HttpLimits(
            head_seconds=limits.head_seconds, body_seconds=limits.body_seconds, body_bytes=limits.body_bytes
        ),
        admit=root.door.admit,
        left=root.door.left,
        refused=lambda status: metrics.REFUSED.labels(status).inc(),
        drain=root.drain,
        breached=lambda kind: metrics.BREACHES.labels(kind).inc(),
    )


async def serve_simulated(settings: Settings) -> None:
    from exchanges.simulator.control import fault_routes  # noqa: PLC0415  # only this command pays for it
    from exchanges.simulator.server import Simulator  # noqa: PLC0415

    async with Simulator(seed=1, port=0) as simulator:
        venues = {name: VenueSettings.model_validate(urls) for name, urls in simulated(simulator.url).items()}
        # What a simulated venue lists and trades must never pass for a real one's.
        about = f"simulated exchanges on {simulator.url}; break them at {simulator.url}/control/faults\n"
        await serve_until_stopped(
            settings.model_copy(update={"cache_dir": None, "redis_url": SecretStr(""), "workers": 1, **venues}),
            about=about,
            routes=fault_routes(simulator.floor, under="/demo"),  # for the page, which reaches no other port
        )


def simulated(url: str) -> dict[str, dict[str, str]]:
    """Where each venue is on a simulator."""
    websocket = url.replace("http://", "ws://")
    return {
        "binance": {
            "rest_url": f"{url}/binance",
            "ws_url": f"{websocket}/binance",
            "spot_rest_url": f"{url}/binance-spot",
            "spot_ws_url": f"{websocket}/binance-spot",
        },
        "bybit": {"rest_url": f"{url}/bybit", "ws_url": f"{websocket}/bybit"},
        "hyperliquid": {"rest_url": f"{url}/hyperliquid", "ws_url": f"{websocket}/hyperliquid"},
    }


def bound_for(settings: Settings, port: int, *, shared: bool = False) -> socket.socket:
    return bound(settings.host, port, setting=f"{PREFIX}PORT", alternative=port + 1, shared=shared)


def bound(host: str, port: int, *, setting: str, alternative: int, shared: bool = False) -> socket.socket:
    try:
        return listen(host, port, shared=shared)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unusable(f"port {port} is taken; set {setting} to another, say {alternative}") from error
        raise Unusable(f"cannot listen on {host}:{port}: {error.strerror}") from error


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work)
