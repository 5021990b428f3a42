"""The gate of a site: one tries for all while it is in doubt, nobody gives up, and nothing is ever stormed."""

import asyncio
from collections.abc import AsyncIterator
from math import inf

import pytest
from prometheus_client import REGISTRY

from exchanges.breaker import Breaker
from exchanges.connection import HandshakeFailed
from exchanges.gate import FIRST_PAUSE, LONGEST_PAUSE, MAX_UNPROVEN, UNPROVEN_WINDOW, Gate, Handshakes, Outlook
from exchanges.venue import Rate

pytestmark = pytest.mark.jumping_clock


class Site:
    """What is behind a gate. Each handshake takes ``seconds`` and ends with ``failure``, or well."""

    def __init__(self) -> None:
        self.tried: list[float] = []  # loop times
        self.seconds = 0.1
        self.failure: HandshakeFailed | None = None
        self.under_way = self.most = 0

    async def __call__(self) -> str:
        self.tried.append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.under_way -= 1
        if self.failure is not None:
            raise self.failure
        return "connection"


class Seeker:
    """Wants one connection, and comes again for as long as it takes."""

    def __init__(self, gate: Gate, site: Site) -> None:
        self.outlooks: list[Outlook] = []
        self.due: list[float] = []  # loop times of the next try, as it was told
        self.connected_at = inf
        self.task = asyncio.create_task(self._run(gate, site))

    async def _run(self, gate: Gate, site: Site) -> None:
        while True:
            try:
                await gate.handshake(site, self._told)
            except HandshakeFailed:
                continue
            self.connected_at = asyncio.get_running_loop().time()
            return

    def _told(self, outlook: Outlook) -> None:
        self.outlooks.append(outlook)
        self.due.append(now() + outlook.retry_in)


@pytest.fixture
def breaker() -> Breaker:
    return Breaker("toy")


@pytest.fixture
def handshakes(breaker: Breaker) -> Handshakes:
    return Handshakes("toy", Rate(3000, 60.0), breaker)


@pytest.fixture
def gate(handshakes: Handshakes) -> Gate:
    return handshakes.gate("")


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
async def seekers(gate: Gate, site: Site) -> AsyncIterator[list[Seeker]]:
    """Fifty."""
    found = [Seeker(gate, site) for _ in range(50)]
    yield found
    for one in found:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in found), return_exceptions=True)


def now() -> float:
    return asyncio.get_running_loop().time()


async def reach(gate: Gate, site: Site) -> None:
    """Leave the site in no doubt."""
    await gate.handshake(site, lambda outlook: None)
    site.tried.clear()
    site.most = 0


async def arrive(seekers: list[Seeker]) -> None:
    async with asyncio.timeout(300.0):
        await asyncio.gather(*(one.task for one in seekers))


async def test_a_site_that_was_never_reached_is_tried_by_one_and_then_by_all(seekers: list[Seeker], site: Site) -> None:
    await asyncio.sleep(0.05)
    assert len(site.tried) == 1
    await arrive(seekers)
    assert len(site.tried) == 50


async def test_after_one_success_the_others_follow_at_once(seekers: list[Seeker]) -> None:
    await arrive(seekers)
    times = sorted(one.connected_at for one in seekers)
    assert times[-1] - times[0] < 2.0


async def test_of_a_healthy_site_only_so_many_handshakes_are_open_at_a_time(gate: Gate, site: Site) -> None:
    await reach(gate, site)
    await arrive([Seeker(gate, site) for _ in range(50)])
    assert site.most == MAX_UNPROVEN


async def test_while_a_site_is_away_one_tries_for_all(seekers: list[Seeker], site: Site) -> None:
    site.failure = HandshakeFailed("refused")
    await asyncio.sleep(600.0)
    assert site.most == 1


async def test_in_no_minute_of_an_outage_are_there_more_than_ten_handshakes(seekers: list[Seeker], site: Site) -> None:
    site.failure = HandshakeFailed("refused")
    await asyncio.sleep(900.0)
    assert len(site.tried) > 20  # it never gives up
    counts = [sum(at <= other < at + UNPROVEN_WINDOW for other in site.tried) for at in site.tried]
    assert max(counts) <= MAX_UNPROVEN


async def test_the_bound_holds_for_a_healthy_site_that_fails_them_all(gate: Gate, site: Site) -> None:
    await reach(gate, site)
    site.failure, site.seconds = HandshakeFailed("open timeout"), 10.0
    seekers = [Seeker(gate, site) for _ in range(50)]
    await asyncio.sleep(UNPROVEN_WINDOW - 1.0)
    assert len(site.tried) == MAX_UNPROVEN
    site.failure = None
    await arrive(seekers)


async def test_of_handshakes_that_fail_together_one_counts(gate: Gate, site: Site) -> None:
    await reach(gate, site)
    site.failure = HandshakeFailed("refused")
    seekers = [Seeker(gate, site) for _ in range(8)]
    await asyncio.sleep(0.101)
    assert gate.outlook is not None
    assert (gate.outlook.attempt, len(site.tried)) == (1, 8)
    site.failure = None
    await arrive(seekers)


