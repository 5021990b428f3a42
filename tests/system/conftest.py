"""One simulator and one gateway for all system tests that do not need their own."""

from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest

from tests.system import processes


@pytest.fixture(scope="session")
def simulator_url() -> Iterator[str]:
    with processes.simulator() as url:
        yield url


@pytest.fixture(scope="session")
def gateway_url(simulator_url: str) -> Iterator[str]:
    with processes.gateway(simulator_url) as url:
        yield url


@pytest.fixture
async def http(gateway_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=gateway_url) as client:
        yield client


@pytest.fixture
async def control(simulator_url: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=simulator_url) as client:
        yield client


@pytest.fixture
async def client(gateway_url: str) -> AsyncIterator[processes.Client]:
    async with processes.client(gateway_url) as one:
        yield one
