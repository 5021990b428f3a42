"""The connection in a worker, in a real Chromium: one for all tabs of an origin. And the docs page beside it."""

from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.system.processes import wait_for
from tests.web.browser import until, violations

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.usefixtures("chromium")

WATCH = """async (kind) => {
  const { connect } = await import("/client.js");
  const worker = kind === "shared" ? new SharedWorker("/worker.js", { type: "module" })
    : new Worker("/worker.js", { type: "module" });
  globalThis.trades = [];
  globalThis.books = 0;
  globalThis.gateway = connect(location.origin, { worker });
  const topic = { exchange: "binance", symbol: "BTC/USDT:USDT" };
  gateway.trades(topic, (rows) => trades.push(...rows.map(({ id }) => id)), { rewind: 20 });
  gateway.orderBook({ ...topic, params: { mode: "delta", levels: 5 } }, ({ bids }) => (books += bids.length === 5));
}"""
FLOWS = "gateway.status === 'open' && trades.length > 20 && books > 3"


def watching(profile: "BrowserContext", url: str, kind: str) -> "Page":
    """A tab that watches a market by a worker; the docs page has no connection of its own."""
    page = profile.new_page()
    page.goto(f"{url}/docs")
    page.evaluate(WATCH, kind)
    until(page, FLOWS)
    return page


def clients(url: str) -> int:
    found: int = httpx2.get(f"{url}/v1/status").json()["clients"]
    return found


def test_tabs_share_one_connection_which_lives_until_the_last_one_ends(profile: "BrowserContext", url: str) -> None:
    first, second = (watching(profile, url, "shared") for _ in range(2))
    assert clients(url) == 1
    assert first.evaluate("new Set(trades).size === trades.length")
    first.close()
    second.evaluate("globalThis.before = trades.length")
    until(second, "trades.length > before")
    assert clients(url) == 1
    second.close()
    wait_for(lambda: clients(url) == 0)


def test_a_tab_that_leaves_a_topic_leaves_it_to_the_other(profile: "BrowserContext", url: str) -> None:
    first, second = (watching(profile, url, "shared") for _ in range(2))
    first.evaluate("gateway.close()")
    second.evaluate("globalThis.before = trades.length")
    until(second, "trades.length > before")
    assert first.evaluate("gateway.status") == "closed"


def test_a_worker_of_one_page_does_as_well(profile: "BrowserContext", url: str) -> None:
    page = watching(profile, url, "own")
    assert clients(url) == 1
    page.evaluate("gateway.close()")
    wait_for(lambda: clients(url) == 0)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_docs_show_every_endpoint_and_frame_and_axe_finds_nothing(page: "Page", url: str, scheme: str) -> None:
    words: list[str] = []
    page.on("console", lambda message: words.append(message.text))
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{url}/docs")
    until(page, "document.querySelectorAll('.card').length >= 9 + 6 + 23")
    page.click("#rest-fetchTrades >> xpath=.. >> text=Send")
    until(page, "document.querySelector('.card output').textContent.startsWith('HTTP 200')")
    assert words == []
    assert violations(page) == []
