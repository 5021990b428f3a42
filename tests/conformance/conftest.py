"""What to do when there are no recordings: skip when nobody offered any, fail when somebody did."""

import os
from collections.abc import AsyncIterator

import pytest

from tests.conformance.recordings import VARIABLE
from tests.exchanges.web import Web


@pytest.fixture(autouse=True)
def _recorded(request: pytest.FixtureRequest) -> None:
    if None not in (request.node.callspec.params.values() if hasattr(request.node, "callspec") else ()):
        return
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} names no folder of recorded exchange traffic")
    pytest.fail(f"{VARIABLE} names a folder that lacks these recordings: {os.environ[VARIABLE]!r}")


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    async with Web() as running:
        yield running
