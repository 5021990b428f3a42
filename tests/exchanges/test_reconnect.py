"""Sockets of one site when it goes away: one tries for all, everyone is told, and all come back."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from exchanges.breaker import Breaker
from exchanges.budget import Budget
from exchanges.errors import GatewayError, VenueBusy
from exchanges.fetch import Fetcher
from exchanges.pool import Pool
from exchanges.venue import Capabilities, Rate
from tests.exchanges.toy_venue import CAPABILITIES, Bell, Ear, Line, ToyVenue, endpoint, stream
from tests.exchanges.web import Answer, Web

pytestmark = pytest.mark.jumping_clock


class Crowd:
    """Fifty feeds with a socket each."""

    def __init__(self, pool: Pool, venue: ToyVenue, site: str = "") -> None:
        self.ears = [Ear() for _ in range(50)]
        on = endpoint(venue.url, site=site)
        self.feeds = [pool.open(stream(f"trades.{n}", on), ear) for n, ear in enumerate(self.ears)]

    async def live(self) -> None:
        for ear in self.ears:
            await ear.until(lambda ear=ear: ear.states[-1:] == [("live", "")])  # type: ignore[misc]


class Welcome:
    """Acknowledges every subscription, and keeps the lines so that a test can cut them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._bell = Bell()
        self.until = self._bell.until

    async def __call__(self, line: Line) -> None:
        message = await line.hear()
        await line.say({"ok": message["name"]})
        self.lines.append(line)
        self._bell.ring()

    async def cut(self) -> None:
        lines, self.lines = self.lines, []
        for line in lines:
            await line.reset()


@pytest.fixture
def breaker() -> Breaker:
    return Breaker("toy")


@pytest.fixture
async def pool(breaker: Breaker) -> AsyncIterator[Pool]:
    pool = Pool("toy", Capabilities(**CAPABILITIES, connects=Rate(3000, 60.0)), breaker=breaker)
    yield pool
    await pool.aclose()


@pytest.fixture
def welcome(venue: ToyVenue) -> Welcome:
    venue.manners = welcome = Welcome()
    return welcome


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_fifty_sockets_that_lose_their_site_try_ten_times_a_minute_and_all_come_back(
    pool: Pool, venue: ToyVenue, welcome: Welcome
) -> None:
    crowd = Crowd(pool, venue)
    await crowd.live()
    venue.handshakes.clear()
    venue.refusal = (503, {})
    begun = now()
    await welcome.cut()
    await asyncio.sleep(60.0)
    assert venue.handshakes[0] - begun < 1.0
    assert 3 <= len(venue.handshakes) <= 10
    venue.refusal = None
    await crowd.live()
    assert pool.connected == 50


async def test_once_one_has_succeeded_the_others_are_there_within_seconds(
    pool: Pool, venue: ToyVenue, welcome: Welcome
) -> None:
    crowd = Crowd(pool, venue)
    await crowd.live()
    begun = now()
    await welcome.cut()
    await welcome.until(lambda: len(welcome.lines) == 50)
    assert now() - begun < 3.0
    await crowd.live()


async def test_everyone_is_told_of_the_loss_at_once_and_of_every_try_that_failed(
    pool: Pool, venue: ToyVenue, welcome: Welcome
) -> None:
    crowd = Crowd(pool, venue)
    await crowd.live()
    venue.refusal = (503, {})
    await welcome.cut()
    for ear in crowd.ears:
        await ear.until(lambda ear=ear: len(ear.states) >= 4)  # type: ignore[misc]
        assert ear.states[1:4] == [("reconnecting", "reset"), *[("reconnecting", "http error")] * 2]
        attempts = [attempt for attempt, _ in ear.attempts[1:]]
        assert attempts == list(range(1, len(attempts) + 1))


async def test_a_feed_that_is_opened_while_the_site_is_away_is_told_so(pool: Pool, venue: ToyVenue) -> None:
    venue.refusal = (503, {})
    crowd = Crowd(pool, venue)
    await crowd.ears[0].until(lambda: len(crowd.ears[0].states) >= 3)
    late = Ear()
    pool.open(stream("trades.late", endpoint(venue.url)), late)
    assert late.states == []  # not before whoever opened it has it
    await late.until(lambda: bool(late.states))
    assert late.states[0] == ("reconnecting", "http error")


async def test_a_feed_that_is_closed_as_soon_as_it_was_opened_is_told_nothing(pool: Pool, venue: ToyVenue) -> None:
    venue.refusal = (503, {})
    crowd, ear = Crowd(pool, venue), Ear()
    await crowd.ears[0].until(lambda: bool(crowd.ears[0].states))
    pool.close(pool.open(stream("trades.late", endpoint(venue.url)), ear))
    await asyncio.sleep(60.0)
    assert ear.states == []


async def test_a_feed_closed_while_it_waits_for_its_turn_does_not_hold_up_the_others(
    pool: Pool, venue: ToyVenue, welcome: Welcome
) -> None:
    venue.refusal = (503, {})
    crowd = Crowd(pool, venue)
    await crowd.ears[-1].until(lambda: len(crowd.ears[-1].states) >= 3)
    for feed in crowd.feeds[:49]:
        pool.close(feed)
    venue.refusal = None
    await crowd.ears[-1].until(lambda: crowd.ears[-1].states[-1] == ("live", ""))
    assert (pool.sockets, len(welcome.lines)) == (1, 1)


