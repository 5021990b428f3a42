"""One fault after another at simulated venues, and what a client must see of each: statuses, gaps, and the truth.

All cases are had at once, each venue's in its own order, by one client that follows one market of each with every
channel; the tests look at what came. Everything it was sent is checked on the way (``follower.py``) and compared with
what the venues said (``ledger.py``). ``scripts/fault_run.py`` is the same for minutes, with every kind there is.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.system import processes
from tests.system.follower import Findings, Followed, Wanted, follower
from tests.system.invariants import Gap, Trades
from tests.system.ordeal import Ordeal
from tests.system.scenarios import FOR_GOOD, MARKETS, RESET, SCENARIOS, Scenario, snapshot, stream, venue
from tests.system.switchboard import Switchboard

CYCLING = 10.0  # seconds of random faults after the single ones
QUICK = ("reset", "drop", "duplicate", "corrupt", "truncate", "types", "garbage beside", "reorder")  # of those
VENUES = ("binance", "binance-spot", "bybit", "hyperliquid")
LANES = [next(market for market in MARKETS if market.venue == venue) for venue in VENUES]

RESYNC = ("resyncing", "live")
LOST = ("reconnecting", "live")
AWAY = ("reconnecting", "unavailable", "live")


class Case(NamedTuple):
    """``states``: what the topics it strikes go through; ``gap``: why their trades declare a loss, if they do."""

    venue: str
    scenario: Scenario
    channel: str
    states: tuple[str, ...]
    gap: str = ""


def reset(venue_name: str) -> Case:
    return Case(venue_name, venue("reset", RESET), "", LOST, "UPSTREAM_RECONNECT")


def book(venue: str, kind: str, states: tuple[str, ...] = RESYNC, **how: Any) -> Case:
    return Case(venue, stream(kind, kind, **how), "orderbook", states)


def trades(venue: str, kind: str, **how: Any) -> Case:
    return Case(venue, stream(kind, kind, **how), "trades", (), "VENUE_SKIP")


CASES = {
    "a lost book event": book("binance", "drop"),
    "a repeated book event": book("binance", "duplicate", (), count=3),
    "book events in the wrong order": book("binance", "reorder"),
    "a crossed book": book("binance", "corrupt"),
    "a snapshot older than the stream": Case("binance", snapshot("stale", "stale_snapshot"), "orderbook", RESYNC),
    "a lost message of trades": trades("binance", "drop"),
    "a number that is none in trades": trades("binance", "types", how="null"),
    "a burst of garbage": book("binance", "garbage", LOST, count=15),
    "a hang-up": Case("binance", venue("hangup", ("hangup", {})), "", LOST, "UPSTREAM_RECONNECT"),
    "a reset of spot": reset("binance-spot"),
    "trades that REST does not give either": Case("binance-spot", FOR_GOOD, "trades", ()),
    "half a book message of spot": book("binance-spot", "truncate"),
    "a lost book event of spot": book("binance-spot", "drop"),
    "a lost book event of bybit": book("bybit", "drop"),
    "book events in the wrong order of bybit": book("bybit", "reorder"),
    "a crossed book of bybit": book("bybit", "corrupt"),
    "a number that is none in a book of bybit": book("bybit", "types", how="word"),
    "a reset of bybit": reset("bybit"),
    "a venue that sends us away for two seconds": Case(
        "bybit", venue("429", ("refuse_handshake", {"status": 429, "retry_after": 2}), RESET), "",
        AWAY, "UPSTREAM_RECONNECT",
    ),
    "a reset of hyperliquid": reset("hyperliquid"),
    "a lost book of hyperliquid": book("hyperliquid", "drop", ()),
    "a crossed book of hyperliquid": book("hyperliquid", "corrupt"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What one topic was told during one case."""

    topic: Followed
    states: tuple[str, ...]
    seconds: float  # from the first status to the last
    gaps: list[Gap]


@dataclass(frozen=True, slots=True)
class Story:
    """All that happened: by case, what the struck topics saw and what the others of that venue did."""

    struck: dict[str, list[Seen]]
    spared: dict[str, list[Seen]]
    findings: list[str]
    compared: dict[str, int]  # how much was compared with the venues, by what


class Lab(NamedTuple):
    simulator_url: str
    gateway_url: str


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with processes.simulator() as simulator_url, processes.gateway(simulator_url) as gateway_url:
        yield Lab(simulator_url, gateway_url)


@pytest.fixture(scope="module")
def story(lab: Lab) -> Story:
    return asyncio.run(undergo(lab))


async def undergo(lab: Lab) -> Story:
    findings, struck, spared = Findings(), dict[str, list[Seen]](), dict[str, list[Seen]]()
    async with (
        httpx2.AsyncClient(base_url=lab.simulator_url, timeout=30) as http,
        follower(lab.gateway_url, findings) as client,
    ):
        ordeal = Ordeal(client, http, LANES, findings)
        await ordeal.begin()
        watching = asyncio.create_task(ordeal.watch())
        quick = [one for one in SCENARIOS if one.name in QUICK]

        async def lane(venue: str) -> None:
            for name, case in CASES.items():
                if case.venue == venue:
                    struck[name], spared[name] = await suffer(ordeal, case)
            await ordeal.course(venue, quick, seed=1, seconds=CYCLING)

        await asyncio.gather(*(lane(market.venue) for market in LANES))
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        audit = await ordeal.audit()
    compared = {name: audit[name].compared for name in ("trades", "candles")}
    compared |= {f"books of {venue}": verdict.compared for venue, verdict in ordeal.books.items()}
    return Story(struck, spared, findings.lines(), compared)


