"""How the suite is shared out among processes (``pytest -n 2 --no-loadscope-reorder``): a file stays together.

Everything that starts processes is one part, and the first to be given out: two such tests at once would starve each
other. (xdist has groups for this, which pytest 9 does not let it name.)
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.redis_server import RedisServer, binaries, redis_server

SYSTEM = "tests/system/"


@pytest.fixture(scope="module", params=binaries().values(), ids=binaries())
def shared(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One Redis or Valkey for all tests of a module that leave it as it is."""
    with redis_server(request.param) as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One of the test's own, to be broken."""
    with redis_server(next(iter(binaries().values()))) as server:
        yield server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(SYSTEM))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Sharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SYSTEM if nodeid.startswith(SYSTEM) else nodeid.partition("::")[0]

    return Sharing(config, log)
