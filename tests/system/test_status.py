"""What clients are told of a topic's state: in the ack, in the list, and on every change, if they said hello."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from httpx2 import AsyncClient

from tests.system.follower import BASE_TYPES, Findings, Follower, Wanted, follower
from tests.system.processes import Client
from tests.system.switchboard import Switchboard

# Symbols that no other test looks at, so that their feeds are begun here.
PEPE = Wanted("trades", "bybit", "1000PEPE/USDT:USDT")
PERP = Wanted("trades", "bybit", "BTC/USDC:USDC")
BOOK = Wanted("orderbook", "bybit", "BTC/USDC:USDC", (("levels", 5),))
DEEP = Wanted("orderbook", "bybit", "BTC/USDC:USDC", (("levels", 50),))


@pytest.fixture
def switchboard(control: AsyncClient) -> Switchboard:
    return Switchboard(control)


@pytest.fixture
async def told(gateway_url: str) -> AsyncIterator[Follower]:
    """A client that said hello, to which nothing wrong may have been sent in the end."""
    findings = Findings()
    async with follower(gateway_url, findings) as one:
        yield one
    assert findings.lines() == []


async def test_a_new_topic_is_connecting_in_its_ack_and_then_live(told: Follower) -> None:
    live = told.expect(type="status", state="live")
    [topic] = await told.follow([PEPE])
    status = await live
    assert (status["scope"], status["channel"], status["previous"]) == ("topic", "trades", "connecting")
    assert status["topic"] == {"exchange": "bybit", "symbol": PEPE.symbol, "params": {}}
    assert [change.previous for change in topic.changes] == ["connecting"]


async def test_a_topic_that_is_live_says_so_in_the_ack_and_in_the_list(told: Follower, client: Client) -> None:
    live = told.expect(type="status", state="live")
    await told.follow([PERP])
    await live
    await client.send(op="subscribe", **PERP.command)
    assert (await client.expect(type="subscribed"))["state"] == "live"
    await client.send(op="list")
    assert [row["state"] for row in (await client.expect(type="subscriptions"))["topics"]] == ["live"]


async def test_every_view_of_a_book_is_told_of_its_break_and_its_return(
    told: Follower, switchboard: Switchboard
) -> None:
    topics = await told.follow([BOOK, DEEP])
    await shown(told, BOOK)
    await switchboard.inject("bybit", "drop", symbol="BTCPERP", channel="orderbook")
    await told.expect(type="status", state="resyncing")
    await asyncio.gather(shown(told, BOOK), shown(told, DEEP))
    for topic in topics:
        assert [change.state for change in topic.changes[-2:]] == ["resyncing", "live"]


async def test_a_lost_connection_tells_the_attempt_the_next_one_and_the_last_event(
    told: Follower, switchboard: Switchboard
) -> None:
    await told.follow([PERP])
    await told.expect(type="trades")
    await switchboard.inject("bybit", "refuse_handshake", status=503, count=2)
    lost = told.expect(type="status", state="reconnecting")
    later = told.when(lambda frame: frame.get("state") == "reconnecting" and frame["attempt"] >= 2)
    back = told.expect(type="status", state="live")
    await switchboard.inject("bybit", "reset")
    status, again, healed = await lost, await later, await back
    assert (status["previous"], status["reason"], status["lastEvent"] <= status["since"]) == ("live", "reset", True)
    assert again["since"] == status["since"]
    assert again["retryInMs"] >= 0
    assert healed["previous"] in ("reconnecting", "resyncing")  # what was missed may have to be fetched first


async def test_a_venue_that_sends_us_away_is_unavailable_as_a_whole_and_comes_back(
    told: Follower, switchboard: Switchboard
) -> None:
    await told.follow([PERP])
    await told.expect(type="trades")
    away = told.expect(type="status", scope="exchange", state="unavailable")
    of_topic = told.expect(type="status", scope="topic", state="unavailable")
    back = told.expect(type="status", scope="exchange", state="live")
    await switchboard.inject("bybit", "refuse_handshake", status=429, retry_after=2)
    await switchboard.inject("bybit", "reset")
    status, topic_status = await away, await of_topic
    assert (status["exchange"], "topic" in status) == ("bybit", False)
    assert 1_000 < topic_status["retryInMs"] <= 2_000
    assert (await back)["previous"] == "unavailable"
    await told.expect(type="trades")


async def test_who_joins_during_an_outage_is_told_so_in_the_ack(
    told: Follower, client: Client, switchboard: Switchboard
) -> None:
    await told.follow([PERP])
    await told.expect(type="trades")
    lost = told.expect(type="status", state="unavailable", scope="topic")
    await switchboard.inject("bybit", "refuse_handshake", status=429, retry_after=2)
    await switchboard.inject("bybit", "reset")
    await lost
    await client.send(op="subscribe", **PERP.command)
    assert (await client.expect(type="subscribed"))["state"] == "unavailable"
    await told.expect(type="trades")


async def test_a_base_client_is_told_nothing_of_it(gateway_url: str, told: Follower, switchboard: Switchboard) -> None:
    findings = Findings()
    async with follower(gateway_url, findings, hello=False) as base:
        await asyncio.gather(told.follow([PERP]), base.follow([PERP]))
        await base.expect(type="trades")
        back = told.expect(type="status", state="live")
        await switchboard.inject("bybit", "reset")
        await back
        await base.expect(type="trades")
        assert set(base.types) <= BASE_TYPES
    assert findings.lines() == []


async def shown(told: Follower, wanted: Wanted) -> None:
    """Wait for the next frame of a book."""
    levels = dict(wanted.params)["levels"]
    await told.when(lambda frame: frame["type"] == "orderbook" and frame["topic"]["params"]["levels"] == levels)
