"""``market_stream.py`` as people run it: beside a real gateway, into a pipe and in a terminal."""

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Iterator

import pytest

from tests.scripts.conftest import ROOT, Outcome, python
from tests.system import processes

ASKED = ("--exchange", "binance", "--symbol", "BTC/USDT:USDT")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
NUMBER = r"[\d.]+"
LINES = {
    "trades": rf"{TIME} (buy |sell) {NUMBER} {NUMBER} {NUMBER}",
    "orderbook": rf"{TIME} bid {NUMBER} {NUMBER} of {NUMBER} ask {NUMBER} {NUMBER} of {NUMBER} "
    rf"spread {NUMBER} mid {NUMBER}",
    "ohlcv": rf"{TIME}( {NUMBER}){{5}} (forming|closed)( repair)?",
}
TOPICS = {"trades": "", "orderbook": " levels=5", "ohlcv": " timeframe=5m"}
AT_LEAST = {"trades": 4, "orderbook": 4, "ohlcv": 200 + 3}  # the past is one update of all its rows
OPTIONS = {"trades": (), "orderbook": ("--levels", "5"), "ohlcv": ("--timeframe", "5m")}


@pytest.fixture(scope="module")
def gateway_url(simulator_url: str) -> Iterator[str]:
    with processes.gateway(simulator_url) as url:
        yield url.replace("http://", "ws://") + "/v1/ws"


async def both_ways(simulator_url: str, gateway_url: str, *arguments: str) -> tuple[Outcome, Outcome]:
    """Through the gateway, and straight from the exchange."""
    return await asyncio.gather(
        python("market_stream.py", *arguments, "--url", gateway_url),
        python("market_stream.py", *arguments, "--direct", environment=processes.simulated(simulator_url)),
    )


@pytest.mark.parametrize("channel", LINES)
async def test_a_pipe_gets_lines_until_there_were_enough_updates(
    simulator_url: str, gateway_url: str, channel: str
) -> None:
    arguments = (channel, *ASKED, *OPTIONS[channel], "--iterations", "4")
    for outcome in await both_ways(simulator_url, gateway_url, *arguments):
        told = [line for line in outcome.lines if line.startswith("#")]
        rows = [line for line in outcome.lines if not line.startswith("#")]
        assert outcome.status == 0, outcome.errors
        assert told[0].startswith(f"# {channel} of binance BTC/USDT:USDT{TOPICS[channel]}: ")
        assert len(rows) >= AT_LEAST[channel]
        assert [row for row in rows if not re.fullmatch(LINES[channel], row)] == []
        assert re.fullmatch(r"market_stream: 4 updates and 0 gaps in [\d.]+ s\n", outcome.errors)


async def test_it_ends_when_the_time_is_over(gateway_url: str) -> None:
    outcome = await python("market_stream.py", "orderbook", *ASKED, "--url", gateway_url, "--duration-secs", "0.5")
    assert outcome.status == 0
    assert re.fullmatch(r"market_stream: \d+ updates and 0 gaps in 0\.[5-9] s\n", outcome.errors)


async def test_without_a_gateway_it_says_what_to_start() -> None:
    outcome = await python("market_stream.py", "trades", *ASKED, "--url", "ws://127.0.0.1:1/v1/ws")
    assert (outcome.status, outcome.lines) == (1, [])
    assert outcome.errors.startswith("market_stream: no gateway at ws://127.0.0.1:1/v1/ws (")
    assert "`market-gateway demo`" in outcome.errors


async def test_an_option_of_another_channel_is_no_option() -> None:
    outcome = await python("market_stream.py", "trades", *ASKED, "--levels", "5")
    assert outcome.status == 2
    assert outcome.errors.endswith("error: --levels is for orderbook\n")


class Screen:
    """The script in a terminal of its own."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self._arguments, self._theirs = arguments, theirs
        self.text = ""
        self._news = asyncio.Event()

    async def __aenter__(self) -> "Screen":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
        self.running = await asyncio.create_subprocess_exec(
            sys.executable,
            "scripts/market_stream.py",
            *self._arguments,
            cwd=ROOT,
            env={**clean, "TERM": "xterm-256color"},
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
        )
        os.close(self._theirs)
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        if self.running.returncode is None:
            self.running.kill()
            await self.running.wait()

    def _read(self) -> None:
        try:
            self.text += os.read(self._ours, 65536).decode(errors="replace")
        except OSError:  # Linux's way to say that nobody is at the other end any more
            asyncio.get_running_loop().remove_reader(self._ours)
        self._news.set()

    async def until(self, words: str) -> None:
        async with asyncio.timeout(processes.PATIENCE):
            while words not in self.text:
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> int:
        async with asyncio.timeout(processes.PATIENCE):
            return await self.running.wait()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_terminal_is_drawn_on_and_given_back_with_the_last_picture(
    gateway_url: str, number: signal.Signals, status: int
) -> None:
    async with Screen("orderbook", *ASKED, "--url", gateway_url) as screen:
        await screen.until("cumulative")
        screen.running.send_signal(number)
        assert await screen.ended() == status
        await screen.until("updates and 0 gaps in")
    picture, left, after = screen.text.partition("\x1b[?1049l")
    assert "\x1b[?1049h" in picture
    assert left
    assert "cumulative" in after


async def test_a_refusal_in_a_terminal_leaves_its_words_alone_there(gateway_url: str) -> None:
    asked = ("trades", "--exchange", "mtgox", "--symbol", "BTC/USDT")
    async with Screen(*asked, "--url", gateway_url) as screen:
        assert await screen.ended() == 2
        await screen.until("UNSUPPORTED_EXCHANGE: no such exchange here; offered: binance, bybit, hyperliquid")
    assert "waiting" not in screen.text.rpartition("\x1b[?1049l")[2]
