"""How the suite is shared out among processes (``pytest -n 2 --no-loadscope-reorder``): a file stays together.

What starts processes is in two parts, and those are given out first: what measures how quickly somebody is served, and
what starts many gateways and waits for them. Within a part two such tests at once would starve each other. (xdist has
groups for this, which pytest 9 does not let it name.)
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.redis_server import RedisServer, binaries, redis_server

SYSTEM = "tests/system/"
WEB = "tests/web/"
FIRST = (SYSTEM, "tests/conformance/", "tests/exchanges/", WEB)  # browsers draw when nothing is measured any more
MANY_GATEWAYS = tuple(f"{SYSTEM}test_{name}.py" for name in ("cluster", "redis", "workers"))


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
    items.sort(key=lambda item: next((n for n, part in enumerate(FIRST) if item.nodeid.startswith(part)), len(FIRST)))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Why parts of the suite did not run here, in a line each."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", ()) if WEB in report.nodeid]
    for reason, count in Counter(longrepr[2] for longrepr in skipped).items():
        terminalreporter.write_line(f"{count} tests of {WEB}: {reason}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Sharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return SYSTEM if file.startswith(SYSTEM) and file not in MANY_GATEWAYS else file

    return Sharing(config, log)
