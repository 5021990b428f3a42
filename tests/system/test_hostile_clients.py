"""Clients that mean harm, against a running gateway: each is refused as the contract says, and nobody else feels it.

``attacks.py`` does one thing flat out in a process of its own; meanwhile a polite client pings. Limits are small, so
that an attack meets them at once.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from tests.system import processes
from tests.system.processes import Client

SECONDS = 1.2  # of each attack
PAUSE = 0.007  # seconds between two pings
MOST_OF_THEM = 0.1  # seconds within which 99 of 100 pings are answered
BOMB_BYTES = 16 * 1024 * 1024  # by which a gateway may grow, of 60 MB that it is asked to unpack


@pytest.fixture(scope="module")
def besieged_url(simulator_url: str) -> Iterator[str]:
    """A gateway that anybody may come to, whose limits for each client are small."""
    with processes.gateway(
        simulator_url,
        limits__accept_rate="100000",
        limits__accept_burst="100000",
        limits__command_burst="200",
        limits__command_rate="150",
        limits__command_delays="10",
        limits__head_seconds="0.2",
        limits__request_rate="1",
        limits__request_burst="3",
        compression="shared",
    ) as url:
        yield url


class Siege:
    """What became of the attack, of the gateway's counters, and of the polite client's pings."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.outcomes: dict[str, int] = {}
        self.before: dict[str, float] = {}
        self.after: dict[str, float] = {}
        self.waits: list[float] = []  # seconds, ascending

    async def run(self, attack: str) -> None:
        """The attack, with a polite client inside from before it until after it."""
        async with processes.client(self.url) as polite, httpx2.AsyncClient(base_url=self.url) as http:
            await polite.send(op="ping")
            await polite.expect(type="pong")
            self.before = samples(await http.get("/metrics"))
            attacking = asyncio.create_task(self._attack(attack))
            while not attacking.done() or len(self.waits) < 100:
                self.waits.append(await ping(polite))
                await asyncio.sleep(PAUSE)  # the polite client's own pace
            await attacking
            self.after = samples(await http.get("/metrics"))
        self.waits.sort()

    async def _attack(self, name: str) -> None:
        host, port = re.fullmatch(r"http://(.*):(\d+)", self.url).groups()  # type: ignore[union-attr]
        arguments = ("-m", "tests.system.attacks", name, host, port, str(SECONDS))
        running = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        output, _ = await running.communicate()
        self.outcomes = json.loads(output)

    def rise(self, sample: str) -> float:
        return self.after.get(sample, 0.0) - self.before.get(sample, 0.0)

    @property
    def felt(self) -> str:
        """ "" if the polite client was served in time."""
        worst = self.waits[int(len(self.waits) * 0.99)]
        return "" if len(self.waits) >= 100 and worst <= MOST_OF_THEM else f"{len(self.waits)} pings, p99 {worst:.3f} s"


async def ping(client: Client) -> float:
    began = time.perf_counter()
    await client.send(op="ping")
    await client.expect(type="pong")
    return time.perf_counter() - began


def samples(answer: httpx2.Response) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


CASES = {
    "commands": ("20 RATE_LIMITED, 4103", 'gateway_clients_closed_total{code="4103"}'),
    "bad_commands": ("4005", 'gateway_clients_closed_total{code="4005"}'),
    "fragments": ("1009", 'gateway_protocol_breaches_total{kind="fragments"}'),
    "pings": ("1008", 'gateway_protocol_breaches_total{kind="control"}'),
    "large_command": ("1009", 'gateway_protocol_breaches_total{kind="too_big"}'),
    "declared_terabyte": ("1009", 'gateway_protocol_breaches_total{kind="too_big"}'),
    "slow_head": ("408", 'gateway_http_refused_total{status="408"}'),
    "large_head": ("431", 'gateway_http_refused_total{status="431"}'),
    "requests": ("429+", 'gateway_requests_total{endpoint="/v1/fetchTrades",status="429"}'),
}
ALSO = {"requests": {"400"}}  # an exchange that there is none of, while the burst lasts


@pytest.mark.parametrize("attack", CASES)
async def test_ill_will_is_answered_as_promised_counted_and_felt_by_nobody_else(besieged_url: str, attack: str) -> None:
    siege = Siege(besieged_url)
    outcome, counter = CASES[attack]

    await siege.run(attack)

    assert set(siege.outcomes) - ALSO.get(attack, set()) == {outcome}
    assert siege.rise(counter) >= siege.outcomes[outcome] > 0
    assert siege.felt == ""


async def test_commands_in_haste_are_delayed_before_they_are_refused(besieged_url: str) -> None:
    siege = Siege(besieged_url)

    await siege.run("commands")

    assert siege.rise("gateway_commands_delayed_total") == 10 * sum(siege.outcomes.values())


async def test_a_compression_bomb_is_not_unpacked(besieged_url: str) -> None:
    siege, before = Siege(besieged_url), memory(besieged_url)

    await siege.run("compression_bomb")

    assert set(siege.outcomes) == {"1009"}
    assert siege.rise('gateway_protocol_breaches_total{kind="too_big"}') >= siege.outcomes["1009"] > 0
    assert memory(besieged_url) - before < BOMB_BYTES
    assert siege.felt == ""


def memory(url: str) -> int:
    """Resident bytes of the process that serves ``url``, at their most since it began."""
    status = Path(f"/proc/{processes.RUNNING[url].pid}/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


FULL = {
    "connections": ({"limits__connections": "30"}, "connections"),
    "accept_rate": ({"limits__accept_rate": "0.1", "limits__accept_burst": "20"}, "accept_rate"),
    "address": ({"limits__connections_per_address": "5"}, "address"),
}


@pytest.mark.parametrize("limit", FULL)
async def test_who_finds_the_house_full_is_told_to_come_again_and_those_inside_do_not_feel_it(
    simulator_url: str, limit: str
) -> None:
    settings, reason = FULL[limit]
    with processes.gateway(simulator_url, **{"limits__accept_burst": "100000", **settings}) as url:
        siege = Siege(url)
        await siege.run("connections")

    inside = siege.outcomes.pop("101")
    assert 1 < inside < 30
    assert set(siege.outcomes) == {"503+"}
    assert siege.rise(f'gateway_handshakes_rejected_total{{reason="{reason}"}}') == siege.outcomes["503+"] > 10
    assert siege.felt == ""


async def test_places_are_free_again_when_those_inside_have_left(simulator_url: str) -> None:
    with processes.gateway(simulator_url, limits__connections_per_address="3") as url:
        for _ in range(5):
            async with AsyncExitStack() as inside:
                clients = [await inside.enter_async_context(processes.client(url)) for _ in range(3)]
                await ping(clients[-1])
            async with httpx2.AsyncClient(base_url=url) as http:
                await processes.until(lambda http=http: nobody_inside(http))


async def nobody_inside(http: httpx2.AsyncClient) -> bool:
    return samples(await http.get("/metrics"))["gateway_clients"] == 0
