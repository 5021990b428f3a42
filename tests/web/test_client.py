"""The JavaScript client: its types, its own tests, those against real gateways, and what of it is published.

What takes long are programs that wait for each other, not for us: they run beside each other from the start.
"""

import gzip
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system import processes
from tests.web import node

MOST_BYTES = 10_240  # of client.js, compressed as the gateway serves it
AGAINST_A_GATEWAY = ("gateway.test.js", "restarts.test.js")


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Every file of tests against real processes, each with a simulator of its own: they stop its markets."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(processes.simulator()) for _ in AGAINST_A_GATEWAY)
        gateway = stack.enter_context(processes.gateway(first))
        environments = (
            {"GATEWAY_URL": gateway, "SIMULATOR_URL": first},
            {
                "START_GATEWAY": json.dumps([sys.executable, "-m", "gateway", "serve"]),
                "SIMULATOR_URL": second,
                "GATEWAY_CACHE_DIR": "",
                "GATEWAY_EXCHANGES": "binance",
                "PYTHONPATH": str(node.WEB.parent),
                **processes.simulated(second),
            },
        )
        started = {
            name: node.started("node", "--test", f"tests/{name}", environment=environment)
            for name, environment in zip(AGAINST_A_GATEWAY, environments, strict=True)
        }
        try:
            yield started
        finally:
            for one in started.values():
                node.stop(one)


def test_the_types_are_right_and_the_code_has_them(runs: object) -> None:
    node.output(node.started("npm", "run", "--silent", "check"))


def own_tests() -> list[str]:
    return sorted(path.name for path in (node.WEB / "tests").glob("*.test.js") if path.name not in AGAINST_A_GATEWAY)


@pytest.mark.parametrize("name", [*own_tests(), *AGAINST_A_GATEWAY])
def test_the_clients_own_tests_pass(name: str, runs: dict[str, subprocess.Popen[str]]) -> None:
    said = node.output(runs.get(name) or node.started("node", "--test", f"tests/{name}"))
    counts = dict(re.findall(r"^# (pass|fail|skipped) (\d+)$", said, re.MULTILINE))
    assert counts.get("skipped") == "0" and int(counts["pass"]) > 0, said


def test_the_client_stays_small() -> None:
    assert len(gzip.compress((node.WEB / "client.js").read_bytes(), 9, mtime=0)) <= MOST_BYTES


def test_what_npm_publishes_is_the_client_and_nothing_else() -> None:
    (package,) = json.loads(node.output(node.started("npm", "pack", "--dry-run", "--json", "--loglevel=error")))
    named = {"package.json", "client.js", "client.d.ts", "worker.js", "internals.d.ts", "README.md"}
    assert {file["path"] for file in package["files"]} == named


def test_the_package_names_only_files_that_exist() -> None:
    package = json.loads((node.WEB / "package.json").read_text())
    named = {*package["files"], package["types"], package["exports"]["./worker.js"], *package["exports"]["."].values()}
    assert {name for name in named if not Path(node.WEB, name).exists()} == set()
