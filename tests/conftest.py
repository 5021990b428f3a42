"""How the suite is shared out among processes (``pytest -n 2 --no-loadscope-reorder``): a file stays together.

Everything that starts processes is one part, and the first to be given out: two such tests at once would starve each
other. (xdist has groups for this, which pytest 9 does not let it name.)
"""

from typing import Any

import pytest

SYSTEM = "tests/system/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(SYSTEM))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Sharing(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return SYSTEM if nodeid.startswith(SYSTEM) else nodeid.partition("::")[0]

    return Sharing(config, log)
