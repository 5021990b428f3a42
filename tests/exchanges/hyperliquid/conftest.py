"""The adapter, asking a web server that answers as a test tells it."""

from collections.abc import AsyncIterator

import pytest

from exchanges.hyperliquid import Hyperliquid
from tests.exchanges.web import Web


@pytest.fixture
async def hyperliquid(web: Web) -> AsyncIterator[Hyperliquid]:
    venue = Hyperliquid(rest_url=f"{web.url}/base")
    yield venue
    await venue.close()
