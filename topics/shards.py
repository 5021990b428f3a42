"""Where the slots of a Redis Cluster lie: its address as we write it, and its map as one of its servers tells it.

A cluster is several plain servers, each with slots of its own. Which those are is all that is asked for here; who lies
where, and what to do when that changes, is ``cluster.py``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

from topics.place import SLOTS, Line, bulks, connect

SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}  # by which a server of it is reached
PORT = 6_379


class Address(NamedTuple):
    """Of one server."""

    host: str
    port: int


class ClusterUrl(NamedTuple):
    """``redis+cluster://user:password@host:port,host:port``, taken apart. One server that answers is enough."""

    scheme: str
    login: str  # as written, with its @; empty: none
    seeds: Sequence[Address]
    options: str

    @classmethod
    def of(cls, url: str) -> Self | None:
        """None: it is no cluster's.

        Raises:
            ValueError: it begins as one and cannot be read.
        """
        if not url.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
            return None
        scheme, netloc, path, options, _ = urlsplit(url)
        if path not in ("", "/", "/0"):
            raise ValueError("a Redis Cluster has one database")
        login, at, hosts = netloc.rpartition("@")
        seeds = [
            Address(one.hostname or "", one.port or PORT) for one in (urlsplit(f"//{h}") for h in hosts.split(","))
        ]
        if not all(host for host, _ in seeds):
            raise ValueError("a host is needed")
        found = cls(SCHEMES[scheme], login + at, seeds, options)
        connect(found.server(seeds[0]), timeout=1.0)  # nothing is sent: it reads login and options
        return found

    def server(self, address: Address) -> str:
        """One server of it, as any other is written."""
        host = f"[{address.host}]" if ":" in address.host else address.host
        return urlunsplit((self.scheme, f"{self.login}{host}:{address.port}", "/0", self.options, ""))


class Map(NamedTuple):
    """Who has which slots, as far as they are given to anybody."""

    ranges: Sequence[tuple[int, int, Address]]  # from and to, inclusive; its primary
    servers: Sequence[Address]  # replicas too: all that can be asked for it


async def ask(url: ClusterUrl, address: Address, *, within: float) -> Map:
    """The map as ``address`` knows it.

    Raises:
        RedisError, OSError: it does not tell.
        ValueError: it is one that no slot is given in.
    """
    line = Line(url.server(address), timeout=within)
    try:
        answer = await line.ask(b"*2\r\n" + bulks(b"CLUSTER", b"SLOTS"), within=within)
    finally:
        await line.aclose()
    return read(answer, asked=address)


def read(answer: Sequence[Any], *, asked: Address) -> Map:
    """Of an answer to ``CLUSTER SLOTS``, which names no host where it is the one that was asked.

    Source: https://redis.io/docs/latest/commands/cluster-slots/
    Raises:
        ValueError: no slot is given to anybody.
    """
    ranges, servers = list[tuple[int, int, Address]](), dict[Address, None]()
    for first, last, *nodes in answer:
        found = [Address(_host(host) or asked.host, port) for host, port, *_ in nodes]
        ranges.append((first, last, found[0]))
        servers |= dict.fromkeys(found)
    if not ranges:
        raise ValueError("no slot is given to anybody")
    assert all(0 <= first <= last < SLOTS for first, last, _ in ranges)
    return Map(ranges, list(servers))


def _host(told: Any) -> str:
    """Empty: that which was asked; ``?`` stands for a name that has not been set."""
    name = told.decode() if isinstance(told, bytes) else told or ""
    return "" if name == "?" else name
