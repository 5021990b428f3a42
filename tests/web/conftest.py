import pytest

from tests.web import node


@pytest.fixture(scope="session", autouse=True)
def _node() -> None:
    node.needed()
