"""The HTTP client against a server that answers late, wrongly, or not at all."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import convert
from prometheus_client import REGISTRY

from exchanges.breaker import Breaker
from exchanges.budget import CLIENT, HEALING, Budget
from exchanges.errors import BadMessage, GatewayError, SubscribeFailed, VenueBusy, VenueTimeout, VenueUnavailable
from exchanges.events import Level
from exchanges.fetch import MAX_BODY, TIMEOUT, Fetcher, read_answer, readable, within
from exchanges.venue import Rate
from tests.exchanges.toy_venue import Bell, trade
from tests.exchanges.web import Answer, Request, Web

pytestmark = pytest.mark.jumping_clock


def refusal(status: int, answer: Any) -> GatewayError | None:
    """This venue's own errors say ``oops``, with whatever status."""
    return SubscribeFailed(answer["oops"]) if isinstance(answer, dict) and "oops" in answer else None


BUDGET = Rate(100, 60.0)  # 30 at once, and one a second


def plain_fetcher() -> Fetcher:
    return Fetcher("toy", refusal=refusal, budget=Budget("toy", "requests", BUDGET), breaker=Breaker("toy"))


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = plain_fetcher()
    yield fetcher
    await fetcher.close()


class Gate:
    """Holds every answer back until ``open`` is set."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.open = asyncio.Event()
        self.came = 0
        self._bell = Bell()
        self.until = self._bell.until

    async def __call__(self, _: Request) -> Answer:
        self.came += 1
        self._bell.ring()
        await self.open.wait()
        return self.answer


async def test_a_get_sends_its_query_and_gives_the_json(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(b'[{"price":"1.50"}]'))
    assert await fetcher.get(f"{web.url}/depth", {"symbol": "币安人生USDT", "limit": 5}) == [{"price": "1.50"}]
    (request,) = web.requests
    assert (request.method, request.path) == ("GET", "/depth")
    assert request.query == {"symbol": "币安人生USDT", "limit": "5"}
    assert request.headers["user-agent"] == "market-gateway"


async def test_a_post_sends_its_body_as_json(fetcher: Fetcher, web: Web) -> None:
    await fetcher.post(f"{web.url}/info", {"type": "meta"})
    (request,) = web.requests
    assert (request.method, request.body) == ("POST", b'{"type":"meta"}')
    assert request.headers["content-type"] == "application/json"


# -- one request per question ------------------------------------------------------------------------------------------


async def test_identical_questions_at_the_same_time_share_one_request(fetcher: Fetcher, web: Web) -> None:
    web.answer = gate = Gate(Answer(b"7"))
    asking = [asyncio.create_task(fetcher.get(web.url, query)) for query in ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
    await gate.until(lambda: gate.came == 1)
    gate.open.set()
    assert (await asyncio.gather(*asking), len(web.requests)) == ([7, 7], 1)


async def test_different_questions_do_not_share(fetcher: Fetcher, web: Web) -> None:
    await asyncio.gather(
        fetcher.get(f"{web.url}/a"),
        fetcher.get(f"{web.url}/b"),
        fetcher.get(f"{web.url}/a", {"limit": 1}),
        fetcher.post(f"{web.url}/a", {}),
    )
    assert len(web.requests) == 4


async def test_a_question_asked_again_after_its_answer_is_a_new_request(fetcher: Fetcher, web: Web) -> None:
    await fetcher.get(web.url)
    await fetcher.get(web.url)
    assert len(web.requests) == 2


async def test_one_asker_who_leaves_does_not_take_the_answer_from_the_other(fetcher: Fetcher, web: Web) -> None:
    web.answer = gate = Gate(Answer(b"7"))
    leaving, staying = (asyncio.create_task(fetcher.get(web.url)) for _ in range(2))
    await gate.until(lambda: gate.came == 1)
    leaving.cancel()
    gate.open.set()
    assert (await staying, leaving.cancelled()) == (7, True)


async def test_a_failed_request_of_which_every_asker_has_left_is_not_reported_as_a_bug(
    fetcher: Fetcher, web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    web.answer = gate = Gate(Answer(b"", status=500))
    leaving = asyncio.create_task(fetcher.get(web.url))
    await gate.until(lambda: gate.came == 1)
    leaving.cancel()
    gate.open.set()
    await asyncio.sleep(1.0)  # long enough for the answer
    gc.collect()  # what a task failed with is logged when it is forgotten
    assert caplog.records == []


async def test_a_failure_is_told_to_everyone_who_shared_the_question(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(b'{"oops":"no"}'))
    answers = await asyncio.gather(*(fetcher.get(web.url) for _ in range(3)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no"] * 3
    assert len(web.requests) == 1


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_an_answer_that_does_not_come_in_time_is_a_timeout(fetcher: Fetcher, web: Web) -> None:
    web.answer, clock = Gate(Answer()), asyncio.get_running_loop().time
    begun = clock()
    with pytest.raises(VenueTimeout):
        await fetcher.get(web.url)
    assert clock() - begun == pytest.approx(TIMEOUT, abs=0.5)


async def test_a_body_that_drips_is_cut_by_the_same_deadline(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(b"[" + b" " * 100 + b"]", drip=3.0))  # within the deadline of each read
    with pytest.raises(VenueTimeout):
        await fetcher.get(web.url)


async def test_a_venue_that_refuses_the_connection_is_unavailable(fetcher: Fetcher) -> None:
    async with Web() as gone:
        url = gone.url
    with pytest.raises(VenueUnavailable, match="cannot be reached"):
        await fetcher.get(url)


async def test_a_venue_that_hangs_up_in_the_middle_is_unavailable(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(b"{}", headers={"content-length": "100"}))
    with pytest.raises(VenueUnavailable, match="cannot be reached"):
        await fetcher.get(web.url)


@pytest.mark.parametrize("status", [429, 418])
@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "17"}, 17.0), ({}, 60.0)])
async def test_a_venue_that_asks_us_to_wait_says_for_how_long(
    fetcher: Fetcher, web: Web, status: int, headers: dict[str, str], seconds: float
) -> None:
    web.always(Answer(b"<html>slow down</html>", status=status, headers=headers))
    with pytest.raises(VenueBusy) as busy:
        await fetcher.get(web.url)
    assert busy.value.retry_after == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        pytest.param(403, b"<html>forbidden</html>", id="firewall"),
        pytest.param(502, b"<html>bad gateway</html>", id="proxy"),
        pytest.param(500, b'{"any":"json"}', id="server error"),
        pytest.param(404, b"", id="nothing"),
        pytest.param(200, b"<html>maintenance</html>", id="a page instead of data"),
        pytest.param(202, b"", id="an empty page instead of data"),
    ],
)
async def test_anything_that_is_no_answer_is_unavailable_with_its_status(
    fetcher: Fetcher, web: Web, status: int, body: bytes
) -> None:
    web.always(Answer(body, status=status))
    with pytest.raises(VenueUnavailable, match=f"HTTP status {status}"):
        await fetcher.get(web.url)


async def test_a_redirect_is_refused(fetcher: Fetcher, web: Web) -> None:
    async with Web() as elsewhere:
        web.always(Answer(b"{}", status=302, headers={"Location": elsewhere.url}))
        with pytest.raises(VenueUnavailable, match="HTTP status 302"):
            await fetcher.get(web.url)
        assert elsewhere.requests == []


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_the_venues_own_error_is_read_whatever_the_status(fetcher: Fetcher, web: Web, status: int) -> None:
    web.always(Answer(b'{"oops":"no such coin"}', status=status))
    with pytest.raises(SubscribeFailed, match="no such coin"):
        await fetcher.get(web.url)


async def test_an_answer_too_large_is_not_read_to_its_end(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(b" " * (MAX_BODY + 1) + b"1"))
    with pytest.raises(VenueUnavailable, match="more than"):
        await fetcher.get(web.url)


async def test_a_proxy_of_the_environment_is_ignored(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    fetcher = plain_fetcher()
    assert await fetcher.get(web.url) == {}
    await fetcher.close()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(), "ok"),
        (Answer(status=429), "busy"),
        (Answer(b'{"oops":"no"}'), "refused"),
        (Answer(status=500), "failed"),
        (Answer(b"{}", headers={"content-length": "100"}), "unreachable"),
    ],
)
async def test_every_request_is_counted_by_its_outcome(
    fetcher: Fetcher, web: Web, answer: Answer, outcome: str
) -> None:
    def count() -> float:
        labels = {"exchange": "toy", "outcome": outcome}
        return REGISTRY.get_sample_value("gateway_upstream_requests_total", labels) or 0.0

    web.always(answer)
    before = count()
    await asyncio.gather(fetcher.get(web.url), return_exceptions=True)
    assert count() == before + 1


# -- budget and bans ---------------------------------------------------------------------------------------------------


async def test_what_the_venue_counts_for_a_request_is_paid_before_it_is_made(fetcher: Fetcher, web: Web) -> None:
    clock = asyncio.get_running_loop().time
    begun = clock()
    await fetcher.get(f"{web.url}/a", weight=30)
    assert clock() - begun < 1.0
    await fetcher.get(f"{web.url}/b", weight=1)
    assert clock() - begun == pytest.approx(1.0, abs=0.2)


async def test_a_clients_request_that_would_wait_too_long_is_refused_at_once(fetcher: Fetcher, web: Web) -> None:
    await fetcher.get(f"{web.url}/a", weight=31, patience=HEALING)
    with pytest.raises(VenueBusy) as busy:
        await fetcher.get(f"{web.url}/b", weight=4)
    assert busy.value.retry_after == pytest.approx(4.0, abs=0.2)
    assert [request.path for request in web.requests] == ["/a"]


async def test_what_was_refused_costs_nothing(fetcher: Fetcher, web: Web) -> None:
    await fetcher.get(f"{web.url}/a", weight=30)
    for number in range(100):
        with pytest.raises(VenueBusy):
            await fetcher.get(f"{web.url}/b", {"n": number}, weight=3)
    await fetcher.get(f"{web.url}/c", weight=1)


async def test_who_waits_longer_asks_for_itself(fetcher: Fetcher, web: Web) -> None:
    web.answer = gate = Gate(Answer(b"7"))
    asking = [asyncio.create_task(fetcher.get(web.url, patience=patience)) for patience in (CLIENT, HEALING)]
    await gate.until(lambda: gate.came == 2)
    gate.open.set()
    assert await asyncio.gather(*asking) == [7, 7]


async def test_after_a_ban_nothing_is_asked_until_it_is_over(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(status=429, headers={"Retry-After": "30"}))
    for path in "abc":
        with pytest.raises(VenueBusy):
            await fetcher.get(f"{web.url}/{path}", patience=HEALING)
    assert len(web.requests) == 1
    web.always(Answer(b"7"))
    await asyncio.sleep(29.0)
    with pytest.raises(VenueBusy):
        await fetcher.get(web.url)
    await asyncio.sleep(1.1)
    assert await fetcher.get(web.url) == 7


async def test_what_a_ban_holds_back_costs_nothing(web: Web) -> None:
    budget, breaker = Budget("toy", "requests", BUDGET), Breaker("toy")
    fetcher = Fetcher("toy", refusal=refusal, budget=budget, breaker=breaker)
    breaker.open(30.0, status=429)
    with pytest.raises(VenueBusy):
        await fetcher.get(web.url, weight=20)
    assert budget.left == budget.capacity
    await fetcher.close()


async def test_when_a_ban_is_over_one_request_goes_first(fetcher: Fetcher, web: Web) -> None:
    web.always(Answer(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(VenueBusy):
        await fetcher.get(web.url)
    await asyncio.sleep(31.0)
    web.answer = gate = Gate(Answer(b"7"))
    first = asyncio.create_task(fetcher.get(f"{web.url}/a"))
    await gate.until(lambda: gate.came == 1)
    with pytest.raises(VenueBusy) as behind:
        await fetcher.get(f"{web.url}/b")
    assert behind.value.retry_after == 1.0
    gate.open.set()
    assert await first == 7
    assert await fetcher.get(f"{web.url}/b") == 7


async def test_a_ban_that_comes_while_a_request_waits_for_budget_holds_it_back(web: Web) -> None:
    breaker = Breaker("toy")
    fetcher = Fetcher("toy", refusal=refusal, budget=Budget("toy", "requests", BUDGET), breaker=breaker)
    await fetcher.get(f"{web.url}/a", weight=30)
    waiting = asyncio.create_task(fetcher.get(f"{web.url}/b", weight=2))
    await asyncio.sleep(1.0)
    breaker.open(30.0, status=429)
    with pytest.raises(VenueBusy):
        await waiting
    assert [request.path for request in web.requests] == ["/a"]
    await fetcher.close()


# -- what is made of an answer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parse", "answer"),
    [
        pytest.param(lambda row: row["price"], {}, id="a key that is missing"),
        pytest.param(lambda row: row["price"], None, id="null where an object should be"),
        pytest.param(lambda row: row.get("price"), [], id="a list where an object should be"),
        pytest.param(lambda row: row[1], ["1"], id="a row that is too short"),
        pytest.param(float, "x", id="a text that is no number"),
        pytest.param(Decimal, "x", id="a text that is no decimal"),
        pytest.param(lambda row: convert([row], list[Level], strict=False), ["NaN", "1"], id="a level that is none"),
    ],
)
def test_an_answer_that_cannot_be_read_is_the_venues_fault(parse: Callable[[Any], Any], answer: Any) -> None:
    with pytest.raises(BadMessage) as refused:
        read_answer("toy", lambda: parse(answer))
    assert refused.value.venue == "toy"


def test_an_answer_that_can_be_read_is_given() -> None:
    assert read_answer("toy", lambda: 7) == 7


TIMES = (10, 20, 30, 40)


@pytest.mark.parametrize(
    ("since", "until", "limit", "times"),
    [
        (None, None, 9, [10, 20, 30, 40]),
        (None, None, 2, [30, 40]),
        (20, None, 9, [20, 30, 40]),
        (20, None, 2, [20, 30]),
        (None, 30, 9, [10, 20, 30]),
        (None, 30, 2, [20, 30]),
        (20, 30, 1, [20]),
        (0, None, 1, [10]),
        (41, None, 9, []),
        (None, 9, 9, []),
    ],
)
def test_recent_trades_are_cut_from_their_beginning_with_since_and_from_their_end_without(
    since: int | None, until: int | None, limit: int, times: list[int]
) -> None:
    trades = [trade(str(time), timestamp_ms=time) for time in TIMES]
    found = within(trades, since=since, until=until, limit=limit)
    assert [one.timestamp_ms for one in found] == times


# -- rows that stand on their own --------------------------------------------------------------------------------------


def test_one_row_that_cannot_be_read_is_left_out_and_counted() -> None:
    before = skipped()
    assert readable("toy", ["1", "x", "3"], int) == [1, 3]
    assert skipped() == before + 1


def test_rows_of_which_none_can_be_read_are_a_bad_message() -> None:
    with pytest.raises(BadMessage):
        readable("toy", ["x", "y"], int)


def test_no_rows_are_no_error() -> None:
    assert readable("toy", [], int) == []


def skipped() -> float:
    return REGISTRY.get_sample_value("gateway_catalogue_rows_skipped_total", {"exchange": "toy"}) or 0.0
