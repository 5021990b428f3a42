"""How many connections following takes, and how they are made. What is read is tested with nodes that publish it."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.redis_server import RedisServer, binaries
from topics.follower import OPENING_AT_ONCE, Follower
from topics.key import Cursor
from topics.place import Place
from topics.ring import Entry

PATIENCE = 5.0


class Hearer:
    """Implements ``follower.Hearer``."""

    def __init__(self, number: int) -> None:
        self.place = Place(*(f"{{{number}}}:{name}" for name in Place._fields))

    def heard(self, entries: Sequence[Entry]) -> None: ...

    def told(self, words: bytes) -> None: ...

    def lost(self) -> None: ...

    def found(self) -> None: ...


def follow(follower: Follower, number: int) -> None:
    for one in range(number):
        follower.follow(Hearer(one), after=Cursor(0, 0), told="0-0")


@pytest.mark.skipif(not binaries(), reason="there is neither redis-server nor valkey-server")
@pytest.mark.parametrize(("clustered", "readers"), [(False, 2), (True, 60)])
async def test_feeds_share_a_connection_but_in_a_redis_cluster(
    server: RedisServer, clustered: bool, readers: int
) -> None:
    follower = Follower(server.url, probe_every=1.0, clustered=clustered)
    follow(follower, 60)

    assert (len(follower), len(follower._readers)) == (60, readers)
    await follower.aclose()


async def test_a_crowd_of_feeds_connects_a_few_at_a_time() -> None:
    came, own = list[int](), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1) == b"!":
            own.set()
        else:
            came.append(1)
            await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        follower = Follower(f"redis://127.0.0.1:{port}", probe_every=1.0, clustered=True)
        follow(follower, 5 * OPENING_AT_ONCE)
        async with asyncio.timeout(PATIENCE):
            while len(came) < OPENING_AT_ONCE:  # noqa: ASYNC110  # in another connection's handler
                await asyncio.sleep(0.001)
            _, writer = await asyncio.open_connection("127.0.0.1", port)  # behind all that were begun until now
            writer.write(b"!")
            await own.wait()
        connecting = len(came)
        writer.close()
        await follower.aclose()

    assert connecting == OPENING_AT_ONCE
