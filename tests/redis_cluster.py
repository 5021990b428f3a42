"""A Redis Cluster of a test's own: primaries, each with some slots and, if wanted, a replica that can take over."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

from tests.redis_server import START_TIMEOUT, RedisServer, ask, free_port

# Those of one feed of each channel of the scripted venue lie in a range of their own.
RANGES = ((0, 3_999), (4_000, 5_999), (6_000, 16_383))


class RedisCluster:
    """``servers``: the primaries in the order of their ranges, then the replica of each."""

    def __init__(self, binary: str, directory: str, *, ranges: Sequence[tuple[int, int]], replicas: bool) -> None:
        self.ranges = ranges
        count = len(ranges) * (2 if replicas else 1)
        self._bus = [free_port() for _ in range(count)]
        self.servers = [
            self._server(binary, Path(directory) / str(number), bus) for number, bus in enumerate(self._bus)
        ]

    @property
    def url(self) -> str:
        """Of two of them."""
        return f"redis+cluster://{','.join(f'127.0.0.1:{server.port}' for server in self.servers[:2])}"

    @property
    def primaries(self) -> list[RedisServer]:
        """As they know themselves."""
        return [server for server in self.servers if b"master" in ask(server, "ROLE")[:20]]

    def primary_of(self, slot: int) -> RedisServer:
        (found,) = (server for server in self.primaries if has(server, slot))
        return found

    def replica_of(self, primary: RedisServer) -> RedisServer:
        asked = f"master_port:{primary.port}\r".encode()
        (found,) = (server for server in self.servers if asked in ask(server, "INFO", "replication"))
        return found

    def promote(self, replica: RedisServer) -> None:
        """Whatever others think of it."""
        say(replica, "CLUSTER FAILOVER TAKEOVER")
        wait_until(lambda: replica in self.primaries)

    def start(self) -> None:
        """Empty. Returns when all slots are served."""
        for number, server in enumerate(self.servers, 1):
            server.start()
            say(server, "CLUSTER SET-CONFIG-EPOCH", number)  # else they agree on that when slots are long served
        for one, other in combinations(range(len(self.servers)), 2):
            say(self.servers[one], "CLUSTER MEET 127.0.0.1", self.servers[other].port, self._bus[other])
        for (first, last), server in zip(self.ranges, self.servers, strict=False):
            say(server, "CLUSTER ADDSLOTSRANGE", first, last)
        wait_until(lambda: all(len(known(server)) == len(self.servers) for server in self.servers))
        replicas = self.servers[len(self.ranges) :]
        for primary, replica in zip(self.servers, replicas, strict=False):
            say(replica, "CLUSTER REPLICATE", id_of(primary))
        wait_until(lambda: all(b"master_link_status:up" in ask(one, "INFO", "replication") for one in replicas))
        wait_until(lambda: all(b"cluster_state:ok" in ask(one, "CLUSTER", "INFO") for one in self.servers))

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def empty(self) -> None:
        for server in self.primaries:
            say(server, "FLUSHALL")

    def move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """As the manual says: import, migrate, all keys, and then the word to all."""
        self.begin_move(slot, source, target)
        self.end_move(slot, source, target)

    def begin_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        say(target, "CLUSTER SETSLOT", slot, "IMPORTING", id_of(source))
        say(source, "CLUSTER SETSLOT", slot, "MIGRATING", id_of(target))

    def end_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        keys = ask(source, "CLUSTER", "GETKEYSINSLOT", str(slot), "100").split(b"\r\n")[2::2]
        for key in keys:
            say(source, "MIGRATE 127.0.0.1", target.port, key.decode(), 0, 5_000)
        for server in dict.fromkeys([target, source, *self.primaries]):
            say(server, "CLUSTER SETSLOT", slot, "NODE", id_of(target))

    @staticmethod
    def _server(binary: str, directory: Path, bus: int) -> RedisServer:
        directory.mkdir()
        options = {
            "cluster-enabled": "yes",
            "cluster-port": str(bus),
            "cluster-node-timeout": "1000",
            "cluster-replica-no-failover": "yes",  # but when a test says so
            "cluster-require-full-coverage": "no",
            "repl-diskless-sync-delay": "0",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return RedisServer(binary, str(directory), *words)


@contextmanager
def redis_cluster(
    binary: str, *, ranges: Sequence[tuple[int, int]] = RANGES, replicas: bool = True, start: bool = True
) -> Iterator[RedisCluster]:
    with tempfile.TemporaryDirectory() as directory:
        cluster = RedisCluster(str(Path(binary)), directory, ranges=ranges, replicas=replicas)
        try:
            if start:
                cluster.start()
            yield cluster
        finally:
            cluster.kill()


def say(server: RedisServer, *words: object) -> None:
    """A command whose words have no spaces."""
    command = " ".join(str(word) for word in words).split()
    answer = ask(server, *command)
    assert answer.startswith(b"+"), (command, answer)


def known(server: RedisServer) -> list[bytes]:
    """The nodes that it has made the acquaintance of, itself among them."""
    lines = ask(server, "CLUSTER", "NODES").split(b"\n")
    return [line for line in lines if b"connected" in line and b"handshake" not in line]


def has(server: RedisServer, slot: int) -> bool:
    (line,) = (line for line in ask(server, "CLUSTER", "NODES").decode().split("\n") if "myself" in line)
    ranges = [part.partition("-") for part in line.split()[8:] if not part.startswith("[")]
    return any(int(first) <= slot <= int(last or first) for first, _, last in ranges)


def id_of(server: RedisServer) -> str:
    return ask(server, "CLUSTER", "MYID").split(b"\r\n")[1].decode()


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + START_TIMEOUT
    while not condition():
        assert time.monotonic() < end, "the cluster does not come to that"
        time.sleep(0.02)
