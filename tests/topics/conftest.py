"""One scripted venue, behind a manager or a single upstream, for the tests of everything above a feed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Protocol

import pytest

from exchanges.venue import Channel
from tests.exchanges.jumping_loop import JumpingLoop
from tests.topics.scripted_venue import EPOCH_MS, NOW_MS, ScriptedPool, ScriptedVenue, exchange, upstream
from topics.history import History
from topics.manager import Manager
from topics.ring import Ring
from topics.tick import Tick
from topics.upstream import Upstream

pytest.register_assert_rewrite("tests.topics.ring_contract")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "jumping_clock: waits cost nothing (tests/exchanges/jumping_loop.py)")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Any]:
    if item.get_closest_marker("jumping_clock"):
        return {"jumping": JumpingLoop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def nothing_failed_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A failure within a turn or a task is logged and not raised; no test may pass over one."""
    yield
    assert [record.getMessage() for record in caplog.get_records("call") if record.levelno >= logging.ERROR] == []


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
    manager.tick = Tick(clock=lambda: 0.0)  # no round takes long, however busy the machine
    yield manager
    await manager.aclose()


@pytest.fixture
def history(manager: Manager) -> History:
    return History(manager, clock_ms=lambda: NOW_MS)


class Start(Protocol):
    def __call__(self, channel: Channel, *, ring: Ring | None = None, **differences: Any) -> Upstream:
        """An upstream of the scripted venue whose feed has said nothing yet."""
        ...


@pytest.fixture
def refused() -> list[Upstream]:
    """The upstreams that gave themselves up."""
    return []


@pytest.fixture
async def start(venue: ScriptedVenue, refused: list[Upstream]) -> AsyncIterator[Start]:
    started: list[Upstream] = []

    def start(channel: Channel, *, ring: Ring | None = None, **differences: Any) -> Upstream:
        one = upstream(venue, channel, ring=ring, refused=refused, **differences)
        started.append(one)
        return one

    yield start
    for one in started:
        await one.close()
