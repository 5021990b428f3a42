"""One browser and one demo for all browser tests of a module; a fresh profile for each test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.web import browser, node

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture(scope="session", autouse=True)
def _node() -> None:
    node.needed()


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    browser.needed()
    with browser.browser() as running:
        yield running


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[str, httpx2.Client]]:
    with browser.demo() as running:
        yield running


@pytest.fixture
def url(demo: tuple[str, httpx2.Client]) -> str:
    return demo[0]


@pytest.fixture
def control(demo: tuple[str, httpx2.Client]) -> Iterator[httpx2.Client]:
    yield demo[1]
    demo[1].delete("/faults")
    demo[1].post("/freeze", json={"frozen": False})


@pytest.fixture
def profile(chromium: "Browser") -> "Iterator[BrowserContext]":
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    yield context
    context.close()


@pytest.fixture
def page(profile: "BrowserContext") -> "Page":
    return profile.new_page()
