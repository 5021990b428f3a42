"""One scripted venue, behind a manager or a single upstream, for the tests of everything above a feed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import pytest

pytest.register_assert_rewrite("tests.topics.ring_contract")

from exchanges.venue import Channel  # noqa: E402  # after the line above
from tests.exchanges.jumping_loop import JumpingLoop  # noqa: E402
from tests.topics.scripted_venue import EPOCH_MS, NOW_MS, ScriptedPool, ScriptedVenue, exchange, upstream  # noqa: E402
from topics.history import History  # noqa: E402
from topics.manager import Manager  # noqa: E402
from topics.ring import Ring  # noqa: E402
from topics.upstream import Upstream  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "jumping_clock: waits cost nothing (tests/exchanges/jumping_loop.py)")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Any]:
    if item.get_closest_marker("jumping_clock"):
        return {"jumping": JumpingLoop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def venue() -> ScriptedVenue:
    return ScriptedVenue()


@pytest.fixture
def pool() -> ScriptedPool:
    return ScriptedPool()


@pytest.fixture
async def manager(venue: ScriptedVenue, pool: ScriptedPool) -> AsyncIterator[Manager]:
    one = await exchange(venue, pool)
    manager = Manager({venue.name: one}, linger=30.0, max_feeds=3, clock_ms=lambda: EPOCH_MS)
    yield manager
    await manager.aclose()


@pytest.fixture
def history(manager: Manager) -> History:
    return History(manager, clock_ms=lambda: NOW_MS)


class Start(Protocol):
    def __call__(self, channel: Channel, *, replays: bool = False, ring: Ring | None = None) -> Upstream:
        """An upstream of the scripted venue whose feed has said nothing yet."""
        ...


@pytest.fixture
def refused() -> list[Upstream]:
    """The upstreams that gave themselves up."""
    return []


@pytest.fixture
async def start(venue: ScriptedVenue, refused: list[Upstream]) -> AsyncIterator[Start]:
    started: list[Upstream] = []

    def start(channel: Channel, *, replays: bool = False, ring: Ring | None = None) -> Upstream:
        one = upstream(venue, channel, replays=replays, ring=ring, refused=refused)
        started.append(one)
        return one

    yield start
    for one in started:
        await one.close()
