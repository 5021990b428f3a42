"""How a handshake fails and how a connection ends: each in a word that is told, counted, and one of a few."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from prometheus_client import REGISTRY
from websockets.exceptions import ConnectionClosed

from exchanges.connection import ENDINGS, MAX_MESSAGE, HandshakeFailed, shake_hands
from exchanges.pool import Pool
from tests.exchanges.toy_venue import Ear, Line, ToyVenue, endpoint, stream

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

jumping = pytest.mark.jumping_clock


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"gateway_upstream_{name}_total", {"exchange": "toy", **labels}) or 0.0


async def opened(pool: Pool, venue: ToyVenue) -> tuple[Ear, Line]:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"ok": "trades.A"})
    await ear.until(lambda: ear.states == [("live", "")])
    return ear, line


# -- there is none -----------------------------------------------------------------------------------------------------


@jumping
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ((503, {}), "http error"),
        ((403, {}), "http error"),
        ((200, {}), "http error"),
        ((302, {}), "redirect"),
        ((429, {"Retry-After": "7"}), "http error"),
    ],
)
async def test_a_refused_handshake_says_with_which_status(
    venue: ToyVenue, refusal: tuple[int, dict[str, str]], reason: str
) -> None:
    venue.refusal = refusal
    with pytest.raises(HandshakeFailed) as failed:
        await shake_hands(endpoint(venue.url))
    assert (failed.value.reason, failed.value.status) == (reason, refusal[0])
    assert failed.value.headers.get("retry-after") == refusal[1].get("Retry-After")


@jumping
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(venue: ToyVenue, status: int) -> None:
    async with ToyVenue() as elsewhere:
        venue.refusal = (status, {"Location": elsewhere.url})
        with pytest.raises(HandshakeFailed):
            await shake_hands(endpoint(venue.url))
        assert elsewhere.handshakes == []


@jumping
async def test_a_header_that_comes_twice_is_no_failure_of_ours() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 No\r\nRetry-After: 5\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n")

    failed = await failing(answer)
    assert failed.status == 429


async def failing(answer: Answer, *, scheme: str = "ws", **differences: float) -> HandshakeFailed:
    """How a handshake fails with a server that answers so."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            done.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        on = endpoint(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(HandshakeFailed) as failed:
            await shake_hands(on, **differences)
        await done.wait()
    return failed.value


@jumping
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"", "bad handshake"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "bad handshake"),
        (b"HTTP/1.1 101 Yes\r\n\r\n", "bad handshake"),
    ],
    ids=["hangs up", "no web server", "no key"],
)
async def test_what_is_no_handshake_is_told_as_such(words: bytes, reason: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(words)

    assert (await failing(answer)).reason == reason


@jumping
async def test_a_name_that_is_not_found_is_told_as_such() -> None:
    with pytest.raises(HandshakeFailed) as failed:
        await shake_hands(endpoint("ws://venue.invalid/"))
    assert failed.value.reason == "dns"


@jumping
async def test_a_venue_that_speaks_no_tls_is_told_as_such() -> None:
    async def speak_openly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(1) == b"\x16"  # and not "G"
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    assert (await failing(speak_openly, scheme="wss")).reason == "tls"


async def test_a_handshake_that_hangs_is_given_up() -> None:
    async def keep_quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    assert (await failing(keep_quiet, open_timeout=0.05)).reason == "open timeout"


# -- it ends -----------------------------------------------------------------------------------------------------------


async def half_a_frame(line: Line) -> None:
    line.drip(b'\x81\x7e\x01\x00{"on":"trades.A","trade":["1","100"]}')
    await asyncio.sleep(0.1)  # on a clock that jumps: until it has arrived
    await line.reset()


async def nonsense(line: Line) -> None:
    line.drip(b"\xff\xff\xff\xff")


async def going_away(line: Line) -> None:
    await line.hang_up(1001)


async def restarting(line: Line) -> None:
    await line.hang_up(1012)


async def breaking_the_rules(line: Line) -> None:
    await line.hang_up(1008)


async def announced(line: Line) -> None:
    await line.say({"leaving": "maintenance"})
    await line.hang_up()


@jumping
@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Line.hang_up, "closed"),
        (Line.reset, "reset"),
        (half_a_frame, "reset"),
        (nonsense, "protocol error"),
        (going_away, "maintenance"),
        (restarting, "maintenance"),
        (breaking_the_rules, "closed"),
        (announced, "maintenance"),
    ],
)
async def test_a_connections_end_is_told_and_counted_by_its_reason(
    pool: Pool, venue: ToyVenue, end: Callable[[Line], Awaitable[None]], reason: str
) -> None:
    ear, line = await opened(pool, venue)
    before = counted("disconnects", reason=reason)
    await end(line)
    await ear.until(lambda: len(ear.states) > 1)
    assert ear.states[1] == ("reconnecting", reason)
    assert (ear.trades, counted("disconnects", reason=reason)) == ([], before + 1)
    assert reason in ENDINGS


