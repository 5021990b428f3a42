"""How long it takes from a fresh clone to the first candle on the screen.

    .venv/bin/python scripts/first_candle.py

Clones this repository's HEAD into a folder of its own, runs `make demo` there, opens the page in a headless Chromium,
and prints what each step took. Packages come from wherever pip and npm are told to get them, their caches included.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.web import browser  # noqa: E402  # the tests' own browser, from the project's folder

PATIENCE = 600.0  # seconds


def main() -> None:
    if not browser.found():
        sys.exit("no Chromium here: apt install chromium")
    with tempfile.TemporaryDirectory() as folder, browser.browser() as chromium:
        began = time.monotonic()
        clone = Path(folder) / "market-gateway"
        subprocess.run(["git", "clone", "--quiet", "--no-local", str(ROOT), str(clone)], check=True)
        cloned = time.monotonic()
        with demo(clone) as url:
            ready = time.monotonic()
            page = chromium.new_page()
            page.goto(url)
            browser.until(page, "page.chart.rows.length > 0 && document.querySelector('#chart canvas')", 60.0)
            shown = time.monotonic()
    for name, seconds in (
        ("git clone", cloned - began),
        ("make demo, until it answers", ready - cloned),
        ("the page, until its first candle", shown - ready),
        ("in all", shown - began),
    ):
        print(f"{name:<34} {seconds:6.1f} s")


@contextmanager
def demo(clone: Path) -> Iterator[str]:
    """``make demo`` as a newcomer types it, on a free port."""
    port = free_port()
    environment = {**os.environ, "GATEWAY_PORT": str(port)}
    environment.pop("MAKEFLAGS", None)  # of the make that started this
    url = f"http://127.0.0.1:{port}"
    with (clone.parent / "demo.log").open("w+") as said:
        running = subprocess.Popen(
            ["make", "demo"], cwd=clone, env=environment, stdout=said, stderr=said, start_new_session=True
        )
        try:
            wait_for(url, running)
            yield url
        except BaseException:
            said.seek(0)
            sys.stderr.write(said.read())
            raise
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            running.wait()


def wait_for(url: str, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if running.poll() is not None:
            sys.exit(f"make demo ended with {running.returncode}")
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.1)
    sys.exit("the demo did not start in time")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
