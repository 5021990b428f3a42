"""Scripts as people run them: as processes, from the project's folder; and a gateway for them to talk to."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from tests.system import processes

ROOT = Path(__file__).parent.parent.parent


class Outcome(NamedTuple):
    status: int | None
    lines: list[str]  # of standard output
    errors: str  # standard error


async def run(*command: str | Path, environment: dict[str, str] | None = None) -> Outcome:
    """What became of ``command``, which knows no settings but ``environment``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    running = await asyncio.create_subprocess_exec(
        *map(str, command),
        cwd=ROOT,
        env={**clean, **(environment or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(processes.START_TIMEOUT):
        output, errors = await running.communicate()
    return Outcome(running.returncode, output.decode().splitlines(), errors.decode())


async def python(script: str, *arguments: str | Path, environment: dict[str, str] | None = None) -> Outcome:
    return await run(sys.executable, f"scripts/{script}", *arguments, environment=environment)


@pytest.fixture(scope="session")
def demo_url() -> Iterator[str]:
    """A gateway as ``market-gateway demo`` starts it."""
    with processes.process("gateway", "demo", environment={"GATEWAY_PORT": "0"}) as url:
        with httpx2.Client(base_url=url) as http:
            processes.wait_for(lambda: processes.ready(http))
        yield url


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    with processes.simulator() as url:
        yield url


@pytest.fixture
async def control(simulator_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    """What may be asked of the simulator and done to it. What a test freezes is thawed."""
    async with httpx2.AsyncClient(base_url=simulator_url) as http:
        yield http
        await http.post("/control/freeze", json={"frozen": False})
