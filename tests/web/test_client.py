"""The JavaScript client by itself: its own tests, its types, its size, its package."""

import gzip
import json

import pytest

from gateway.state import VERSION
from tests.web.node import WEB, needed, run, tsc

MOST = 10 * 1024  # bytes, as it is sent


@pytest.fixture(autouse=True)
def _node() -> None:
    needed()


def test_its_own_tests_pass() -> None:
    run("node", "--test", *sorted(str(path) for path in (WEB / "tests").glob("*.test.js")))


def test_its_types_hold() -> None:
    tsc("--project", ".")


def test_it_is_small() -> None:
    assert len(gzip.compress((WEB / "client.js").read_bytes(), 9)) <= MOST


def test_its_package_is_the_client_and_nothing_else() -> None:
    (packed,) = json.loads(run("npm", "pack", "--dry-run", "--json"))
    names = {file["path"] for file in packed["files"]}
    assert names == {"package.json", "README.md", "client.js", "client.d.ts", "worker.js"}
    assert (packed["name"], packed["version"]) == ("market-gateway-client", VERSION)