async def suffer(ordeal: Ordeal, case: Case) -> tuple[list[Seen], list[Seen]]:
    """What the struck topics of a case saw, and what the others of its market did."""
    market = next(each for each in LANES if each.venue == case.venue)
    topics = ordeal.followed[market]
    before = {one.name: (len(one.changes), len(gaps_of(one))) for one in topics}
    hit = await ordeal.suffer(case.scenario, market, case.channel)
    seen: dict[bool, list[Seen]] = defaultdict(list)
    for one in topics:
        changes, gaps = one.changes[before[one.name][0] :], gaps_of(one)[before[one.name][1] :]
        seconds = (changes[-1].at - changes[0].at) / 1000 if changes else 0.0
        seen[one in hit].append(Seen(one, tuple(change.state for change in changes), seconds, gaps))
    return seen[True], seen[False]


def gaps_of(one: Followed) -> list[Gap]:
    return one.content.gaps if isinstance(one.content, Trades) else []


@pytest.mark.parametrize("name", CASES)
def test_the_topics_a_fault_strikes_say_so_and_are_live_again(story: Story, name: str) -> None:
    expected = CASES[name].states
    assert story.struck[name]
    for seen in story.struck[name]:
        states = seen.states
        if expected == LOST:  # a book is proven anew after that, which may take a moment
            assert (states[0], states[-1]) == expected, seen.topic.name
            assert set(states) <= {*LOST, "resyncing"}, seen.topic.name
        elif expected == AWAY:
            assert "unavailable" in states and states[-1] == "live", seen.topic.name
        else:  # where a symbol's book has several streams, one of them is struck
            assert states in (expected, ()), seen.topic.name
    assert not expected or any(seen.states for seen in story.struck[name])


def test_trades_that_cannot_be_had_any_more_are_counted(story: Story) -> None:
    """To the very trade, which is compared with the venue's own count below."""
    [seen] = story.struck["trades that REST does not give either"]
    gaps = [(gap.reason, gap.backfilled, gap.rows, bool(gap.missing)) for gap in seen.gaps]
    assert set(gaps) == {("VENUE_SKIP", False, 0, True)}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.channel])
def test_a_fault_of_one_stream_disturbs_no_other(story: Story, name: str) -> None:
    assert [(seen.topic.name, seen.states) for seen in story.spared[name] if seen.states or seen.gaps] == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.gap])
def test_trades_that_were_lost_are_fetched_and_declared(story: Story, name: str) -> None:
    """Where a connection was lost between two trades nothing was, and nothing is declared."""
    gaps = [gap for seen in story.struck[name] for gap in seen.gaps]
    assert {(gap.reason, gap.backfilled, gap.missing) for gap in gaps} <= {(CASES[name].gap, True, 0)}
    assert gaps or not CASES[name].channel
    assert all(gap.rows > 0 for gap in gaps)


def test_a_venue_that_names_a_time_is_left_alone_until_then(story: Story) -> None:
    for seen in story.struck["a venue that sends us away for two seconds"]:
        assert 2.0 <= seen.seconds < 8.0, seen.topic.name


def test_through_all_of_it_the_client_is_told_nothing_but_the_truth(story: Story) -> None:
    """Books, trades and candles as the venues had them, nothing twice, nothing lost in silence, no rule broken."""
    assert "\n".join(story.findings) == ""
    assert all(story.compared[name] > 100 for name in ("trades", "books of binance", "books of bybit"))
    assert story.compared["books of hyperliquid"] > 10


REFUSED = {
    "binance": Wanted("trades", "binance", "ETH/USDT:USDT"),
    "bybit": Wanted("trades", "bybit", "ETH/USDT:USDT"),
    "hyperliquid": Wanted("trades", "hyperliquid", "ETH/USDC:USDC"),
}


@pytest.mark.parametrize("venue", REFUSED)
async def test_a_subscription_that_the_venue_refuses_is_told_and_gone(lab: Lab, venue: str) -> None:
    findings = Findings()
    async with (
        httpx2.AsyncClient(base_url=lab.simulator_url) as http,
        follower(lab.gateway_url, findings) as client,
    ):
        symbol = "ETH" if venue == "hyperliquid" else "ETHUSDT"
        fault = await Switchboard(http).inject(venue, "refuse_subscribe", symbol=symbol, count=2)
        error = client.expect(type="error", channel="trades")
        await client.follow([REFUSED[venue]])
        told = await error
        await http.delete("/control/faults", params={"id": fault})
    assert (told["code"], told["topic"]["symbol"]) == ("SUBSCRIBE_FAILED", REFUSED[venue].symbol)
    assert findings.lines() == []
