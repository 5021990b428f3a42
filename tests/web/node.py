"""Node.js as the tests of ``web/`` use it. Without one they are skipped, and say so; in CI that is a failure."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
PATIENCE = 100.0  # seconds a program may take


def what_is_missing() -> str:
    """What keeps the tests of ``web/`` from running; empty: nothing."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "no Node.js here, so web/ is not tested: install Node.js 20 or newer, then npm ci --prefix web"
    if not (WEB / "node_modules" / "react-test-renderer").is_dir():
        return "web/node_modules is not what web/package-lock.json names, so web/ is not tested: npm ci --prefix web"
    return ""


def needed() -> None:
    """Skip what cannot run here; in CI it has to."""
    if missing := what_is_missing():
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)


def started(*words: str, environment: Mapping[str, str] | None = None, folder: Path = WEB) -> subprocess.Popen[str]:
    """A program that runs on its own, with all it says in one."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "NODE_TEST_"))}
    return subprocess.Popen(
        words,
        cwd=folder,
        env={**clean, "NO_COLOR": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def stop(running: subprocess.Popen[str]) -> None:
    """End it with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


def output(running: subprocess.Popen[str]) -> str:
    """What it said, once it has ended well."""
    try:
        said, _ = running.communicate(timeout=PATIENCE)
    except BaseException:
        stop(running)
        raise
    assert running.returncode == 0, said
    return said
