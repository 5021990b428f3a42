"""The page at ``/`` in a real Chromium, against the gateway and the exchanges of ``market-gateway demo``."""

import json
import re
from typing import TYPE_CHECKING

import httpx2
import pytest

from tests.web import browser
from tests.web.browser import LIVE, opened, until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.usefixtures("chromium")

ROWS = """(side) => [...document.querySelectorAll(`[data-part=${side}] .level`)]
  .map((row) => [...row.children].slice(0, 2).map((cell) => cell.textContent.replaceAll(",", "")))
  .filter(([price]) => price).map((level) => level.map(Number))"""  # from top to bottom


def shown(page: "Page", side: str) -> list[list[float]]:
    """Price and amount of each level on the screen, from top to bottom."""
    rows: list[list[float]] = page.evaluate(f"({ROWS})('{side}')")
    return rows


# -- what is shown -------------------------------------------------------------------------------------------------


def test_it_loads_without_a_word_in_the_console(page: "Page", url: str) -> None:
    words: list[str] = []
    page.on("console", lambda message: words.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: words.append(str(error)))
    opened(page, url)
    assert words == []
    assert re.search(r"[\d,.]+ BTC/USDT:USDT", until(page, "/[0-9] BTC/.test(document.title) && document.title"))


def test_prices_move(page: "Page", url: str) -> None:
    opened(page, url)
    before = page.inner_text("#tape")
    until(page, f"document.getElementById('tape').innerText !== {before!r}")
    assert page.locator("#tape [role=row]").count() <= 100


def test_nothing_jumps_while_numbers_move(page: "Page", url: str) -> None:
    opened(page, url)
    page.wait_for_selector("#whatif-open:not([hidden])")  # that this is a demo is known a moment later
    page.evaluate(
        """() => {
          globalThis.jumped = [];
          const begun = performance.now();
          new PerformanceObserver((list) => {
            const later = list.getEntries().filter((entry) => entry.startTime > begun);
            for (const { node } of later.flatMap((entry) => entry.sources)) {
              const element = node?.closest ? node : node?.parentElement;
              if (element && !element.closest("#tape")) jumped.push(element.outerHTML.slice(0, 100)); // a tape moves on
            }
          }).observe({ type: "layout-shift" });
        }"""
    )
    page.wait_for_timeout(1_500)  # what must not happen has no event
    assert page.evaluate("jumped") == []


def test_the_ladder_is_the_gateways_book_and_the_exchanges(page: "Page", url: str, control: httpx2.Client) -> None:
    opened(page, url)
    control.post("/freeze", json={"frozen": True})
    told = httpx2.post(f"{url}/v1/fetchOrderBook", json={"exchange": "binance", "symbol": "BTC/USDT:USDT", "limit": 20})
    truth = control.get("/book", params={"venue": "binance", "symbol": "BTCUSDT"}).json()
    for side in ("asks", "bids"):
        best = [[float(price), float(amount)] for price, amount in truth[side][:20]]
        wanted = json.dumps(best[::-1] if side == "asks" else best)
        until(page, f"JSON.stringify(({ROWS})('{side}')) === JSON.stringify({wanted})")
        assert told.json()[side] == best


def test_the_chart_has_candles_and_gets_older_ones(page: "Page", url: str) -> None:
    opened(page, url, "/?exchange=bybit&symbol=ETH/USDT:USDT&timeframe=5m")
    assert until(page, "page.chart.rows.length") >= 300
    assert page.locator("#chart canvas").count() > 0
    page.hover("#chart")
    before = page.evaluate("page.chart.rows.length")
    for _ in range(40):
        page.mouse.wheel(-4_000, 0)
        if page.evaluate("page.chart.rows.length") > before:
            break
    until(page, f"page.chart.rows.length > {before}")
    assert page.evaluate("page.chart.rows.every((row, i, rows) => !i || row.timestamp > rows[i - 1].timestamp)")


def test_without_the_charts_library_all_else_works_and_it_says_how_to_get_it(page: "Page", url: str) -> None:
    page.route("**/vendor/**", lambda route: route.abort())
    opened(page, url)
    assert "npm run --prefix web vendor" in page.inner_text("#no-chart")
    assert len(shown(page, "bids")) == 20


# -- what a person does --------------------------------------------------------------------------------------------