@jumping
async def test_a_connection_a_stream_gives_up_is_replaced_for_all_it_carries(pool: Pool, venue: ToyVenue) -> None:
    ear, other, before = Ear(), Ear(), counted("disconnects", reason="abandoned")
    pool.open(stream("trades.A", endpoint(venue.url)), ear)
    pool.open(stream("trades.B", endpoint(venue.url)), other)
    line = await venue.line()
    await line.hear_subscriptions(2)
    await line.say({"ok": "trades.B"})  # and of the other not a word, however often it is asked for
    assert await (await venue.line()).hear_subscriptions(2) == {"trades.A", "trades.B"}
    assert [ear.states[-1], other.states[-1]] == [("reconnecting", "no answer")] * 2
    assert counted("disconnects", reason="abandoned") == before + 1


@jumping
async def test_a_loss_is_told_before_a_dead_peer_has_answered_our_goodbye(pool: Pool, venue: ToyVenue) -> None:
    ear = Ear()
    pool.open(stream("trades.A", endpoint(venue.url, idle_timeout=3.0)), ear)
    line = await venue.line()
    await line.hear()
    await line.say({"ok": "trades.A"})
    await ear.until(lambda: ear.states == [("live", "")])
    line.freeze()
    begun = asyncio.get_running_loop().time()
    await ear.until(lambda: len(ear.states) == 2)
    assert asyncio.get_running_loop().time() - begun < 3.0 + 1.0 + 0.1  # the next look after it was due, and no more


# -- what it may say ---------------------------------------------------------------------------------------------------


@jumping
@pytest.mark.parametrize("raw", [b"\xff\xfe\xfd", b'{"on":"trades.A","trade":["1","\xc3\x28"]}'])
async def test_bad_utf8_is_counted_and_survived(pool: Pool, venue: ToyVenue, raw: bytes) -> None:
    ear, line = await opened(pool, venue)
    before = counted("bad_messages")
    await line.say_as_text(raw)
    await line.say({"on": "trades.A", "trade": ["2", "100"]})
    await ear.until(lambda: ear.trades == ["2"])
    assert (counted("bad_messages"), venue.connections) == (before + 1, 1)


@jumping
async def test_a_huge_message_is_refused_on_its_header(pool: Pool, venue: ToyVenue) -> None:
    ear, line = await opened(pool, venue)
    line.drip(b"\x82\x7f" + (MAX_MESSAGE + 1).to_bytes(8, "big"))
    await ear.until(lambda: len(ear.states) > 1)
    assert ear.states[1] == ("reconnecting", "too big")


async def test_a_huge_message_does_not_hold_up_the_loop(pool: Pool, venue: ToyVenue) -> None:
    ear, line = await opened(pool, venue)
    longest, stop = 0.0, asyncio.Event()

    async def beat() -> None:
        nonlocal longest
        while not stop.is_set():
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            longest = max(longest, time.perf_counter() - before)

    beating = asyncio.create_task(beat())
    with suppress(ConnectionClosed):
        await line.say(bytes(4 * MAX_MESSAGE))
    await ear.until(lambda: len(ear.states) > 1)
    stop.set()
    await beating
    assert longest < 0.25
