"""Streams that share a socket: each is asked for, answered, refused and healed on its own."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from exchanges.errors import SubscribeFailed
from exchanges.feed import ANSWER_TIMEOUT
from exchanges.pool import Pool
from exchanges.socket import MAX_STRIKES
from tests.exchanges.toy_venue import NOW_MS, Ear, Line, ToyVenue, endpoint, snapshot, stream

pytestmark = pytest.mark.jumping_clock

SUB_A, UNSUB_A = {"op": "sub", "name": "trades.A"}, {"op": "unsub", "name": "trades.A"}
BID, ASK = (10.0, 1.0), (11.0, 1.0)


async def silence(line: Line) -> bool:
    """Whether the client says nothing for a minute."""
    try:
        async with asyncio.timeout(60.0):
            await line.hear()
    except TimeoutError:
        return True
    return False


async def test_a_stream_opened_later_is_subscribed_on_the_open_socket(pool: Pool, venue: ToyVenue) -> None:
    on = endpoint(venue.url)
    pool.open(stream("trades.A", on), Ear())
    line = await venue.line()
    await line.hear()
    pool.open(stream("trades.B", on), Ear())
    assert await line.hear() == {"op": "sub", "name": "trades.B"}
    assert venue.connections == 1


async def test_a_stream_closed_before_it_was_asked_for_is_never_asked_for(pool: Pool, venue: ToyVenue) -> None:
    on = endpoint(venue.url, subscribe_interval=1.0)
    pool.open(stream("trades.A", on), Ear())
    unwanted = pool.open(stream("trades.B", on), Ear())
    line = await venue.line()
    assert await line.hear() == SUB_A
    pool.close(unwanted)
    await line.say({"ok": "trades.A"})
    assert await silence(line)


async def test_a_stream_that_was_unsubscribed_and_never_asked_for_again_is_not_unsubscribed_again(
    pool: Pool, venue: ToyVenue
) -> None:
    on = endpoint(venue.url, subscribe_interval=1.0)
    feed = pool.open(stream("trades.A", on), Ear())
    pool.open(stream("trades.B", on), Ear())
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"ok": "trades.B"})
    pool.close(feed)
    assert await line.hear() == UNSUB_A
    pool.close(pool.open(stream("trades.A", on), Ear()))
    assert await silence(line)


async def test_a_closed_stream_is_unsubscribed_and_the_others_go_on(pool: Pool, venue: ToyVenue) -> None:
    on, ear = endpoint(venue.url), Ear()
    feed = pool.open(stream("trades.A", on), Ear())
    pool.open(stream("trades.B", on), ear)
    line = await venue.line()
    await line.hear_subscriptions(2)
    pool.close(feed)
    assert await line.hear() == UNSUB_A
    await line.say({"on": "trades.A", "trade": ["1", "100"]})  # was on its way
    await line.say({"on": "trades.B", "trade": ["2", "100"]})
    await ear.until(lambda: ear.trades == ["2"])


async def test_messages_are_sent_at_the_pace_the_venue_allows(pool: Pool, venue: ToyVenue) -> None:
    on, clock = endpoint(venue.url, subscribe_interval=0.5), asyncio.get_running_loop().time
    begun = clock()
    for name in "ABCD":
        pool.open(stream(f"trades.{name}", on), Ear())
    await (await venue.line()).hear_subscriptions(4)
    assert clock() - begun >= 3 * 0.5


async def test_a_subscription_without_an_answer_is_asked_for_again_alone(pool: Pool, venue: ToyVenue) -> None:
    on, clock = endpoint(venue.url), asyncio.get_running_loop().time
    for name in "AB":
        pool.open(stream(f"trades.{name}", on), Ear())
    line = await venue.line()
    await line.hear_subscriptions(2)
    begun = clock()
    await line.say({"ok": "trades.B"})
    assert [await line.hear(), await line.hear()] == [UNSUB_A, SUB_A]
    assert ANSWER_TIMEOUT - 0.1 <= clock() - begun < ANSWER_TIMEOUT + 2.0


async def test_on_a_slow_socket_an_unanswered_subscription_is_queued_once(pool: Pool, venue: ToyVenue) -> None:
    on = endpoint(venue.url, subscribe_interval=3.0)
    for name in "ABCDEF":
        pool.open(stream(f"trades.{name}", on), Ear())
    line = await venue.line()
    heard = []
    for _ in range(10):
        message = await line.hear()
        heard.append(message)
        if message["op"] == "sub" and message["name"] != "trades.A":
            await line.say({"ok": message["name"]})
    assert [message for message in heard if message["name"] == "trades.A"][:3] == [SUB_A, UNSUB_A, SUB_A]
    assert len([message for message in heard if message["name"] == "trades.A"]) <= 5


async def test_a_refusal_reaches_the_listener_it_concerns_and_no_other(pool: Pool, venue: ToyVenue) -> None:
    on, refused, other = endpoint(venue.url), Ear(), Ear()
    feed = pool.open(stream("trades.A", on), refused)
    refused.leave = lambda: pool.close(feed)
    pool.open(stream("trades.B", on), other)
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"no": "trades.A", "why": "no such coin"})
    await line.say({"on": "trades.B", "trade": ["1", "100"]})
    await other.until(lambda: other.trades == ["1"])
    assert [str(error) for error in refused.refusals] == ["toy refused the subscription: no such coin"]
    assert (other.refusals, venue.connections) == ([], 1)


async def test_a_refused_stream_is_not_asked_for_after_a_reconnect(pool: Pool, venue: ToyVenue) -> None:
    on, refused = endpoint(venue.url), Ear()
    feed = pool.open(stream("trades.A", on), refused)
    refused.leave = lambda: pool.close(feed)
    pool.open(stream("trades.B", on), Ear())
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"no": "trades.A", "why": "no such coin"})
    assert await line.hear() == UNSUB_A
    await line.hang_up()
    assert await (await venue.line()).hear_subscriptions(1) == {"trades.B"}


async def test_a_venues_essay_of_a_refusal_is_cut_short(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"no": "trades.A", "why": "x" * 10_000})
    await ear.until(lambda: bool(ear.refusals))
    assert isinstance(ear.refusals[0], SubscribeFailed)
    assert len(str(ear.refusals[0])) < 300


async def test_a_gap_in_one_book_resyncs_that_book_alone(pool: Pool, venue: ToyVenue) -> None:
    on, book, trades, asked = endpoint(venue.url), Ear(), Ear(), []

    async def rest() -> object:
        asked.append(None)
        return snapshot(8 if len(asked) == 1 else 20, [BID], [ASK])

    pool.open(stream("book.A", on, snapshot=rest), book)
    pool.open(stream("trades.A", on), trades)
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"on": "book.A", "delta": [7, 9, [], []]})
    await book.until(lambda: len(book.books) == 1)
    await line.say({"on": "book.A", "delta": [19, 21, [], []]})
    await line.say({"on": "trades.A", "trade": ["1", "100"]})
    await book.until(lambda: len(book.books) == 2)
    assert [state for state, _ in book.states] == ["live", "resyncing", "live"]
    assert (trades.trades, trades.states) == (["1"], [("live", "")])
    assert (len(asked), venue.connections) == (2, 1)


async def test_a_book_without_snapshots_by_rest_is_resynced_by_asking_afresh(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("book.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"on": "book.A", "snapshot": [7, [BID], [ASK]]})
    await line.say({"on": "book.A", "delta": [8, 9, [], []]})
    assert [(await line.hear())["op"] for _ in range(2)] == ["unsub", "sub"]
    await line.say({"on": "book.A", "snapshot": [12, [BID], [ASK]]})
    await ear.until(lambda: [sequence for sequence, _, _ in ear.books] == [7, 12])


async def test_a_broken_book_that_is_closed_before_it_is_asked_for_again_is_unsubscribed(
    pool: Pool, venue: ToyVenue
) -> None:
    on, ear = endpoint(venue.url), Ear()
    feed = pool.open(stream("book.A", on), ear)
    pool.open(stream("trades.A", on), Ear())
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"on": "book.A", "snapshot": [7, [ASK], [BID]]})
    assert [(await line.hear())["op"] for _ in range(2)] == ["unsub", "sub"]
    await line.say({"on": "book.A", "snapshot": [8, [ASK], [BID]]})
    await ear.until(lambda: ear.states.count(("resyncing", "crossed")) == 2)  # the second time there is a pause
    pool.close(feed)
    assert await line.hear() == {"op": "unsub", "name": "book.A"}


# -- a venue that closes the socket on what it does not like -----------------------------------------------------------


def touchy(*bad: str, silent: str = "") -> object:
    """Acknowledges what it likes, hangs up on ``bad`` names and ignores the ``silent`` one."""

    async def manners(line: Line) -> None:
        while True:
            message = await line.hear()
            if message["op"] == "sub" and message["name"] in bad:
                return await line.hang_up()
            if message["op"] == "sub" and message["name"] != silent:
                await line.say({"ok": message["name"]})

    return manners


async def test_a_lone_bad_coin_is_refused_after_its_second_connection(venue: ToyVenue, pool: Pool) -> None:
    venue.manners, ear = touchy("trades.bad"), Ear()
    feed = pool.open(stream("trades.bad", endpoint(venue.url, closes_on_refusal=True)), ear)
    ear.leave = lambda: pool.close(feed)
    await ear.until(lambda: bool(ear.refusals))
    assert str(ear.refusals[0]) == "toy refused the subscription: it closed the connection on it"
    assert (venue.connections, pool.sockets) == (MAX_STRIKES, 0)


async def test_one_bad_coin_among_good_ones_is_found_and_the_good_ones_live(venue: ToyVenue, pool: Pool) -> None:
    venue.manners, on = touchy("trades.bad"), endpoint(venue.url, closes_on_refusal=True)
    names = ["trades.A", "trades.bad", "trades.B", "trades.C"]
    ears = {name: Ear() for name in names}
    feeds = {name: pool.open(stream(name, on), ear) for name, ear in ears.items()}
    ears["trades.bad"].leave = lambda: pool.close(feeds["trades.bad"])
    await ears["trades.bad"].until(lambda: bool(ears["trades.bad"].refusals))
    for name in ("trades.A", "trades.B", "trades.C"):
        await ears[name].until(lambda name=name: ears[name].states[-1:] == [("live", "")])
        assert ears[name].refusals == []
    assert venue.connections <= 6


async def test_two_bad_coins_are_found_one_after_the_other(venue: ToyVenue, pool: Pool) -> None:
    venue.manners, on = touchy("trades.bad", "trades.worse"), endpoint(venue.url, closes_on_refusal=True)
    names = ["trades.bad", "trades.A", "trades.worse"]
    ears = {name: Ear() for name in names}
    feeds = {name: pool.open(stream(name, on), ear) for name, ear in ears.items()}
    for bad in ("trades.bad", "trades.worse"):
        ears[bad].leave = lambda bad=bad: pool.close(feeds[bad])
    for bad in ("trades.bad", "trades.worse"):
        await ears[bad].until(lambda bad=bad: bool(ears[bad].refusals))
    await ears["trades.A"].until(lambda: ears["trades.A"].states[-1:] == [("live", "")])
    assert ears["trades.A"].refusals == []


async def test_while_one_is_asked_at_a_time_a_silent_one_does_not_hold_up_the_rest(venue: ToyVenue, pool: Pool) -> None:
    venue.manners = touchy("trades.bad", silent="trades.silent")
    on = endpoint(venue.url, closes_on_refusal=True)
    ears = {name: Ear() for name in ("trades.silent", "trades.bad", "trades.A")}
    feeds = {name: pool.open(stream(name, on), ear) for name, ear in ears.items()}
    ears["trades.bad"].leave = lambda: pool.close(feeds["trades.bad"])
    await ears["trades.A"].until(lambda: ears["trades.A"].states[-1:] == [("live", "")])
    assert ears["trades.silent"].refusals == []


async def test_a_coin_that_has_spoken_is_not_blamed_for_a_closed_socket(venue: ToyVenue, pool: Pool) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url, closes_on_refusal=True)), ear)
    for _ in range(2 * MAX_STRIKES):
        line = await venue.line()
        await line.hear()
        await line.say({"ok": "trades.A"})
        await line.hang_up()
    await venue.line()
    assert ear.refusals == []


async def test_a_coin_is_not_blamed_for_a_socket_that_closes_much_later(venue: ToyVenue, pool: Pool) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url, closes_on_refusal=True)), ear)
    for _ in range(2 * MAX_STRIKES):
        line = await venue.line()
        await line.hear()
        await asyncio.sleep(3.0)
        await line.hang_up()
    await venue.line()
    assert ear.refusals == []


async def test_elsewhere_a_closed_socket_is_nobodys_fault(venue: ToyVenue, pool: Pool) -> None:
    venue.manners, ear = touchy("trades.A"), Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    await ear.until(lambda: len(ear.states) == 2 * MAX_STRIKES)
    assert ear.refusals == []


async def test_the_time_of_an_event_is_the_injected_clocks(venue: ToyVenue, pool: Pool) -> None:
    times: list[int] = []

    class Timing(Ear):
        def on_events(self, events: Sequence[Any], received_ms: int) -> None:
            times.append(received_ms)
            super().on_events(events, received_ms)

    ear = Timing()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.say({"on": "trades.A", "trade": ["1", "100"]})
    await ear.until(lambda: ear.trades == ["1"])
    assert times == [NOW_MS]