# -- bans --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Retry-After": "45"}, {"Retry-After": "Sat, 21 Nov 2026 12:00:45 GMT"}])
async def test_a_refused_handshake_is_not_repeated_before_the_venue_said(
    pool: Pool, venue: ToyVenue, welcome: Welcome, headers: dict[str, str]
) -> None:
    venue.refusal = (429, {"Date": "Sat, 21 Nov 2026 12:00:00 GMT", **headers})
    crowd = Crowd(pool, venue)
    await asyncio.sleep(10.0)
    venue.refusal = None
    await crowd.live()
    assert venue.handshakes[1] - venue.handshakes[0] == pytest.approx(45.0, abs=0.5)


async def test_a_ban_is_told_as_such_with_the_time_that_is_left(pool: Pool, venue: ToyVenue, welcome: Welcome) -> None:
    crowd = Crowd(pool, venue)
    await crowd.live()
    venue.refusal = (418, {"Retry-After": "45"})
    await welcome.cut()
    ear = crowd.ears[-1]
    await ear.until(lambda: ear.states[-1] == ("unavailable", "rate limited"))
    retry_in = ear.attempts[-1][1]
    assert retry_in == pytest.approx(45.0, abs=0.5)


async def test_a_ban_by_handshake_holds_back_requests(pool: Pool, venue: ToyVenue, breaker: Breaker, web: Web) -> None:
    fetcher = toy_fetcher(breaker)
    venue.refusal = (429, {"Retry-After": "45"})
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    await ear.until(lambda: bool(ear.states))
    with pytest.raises(VenueBusy) as busy:
        await fetcher.get(web.url)
    assert (busy.value.retry_after, web.requests) == (pytest.approx(45.0, abs=0.5), [])
    await fetcher.close()


async def test_a_ban_by_request_holds_back_handshakes_and_leaves_open_sockets_alone(
    pool: Pool, venue: ToyVenue, welcome: Welcome, breaker: Breaker, web: Web
) -> None:
    fetcher, begun, first, second = toy_fetcher(breaker), now(), Ear(), Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), first)
    await first.until(lambda: first.states == [("live", "")])
    web.always(Answer(status=429, headers={"Retry-After": "45"}))
    with pytest.raises(VenueBusy):
        await fetcher.get(web.url)
    pool.open(stream("trades.B", endpoint(venue.url)), second)
    await second.until(lambda: second.states == [("unavailable", "rate limited")])
    await second.until(lambda: second.states[-1] == ("live", ""))
    assert now() - begun == pytest.approx(45.0, abs=1.0)
    assert first.states == [("live", "")]
    await fetcher.close()


async def test_a_ban_of_one_venue_is_not_another_venues(venue: ToyVenue, welcome: Welcome, pool: Pool) -> None:
    pool.breaker.open(600.0, status=429)
    other, ear = Pool("other", Capabilities(**CAPABILITIES)), Ear()
    other.open(stream("trades.A", endpoint(venue.url)), ear)
    await ear.until(lambda: ear.states == [("live", "")])
    await other.aclose()


def toy_fetcher(breaker: Breaker) -> Fetcher:
    def refusal(status: int, answer: object) -> GatewayError | None:
        return None

    return Fetcher("toy", refusal=refusal, budget=Budget("toy", "requests", Rate(100, 60.0)), breaker=breaker)


# -- budgets -----------------------------------------------------------------------------------------------------------


async def test_messages_are_paced_over_all_sockets_where_the_venue_counts_them_so(venue: ToyVenue) -> None:
    pool = Pool("toy", Capabilities(**CAPABILITIES, messages=Rate(30, 60.0)))  # nine at once, and 18 a minute
    times: list[float] = []

    async def note(line: Line) -> None:
        while True:
            message = await line.hear()
            times.append(now())
            await line.say({"ok": message["name"]})

    venue.manners, begun = note, now()
    for number in range(12):
        pool.open(stream(f"trades.{number}", endpoint(venue.url)), Ear())
    await asyncio.sleep(30.0)
    assert (len(times), times[8] - begun < 1.0) == (12, True)
    assert [at - begun for at in times[9:]] == [pytest.approx(60 / 18 * n, abs=0.6) for n in (1, 2, 3)]
    await pool.aclose()


async def test_what_is_left_of_every_budget_can_be_read(venue: ToyVenue, welcome: Welcome) -> None:
    pool = Pool("toy", Capabilities(**CAPABILITIES, messages=Rate(2000, 60.0)))
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url, site="spot")), ear)
    await ear.until(lambda: ear.states == [("live", "")])
    assert {name: round(budget.capacity - budget.left) for name, budget in pool.budgets.items()} in (
        {"connects spot": 1, "messages": 1},
        {"connects spot": 1, "messages": 0},  # refilled meanwhile
    )
    assert pool.breaker.remaining == 0.0
    await pool.aclose()


async def test_handshakes_and_losses_are_counted_by_how_they_ended(
    pool: Pool, venue: ToyVenue, welcome: Welcome
) -> None:
    def count(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"gateway_upstream_{name}_total", {"exchange": "toy", **labels}) or 0.0

    def counts() -> tuple[float, float, float]:
        return (
            count("handshakes", outcome="ok"),
            count("handshakes", outcome="http error"),
            count("disconnects", reason="reset"),
        )

    before, ear = counts(), Ear()
    venue.refusal = (503, {})
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    await ear.until(lambda: len(ear.states) == 1)
    venue.refusal = None
    await ear.until(lambda: ear.states[-1] == ("live", ""))
    await welcome.cut()
    await ear.until(lambda: len(ear.states) == 4)
    assert [after - one for one, after in zip(before, counts(), strict=True)] == [2.0, 1.0, 1.0]