def test_the_address_says_what_is_shown_and_back_goes_back(page: "Page", url: str) -> None:
    opened(page, url, "/?exchange=binance&symbol=ETH/USDT:USDT&timeframe=15m&levels=10")
    assert page.inner_text("#symbol") == "ETH/USDT:USDT"
    assert len(shown(page, "asks")) == 10
    page.select_option("#exchange", "hyperliquid")
    until(page, "location.search.includes('hyperliquid') && location.search.includes('BTC/USDC:USDC')")
    until(page, LIVE)
    page.go_back()
    until(page, "document.getElementById('symbol').textContent === 'ETH/USDT:USDT'")
    until(page, LIVE)
    assert "timeframe=15m&levels=10" in page.url


def test_a_market_is_found_as_it_is_typed_by_keyboard_alone(page: "Page", url: str) -> None:
    opened(page, url)
    page.keyboard.press("/")
    page.keyboard.type("zen perp")
    assert page.locator("#markets [role=option]").all_inner_texts()[0].startswith("ZEN/USDT:USDT")
    page.keyboard.press("Enter")
    until(page, "document.getElementById('symbol').textContent === 'ZEN/USDT:USDT'")
    page.keyboard.press("5")
    until(page, "location.search.includes('timeframe=30m')")
    page.keyboard.press("?")
    assert page.locator("#shortcuts").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#shortcuts").is_visible()


def test_dark_or_light_is_remembered(page: "Page", url: str) -> None:
    opened(page, url)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("t")
    page.reload()
    assert until(page, "document.documentElement.dataset.theme") == "light"


def test_on_a_phone_there_is_one_thing_at_a_time_and_nothing_sticks_out(page: "Page", url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, url)
    for name, panel in (("Book", "#ladder"), ("Trades", "#tape"), ("Events", "#events"), ("Chart", "#chart")):
        page.click(f"#tabs >> text={name}")
        assert page.locator(panel).is_visible()
        assert page.locator(".panel:visible").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_two_tabs_show_two_markets(profile: "BrowserContext", url: str) -> None:
    first, second = (
        opened(profile.new_page(), url, f"/?exchange=binance&symbol={symbol}")
        for symbol in ("BTC/USDT:USDT", "ETH/USDT:USDT")
    )
    assert first.inner_text("#symbol") != second.inner_text("#symbol")
    for page in (first, second):
        page.evaluate("globalThis.before = page.streams()[2].cursor")
        until(page, "page.streams()[2].cursor !== before")


# -- honest states -------------------------------------------------------------------------------------------------


def test_an_unknown_market_is_said_with_what_it_could_be(page: "Page", url: str) -> None:
    page.goto(f"{url}/?exchange=binance&symbol=BTC/USDTT")
    until(page, "!document.getElementById('refusal').hidden")
    assert "binance has no market “BTC/USDTT”" in page.inner_text("#refusal")
    page.click("#refusal button >> nth=0")
    until(page, LIVE)


def test_an_exchange_that_is_not_offered_is_said(page: "Page", url: str) -> None:
    page.goto(f"{url}/?exchange=mtgox&symbol=BTC/USD")
    until(page, "!document.getElementById('refusal').hidden")
    assert "does not offer mtgox" in page.inner_text("#refusal")


def test_a_gateway_that_does_not_answer_is_said_and_asked_again(page: "Page", url: str) -> None:
    page.route("**/v1/capabilities", lambda route: route.abort())
    page.goto(url)
    until(page, "!document.getElementById('banner').hidden")
    assert "Cannot reach the gateway" in page.inner_text("#banner")
    page.unroute("**/v1/capabilities")
    until(page, LIVE)
    until(page, "document.getElementById('banner').hidden")


# -- for everybody -------------------------------------------------------------------------------------------------


def test_axe_finds_nothing_in_dark_or_light_with_everything_open(page: "Page", url: str) -> None:
    opened(page, url)
    page.click("#whatif-open")
    page.click("[data-experiment=kill]")
    until(page, "document.querySelectorAll('#events li').length > 3")
    page.click("#badge")
    until(page, "document.querySelectorAll('#health tbody tr').length === 3")
    assert browser.violations(page) == []
    page.keyboard.press("t")
    assert browser.violations(page, only=["color-contrast"]) == []


def test_axe_finds_nothing_on_a_phone(page: "Page", url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    opened(page, url)
    page.click("#tabs >> text=Book")
    assert browser.violations(page) == []


def test_axe_finds_nothing_in_the_list_of_markets_and_in_the_shortcuts(page: "Page", url: str) -> None:
    opened(page, url)
    page.keyboard.press("/")
    assert browser.violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert browser.violations(page) == []
