"""The smoke scripts against a real gateway, against none, and against something else."""

import asyncio
import re
import shutil

import pytest

from scripts.smoke_checks import CHANNELS
from tests.scripts.conftest import ROOT, Outcome, python, run

EXCHANGES = ("binance", "bybit", "hyperliquid")
LINE = re.compile(r"(PASS|FAIL|SKIP)  (\S+) +(.+?)(?:  .*)?")
STREAM_CHECKS = ("ack before data", "first data", "shape", "topic echo", "cursor rises", "unsubscribe")
GATEWAY_CHECKS = [f"GET {path}" for path in ("/healthz", "/readyz", "/v1/capabilities", "/v1/status", "/metrics")]
EXCHANGE_CHECKS = [
    *(f"POST /v1/fetch{what}" for what in ("Markets", "Trades", "OHLCV", "OrderBook")),
    *(f"ws {channel}: {check}" for channel in CHANNELS for check in STREAM_CHECKS),
    "ws ping",
    "ws only base frames",
]


def checked(outcome: Outcome) -> list[tuple[str, str, str]]:
    """Verdict, exchange and name of each check, in order."""
    matches = [LINE.fullmatch(line) for line in outcome.lines[:-1]]
    return [(match[1], match[2], match[3]) for match in matches if match]


async def test_every_check_of_every_exchange_passes_against_a_demo_gateway(demo_url: str) -> None:
    outcome = await python("smoke_endpoints.py", "--base-url", demo_url)

    wanted = [("PASS", "gateway", name) for name in GATEWAY_CHECKS]
    wanted += [("PASS", exchange, name) for exchange in EXCHANGES for name in EXCHANGE_CHECKS]
    assert checked(outcome) == wanted
    assert outcome.lines[-1] == f"{len(wanted)} passed, 0 failed"
    assert (outcome.status, outcome.errors) == (0, "")


@pytest.mark.skipif(shutil.which("pwsh") is None, reason="PowerShell 7 is not installed")
async def test_the_powershell_script_finds_the_same(demo_url: str) -> None:
    theirs = await run("pwsh", "-NoProfile", "scripts/smoke_endpoints.ps1", "-BaseUrl", demo_url)
    ours = await python("smoke_endpoints.py", "--base-url", demo_url)
    assert checked(theirs) == checked(ours)
    assert (theirs.status, theirs.lines[-1]) == (0, ours.lines[-1])


@pytest.mark.parametrize("name", [*GATEWAY_CHECKS, *EXCHANGE_CHECKS])
def test_the_powershell_script_has_a_check_of_every_name(name: str) -> None:
    folder = ROOT / "scripts"
    text = "".join((folder / file).read_text() for file in ("smoke_endpoints.ps1", "smoke_checks.ps1"))
    written = re.sub(r"^ws \w+:", "ws ${Stream}:", name)
    assert re.search(rf"Test-Check \S+ ['\"]{re.escape(written)}['\"]", text)


async def test_a_spot_market_can_be_named_where_the_name_would_also_mean_the_perpetual(demo_url: str) -> None:
    which = ("--exchange", "binance", "--symbol", "BTC/USDT", "--wait-seconds", "0.5")
    outcome = await python("smoke_endpoints.py", "--base-url", demo_url, *which)
    verdicts = {name: verdict for verdict, exchange, name in checked(outcome) if exchange == "binance"}
    assert [line for line in outcome.lines if line.endswith("markets, BTC/USDT chosen")]
    assert all(verdicts[f"POST /v1/fetch{what}"] == "PASS" for what in ("Trades", "OHLCV", "OrderBook"))


async def test_a_market_that_is_not_listed_fails_and_names_some_that_are(demo_url: str) -> None:
    outcome = await python("smoke_endpoints.py", "--base-url", demo_url, "--exchange", "bybit", "--symbol", "NO/NE")
    failed = [line for line in outcome.lines if line.startswith("FAIL")]
    assert outcome.status == 1
    assert len(failed) == 1
    assert "NO/NE is not listed; BTC/USDT:USDT, " in failed[0]


async def test_an_exchange_that_is_not_offered_fails_in_the_gateways_words(demo_url: str) -> None:
    outcome = await python("smoke_endpoints.py", "--base-url", demo_url, "--exchange", "mtgox")
    assert outcome.status == 1
    assert outcome.lines[-1] == "5 passed, 1 failed"
    assert "UNSUPPORTED_EXCHANGE" in outcome.lines[-2]


async def test_without_a_gateway_it_fails_in_one_clear_line() -> None:
    outcome = await python("smoke_endpoints.py", "--base-url", "http://127.0.0.1:1")
    assert (outcome.status, outcome.errors, len(outcome.lines)) == (1, "", 1)
    assert outcome.lines[0].startswith("FAIL  http://127.0.0.1:1/healthz does not answer: ")
    assert outcome.lines[0].endswith("is the gateway running? `market-gateway demo` starts one")


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers, but is no market-gateway"),
        (b"+PONG\r\n", "does not answer: "),
    ],
)
async def test_another_server_on_the_port_is_told_from_a_gateway(answer: bytes, line: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        outcome = await python("smoke_endpoints.py", "--base-url", f"http://127.0.0.1:{port}")

    assert (outcome.status, outcome.errors, len(outcome.lines)) == (1, "", 1)
    assert line in outcome.lines[0]
