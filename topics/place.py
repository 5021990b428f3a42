"""Where a feed is kept in Redis, and how Redis is reached."""

from typing import NamedTuple

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from exchanges.venue import Stream
from topics.key import TopicKey

PREFIX = "market-gateway"


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


def connect(url: str, *, timeout: float, waits: float = 0.0) -> Redis:
    """A client that gives up after ``timeout`` seconds, beyond the ``waits`` that a command asks Redis to take.

    It retries nothing: what failed is written again from where it came from, not from a buffer.
    """
    return Redis.from_url(
        url,
        socket_timeout=timeout + waits,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        legacy_responses=False,
    )
