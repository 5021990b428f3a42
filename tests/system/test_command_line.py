"""``market-gateway`` as a newcomer meets it: it starts with one command, and says in one line why it cannot."""

import asyncio
import os
import socket
import sys

import httpx2
import pytest

from gateway.settings import variables
from tests.system import processes


async def run(*arguments: str, **environment: str) -> tuple[int | None, str]:
    """Exit status and everything printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        env={**clean, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(processes.START_TIMEOUT):
        output, _ = await running.communicate()
    return running.returncode, output.decode().strip()


async def test_demo_serves_all_venues_offline() -> None:
    with processes.process("gateway", "demo", environment={"GATEWAY_PORT": "0"}) as url:
        async with httpx2.AsyncClient(base_url=url) as http:
            with processes.httpx2.Client(base_url=url) as waiting:
                processes.wait_for(lambda: processes.ready(waiting))
            offered = (await http.get("/v1/capabilities")).json()["exchanges"]
            for exchange in ("binance", "bybit", "hyperliquid"):
                markets = (await http.post("/v1/fetchMarkets", json={"exchange": exchange})).json()["markets"]
                assert len(markets) >= 5
    assert {row["exchange"] for row in offered} == {"binance", "bybit", "hyperliquid"}


async def test_the_demo_alone_hands_its_page_the_switch_for_faults(gateway_url: str) -> None:
    with processes.process("gateway", "demo", environment={"GATEWAY_PORT": "0"}) as url:
        processes.wait_for_ready(url)
        async with httpx2.AsyncClient(base_url=url) as http:
            fault = (await http.post("/demo/faults", json={"venue": "bybit", "kind": "drop", "count": 2})).json()["id"]
            assert [row["id"] for row in (await http.get("/demo/faults")).json()["active"]] == [fault]
            assert (await http.delete("/demo/faults", params={"id": fault})).json() == {"removed": 1}
            assert (await http.post("/demo/faults", json={"venue": "bybit", "kind": "fire"})).status_code == 400
            assert "/demo/faults" in (await http.get("/")).json()["paths"]
    async with httpx2.AsyncClient(base_url=gateway_url) as http:
        assert (await http.get("/demo/faults")).status_code == 404
        assert "/demo/faults" not in (await http.get("/")).json()["paths"]


@pytest.mark.parametrize("command", ["serve", "demo"])
async def test_a_busy_port_is_one_line_that_names_the_setting(command: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, output = await run(command, GATEWAY_PORT=str(port))
    assert status == 1
    assert output == f"market-gateway: port {port} is taken; set GATEWAY_PORT to another, say {port + 1}"


async def test_a_misspelt_setting_names_the_closest_one() -> None:
    status, output = await run("config", GATEWAY_PROT="1")
    assert (status, output) == (1, "market-gateway: GATEWAY_PROT is not a setting; did you mean GATEWAY_PORT?")


async def test_an_unknown_exchange_names_those_that_are() -> None:
    status, output = await run("serve", GATEWAY_EXCHANGES="binance,mtgox")
    assert status == 1
    assert "mtgox" in output and "hyperliquid" in output and output.count("\n") == 0


async def test_another_address_without_authentication_must_be_meant() -> None:
    status, output = await run("serve", GATEWAY_HOST="0.0.0.0")
    assert status == 1
    assert "GATEWAY_AUTH__ALLOW_ANONYMOUS=true" in output and output.count("\n") == 0


async def test_config_prints_every_setting_in_force() -> None:
    status, output = await run("config", GATEWAY_PORT="9999")
    assert status == 0
    assert '"port": 9999' in output
    assert all(f'"{name.removeprefix("GATEWAY_").rsplit("__", 1)[-1].lower()}"' in output for name in variables())
