"""What clients that read nothing hold of a gateway, measured from outside: in its process, in the kernel, how long.

They ask for a pause, miss something of every topic, and ask for its end without reading what comes: so each is owed a
portion of deep books, in bytes shared with nobody. A client's own receive buffer is as small as the kernel lets it be,
so that all of it lies on the gateway's side.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.exceptions import ConnectionClosedError

from tests.system import processes
from tests.system.processes import Client
from tests.system.test_hostile_clients import samples
from tests.system.test_slow_clients import Witness, polite_client, read_on, slow_client, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what a process and its sockets hold is read in /proc")

CROWD = 80  # so many that what each of them holds shows in the memory of the process
PROCESS_BYTES = 256 * 1024  # a stalled client may hold in the gateway's process, its connection and topics included
KERNEL_BYTES = 512 * 1024
CUT_WITHIN = 30.0  # seconds from when it stops reading
OWED_BYTES = 64 * 1024  # at least, to one of them, or the measurement proves nothing

MARKETS = [
    {"exchange": venue, "symbol": symbol}
    for venue in ("binance", "bybit")
    for symbol in ("BTC/USDT:USDT", "ETH/USDT:USDT")
]
# 54 KB for each market, so that all of them are more than is given at once.
BOOKS = [
    {"channel": "orderbook", **market, "params": {"levels": levels}}
    for market in MARKETS
    for levels in (1000, 500, 200)
]
TRADES = [{"channel": "trades", **market, "params": {}} for market in MARKETS]
TOPICS = BOOKS + TRADES


class Watch:
    """The most that was held whenever somebody looked, and when each connection was found to be gone."""

    def __init__(self, url: str, clients: list[Client]) -> None:
        self._url = url
        self._ports = {client.connection.local_address[1] for client in clients}
        self._began = asyncio.get_running_loop().time()
        self.process = self.kernel = 0  # bytes: of the whole process, of one connection
        self.gone: dict[int, float] = {}  # seconds after the watch began, by the client's port

    async def ended(self) -> bool:
        """Look, whether all of them are gone."""
        now, queues = asyncio.get_running_loop().time() - self._began, send_queues(self._url)
        self.process = max(self.process, resident(self._url))
        self.kernel = max(self.kernel, *(queues.get(port, 0) for port in self._ports))
        for port in self._ports - queues.keys():
            self.gone.setdefault(port, now)
        return len(self.gone) == len(self._ports)


def resident(url: str) -> int:
    """Bytes of memory that the process which serves ``url`` has now."""
    status = Path(f"/proc/{processes.RUNNING[url].pid}/status").read_text()
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])


def send_queues(url: str) -> dict[int, int]:
    """Bytes in the kernel for each connection that it has on the gateway's side, whatever its state; by client's port.

    It is ``tx_queue``: what the process has written and the other side has not acknowledged, sent or not. The ``w`` of
    ``ss -tm``, which is not everywhere, counts the kernel's bookkeeping too: 23 KB where this says 20.

    Source: https://www.kernel.org/doc/html/latest/networking/proc_net_tcp.html
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = url.rpartition(":")[2]
    return {port(row[2]): int(row[4].partition(":")[0], 16) for row in rows if port(row[1]) == int(local)}


def port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


@asynccontextmanager
async def stalled_crowd(url: str, polite: Witness) -> AsyncIterator[list[Client]]:
    """Clients that have just asked for all they missed, and read nothing of it."""
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(slow_client(url)) for _ in range(CROWD)]
        for client in clients:
            stack.callback(client.connection.transport.abort)  # a farewell would wait for an answer that nobody reads
        await asyncio.gather(*(stop_reading_in_a_pause(client) for client in clients))
        before = polite.newest.copy()
        await until(lambda: all(polite.newest[topic] > before[topic] for topic in before))
        for client in clients:
            await client.send(op="resume")
        yield clients


async def stop_reading_in_a_pause(client: Client) -> None:
    for topic in TOPICS:  # one by one: a crowd that took all of them even for a moment would keep this machine busy
        await client.send(op="subscribe", snapshot=False, **topic)
        await client.send(op="pause", topics=[topic])
    await client.send(op="hello")
    await client.expect(type="hello")
    client.connection.transport.pause_reading()  # the library would read ahead of us


async def all_stopped(http: httpx2.AsyncClient) -> bool:
    return samples(await http.get("/metrics"))["gateway_clients_stopped"] == CROWD


async def left_alone(http: httpx2.AsyncClient) -> dict[str, float]:
    """What the gateway says when all but one have left."""
    said: dict[str, float] = {}

    async def alone() -> bool:
        said.update(samples(await http.get("/metrics")))
        return said["gateway_clients"] == 1

    await processes.until(alone)
    return said


async def test_who_reads_nothing_holds_little_and_is_cut_in_time_and_what_it_held_serves_the_next(
    simulator_url: str,
) -> None:
    with processes.gateway(simulator_url) as url:
        async with polite_client(url, TOPICS) as polite, httpx2.AsyncClient(base_url=url) as http:
            before = resident(url)
            async with stalled_crowd(url, polite) as clients:
                watch = Watch(url, clients)
                await processes.until(watch.ended, CUT_WITHIN)
                said = await left_alone(http)
                for client in clients:
                    client.connection.transport.resume_reading()
                    with pytest.raises(ConnectionClosedError) as closed:
                        await read_on(client)
                    assert closed.value.rcvd is None  # a reset, after what the kernel had already
            async with stalled_crowd(url, polite):
                await processes.until(lambda: all_stopped(http))
                after = resident(url)

    assert watch.kernel < KERNEL_BYTES
    assert OWED_BYTES < said["gateway_pending_bytes_peak"] < PROCESS_BYTES
    assert (watch.process - before) / CROWD < PROCESS_BYTES
    assert max(watch.gone.values()) < CUT_WITHIN
    assert said['gateway_clients_closed_total{code="4101"}'] == CROWD
    assert said["gateway_clients_stopped"] == 0
    assert after - watch.process < (watch.process - before) / 2  # the second crowd lives on what the first gave up
    assert polite.received(type="warning") == polite.received(type="gap", reason="CLIENT_SLOW") == []
