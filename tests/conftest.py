"""How the suite is shared out among processes (``pytest -n 2 --dist loadgroup``): a file stays together.

Everything that starts processes is one group, and the first: two such tests at once would starve each other.
"""

from pathlib import Path

import pytest

SYSTEM = Path(__file__).parent / "system"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        group = "system" if SYSTEM in item.path.parents else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: SYSTEM not in item.path.parents)
