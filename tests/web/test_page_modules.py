"""The page's modules without a browser: their types hold. What of them is pure has its tests in ``web/tests/``."""

from tests.web import node


def test_their_types_hold() -> None:
    node.output(node.started("node_modules/.bin/tsc", "--project", "page"))