async def test_a_loss_while_all_are_under_way_promises_no_time_that_never_comes(gate: Gate, site: Site) -> None:
    await reach(gate, site)
    site.seconds = 5.0
    seekers = [Seeker(gate, site) for _ in range(MAX_UNPROVEN)]
    await asyncio.sleep(1.0)
    gate.lost("reset")
    assert gate.outlook is not None
    assert gate.outlook.retry_in <= UNPROVEN_WINDOW
    await arrive(seekers)


async def test_after_a_success_the_bound_begins_anew(handshakes: Handshakes) -> None:
    for _ in range(MAX_UNPROVEN):
        handshakes.ended(handshakes.began(), "one", well=False)
    assert handshakes.wait() == pytest.approx(UNPROVEN_WINDOW, abs=0.1)
    await asyncio.sleep(20.0)
    assert handshakes.wait() == pytest.approx(UNPROVEN_WINDOW - 20.0, abs=0.1)
    handshakes.ended(handshakes.began(), "one", well=True)
    assert handshakes.wait() == 0.0


async def test_a_success_at_one_site_does_not_end_the_outage_of_another(handshakes: Handshakes) -> None:
    for _ in range(MAX_UNPROVEN):
        handshakes.ended(handshakes.began(), "one", well=False)
    handshakes.ended(handshakes.began(), "other", well=True)
    assert handshakes.wait() == pytest.approx(UNPROVEN_WINDOW, abs=0.1)


async def test_the_bound_counts_all_sites_of_a_venue_together(handshakes: Handshakes) -> None:
    sites = [Site(), Site()]
    for site in sites:
        site.failure, site.seconds = HandshakeFailed("refused"), 0.0
    tasks = [Seeker(handshakes.gate(str(number)), site).task for number, site in enumerate(sites)]
    await asyncio.sleep(300.0)
    tried = sorted(sites[0].tried + sites[1].tried)
    assert max(sum(at <= other < at + UNPROVEN_WINDOW for other in tried) for at in tried) <= MAX_UNPROVEN
    for task in tasks:
        task.cancel()


async def test_one_site_that_is_away_does_not_shut_the_gate_of_another(handshakes: Handshakes) -> None:
    away, there = Site(), Site()
    away.failure = HandshakeFailed("refused")
    trying = Seeker(handshakes.gate("away"), away)
    await asyncio.sleep(3.0)
    begun = now()
    await handshakes.gate("there").handshake(there, lambda outlook: None)
    assert now() - begun < 0.2
    trying.task.cancel()


async def test_pauses_grow_with_the_failures_and_are_jittered_over_all_their_length(gate: Gate, site: Site) -> None:
    site.failure, site.seconds = HandshakeFailed("refused"), 0.0
    seeker = Seeker(gate, site)
    await asyncio.sleep(1800.0)
    seeker.task.cancel()
    pauses = [later - at for at, later in zip(site.tried, site.tried[1:], strict=False)]
    bounds = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**n) for n in range(6)]
    assert all(pause <= bound + 0.01 for pause, bound in zip(pauses[:6], bounds, strict=True))
    assert max(pauses) > LONGEST_PAUSE / 2
    assert min(pauses[6:]) < LONGEST_PAUSE / 2


# -- losses ------------------------------------------------------------------------------------------------------------


async def test_after_a_loss_it_is_tried_again_within_half_a_second(gate: Gate, site: Site) -> None:
    for _ in range(20):
        await reach(gate, site)
        gate.heard()
        gate.lost("reset")
        begun = now()
        await gate.handshake(site, lambda outlook: None)
        assert site.tried[-1] - begun <= FIRST_PAUSE + 0.01


async def test_many_that_are_lost_together_count_once(gate: Gate, site: Site) -> None:
    await reach(gate, site)
    for _ in range(50):
        gate.lost("reset")
    assert gate.outlook is not None
    assert (gate.outlook.attempt, gate.outlook.retry_in <= FIRST_PAUSE) == (1, True)


async def test_connections_that_end_without_a_word_are_no_success(gate: Gate, site: Site) -> None:
    attempts = []
    for _ in range(5):
        await gate.handshake(site, lambda outlook: None)
        gate.lost("closed")
        assert gate.outlook is not None
        attempts.append(gate.outlook.attempt)
    assert attempts == [1, 2, 3, 4, 5]


async def test_a_connection_that_speaks_is_one(gate: Gate, site: Site) -> None:
    for _ in range(5):
        await gate.handshake(site, lambda outlook: None)
        gate.heard()
        gate.lost("closed")
        assert gate.outlook is not None
        assert gate.outlook.attempt == 1


async def test_without_bad_news_there_is_no_outlook(gate: Gate, site: Site) -> None:
    assert gate.outlook is None
    await reach(gate, site)
    assert gate.outlook is None


# -- those who wait ----------------------------------------------------------------------------------------------------


