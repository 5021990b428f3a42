"""The system's Chromium, driven by Playwright; a test that needs it skips where there is none, but not in CI."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.system import processes
from tests.web.node import WEB

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ARGUMENTS += ["--disable-component-update", "--disable-sync"]
PATIENCE = 20.0  # seconds any one thing may take
LIVE = "page.streams().length === 3 && page.streams().every((one) => one.state === 'live' && one.value)"
COUNT = "globalThis.undeclared = 0; page.gateway.on('gap', (gap) => (undeclared += gap.reason === 'UNDECLARED'))"
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"


def found() -> str:
    """Where a Chromium is; empty: nowhere."""
    return next((path for path in map(shutil.which, NAMES) if path), "")


def needed() -> None:
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing = "the package playwright"
    else:
        missing = "" if found() else "a Chromium"
    if missing and os.environ.get("CI"):
        pytest.fail(f"{missing} is not installed here")
    if missing:
        pytest.skip(f"browser tests need {missing}; on Debian or Ubuntu: apt install chromium")


@contextmanager
def browser() -> "Iterator[Browser]":
    """A headless Chromium. Playwright's loop runs in this thread until it ends, so no ``async`` test meanwhile."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found(), args=ARGUMENTS)
        try:
            yield running
        finally:
            running.close()


@contextmanager
def demo(**settings: str) -> Iterator[tuple[str, httpx2.Client]]:
    """``market-gateway demo`` on a free port: its URL, and the simulator's control endpoint."""
    environment = {"GATEWAY_PORT": "0", "GATEWAY_CACHE_DIR": "", **settings}
    with processes.process("gateway", "demo", environment=environment) as url:
        processes.wait_for_ready(url)
        control = next(line for line in processes.said(url).splitlines() if "/control/faults" in line)
        with httpx2.Client(base_url=control.split()[-1].removesuffix("/faults")) as http:
            yield url, http


def until(page: "Page", condition: str, patience: float = PATIENCE) -> Any:
    """Ask the page until it is so. (Playwright's own way is ``eval`` in the page, which its policy forbids.)"""
    end = time.monotonic() + patience
    while not (answer := page.evaluate(condition)):
        assert time.monotonic() < end, f"it did not come to this: {condition}\n{told(page)}"
        page.wait_for_timeout(50)
    return answer


def opened(page: "Page", url: str, query: str = "") -> "Page":
    """The page, with all three streams live; it counts losses that nobody declared."""
    page.goto(url + query)
    until(page, LIVE)
    page.evaluate(COUNT)
    return page


def told(page: "Page") -> str:
    """What the page says of itself, for whoever reads of a failure."""
    return "\n".join(page.locator("#badge, #banner, #refusal, #events, [data-part=timeline]").all_inner_texts())


def violations(page: "Page", *, only: Sequence[str] = RULES) -> list[str]:
    """What axe finds wrong with a page as it is now, each in a line."""
    page.evaluate(AXE.read_text())
    found = page.evaluate(f"axe.run({{ runOnly: {json.dumps(only)}, resultTypes: ['violations'] }})")
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
