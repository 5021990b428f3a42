"""A fresh connection takes over from one that is about to be cut, and no listener notices anything."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from prometheus_client import REGISTRY

from exchanges.events import BookSnapshot
from exchanges.pool import Pool
from exchanges.takeover import Rotation
from exchanges.venue import Capabilities, Endpoint
from tests.exchanges.toy_venue import CAPABILITIES, NOW_MS, Ear, Line, ToyVenue, endpoint, snapshot, stream

pytestmark = pytest.mark.jumping_clock

LIFE = 60.0  # seconds
BID, ASK = (10.0, 1.0), (11.0, 1.0)


def now() -> float:
    return asyncio.get_running_loop().time()


def counted(outcome: str) -> float:
    labels = {"exchange": "toy", "outcome": outcome}
    return REGISTRY.get_sample_value("gateway_upstream_rotations_total", labels) or 0.0


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """One socket that carries every feed."""
    pool = Pool("toy", Capabilities(**CAPABILITIES, max_sockets=1, share_from=1), clock_ms=lambda: NOW_MS)
    yield pool
    await pool.aclose()


@pytest.fixture
def on(venue: ToyVenue) -> Endpoint:
    return endpoint(venue.url, lifetime=LIFE)


async def accept(line: Line, count: int = 1) -> None:
    """Hear and acknowledge ``count`` subscriptions."""
    for name in await line.hear_subscriptions(count):
        await line.say({"ok": name})


async def trade(line: Line, *ids: int, name: str = "trades.A") -> None:
    for id in ids:
        await line.say({"on": name, "trade": [str(id), "100"]})


async def opened(pool: Pool, venue: ToyVenue, on: Endpoint) -> tuple[Ear, Line]:
    """A dense stream of trades, live."""
    ear = Ear()
    pool.open(stream("trades.A", on, dense=True), ear)
    line = await venue.line()
    await accept(line)
    await ear.until(lambda: ear.states == [("live", "")])
    return ear, line


def ids(*numbers: int) -> list[str]:
    return [str(number) for number in numbers]


# -- when --------------------------------------------------------------------------------------------------------------


async def test_before_its_time_is_over_a_connection_is_replaced_and_closed(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    begun, done = now(), counted("done")
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    assert 0.95 * LIFE <= now() - begun <= 0.99 * LIFE + 1.0
    await accept(new)
    await old.gone()
    assert ear.states == [("live", "")]
    assert counted("done") == done + 1


async def test_sockets_that_were_opened_together_are_not_replaced_together(venue: ToyVenue, on: Endpoint) -> None:
    pool = Pool("toy", Capabilities(**CAPABILITIES))
    for number in range(10):
        pool.open(stream(f"trades.{number}", on), Ear())
        await accept(await venue.line())
    times = []
    for _ in range(10):
        await accept(await venue.line())
        times.append(now())
    assert times[-1] - times[0] > 0.3  # of 2.4 at most
    await pool.aclose()


async def test_it_happens_again_and_again(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    ear, line = await opened(pool, venue, on)
    for _ in range(3):
        following = await venue.line()
        await accept(following)
        await line.gone()
        line = following
    await trade(line, 1)
    await ear.until(lambda: ear.trades == ids(1))
    assert ear.states == [("live", "")]


async def test_a_connection_that_is_announced_to_be_closed_is_replaced_at_once(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    await asyncio.sleep(30.0)
    begun = now()
    await old.say({"leaving": "maintenance"})
    await accept(await venue.line())
    assert now() - begun < 1.0
    await old.gone()
    assert ear.states == [("live", "")]


async def test_a_venue_that_announces_the_end_of_every_connection_is_not_stormed(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    async def leave(line: Line) -> None:
        await accept(line)
        await line.say({"leaving": "maintenance"})

    venue.manners = leave
    pool.open(stream("trades.A", on), Ear())
    await asyncio.sleep(100.0)
    assert 6 <= venue.connections <= 12  # not before it is ten seconds old, but the first


async def test_a_venue_without_a_limit_keeps_its_connections(pool: Pool, venue: ToyVenue) -> None:
    await opened(pool, venue, endpoint(venue.url))
    await asyncio.sleep(3 * LIFE)
    assert venue.connections == 1


# -- without a gap -----------------------------------------------------------------------------------------------------


async def test_no_trade_is_missed_although_the_old_connection_is_cut_right_after(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    await trade(old, 1, 2, 3)
    await new.say({"ok": "trades.A"})
    await trade(new, 4, 5)  # it is ahead
    await trade(old, 4)
    await old.reset()
    await trade(new, 6, 7)
    await ear.until(lambda: len(ear.trades) == 7)
    assert (ear.trades, ear.states) == (ids(1, 2, 3, 4, 5, 6, 7), [("live", "")])


async def test_no_trade_comes_twice_or_out_of_order_while_both_speak(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await accept(new)
    await trade(old, 1)
    for number in range(2, 40):
        await trade(new if number % 3 else old, number + 1, number + 2)  # neither is whole by itself for long
        await trade(old if number % 3 else new, number, number + 1)
    await trade(old, *range(30, 60))
    await trade(new, *range(30, 60))
    await ear.until(lambda: bool(ear.trades) and ear.trades[-1] == "59")
    assert [int(id) for id in ear.trades] == sorted({int(id) for id in ear.trades})


async def test_a_book_goes_on_without_a_resync(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    ear, asked = Ear(), []

    async def rest() -> BookSnapshot:
        asked.append(None)
        return snapshot(8, [BID], [ASK])

    pool.open(stream("book.A", on, snapshot=rest), ear)
    old = await venue.line()
    await accept(old)
    await delta(old, 8, 9)
    await ear.until(lambda: len(ear.books) == 1)
    new = await venue.line()
    await accept(new)
    await delta(new, 11, 12, 13)  # 10 and 11 were said before it was subscribed
    await delta(old, 9, 10, 11, 12)
    await old.gone()
    await delta(new, 13, 14)
    await ear.until(lambda: bool(ear.books) and ear.books[-1][0] == 14)
    assert [sequence for sequence, _, _ in ear.books] == [9, 10, 11, 12, 13, 14]
    assert ([state for state, _ in ear.states], len(asked)) == (["live"], 1)


async def delta(line: Line, *sequences: int) -> None:
    for before, sequence in pairwise(sequences):
        await line.say({"on": "book.A", "delta": [before, sequence, [[10.0, float(sequence)]], []]})


async def test_what_the_venue_takes_long_to_accept_keeps_the_old_connection_for_that_time(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    await asyncio.sleep(20.0)
    await trade(old, 1)
    await ear.until(lambda: ear.trades == ids(1))
    await new.say({"ok": "trades.A"})
    await old.gone()
    assert ear.states == [("live", "")]


async def test_a_stream_that_speaks_needs_no_acknowledgement(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    begun = now()
    await trade(new, 1)
    await old.gone()
    assert now() - begun < 5.0
    await ear.until(lambda: ear.trades == ids(1))
    assert ear.states == [("live", "")]


async def test_each_stream_of_a_shared_socket_is_carried_over(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    ears = {f"trades.{name}": Ear() for name in "ABC"}
    for name, ear in ears.items():
        pool.open(stream(name, on, dense=True), ear)
    old = await venue.line()
    await accept(old, 3)
    new = await venue.line()
    await accept(new, 3)
    await old.gone()
    for name, ear in ears.items():
        await trade(new, 1, name=name)
        await ear.until(lambda ear=ear: ear.trades == ids(1))  # type: ignore[misc]
        assert ear.states == [("live", "")]


async def test_what_is_subscribed_and_unsubscribed_meanwhile_is_so_on_both(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    first, second, third = Ear(), Ear(), Ear()
    pool.open(stream("trades.A", on, dense=True), first)
    leaving = pool.open(stream("trades.B", on, dense=True), second)
    old = await venue.line()
    await accept(old, 2)
    new = await venue.line()
    await new.hear_subscriptions(2)
    pool.close(leaving)
    pool.open(stream("trades.C", on, dense=True), third)
    for line in (old, new):
        assert [await line.hear(), await line.hear()] == [
            {"op": "unsub", "name": "trades.B"},
            {"op": "sub", "name": "trades.C"},
        ]
    await new.say({"ok": "trades.C"})
    await trade(old, 1)
    await trade(new, 1, 2)
    await first.until(lambda: first.trades == ids(1, 2))
    assert third.states == []  # what the new connection accepts says nothing of the old one
    await old.say({"ok": "trades.C"})
    await old.gone()
    await trade(new, 1, name="trades.C")
    await third.until(lambda: third.trades == ids(1))
    assert (first.states, third.states) == ([("live", "")], [("live", "")])


async def test_a_book_that_breaks_meanwhile_is_asked_for_afresh_on_both(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear = Ear()
    pool.open(stream("book.A", on), ear)
    old = await venue.line()
    await accept(old)
    await old.say({"on": "book.A", "snapshot": [7, [BID], [ASK]]})
    new = await venue.line()
    await new.hear()
    await old.say({"on": "book.A", "delta": [8, 9, [], []]})
    for line in (old, new):
        assert [(await line.hear())["op"] for _ in range(2)] == ["unsub", "sub"]
    await new.say({"ok": "book.A"})
    for line in (old, new):
        await line.say({"on": "book.A", "snapshot": [12, [BID], [ASK]]})
    await old.gone()
    await new.say({"on": "book.A", "delta": [12, 13, [], []]})
    await ear.until(lambda: [sequence for sequence, _, _ in ear.books] == [7, 12, 13])


async def test_some_seconds_later_a_stream_may_begin_its_numbers_anew(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await accept(new)
    await trade(old, 100)
    await old.gone()
    await asyncio.sleep(5.0)
    await trade(new, 101, 1)
    await ear.until(lambda: ear.trades == ids(100, 101, 1))


async def test_a_book_asked_for_afresh_right_after_may_begin_where_it_was(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear = Ear()
    pool.open(stream("book.A", on), ear)
    old = await venue.line()
    await accept(old)
    await old.say({"on": "book.A", "snapshot": [7, [BID], [ASK]]})
    new = await venue.line()
    await accept(new)
    await new.say({"on": "book.A", "snapshot": [7, [BID], [ASK]]})
    await old.say({"on": "book.A", "delta": [7, 8, [], []]})
    await old.gone()
    await new.say({"on": "book.A", "delta": [9, 10, [], []]})  # 9 was lost
    assert [(await new.hear())["op"] for _ in range(2)] == ["unsub", "sub"]
    await new.say({"on": "book.A", "snapshot": [10, [BID], [ASK]]})
    await ear.until(lambda: [sequence for sequence, _, _ in ear.books] == [7, 8, 10])


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def test_if_the_second_connection_fails_the_first_goes_on_and_it_is_tried_again_later(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    venue.refusal = (503, {})
    await asyncio.sleep(5 * LIFE)
    assert len(venue.handshakes) > 3
    tries = [later - at for at, later in pairwise(venue.handshakes[1:])]
    assert min(tries) >= 30.0
    await trade(old, 1)
    await ear.until(lambda: ear.trades == ids(1))
    venue.refusal = None
    await accept(await venue.line())
    await old.gone()
    assert ear.states == [("live", "")]


async def test_if_the_second_connection_is_lost_before_it_carries_everything_the_first_goes_on(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    failed, new = counted("failed"), await venue.line()
    await new.hear()
    await trade(old, 1, 2)
    await trade(new, 2, 3)
    await new.reset()
    await trade(old, 3, 4)
    await ear.until(lambda: ear.trades == ids(1, 2, 3, 4))
    await accept(await venue.line())  # the next try
    await old.gone()
    assert (ear.states, counted("failed")) == ([("live", "")], failed + 1)


async def test_the_loss_of_the_second_connection_is_noticed_at_once(venue: ToyVenue, on: Endpoint) -> None:
    pool = Pool("toy", Capabilities(**CAPABILITIES), rotation=Rotation(pause=1.0, rest=0.0))
    await opened(pool, venue, on)
    line = await venue.line()
    begun = now()
    await line.hear()
    await line.reset()
    await venue.line()  # the next try
    assert now() - begun < 5.0
    await pool.aclose()


async def test_a_refusal_on_the_second_connection_takes_nothing_from_the_first(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    await new.say({"no": "trades.A", "why": "too many"})
    await new.gone()
    await trade(old, 1)
    await ear.until(lambda: ear.trades == ids(1))
    assert (ear.refusals, ear.states) == ([], [("live", "")])


async def test_if_the_first_is_cut_before_the_second_carries_everything_only_the_rest_is_lost(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    carried, rest = Ear(), Ear()
    pool.open(stream("trades.A", on, dense=True), carried)
    pool.open(stream("trades.B", on, dense=True), rest)
    old = await venue.line()
    await accept(old, 2)
    await rest.until(lambda: rest.states == [("live", "")])
    new = await venue.line()
    await new.hear_subscriptions(2)
    await trade(new, 1)
    await trade(old, 1)
    await carried.until(lambda: carried.trades == ids(1))
    await old.reset()
    await rest.until(lambda: rest.states[-1] == ("reconnecting", "reset"))
    await new.say({"ok": "trades.B"})
    await trade(new, 2)
    await rest.until(lambda: rest.states[-1] == ("live", ""))
    await carried.until(lambda: carried.trades == ids(1, 2))
    assert (carried.states, venue.connections) == ([("live", "")], 2)


async def test_a_stream_the_second_connection_never_answers_for_is_treated_as_lost(
    pool: Pool, venue: ToyVenue, on: Endpoint
) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    begun = now()
    await old.gone()
    assert now() - begun == pytest.approx(32.0, abs=2.0)
    await ear.until(lambda: ear.states[-1] == ("reconnecting", "rotated"))
    await new.say({"ok": "trades.A"})
    await ear.until(lambda: ear.states[-1] == ("live", ""))


async def test_both_cut_together_is_a_loss_like_any_other(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    ear, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    await new.reset()
    await old.reset()
    await accept(await venue.line())
    await ear.until(lambda: ear.states[-1] == ("live", ""))
    assert [state for state, _ in ear.states][:2] == ["live", "reconnecting"]


async def test_a_socket_that_is_closed_meanwhile_closes_both(pool: Pool, venue: ToyVenue, on: Endpoint) -> None:
    _, old = await opened(pool, venue, on)
    new = await venue.line()
    await new.hear()
    await pool.aclose()
    await old.gone()
    await new.gone()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith(("connection", "rotation"))] == []


async def test_it_can_be_done_sooner_and_faster(venue: ToyVenue) -> None:
    quick = Rotation(begin=(0.5, 0.5), overlap=0.1)
    pool = Pool("toy", Capabilities(**CAPABILITIES), rotation=quick)
    _, old = await opened(pool, venue, endpoint(venue.url, lifetime=60.0))
    begun = now()
    await accept(await venue.line())
    await old.gone()
    assert now() - begun == pytest.approx(30.0, abs=1.0)
    await pool.aclose()
