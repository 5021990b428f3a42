"""What goes wrong is seen on the page, and heals: at the exchange, between page and gateway, in the tab itself."""

from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from tests.web.browser import LIVE, opened, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.usefixtures("chromium")

EVENTS = "document.getElementById('events').innerText"
TIMELINE = "document.querySelector('[data-part=timeline]').innerText"
BADGE = "document.querySelector('#badge [data-part=word]').textContent"
UNDECLARED = "globalThis.undeclared"


# -- what if -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("experiment", "said"),
    [
        ("kill", "connection was lost (reset)"),
        ("book", "the book is being proven afresh (sequence gap)"),
        ("trades", "fetched afterwards"),
    ],
)
def test_what_was_broken_is_seen_and_heals(page: "Page", url: str, experiment: str, said: str) -> None:
    opened(page, url)
    page.click("#whatif-open")
    page.click(f"[data-experiment={experiment}]")
    until(page, f"{TIMELINE}.includes('All well again')")
    assert said in page.evaluate(TIMELINE)
    assert page.evaluate(BADGE) == "Live"
    assert page.evaluate(UNDECLARED) == 0


def test_the_badge_says_that_the_exchange_is_away_and_that_it_is_back(
    page: "Page", url: str, control: httpx2.Client
) -> None:
    opened(page, url, "/?exchange=bybit&symbol=BTC/USDT:USDT")
    control.post("/faults", json={"venue": "bybit", "kind": "refuse_handshake", "seconds": 1})
    control.post("/faults", json={"venue": "bybit", "kind": "reset"})
    until(page, f"{BADGE} === 'Reconnecting' && document.getElementById('badge').dataset.level === 'bad'")
    until(page, f"{BADGE} === 'Live'")
    assert page.evaluate(UNDECLARED) == 0


def test_a_stalled_socket_is_told_what_it_missed(page: "Page", url: str) -> None:
    opened(page, url)
    page.click("#whatif-open")
    page.click("[data-experiment=stall]")
    until(page, f"{TIMELINE}.includes('went on undisturbed')", 40.0)
    assert "CLIENT_LAGGED" in page.evaluate(TIMELINE)
    assert "Newest book" in page.evaluate(TIMELINE)


def test_a_gateway_without_the_demos_switch_offers_no_what_if(page: "Page", url: str) -> None:
    page.route(
        f"{url}/", lambda route: without_demo(route) if "json" in route.request.headers["accept"] else route.continue_()
    )
    opened(page, url)
    assert not page.locator("#whatif-open").is_visible()


def without_demo(route: Any) -> None:
    answer = route.fetch()
    route.fulfill(response=answer, json={**answer.json(), "paths": []})


# -- away and back -------------------------------------------------------------------------------------------------


def test_offline_and_online_again_it_goes_on_where_it_was(page: "Page", url: str) -> None:
    opened(page, url)
    page.context.set_offline(True)
    until(page, f"{BADGE} === 'Offline'", 40.0)  # a frame that was on its way may hide for a while that it is so
    assert "Cannot reach the gateway" in until(page, "document.getElementById('banner').innerText")
    page.wait_for_timeout(1_000)  # something is to be missed
    page.context.set_offline(False)
    until(page, LIVE)
    until(page, f"{EVENTS}.includes('Trades: went on behind the last cursor')")
    assert page.evaluate(UNDECLARED) == 0


def test_a_tab_that_was_frozen_goes_on_where_it_was(page: "Page", url: str) -> None:
    """For 2 s; scripts/page_run.py freezes one for a minute."""
    opened(page, url)
    session = page.context.new_cdp_session(page)
    cursor = page.evaluate("page.streams()[2].cursor")
    session.send("Page.setWebLifecycleState", {"state": "frozen"})
    page.wait_for_timeout(2_000)
    session.send("Page.setWebLifecycleState", {"state": "active"})
    until(page, LIVE)
    until(page, f"Number(page.streams()[2].cursor.split('-')[1]) > Number('{cursor}'.split('-')[1]) + 5")
    assert page.evaluate(UNDECLARED) == 0


def test_a_hidden_tab_is_sent_nothing_and_goes_on_where_it_was(page: "Page", url: str) -> None:
    opened(page, url)
    page.evaluate("page.gateway.pause()")  # as the client does when nobody has looked for 10 s
    page.wait_for_timeout(1_000)
    cursor = page.evaluate("page.streams()[2].cursor")
    page.wait_for_timeout(1_000)  # what must not happen has no event
    assert page.evaluate("page.streams()[2].cursor") == cursor
    page.evaluate("page.gateway.resume()")
    until(page, f"page.streams()[2].cursor !== '{cursor}'")
    assert page.evaluate(UNDECLARED) == 0
