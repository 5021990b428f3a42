"""The socket loop against a venue that misbehaves: it heals, and everyone is told what concerns them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from prometheus_client import REGISTRY

from exchanges.feed import State
from exchanges.gate import FIRST_PAUSE, LONGEST_PAUSE
from exchanges.pool import Pool
from tests.exchanges.toy_venue import Ear, Line, ToyVenue, endpoint, stream

pytestmark = pytest.mark.jumping_clock


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"gateway_upstream_{name}", {"exchange": "toy", **labels}) or 0.0


async def test_what_the_venue_says_about_a_stream_reaches_its_listener(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    assert await line.hear() == {"op": "sub", "name": "trades.A"}
    await line.say({"ok": "trades.A"})
    await line.say({"on": "trades.A", "trade": ["1", "100.5"]})
    await ear.until(lambda: ear.trades == ["1"])
    assert ear.states == [("live", "")]


@pytest.mark.parametrize(("end", "reason"), [(Line.hang_up, "closed"), (Line.reset, "reset")])
async def test_after_the_connection_ends_everything_is_subscribed_afresh(
    pool: Pool, venue: ToyVenue, end: Callable[[Line], Awaitable[None]], reason: str
) -> None:
    ears = [Ear(), Ear()]
    for name, ear in zip("AB", ears, strict=True):
        pool.open(stream(f"trades.{name}", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear_subscriptions(2)
    await end(line)
    line = await venue.line()
    assert await line.hear_subscriptions(2) == {"trades.A", "trades.B"}
    assert [ear.states for ear in ears] == [[("reconnecting", reason)]] * 2


async def test_data_flows_again_after_a_reconnect(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    for id in ("1", "2"):
        line = await venue.line()
        await line.hear()
        await line.say({"on": "trades.A", "trade": [id, "100"]})
        await ear.until(lambda id=id: id in ear.trades)
        await line.hang_up()
    assert (ear.trades, ear.states[:3]) == (["1", "2"], [("live", ""), ("reconnecting", "closed"), ("live", "")])


async def test_the_pauses_between_attempts_grow_up_to_a_bound(
    pool: Pool, venue: ToyVenue, caplog: pytest.LogCaptureFixture
) -> None:
    venue.manners = Line.hang_up
    pool.open(stream("trades.A", endpoint(venue.url)), Ear())
    await asyncio.sleep(20 * LONGEST_PAUSE)
    pauses = [record.retry_in for record in caplog.records if record.message == "upstream_lost"]
    bounds = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt) for attempt in range(len(pauses))]
    assert all(pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert max(pauses) > LONGEST_PAUSE / 4  # jittered over all of the bound: each of twenty is below it once in four


async def test_a_socket_that_has_spoken_is_connected_again_soon(
    pool: Pool, venue: ToyVenue, caplog: pytest.LogCaptureFixture
) -> None:
    async def say_one_word(line: Line) -> None:
        await line.hear()
        await line.say({"ok": "trades.A"})
        await line.hang_up()

    venue.manners = say_one_word
    pool.open(stream("trades.A", endpoint(venue.url)), Ear())
    await asyncio.sleep(15.0)
    pauses = [record.retry_in for record in caplog.records if record.message == "upstream_lost"]
    assert len(pauses) > 10
    assert max(pauses) <= FIRST_PAUSE


async def test_an_unreachable_venue_is_told_as_reconnecting(pool: Pool) -> None:
    ear = Ear()
    async with ToyVenue() as gone:
        url = gone.url
    pool.open(stream("trades.A", endpoint(url)), ear)
    await ear.until(lambda: len(ear.states) == 3)
    assert set(ear.states) == {("reconnecting", "refused")}


async def test_a_venue_that_never_answers_the_handshake_is_given_up(pool: Pool) -> None:
    async def keep_quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    ear = Ear()
    async with await asyncio.start_server(keep_quiet, "127.0.0.1", 0) as server:
        pool.open(stream("trades.A", endpoint(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}")), ear)
        await ear.until(lambda: bool(ear.states))
        await pool.aclose()
    assert ear.states == [("reconnecting", "open timeout")]


async def test_a_listener_that_fails_costs_its_socket_and_not_the_process(
    pool: Pool, venue: ToyVenue, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Ear):
        def on_events(self, events: object, received_ms: int) -> None:
            raise RuntimeError("our bug")

    pool.open(stream("trades.A", endpoint(venue.url)), Broken())
    line = await venue.line()
    await line.hear()
    await line.say({"on": "trades.A", "trade": ["1", "100"]})
    await (await venue.line()).hear()
    assert [record.levelname for record in caplog.records if record.message == "session_failed"] == ["ERROR"]


async def test_a_listener_that_fails_to_hear_of_a_loss_costs_neither_its_socket_nor_the_others(
    pool: Pool, venue: ToyVenue, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Ear):
        def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
            raise RuntimeError("our bug")

    other = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), Broken())
    pool.open(stream("trades.B", endpoint(venue.url)), other)
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.hang_up()
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"on": "trades.B", "trade": ["1", "100"]})
    await other.until(lambda: other.trades == ["1"])
    assert [record.levelname for record in caplog.records if record.message == "session_failed"] == ["ERROR"]


# -- silence -----------------------------------------------------------------------------------------------------------


async def test_a_silent_socket_is_given_up_after_the_idle_timeout(pool: Pool, venue: ToyVenue) -> None:
    ear, clock = Ear(), asyncio.get_running_loop().time
    pool.open(stream("trades.A", endpoint(venue.url, idle_timeout=30.0)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"ok": "trades.A"})
    begun = clock()
    await ear.until(lambda: len(ear.states) == 2)
    assert ear.states == [("live", ""), ("reconnecting", "idle")]
    assert 30.0 < clock() - begun < 33.0


async def test_any_message_keeps_a_socket_alive(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url, idle_timeout=30.0)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"ok": "trades.A"})
    for _ in range(5):
        await asyncio.sleep(25.0)
        await line.say({"odd": "heartbeat"})
    assert (ear.states, venue.connections) == ([("live", "")], 1)


async def test_a_venue_that_answers_no_ping_is_given_up_within_twenty_seconds(pool: Pool, venue: ToyVenue) -> None:
    ear, clock = Ear(), asyncio.get_running_loop().time
    pool.open(stream("trades.A", endpoint(venue.url, ping_interval=9.0)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"ok": "trades.A"})
    await ear.until(lambda: len(ear.states) == 1)
    line.freeze()
    begun = clock()
    await ear.until(lambda: len(ear.states) == 2)
    assert ear.states == [("live", ""), ("reconnecting", "ping timeout")]
    assert clock() - begun < 20.0  # the ping, as long again for its pong, and a second for a goodbye


async def test_a_venues_own_ping_is_sent_in_its_words_and_on_time(pool: Pool, venue: ToyVenue) -> None:
    clock = asyncio.get_running_loop().time
    pool.open(stream("trades.A", endpoint(venue.url, ping='{"op":"ping"}', ping_interval=15.0)), Ear())
    line = await venue.line()
    await line.hear()
    begun = clock()
    await line.say({"ok": "trades.A"})
    assert [await line.hear() for _ in range(2)] == [{"op": "ping"}] * 2
    assert 30.0 <= clock() - begun < 33.0


# -- closing -----------------------------------------------------------------------------------------------------------


async def test_the_last_feed_that_is_closed_says_goodbye_and_closes_its_socket(pool: Pool, venue: ToyVenue) -> None:
    before = counted("sockets")
    feed = pool.open(stream("trades.A", endpoint(venue.url)), Ear())
    line = await venue.line()
    await line.hear()
    assert counted("sockets") == before + 1
    pool.close(feed)
    assert await line.hear() == {"op": "unsub", "name": "trades.A"}
    await line.gone()
    assert (pool.sockets, counted("sockets")) == (0, before)


async def test_a_socket_told_to_close_stays_closed_when_it_turns_out_dead_meanwhile(
    pool: Pool, venue: ToyVenue
) -> None:
    feed = pool.open(stream("trades.A", endpoint(venue.url, idle_timeout=5.0)), Ear())
    line = await venue.line()
    await line.hear()
    line.freeze()  # the answer to our close frame never comes
    await asyncio.sleep(4.5)  # so that the idle timeout ends while we wait for it
    pool.close(feed)
    await asyncio.sleep(60.0)  # long enough for any reconnect
    assert (pool.sockets, venue.connections) == (0, 1)


async def test_a_venue_that_does_not_answer_our_close_is_left_all_the_same(pool: Pool, venue: ToyVenue) -> None:
    pool.open(stream("trades.A", endpoint(venue.url)), Ear())
    line = await venue.line()
    await line.hear()
    line.freeze()
    async with asyncio.timeout(5.0):
        await pool.aclose()
    assert pool.sockets == 0
