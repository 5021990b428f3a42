"""The HTTP client against a server that answers late, wrongly, or not at all."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import convert
from prometheus_client import REGISTRY

from exchanges.errors import BadMessage, GatewayError, SubscribeFailed, VenueBusy, VenueTimeout, VenueUnavailable
from exchanges.events import Level
from exchanges.fetch import MAX_BODY, TIMEOUT, Fetcher, read_answer, readable, retry_after, within
from tests.exchanges.toy_venue import Bell, trade
from tests.exchanges.web import Answer, Request, Web

pytestmark = pytest.mark.jumping_clock


def refusal(status: int, answer: Any) -> GatewayError | None:
    """This venue's own errors say ``oops``, with whatever status."""
    return SubscribeFailed(answer["oops"]) if isinstance(answer, dict) and "oops" in answer else None


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher("toy", refusal=refusal)
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
@pytest.mark.parametrize(("headers", "seconds"), [({"Retry-After": "17"}, 17.0), ({}, None)])
async def test_a_venue_that_asks_us_to_wait_says_for_how_long(
    fetcher: Fetcher, web: Web, status: int, headers: dict[str, str], seconds: float | None
) -> None:
    web.always(Answer(b"<html>slow down</html>", status=status, headers=headers))
    with pytest.raises(VenueBusy) as busy:
        await fetcher.get(web.url)
    assert busy.value.retry_after == seconds


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
    fetcher = Fetcher("toy", refusal=refusal)
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


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("0", 0.0), ("120", 120.0), ("", None), ("-5", None), ("1.5", None), ("٣", None), ("Wed, 21 Oct 2026", None)],
)
def test_retry_after_is_seconds_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}) == seconds


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
