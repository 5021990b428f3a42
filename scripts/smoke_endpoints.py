"""Asks a running gateway for everything it offers, once, and says what is not as promised.

    python scripts/smoke_endpoints.py [--base-url http://127.0.0.1:8787] [--exchange all] [--symbol BTC/USDT:USDT]

One line a check, PASS or FAIL, then a summary; the exit status is 1 if anything failed. Needs the standard library and
websockets. What is right is in ``smoke_checks.py``. ``smoke_endpoints.ps1`` asks the same in PowerShell: change both.
"""

import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from typing import Any

import smoke_checks as checks
from smoke_checks import CHANNELS, Transcript, Wrong, expect
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

FRAMES = 3  # of data on each channel, before it is unsubscribed
REQUEST_ID = "smoke-endpoints"
REQUEST_TIMEOUT = 15.0  # seconds; the gateway gives a venue ten
LIMIT = 20  # rows asked of the fetch endpoints

# An environment's HTTP proxy knows nothing of a gateway on this machine or in this network.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Skipped(Exception):
    """Cannot be judged from here; ``str()`` says why."""


class Report:
    """A line a check, and the count of each outcome."""

    def __init__(self) -> None:
        self.count = {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def check(self, where: str, name: str, look: Callable[[], str]) -> None:
        """``look`` gives what is worth telling, or raises."""
        try:
            verdict, detail = "PASS", look()
        except Skipped as reason:
            verdict, detail = "SKIP", str(reason)
        except (Wrong, OSError) as problem:
            verdict, detail = "FAIL", str(problem)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            verdict, detail = "FAIL", f"unexpected content: {error!r}"
        self.count[verdict] += 1
        print(f"{verdict}  {where:<12} {name:<30} {one_line(detail)}".rstrip(), flush=True)

    def summary(self) -> str:
        skipped = f", {self.count['SKIP']} skipped" if self.count["SKIP"] else ""
        return f"{self.count['PASS']} passed, {self.count['FAIL']} failed{skipped}"


def one_line(text: str) -> str:
    return " ".join(text.split())  # what other servers send may end up in it


# -- HTTP --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any  # names are found in any case
    body: bytes

    def json(self) -> Any:
        """The content of an answer as it should be."""
        expect(self.status == 200, f"HTTP status {self.status}: {self.body[:200].decode(errors='replace')}")
        expect(self.headers["X-Request-Id"] == REQUEST_ID, "X-Request-Id is not the one that was sent")
        return json.loads(self.body)


def ask(url: str, body: Any = None) -> Answer:
    """GET, or POST with a body. An error status is an answer too; ``OSError`` if there is none."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"X-Request-Id": REQUEST_ID, "Content-Type": "application/json"}
    try:
        with OPENER.open(urllib.request.Request(url, data, headers), timeout=REQUEST_TIMEOUT) as reply:
            return Answer(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())
    except (OSError, HTTPException) as error:
        raise OSError(f"{url} does not answer: {getattr(error, 'reason', error)}") from error


def check_operations(report: Report, base_url: str) -> list[str]:
    """What operators ask; gives the names of the exchanges on offer."""
    exchanges: list[str] = []

    def healthz() -> str:
        expect(ask(f"{base_url}/healthz").json() == {"status": "ok"}, "it does not say ok")
        return ""

    def readyz() -> str:
        content = ask(f"{base_url}/readyz").json()
        expect(content["status"] in ("ready", "degraded"), f"it says {content['status']}")
        return ", ".join([content["status"], *content["reasons"]])

    def capabilities() -> str:
        for row in ask(f"{base_url}/v1/capabilities").json()["exchanges"]:
            missing = [channel for channel in CHANNELS if channel not in row["channels"]]
            expect(not missing, f"{row['exchange']} has no {', '.join(missing)}")
            exchanges.append(row["exchange"])
        expect(exchanges, "it lists no exchange")
        return ", ".join(exchanges)

    def status() -> str:
        content = ask(f"{base_url}/v1/status").json()
        names = [row["exchange"] for row in content["exchanges"]]
        expect(names == exchanges, f"it lists {', '.join(names)}")
        expect(isinstance(content["feeds"], list), "feeds is no list")
        expect(content["clients"] >= 0 and content["uptimeMs"] >= 0, "clients or uptimeMs is below 0")
        return f"{content['node']}, version {content['version']}"

    def metrics() -> str:
        answer = ask(f"{base_url}/metrics")
        if answer.status == 404:
            raise Skipped("not on this port; GATEWAY_METRICS__BIND says where")
        expect(answer.status == 200, f"HTTP status {answer.status}")
        samples = [line for line in answer.body.decode().splitlines() if line and not line.startswith("#")]
        expect(samples and all(re.fullmatch(r"\w+(\{.*\})? \S+", line) for line in samples), "no Prometheus text")
        return f"{len(samples)} samples"

    report.check("gateway", "GET /healthz", healthz)
    report.check("gateway", "GET /readyz", readyz)
    report.check("gateway", "GET /v1/capabilities", capabilities)
    report.check("gateway", "GET /v1/status", status)
    report.check("gateway", "GET /metrics", metrics)
    return exchanges


# -- one exchange ------------------------------------------------------------------------------------------------------


def check_exchange(report: Report, base_url: str, name: str, *, symbol: str | None, wait: float) -> None:
    chosen: list[str] = []

    def markets() -> str:
        content = ask(f"{base_url}/v1/fetchMarkets", {"exchange": name}).json()
        told = checks.markets(content, name)
        chosen.extend(checks.choose(content["markets"], symbol))
        return f"{told}, {chosen[0]} chosen"

    report.check(name, "POST /v1/fetchMarkets", markets)
    if chosen:
        echoed, asked = chosen
        market = {"exchange": name, "symbol": asked}
        check_fetches(report, base_url, market, echoed)
        check_stream(report, listen(base_url, market, wait=wait), name, echoed)


def check_fetches(report: Report, base_url: str, market: dict[str, str], echoed: str) -> None:
    def fetch(endpoint: str, look: Callable[[Any], str]) -> str:
        answer = ask(f"{base_url}/v1/{endpoint}", {**market, "limit": LIMIT})
        told = look(answer.json())
        state = answer.headers["X-Topic-State"]
        expect(state in ("live", "stale", "cold"), f"X-Topic-State is {state}")
        return told

    looks: dict[str, Callable[[Any], str]] = {
        "fetchTrades": lambda rows: checks.trades(rows, echoed, LIMIT),
        "fetchOHLCV": lambda rows: checks.candles(rows, LIMIT),
        "fetchOrderBook": lambda book: checks.book(book, echoed, LIMIT),
    }
    for endpoint, look in looks.items():
        report.check(market["exchange"], f"POST /v1/{endpoint}", partial(fetch, endpoint, look))


def listen(base_url: str, market: dict[str, str], *, wait: float) -> Transcript:
    """Subscribe to every channel, hear some data of each, unsubscribe, and ask for a pong to know that all is said."""
    transcript = Transcript(wait)
    url = re.sub("^http", "ws", base_url) + "/v1/ws"
    try:
        with connect(url, proxy=None, compression=None, max_size=None, open_timeout=REQUEST_TIMEOUT) as socket:
            began = time.monotonic()

            def send(op: str) -> None:
                for channel in CHANNELS:
                    socket.send(json.dumps({"op": op, "id": channel, "channel": channel, **market}))

            def read(until: Callable[[], bool], seconds: float) -> None:
                end = time.monotonic() + seconds
                while not until() and (left := end - time.monotonic()) > 0:
                    try:
                        text = socket.recv(timeout=left)
                    except TimeoutError:
                        return  # the checks say what did not come
                    transcript.frames.append((time.monotonic() - began, json.loads(text)))

            send("subscribe")
            read(lambda: all(transcript.settled(channel, FRAMES) for channel in CHANNELS), wait)
            send("unsubscribe")
            socket.send('{"op":"ping"}')
            read(lambda: transcript.count("pong") > 0, REQUEST_TIMEOUT)
    except (OSError, WebSocketException, LookupError, TypeError, ValueError) as error:
        transcript.broken = f"{type(error).__name__}: {error}"
    return transcript


def check_stream(report: Report, transcript: Transcript, exchange: str, echoed: str) -> None:
    for channel in CHANNELS:
        looks: dict[str, Callable[[], str]] = {
            "ack before data": partial(checks.acknowledged, transcript, channel),
            "first data": partial(checks.first_data, transcript, channel),
            "shape": partial(checks.shape, transcript, channel, echoed),
            "topic echo": partial(checks.topic, transcript, channel, exchange, echoed),
            "cursor rises": partial(checks.cursor, transcript, channel),
            "unsubscribe": partial(checks.unsubscribed, transcript, channel),
        }
        for name, look in looks.items():
            report.check(exchange, f"ws {channel}: {name}", look)
    report.check(exchange, "ws ping", partial(checks.pong, transcript))
    report.check(exchange, "ws only base frames", partial(checks.only_base, transcript))


def unreachable(base_url: str) -> str:
    """Why there is nothing to check; empty if there is."""
    try:
        answer = ask(f"{base_url}/healthz")
    except (OSError, ValueError) as error:
        return f"{error}; is the gateway running? `market-gateway demo` starts one"
    return "" if answer.headers["X-Request-Id"] else f"{base_url} answers, but is no market-gateway"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base-url", default="http://127.0.0.1:8787")
    parser.add_argument("--exchange", default="all", help="binance, bybit, hyperliquid, ...; default: all on offer")
    parser.add_argument("--symbol", help="default: the BTC perpetual of each exchange")
    parser.add_argument("--wait-seconds", type=float, default=20.0, help="for the data of one exchange; default: 20")
    arguments = parser.parse_args()
    base_url = arguments.base_url.rstrip("/")
    if problem := unreachable(base_url):
        print(f"FAIL  {one_line(problem)}")
        return 1
    report = Report()
    offered = check_operations(report, base_url)
    for name in offered if arguments.exchange == "all" else [arguments.exchange]:
        check_exchange(report, base_url, name, symbol=arguments.symbol, wait=arguments.wait_seconds)
    print(report.summary())
    return 1 if report.count["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
