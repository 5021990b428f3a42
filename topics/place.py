"""Where a feed is kept in Redis, and how Redis is reached."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, ResponseError, TryAgainError

from exchanges.venue import Stream
from topics.key import TopicKey

PREFIX = "market-gateway"
SENTINEL, SENTINEL_PORT = "redis+sentinel://", 26_379
SLOTS = 16_384  # of a Redis Cluster
ELSEWHERE = (AskError, TryAgainError)  # MOVED is one of the first: its slot is another server's, or is on the way to it
UNSERVED = (*ELSEWHERE, ClusterDownError)  # nobody has its slot

Doubt = Callable[[Exception], None]  # told why a server may not be the one any more at which something lies


class Place(NamedTuple):
    """A feed's keys. What they have in braces is the same, so that all lie in one slot of a Redis Cluster."""

    events: str  # a stream whose entry ids are the cursors
    epoch: str  # of the last owner; never expires
    candles: str  # a hash: open time → row
    states: str  # a stream: what the owner says of the feed besides its events
    lease: str  # who owns it; expires
    followed: str  # somebody follows it; expires


def place_of(key: TopicKey, stream: Stream) -> Place:
    """Of the feed that serves ``key`` by ``stream``: all depths of a book have one."""
    feed = f"{PREFIX}:{{{key.exchange}/{key.channel}/{key.symbol}/{stream.name}}}"
    return Place(*(f"{feed}:{name}" for name in Place._fields))


@lru_cache(maxsize=4_096)
def slot_of(place: Place) -> int:
    """In a Redis Cluster."""
    return key_slot(place.events.encode(), SLOTS)


def bulks(*parts: bytes) -> bytes:
    """Parts of a command as Redis reads them, for the two commands that are sent all the time."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def connect(url: str, *, timeout: float, bounded: bool = True) -> Redis:
    """A client that gives up after ``timeout`` seconds.

    ``url`` is one of the library's, or ``redis+sentinel://user:password@host:port,host:port/service/database``: there
    the primary of the service is asked for with each new connection. User, password, port and database may be missing.

    It retries nothing: what failed is written again from where it came from, not from a buffer. ``bounded``: each
    command is; else only connecting is, and who sends commands bounds them, which the library does at twice their cost.

    Raises:
        ValueError: ``url`` is none.
    """
    options: dict[str, Any] = {
        "socket_timeout": timeout if bounded else None,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "legacy_responses": False,
    }
    if not url.startswith(SENTINEL):
        return Redis.from_url(url, **options)
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, database = parts.path.removeprefix("/").partition("/")
    asked = [(host, int(port or SENTINEL_PORT)) for host, _, port in (one.partition(":") for one in hosts.split(","))]
    if not service or not all(host for host, _ in asked):
        raise ValueError("sentinels and a service are needed")
    asking = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    sentinel = Sentinel(asked, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
    found: Redis = sentinel.master_for(
        service, username=unquote(user) or None, password=unquote(password) or None, db=int(database or 0), **options
    )
    return found


async def close(redis: Redis) -> None:
    """Close what ``connect`` gave, and its connections to sentinels."""
    await redis.aclose()
    sentinel: Any = getattr(redis.connection_pool, "sentinel_manager", None)
    if sentinel is not None:
        await sentinel.aclose()


class Line:
    """One connection to Redis for one write at a time, packed by who sends it (``bulks``)."""

    def __init__(self, url: str, *, timeout: float) -> None:
        self._redis = connect(url, timeout=timeout, bounded=False)
        self._connection: Any = None  # the library has no type for it

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    async def open(self, *, within: float) -> None:
        """Connect; who asks before does so by that.

        Raises:
            RedisError, OSError: it cannot.
        """
        async with asyncio.timeout(within):
            self._connection = await cast(Any, self._redis.connection_pool).get_connection()

    async def ask(self, command: bytes, *, within: float) -> Any:
        """The answer, if it comes within so many seconds.

        Raises:
            RedisError, OSError: there is none, or it is a refusal (``ResponseError``).
        """
        (answer,) = await self.ask_each([command], within=within)
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def ask_each(self, commands: Sequence[bytes], *, within: float) -> list[Any]:
        """The answers to commands that are sent together, if all come within so many seconds; refusals among them.

        Raises:
            RedisError, OSError: there are none.
        """
        clean, pool, answers = False, cast(Any, self._redis.connection_pool), list[Any]()
        try:
            async with asyncio.timeout(within):
                if self._connection is None:
                    self._connection = await pool.get_connection()
                await self._connection.send_packed_command(b"".join(commands))
                for _ in commands:
                    try:
                        answers.append(await self._connection.read_response())
                    except ResponseError as error:
                        answers.append(error)
            clean = True
        finally:
            if not clean and self._connection is not None:  # a late answer fits no other command
                connection, self._connection = self._connection, None  # the next may be to another primary
                await connection.disconnect(nowait=True)
                await pool.release(connection)
        return answers

    async def aclose(self) -> None:
        if self._connection is not None:
            await self._connection.disconnect(nowait=True)
        await close(self._redis)
