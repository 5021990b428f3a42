"""What a venue sends is read, or dropped and counted; too much of it that cannot be read ends the socket."""

import asyncio
from collections import Counter

import pytest
from prometheus_client import REGISTRY

from exchanges.direct import AT_ONCE
from exchanges.pool import Pool
from tests.exchanges.toy_venue import Ear, ToyVenue, endpoint, stream

pytestmark = pytest.mark.jumping_clock


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"gateway_upstream_{name}", {"exchange": "toy"}) or 0.0


async def test_an_unreadable_message_is_dropped_and_counted(pool: Pool, venue: ToyVenue) -> None:
    ear, before = Ear(), counted("bad_messages_total")
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    for text in ("<html>", "{", "[]", '"text"', '{"on":"trades.A","trade":["2","NaN"]}', b"\xff\x00"):
        await line.say(text)
    await line.say({"on": "trades.A", "trade": ["3", "100"]})
    await ear.until(lambda: ear.trades == ["3"])
    assert (counted("bad_messages_total") - before, venue.connections) == (6, 1)


async def test_every_feed_of_the_socket_that_has_spoken_is_told_of_an_unreadable_message(
    pool: Pool, venue: ToyVenue
) -> None:
    trades, silent, book = Ear(), Ear(), Ear()
    where = endpoint(venue.url)
    for name, ear in (("trades.A", trades), ("trades.B", silent), ("book.A", book)):
        pool.open(stream(name, where), ear)
    line = await venue.line()
    await line.hear_subscriptions(3)
    await line.say({"on": "trades.A", "trade": ["1", "100"]})
    await line.say({"on": "book.A", "snapshot": [1, [[10, 1]], [[11, 1]]]})

    await line.say("<html>")
    await trades.until(lambda: trades.unreadable == 1)

    assert (silent.unreadable, book.unreadable) == (0, 0)  # what never spoke has lost nothing; a book sees for itself


async def test_more_than_ten_unreadable_messages_a_minute_end_the_socket(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    for _ in range(10):
        await line.say("rubbish")
    await asyncio.sleep(1.0)
    assert ear.states == []
    await line.say("rubbish")
    await ear.until(lambda: ear.states == [("reconnecting", "bad messages")])


async def test_a_fresh_socket_starts_with_a_clean_record(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    for _ in range(11):
        await line.say("rubbish")
    line = await venue.line()
    await line.hear()
    await line.say("rubbish")
    await line.say({"on": "trades.A", "trade": ["1", "100"]})
    await ear.until(lambda: ear.trades == ["1"])
    assert venue.connections == 2


async def test_unreadable_messages_that_are_rare_are_put_up_with(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"ok": "trades.A"})
    for _ in range(14):
        await line.say("rubbish")
        await asyncio.sleep(6.5)
    assert (ear.states, venue.connections) == ([("live", "")], 1)


async def test_unreadable_messages_are_logged_once_a_second_at_most(
    pool: Pool, venue: ToyVenue, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    for _ in range(5):
        await line.say("rubbish")
    await asyncio.sleep(1.5)
    await line.say("rubbish")
    await asyncio.sleep(0.1)
    assert [record.message for record in caplog.records].count("bad_message") == 2


@pytest.mark.parametrize("about", [{}, {"on": "trades.A"}, {"on": "trades.never-asked"}])
async def test_a_message_of_an_unknown_kind_is_counted_and_logged_once(
    pool: Pool, venue: ToyVenue, caplog: pytest.LogCaptureFixture, about: dict[str, str]
) -> None:
    ear, before, kind = Ear(), counted("unknown_messages_total"), f"kind {about}"
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    for _ in range(3):
        await line.say({**about, "odd": kind})
    await line.say({"on": "trades.A", "trade": ["1", "100"]})
    await ear.until(lambda: ear.trades == ["1"])
    logged = [record.kind for record in caplog.records if record.message == "unknown_message"]
    assert (counted("unknown_messages_total") - before, logged) == (3, [kind])


async def test_data_of_a_stream_nobody_asked_for_is_ignored(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"on": "trades.B", "trade": ["1", "100"]})
    await line.say({"on": "trades.A", "trade": ["2", "100"]})
    await ear.until(lambda: bool(ear.trades))
    assert (ear.trades, venue.connections) == (["2"], 1)


async def test_a_flood_leaves_the_loop_its_turns(pool: Pool, venue: ToyVenue) -> None:
    loop, turn, turns = asyncio.get_running_loop(), 0, []

    def count() -> None:
        nonlocal turn
        turn += 1
        ticking[0] = loop.call_soon(count)

    class Counting(Ear):
        def on_events(self, events: object, received_ms: int) -> None:
            turns.append(turn)
            super().on_events([], received_ms)

    ear = Counting()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    ticking = [loop.call_soon(count)]
    for id in range(1_000):
        await line.say({"on": "trades.A", "trade": [str(id), "1"]})
    await ear.until(lambda: len(turns) == 1_000)
    ticking[0].cancel()
    assert max(Counter(turns).values()) <= AT_ONCE