async def test_those_who_wait_are_told_once_for_each_failed_handshake(seekers: list[Seeker], site: Site) -> None:
    site.failure = HandshakeFailed("dns")
    await asyncio.sleep(60.0)
    failed = len(site.tried) - site.under_way
    for one in seekers[10:]:  # who never were the first in line
        assert [outlook.attempt for outlook in one.outlooks] == list(range(1, failed + 1))
        assert {outlook.reason for outlook in one.outlooks} == {"dns"}


async def test_what_they_are_told_is_when_the_next_is_tried(seekers: list[Seeker], site: Site) -> None:
    site.failure = HandshakeFailed("dns")
    await asyncio.sleep(300.0)
    due = seekers[-1].due
    assert len(due) > 8
    for at in due[:-1]:  # the last may be still to come
        assert min(abs(at - tried) for tried in site.tried) < 0.05


async def test_one_who_leaves_the_line_does_not_hold_it_up(gate: Gate, site: Site) -> None:
    site.failure = HandshakeFailed("refused")
    first = Seeker(gate, site)
    await asyncio.sleep(0.2)  # it waits for its second try
    second = Seeker(gate, site)
    await asyncio.sleep(0.0)
    first.task.cancel()
    site.failure = None
    await arrive([second])


async def test_one_who_leaves_in_the_middle_of_its_handshake_lets_the_next_try(gate: Gate, site: Site) -> None:
    site.seconds = 1000.0
    first = Seeker(gate, site)
    await asyncio.sleep(1.0)
    second = Seeker(gate, site)
    site.seconds = 0.1
    first.task.cancel()
    begun = now()
    await arrive([second])
    assert now() - begun < 0.3


async def test_first_come_first_served(gate: Gate, site: Site) -> None:
    site.failure = HandshakeFailed("refused")
    trying = Seeker(gate, site)
    await asyncio.sleep(0.2)
    site.failure, seekers = None, [Seeker(gate, site) for _ in range(20)]
    await arrive([trying, *seekers])
    assert [one.connected_at for one in seekers] == sorted(one.connected_at for one in seekers)


# -- pace and bans -----------------------------------------------------------------------------------------------------


async def test_handshakes_are_paced_by_the_venues_rule(breaker: Breaker, site: Site) -> None:
    gate, begun = Handshakes("toy", Rate(30, 60.0), breaker).gate(""), now()
    seekers = [Seeker(gate, site) for _ in range(18)]  # nine at once, and 18 a minute
    await arrive(seekers)
    times = sorted(one.connected_at - begun for one in seekers)
    assert times[8] < 1.0
    assert times[9] > 3.0
    assert times[17] == pytest.approx(9 * 60 / 18, abs=1.0)


async def test_a_ban_by_handshake_is_kept_to_its_second_by_everyone(
    seekers: list[Seeker], site: Site, breaker: Breaker
) -> None:
    site.failure = HandshakeFailed("http error", status=429, headers={"retry-after": "45"})
    await asyncio.sleep(5.0)
    site.failure = None
    await arrive(seekers)
    first, second = site.tried[:2]
    assert second - first == pytest.approx(45.1, abs=0.2)
    assert breaker.state == "closed"


async def test_while_banned_those_who_wait_are_told_that_the_venue_told_us_to_stay_away(
    seekers: list[Seeker], site: Site
) -> None:
    site.failure = HandshakeFailed("http error", status=418, headers={"retry-after": "45"})
    await asyncio.sleep(5.0)
    (outlook,) = seekers[-1].outlooks
    assert outlook == Outlook("rate limited", 0, pytest.approx(45.0, abs=0.1), unavailable=True)


async def test_when_a_ban_is_over_one_goes_first_over_all_sites(handshakes: Handshakes, breaker: Breaker) -> None:
    sites = [Site(), Site()]
    for number, site in enumerate(sites):
        await reach(handshakes.gate(str(number)), site)
        site.seconds = 5.0
    breaker.open(30.0, status=429)
    begun = now()
    seekers = [Seeker(handshakes.gate(str(number)), site) for number, site in enumerate(sites)]
    await arrive(seekers)
    first, second = sorted(sites[0].tried + sites[1].tried)
    assert (first - begun, second - begun) == (pytest.approx(30.0, abs=0.1), pytest.approx(35.0, abs=1.1))


async def test_every_handshake_is_counted_by_its_outcome(gate: Gate, site: Site) -> None:
    def count(outcome: str) -> float:
        labels = {"exchange": "toy", "outcome": outcome}
        return REGISTRY.get_sample_value("gateway_upstream_handshakes_total", labels) or 0.0

    outcomes = ("ok", "refused", "rate limited", "cancelled")
    before = [count(outcome) for outcome in outcomes]
    await reach(gate, site)
    for failure in (HandshakeFailed("refused"), HandshakeFailed("http error", status=429)):
        site.failure = failure
        with pytest.raises(HandshakeFailed):
            await gate.handshake(site, lambda outlook: None)
    await asyncio.sleep(61.0)
    seeker = Seeker(gate, site)
    await asyncio.sleep(0.05)
    seeker.task.cancel()
    await asyncio.gather(seeker.task, return_exceptions=True)
    assert [count(outcome) for outcome in outcomes] == [one + 1 for one in before]
