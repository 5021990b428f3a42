"""Node and what npm installed for the web part; a test that needs them skips where there is no npm, but not in CI."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"
MODULES = WEB / "node_modules"
PATIENCE = 20.0  # seconds any program may take


def needed() -> None:
    if shutil.which("node") and MODULES.is_dir():
        return
    if os.environ.get("CI"):
        pytest.fail("npm ci --prefix web has not been run here")
    pytest.skip("needs Node.js and npm ci --prefix web")


def run(*command: str, cwd: Path = WEB, environment: Mapping[str, str] | None = None) -> str:
    """What a program prints, which must end well."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-3_000:]
    return done.stdout


def tsc(*arguments: str, cwd: Path = WEB) -> str:
    return run(str(MODULES / ".bin" / "tsc"), *arguments, cwd=cwd)


def linked(folder: Path, names: Sequence[str]) -> None:
    """Make a folder in which programs may import these, and the client by its name."""
    (folder / "node_modules").mkdir(parents=True)
    (folder / "node_modules" / "market-gateway-client").symlink_to(WEB)
    (folder / "package.json").write_text('{"type":"module"}')
    for name in names:
        link = folder / "node_modules" / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(MODULES / name)
