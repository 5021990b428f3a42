"""The JavaScript client against a real gateway that suffers: in the end it has what REST has, and nothing is unsaid."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.system import processes
from tests.web.node import WEB, needed

Report = dict[str, Any]
BTC = {"exchange": "binance", "symbol": "BTC/USDT:USDT"}
PATIENCE = 30.0


class Watcher:
    """``web/tests/watcher.js``, which says what it has when it is asked."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        self._running = running

    @property
    def report(self) -> Report:
        assert self._running.stdin and self._running.stdout
        self._running.stdin.write("\n")
        self._running.stdin.flush()
        found: Report = json.loads(self._running.stdout.readline())
        return found

    def until(self, condition: Callable[[Report], Any]) -> Report:
        """The first report of which it is true."""
        found: list[Report] = []

        def asked() -> bool:
            found.append(self.report)
            return bool(condition(found[-1]))

        processes.wait_for(asked, PATIENCE)
        return found[-1]

    def well(self, *, reconnects: int = 0) -> Report:
        """When all topics are live, and trades come."""
        before = len(self.report["ids"])
        return self.until(
            lambda now: (
                now["status"] == "open"
                and now["reconnects"] >= reconnects
                and len(now["ids"]) > before
                and all(states[-1:] == ["live"] for states in now["states"].values())
            )
        )


@contextmanager
def watcher(url: str) -> Iterator[Watcher]:
    command = ["node", "tests/watcher.js", url]
    with subprocess.Popen(command, cwd=WEB, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield Watcher(running)
        finally:
            running.kill()


@pytest.fixture(autouse=True)
def _node() -> None:
    needed()


@pytest.fixture
def watched(simulator: str) -> Iterator[tuple[str, Watcher]]:
    with processes.gateway(simulator, limits__heartbeat="1") as url, watcher(url) as one:
        one.well()
        yield url, one


@pytest.fixture(scope="module")
def simulator() -> Iterator[str]:
    with processes.simulator() as url:
        yield url


def told(report: Report) -> int:
    """How often it has heard that something is wrong, or well again."""
    return len(report["gaps"]) + sum(map(len, report["states"].values()))


def said_everything(report: Report) -> None:
    assert [gap for gap in report["gaps"] if gap["reason"] == "UNDECLARED"] == []
    assert len(report["ids"]) == len(set(report["ids"]))


def agrees(url: str, one: Watcher) -> None:
    """Books and candles are those of REST."""
    with httpx2.Client(base_url=url) as http:
        for kind, levels in (("delta", 50), ("full", 20)):
            book = http.post("/v1/fetchOrderBook", json={**BTC, "limit": levels}).json()
            nonce = str(book["nonce"])
            shown = one.until(lambda now, kind=kind, nonce=nonce: nonce in now["books"][kind])["books"][kind][nonce]  # type: ignore[misc]
            assert shown == {"bids": book["bids"], "asks": book["asks"]}
        rows = http.post("/v1/fetchOHLCV", json={**BTC, "limit": 50}).json()
        report = one.until(lambda now: now["candles"] and now["candles"][-1][0] >= rows[-1][0])
        held = {row[0]: row for row in report["candles"]}
        assert [held[row[0]] for row in rows[:-1]] == rows[:-1]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "reset"},
        {"kind": "drop", "channel": "orderbook", "symbol": "BTCUSDT"},
        {"kind": "drop", "channel": "trades", "symbol": "BTCUSDT"},
    ],
    ids=["reset", "a lost book event", "a lost message of trades"],
)
def test_what_the_venue_does_ends_well(watched: tuple[str, Watcher], simulator: str, fault: dict[str, str]) -> None:
    url, one = watched
    before = told(one.report)
    httpx2.post(f"{simulator}/control/faults", json={"venue": "binance", **fault}).raise_for_status()
    one.until(lambda now: told(now) > before)
    said_everything(one.well())
    agrees(url, one)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to stop"])
def test_a_gateway_that_ends_and_comes_back_is_found_again(simulator: str, how: signal.Signals) -> None:
    with processes.gateway(simulator) as first, watcher(first) as one:
        one.well()
        port = first.rpartition(":")[2]
        processes.RUNNING[first].send_signal(how)
        one.until(lambda now: now["status"] == "reconnecting")
        processes.RUNNING[first].wait(PATIENCE)
        with processes.gateway(simulator, port=port) as second:
            report = one.well(reconnects=1)
            assert {gap["reason"] for gap in report["gaps"]} == {"EPOCH_CHANGED"}
            said_everything(report)
            agrees(second, one)


def test_a_gateway_that_stands_still_is_left_and_found_again(watched: tuple[str, Watcher]) -> None:
    url, one = watched
    running = processes.RUNNING[url]
    running.send_signal(signal.SIGSTOP)
    try:
        report = one.until(lambda now: now["status"] == "reconnecting")
        assert report["statuses"][-1][1:] == [1006, "silent"]
    finally:
        running.send_signal(signal.SIGCONT)
    report = one.well(reconnects=1)
    said_everything(report)
    assert report["gaps"] == []
    agrees(url, one)
