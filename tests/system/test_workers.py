"""A gateway of two workers: whatever becomes of one, or of the process that started them, nobody is left behind."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.redis_server import RedisServer, binaries, redis_server
from tests.system import processes
from tests.system.processes import wait_for

pytestmark = [
    pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server"),
    pytest.mark.skipif(sys.platform != "linux", reason="it looks for processes in /proc"),
]


@pytest.fixture(scope="module")
def simulator_url() -> Iterator[str]:
    """Of this module's own: so many gateways ask it for their catalogues that it sends them away for a while."""
    with processes.simulator() as url:
        yield url


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server(next(iter(binaries().values()))) as server:
        yield server


def workers_of(url: str) -> dict[int, int]:
    """Process ids, by the number of the worker."""
    parent = processes.RUNNING[url].pid
    found = {}
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "--worker" in command:
            found[int(command[command.index("--worker") + 1].partition(":")[0])] = int(child)
    return found


def runs(pid: int) -> bool:
    """Also one that is stopped; not one that has ended and is only not forgotten yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def answering(url: str) -> list[str]:
    """The workers that say how they are. Each question is a connection of its own, which either may be given."""
    try:
        return [worker["node"] for worker in httpx2.get(f"{url}/v1/status", timeout=5.0).json()["workers"]]
    except httpx2.TransportError:
        return []


def gateway(simulator_url: str, server: RedisServer, **settings: str) -> Any:
    return processes.gateway(simulator_url, redis_url=server.url, workers="2", node="g", **settings)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_is_started_again(simulator_url: str, server: RedisServer, end: signal.Signals) -> None:
    with gateway(simulator_url, server) as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        before = workers_of(url)
        os.kill(before[2], end)
        wait_for(lambda: workers_of(url).get(2, before[2]) != before[2])
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        after = workers_of(url)

    assert before.keys() == after.keys() == {1, 2}
    assert after[1] == before[1]


def test_who_comes_while_a_worker_is_away_waits_for_it_and_is_refused_nothing(
    simulator_url: str, server: RedisServer
) -> None:
    with gateway(simulator_url, server) as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        gone = workers_of(url)[1]
        os.kill(gone, signal.SIGKILL)
        wait_for(lambda: not runs(gone))
        # Of so many connections the system gives some to the socket of the one that is away.
        statuses = [httpx2.get(f"{url}/healthz", timeout=10.0).status_code for _ in range(16)]

    assert statuses == [200] * 16


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_all_end_when_their_starter_is_told_to(simulator_url: str, server: RedisServer, how: signal.Signals) -> None:
    with gateway(simulator_url, server) as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        pids = workers_of(url)
        processes.RUNNING[url].send_signal(how)
        code = processes.RUNNING[url].wait(processes.PATIENCE)

    assert (len(pids), [pid for pid in pids.values() if runs(pid)], code) == (2, [], 0)


async def test_who_comes_while_workers_send_their_clients_away_is_refused_and_does_not_wait_for_nobody(
    simulator_url: str, server: RedisServer
) -> None:
    with gateway(simulator_url, server, limits__drain="3") as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        async with processes.client(url) as client:
            await client.send(op="hello")
            await client.expect(type="hello")
            processes.stop(url)
            await client.expect(type="goaway")

            def refused() -> bool:
                try:
                    httpx2.get(f"{url}/healthz", timeout=2.0)
                except httpx2.ConnectError:
                    return True
                return False

            await asyncio.to_thread(wait_for, refused)
            assert all([await asyncio.to_thread(refused) for _ in range(8)])
            await client.send(op="ping")
            await client.expect(type="pong")  # it is served yet


def test_workers_end_when_their_starter_is_killed(simulator_url: str, server: RedisServer) -> None:
    with gateway(simulator_url, server) as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        pids = workers_of(url)
        processes.RUNNING[url].kill()
        wait_for(lambda: not any(runs(pid) for pid in pids.values()), processes.PATIENCE)

    assert len(pids) == 2


def test_a_worker_that_hangs_is_killed_and_replaced(simulator_url: str, server: RedisServer) -> None:
    with gateway(simulator_url, server, command="tests.system.hasty") as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        before = workers_of(url)
        os.kill(before[1], signal.SIGSTOP)
        wait_for(lambda: not runs(before[1]))
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        after = workers_of(url)

    assert after[1] != before[1]
    assert after[2] == before[2]  # one that answers is left alone


def test_the_port_for_metrics_has_those_of_all_workers(simulator_url: str, server: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    public = {"host": "0.0.0.0", "auth__allow_anonymous": "true", "metrics__bind": f"127.0.0.1:{port}"}
    with gateway(simulator_url, server, **public) as url:
        wait_for(lambda: answering(url) == ["g.1", "g.2"])
        metrics = httpx2.get(f"http://127.0.0.1:{port}/metrics").text

    assert "\ngateway_workers 2.0\n" in metrics
