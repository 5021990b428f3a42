"""What the tests of the venue side share: a clock that jumps, a made-up venue, a web server that answers as told."""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping
from typing import Any

import pytest

from exchanges.pool import Pool
from exchanges.venue import Capabilities
from tests.exchanges.jumping_loop import JumpingLoop
from tests.exchanges.toy_venue import CAPABILITIES, NOW_MS, ToyVenue
from tests.exchanges.web import Web


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "jumping_clock: waits cost nothing (tests/exchanges/jumping_loop.py)")


@pytest.hookimpl(wrapper=True)
def pytest_asyncio_loop_factories(item: pytest.Item) -> Generator[None, Mapping[str, Any] | None, Mapping[str, Any]]:
    others = yield
    if item.get_closest_marker("jumping_clock"):
        return {"jumping": JumpingLoop}
    return others or {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def venue() -> AsyncIterator[ToyVenue]:
    async with ToyVenue() as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with Web() as running:
        yield running


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """One socket that carries every feed."""
    pool = Pool("toy", Capabilities(**CAPABILITIES, max_sockets=1, share_from=1), clock_ms=lambda: NOW_MS)
    yield pool
    await pool.aclose()
