"""The adapter, asking a web server that answers as a test tells it."""

from collections.abc import AsyncIterator

import pytest

from exchanges.bybit import Bybit
from tests.exchanges.web import Web


@pytest.fixture
async def bybit(web: Web) -> AsyncIterator[Bybit]:
    venue = Bybit(rest_url=f"{web.url}/contracts", spot_rest_url=f"{web.url}/spot")
    yield venue
    await venue.close()
