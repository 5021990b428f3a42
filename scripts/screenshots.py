"""The pictures in docs/screenshots/, taken of the demo: run it after the page has changed, and look at them.

.venv/bin/python scripts/screenshots.py
"""

import base64
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from playwright.sync_api import Browser, Page  # noqa: E402

from tests.web import browser  # noqa: E402  # the tests' own browser and demo, from the project's folder

FOLDER = ROOT / "docs" / "screenshots"
MOST = 200 * 1024  # bytes of a picture
WIDE = {"width": 1440, "height": 900}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True}
COMMANDS = (2, 0)  # of the console's templates: a book's changes, trades


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with browser.demo() as (url, _), browser.browser() as chromium:
        dark(chromium, url)
        light(chromium, url)
        phone(chromium, url)
        console(chromium, url)
    for path in sorted(FOLDER.glob("*.webp")):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1024:.0f} KiB")
        if path.stat().st_size > MOST:
            sys.exit(f"{path.name} has more than {MOST // 1024} KiB")


def opened(chromium: Browser, url: str, theme: Any, **how: Any) -> Page:
    page = chromium.new_page(color_scheme=theme, **{"viewport": WIDE, **how})
    page.goto(url)
    browser.until(page, browser.LIVE)
    browser.until(page, "page.chart.rows.length > 100 && document.querySelectorAll('#tape [role=row]').length > 45")
    return page


def dark(chromium: Browser, url: str) -> None:
    page = opened(chromium, f"{url}/?exchange=binance&symbol=BTC/USDT:USDT&timeframe=1m", "dark")
    save(page, "dark")


def light(chromium: Browser, url: str) -> None:
    """With the panel open, after something was broken."""
    page = opened(chromium, f"{url}/?exchange=bybit&symbol=ETH/USDT:USDT&timeframe=5m", "light")
    page.click("#whatif-open")
    page.click("[data-experiment=kill]")
    browser.until(page, "document.querySelector('[data-part=timeline]').innerText.includes('All well')")
    browser.until(page, "document.querySelectorAll('.toast').length === 0")
    save(page, "light")


def phone(chromium: Browser, url: str) -> None:
    page = opened(chromium, f"{url}/?exchange=binance&symbol=BTC/USDT:USDT&timeframe=5m", "dark", **PHONE)
    save(page, "phone")
    page.click("#tabs >> text=Book")
    save(page, "phone-book")


def console(chromium: Browser, url: str) -> None:
    page = chromium.new_page(color_scheme="dark", viewport=WIDE)
    page.goto(f"{url}/console")
    browser.until(page, "document.getElementById('state').textContent === 'Connected'")
    for number in COMMANDS:
        page.select_option("#templates", str(number))
        page.click("#send")
    browser.until(page, "document.querySelectorAll('.frame').length > 60")
    browser.until(page, "document.querySelectorAll('#topics tr').length === 2")
    page.click("#halt")
    page.click(".frame summary >> nth=4")
    page.mouse.move(5, 5)
    save(page, "console")


def save(page: Page, name: str) -> None:
    page.wait_for_timeout(600)  # a few more frames, and the chart's own redraw
    how = {"format": "webp", "quality": 82}
    taken = page.context.new_cdp_session(page).send("Page.captureScreenshot", how)
    (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
