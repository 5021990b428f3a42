"""The console in a real Chromium: commands, frames, and whether it sees that a stream is whole."""

from typing import TYPE_CHECKING

import pytest

from tests.web import browser
from tests.web.browser import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("chromium")

SUBSCRIBE = (
    '{"op":"subscribe","id":1,"channel":"orderbook","exchange":"binance","symbol":"BTC/USDT:USDT",'
    '"params":{"levels":5,"mode":"delta"}}'
)
KINDS = "[...document.querySelectorAll('.frame span:nth-child(4)')].map((one) => one.textContent)"


@pytest.fixture
def console(page: "Page", url: str) -> "Page":
    page.goto(f"{url}/console")
    until(page, "document.getElementById('state').textContent === 'Connected'")
    return page


def test_a_command_is_answered_and_its_stream_is_found_whole(console: "Page") -> None:
    words: list[str] = []
    console.on("console", lambda message: words.append(message.text))
    console.fill("#command", SUBSCRIBE)
    console.press("#command", "Enter")
    until(console, f"['hello', 'subscribed', 'orderbook'].every((kind) => {KINDS}.includes(kind))")
    until(console, "Number(document.querySelector('#topics td:last-child')?.textContent) > 1")  # checksums
    assert console.inner_text("#topics td >> nth=0") == "✓ whole"
    assert words == []


def test_what_is_no_command_is_said_before_it_is_sent(console: "Page") -> None:
    console.fill("#command", '{"op":')
    console.press("#command", "Enter")
    assert "Not a command yet" in console.inner_text("#problem")


def test_earlier_commands_come_back_by_arrow_and_survive_a_reload(console: "Page") -> None:
    for command in ('{"op":"ping","id":1}', '{"op":"list","id":2}'):
        console.fill("#command", command)
        console.press("#command", "Enter")
    until(console, f"['pong', 'subscriptions'].every((kind) => {KINDS}.includes(kind))")
    console.reload()
    console.press("#command", "ArrowUp")
    console.press("#command", "ArrowUp")
    assert console.input_value("#command") == '{"op":"ping","id":1}'


def test_a_command_is_there_for_curl_and_websocat(console: "Page", url: str) -> None:
    console.fill("#command", SUBSCRIBE)
    assert console.inner_text("#curl").startswith(f"curl -s {url}/v1/fetchOrderBook -d '")
    console.context.grant_permissions(["clipboard-read", "clipboard-write"])
    console.click("#copy-curl")
    until(console, "document.getElementById('problem').textContent === 'Copied.'")
    assert console.evaluate("navigator.clipboard.readText()") == console.inner_text("#curl")
    assert console.inner_text("#websocat").endswith(f"| websocat --no-close {url.replace('http', 'ws')}/v1/ws")


def test_frames_are_filtered_held_still_and_bounded(console: "Page") -> None:
    console.fill("#filter", "subscribed")
    console.fill("#command", SUBSCRIBE)
    console.press("#command", "Enter")
    until(console, f"{KINDS}.includes('subscribed')")
    assert set(console.evaluate(KINDS)) == {"subscribed"}
    console.fill("#filter", "")
    console.evaluate("for (let i = 0; i < 60; i++) document.getElementById('send').click()")
    until(console, "document.querySelectorAll('.frame').length > 100")
    console.click("#halt")
    held = console.evaluate(KINDS)
    console.wait_for_timeout(500)  # what must not happen has no event
    assert console.evaluate(KINDS) == held
    console.click("#halt")
    assert console.evaluate("document.querySelectorAll('.frame').length") <= 500


def test_it_says_that_it_is_not_connected_and_connects_again(console: "Page") -> None:
    console.click("#connect")
    until(console, "document.getElementById('state').textContent === 'Not connected'")
    console.press("#command", "Enter")
    assert "Not connected" in console.inner_text("#problem")
    console.click("#connect")
    until(console, "document.getElementById('state').textContent === 'Connected'")


def test_axe_finds_nothing(console: "Page") -> None:
    console.fill("#command", SUBSCRIBE)
    console.press("#command", "Enter")
    until(console, "document.querySelectorAll('.frame').length > 10")
    console.click("#halt")
    console.click(".frame summary >> nth=2")
    assert browser.violations(console) == []
    console.click("[data-toggle-theme]")
    assert browser.violations(console, only=["color-contrast"]) == []
