"""``market-gateway serve | demo | simulate | config``."""

import argparse
import asyncio
import errno
import json
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from uvicorn import Server

from gateway import app, logs, metrics
from gateway.http import HttpLimits
from gateway.server import listen, loop_factory, server
from gateway.settings import PREFIX, Settings, SettingsError, VenueSettings, load
from gateway.state import VERSION

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
        command(name, run, words).add_argument("--config", type=Path, help="a TOML file of settings")
    simulator = command("simulate", simulate, "run the simulated exchanges alone")
    simulator.add_argument("--host", default="127.0.0.1")
    simulator.add_argument("--port", type=int, default=SIMULATOR_PORT)
    simulator.add_argument("--seed", type=int, default=1)
    return top


def serve(arguments: argparse.Namespace) -> None:
    settings = load(arguments.config)
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


async def serve_until_stopped(settings: Settings, *, about: str = "") -> None:
    with bound(settings.host, settings.port, setting=f"{PREFIX}PORT", alternative=settings.port + 1) as listening:
        port = listening.getsockname()[1]
        logs.configure(settings.log_format, settings.log_level)
        sys.stderr.write(
            f"market-gateway {VERSION} on http://{settings.host}:{port} ({', '.join(settings.exchanges)})\n{about}"
        )
        await gateway_server(settings).serve(sockets=[listening])


def gateway_server(settings: Settings) -> Server:
    limits, root = settings.limits, app.App(settings)
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
        breached=lambda kind: metrics.BREACHES.labels(kind).inc(),
    )


async def serve_simulated(settings: Settings) -> None:
    from exchanges.simulator.server import Simulator  # noqa: PLC0415  # only this command pays for it

    async with Simulator(seed=1, port=0) as simulator:
        venues = {name: VenueSettings.model_validate(urls) for name, urls in simulated(simulator.url).items()}
        # What a simulated venue lists and trades must never pass for a real one's.
        about = f"simulated exchanges on {simulator.url}; break them at {simulator.url}/control/faults\n"
        await serve_until_stopped(
            settings.model_copy(update={"cache_dir": None, "redis_url": SecretStr(""), **venues}), about=about
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


def bound(host: str, port: int, *, setting: str, alternative: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise Unusable(f"port {port} is taken; set {setting} to another, say {alternative}") from error
        raise Unusable(f"cannot listen on {host}:{port}: {error.strerror}") from error


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(work)
