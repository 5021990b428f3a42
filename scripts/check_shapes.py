"""Proof by a third party: CCXT's own test-suite accepts the gateway's trades, books and candles as an exchange's.

    make peers && .venv-peers/bin/python scripts/check_shapes.py

``market-gateway demo`` is started on a free port, and CCXT's clients are made to take their data from it. Then the
tests that CCXT ships for its exchanges (``ccxt.test``, ``ccxt.pro.test``) are run against them: fetchTrades,
fetchOrderBook, fetchOHLCV, watchTrades, watchOrderBook, watchOHLCV, for a market of each kind that each exchange lists.
Besides, every trade's ``info`` is given to CCXT's parser, which must read the same trade in it.

Runs in an environment of its own (CCXT's pins clash with ours): only the standard library and what ccxt brings are
imported here. One line a check, PASS or FAIL; the exit status is 1 if anything failed. Takes about 25 seconds.
"""

import argparse
import asyncio
import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO, Any

import aiohttp
import ccxt.pro

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
LIMIT_SECONDS = 50.0  # for all of it; CCXT's watch tests take 15 each, side by side
URL = re.compile(rb"http://[^\s/]+:\d+")
BASE = "BTC"  # of the markets that are tried
TRADE_FACTS = ("id", "timestamp", "datetime", "symbol", "side", "price", "amount", "cost")
FETCHES = {"fetchTrades": "fetch_trades", "fetchOrderBook": "fetch_order_book", "fetchOHLCV": "fetch_ohlcv"}
WATCHES = {"watchTrades": "watch_trades", "watchOrderBook": "watch_order_book", "watchOHLCV": "watch_ohlcv"}
# What a venue does not tell, CCXT's suite too skips for it.
UNTOLD = {("binance", "spot", "fetchOrderBook"): ("timestamp", "datetime")}

Row = dict[str, Any]


class Gateway:
    """What is asked of the gateway, and how often it answered with something to check."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.answered: dict[tuple[str, str, str], int] = {}  # (exchange, symbol, method) → rows
        self.trades: dict[tuple[str, str, str], dict[str, Row]] = {}  # the same → by id
        self._url, self._session = url, session

    async def post(self, endpoint: str, **body: Any) -> Any:
        async with self._session.post(f"{self._url}/v1/{endpoint}", json=body) as reply:
            answer = await reply.json()
        if reply.status != 200:
            raise RuntimeError(f"{endpoint}: {answer['code']}: {answer['message']}")
        return answer

    async def data(self, channel: str, **topic: Any) -> AsyncIterator[Any]:
        """What a subscription brings, frame by frame."""
        async with self._session.ws_connect(f"{self._url}/v1/ws", max_msg_size=0) as socket:
            await socket.send_json({"op": "subscribe", "channel": channel, **topic})
            async for message in socket:
                frame = json.loads(message.data)
                if frame["type"] == "error":
                    raise RuntimeError(f"{channel}: {frame['code']}: {frame['message']}")
                if frame["type"] == channel:
                    yield frame["data"]

    async def exchanges(self) -> list[str]:
        async with self._session.get(f"{self._url}/v1/capabilities") as reply:
            return [row["exchange"] for row in (await reply.json())["exchanges"]]


def served(base: type) -> type:
    """CCXT's client ``base``, but that its public data come from the gateway, unchanged."""

    class Served(base):  # type: ignore[valid-type, misc]
        gateway: Gateway
        asked: dict[str, str]  # symbol → what the gateway is asked by
        streams: dict[tuple[str, str], AsyncIterator[Any]]

        async def fetch_trades(self, symbol: str, since: Any = None, limit: Any = None, params: Any = None) -> Any:
            return await self._fetch("fetchTrades", symbol, since=since, limit=limit)

        async def fetch_order_book(self, symbol: str, limit: Any = None, params: Any = None) -> Any:
            return await self._fetch("fetchOrderBook", symbol, limit=limit)

        async def fetch_ohlcv(
            self, symbol: str, timeframe: str = "1m", since: Any = None, limit: Any = None, params: Any = None
        ) -> Any:
            return await self._fetch("fetchOHLCV", symbol, timeframe=timeframe, since=since, limit=limit)

        async def watch_trades(self, symbol: str, since: Any = None, limit: Any = None, params: Any = None) -> Any:
            return await self._watch("watchTrades", "trades", symbol)

        async def watch_order_book(self, symbol: str, limit: Any = None, params: Any = None) -> Any:
            return await self._watch("watchOrderBook", "orderbook", symbol)

        async def watch_ohlcv(
            self, symbol: str, timeframe: str = "1m", since: Any = None, limit: Any = None, params: Any = None
        ) -> Any:
            return await self._watch("watchOHLCV", "ohlcv", symbol, timeframe=timeframe)

        async def _fetch(self, method: str, symbol: str, **body: Any) -> Any:
            given = {name: value for name, value in body.items() if value is not None}
            answer = await self.gateway.post(method, exchange=self.id, symbol=self.asked[symbol], **given)
            return self._counted(method, symbol, answer)

        async def _watch(self, method: str, channel: str, symbol: str, **params: Any) -> Any:
            stream = self.streams.get((channel, symbol))
            if stream is None:
                topic = {"exchange": self.id, "symbol": self.asked[symbol], "params": params}
                stream = self.streams[channel, symbol] = self.gateway.data(channel, **topic)
            return self._counted(method, symbol, await anext(stream))

        def _counted(self, method: str, symbol: str, answer: Any) -> Any:
            key = (self.id, symbol, method)
            rows = len(answer) if isinstance(answer, list) else min(len(answer["bids"]), len(answer["asks"]))
            self.gateway.answered[key] = self.gateway.answered.get(key, 0) + rows
            if method.endswith("Trades"):
                self.gateway.trades.setdefault(key, {}).update({trade["id"]: trade for trade in answer})
            return answer

    return Served


async def client(gateway: Gateway, exchange: str) -> Any:
    """CCXT's client of ``exchange``, knowing the markets that the gateway lists."""
    one = served(getattr(ccxt.pro, exchange))({"enableRateLimit": False})
    one.gateway, one.streams = gateway, {}
    listed = (await gateway.post("fetchMarkets", exchange=exchange))["markets"]
    one.set_markets([market(one, row) for row in listed])
    # BASE/QUOTE would mean the perpetual where there is one.
    one.asked = {row["symbol"]: row["marketId"] if row["type"] == "spot" else row["symbol"] for row in listed}
    return one


def market(one: Any, row: Row) -> Any:
    """A market of ``fetchMarkets`` in CCXT's form."""
    kind = {"perp": "swap"}.get(row["type"], row["type"])
    contract, inverse = kind != "spot", row["settle"] == row["base"]
    own = {
        **{name: row[name] for name in ("symbol", "base", "quote", "settle", "active", "contractSize", "info")},
        "id": row["exchangeMarketId"],
        "baseId": row["base"],
        "quoteId": row["quote"],
        "settleId": row["settle"],
        "type": kind,
        **{name: kind == name for name in ("spot", "swap", "future", "option")},
        "contract": contract,
        "linear": not inverse if contract else None,
        "inverse": inverse if contract else None,
        "precision": {"price": row["tickSize"], "amount": row["minOrderSize"]},
    }
    return one.deep_extend(one.safe_market_structure(), own)


def of_each_kind(one: Any) -> list[Any]:
    """One market each: perpetual, inverse perpetual, spot."""
    found: dict[tuple[str, bool], Any] = {}
    for candidate in one.markets.values():
        if candidate["base"] == BASE and candidate["type"] != "future":
            found.setdefault((candidate["type"], bool(candidate["inverse"])), candidate)
    return list(found.values())


class Report:
    """Prints a line a check and remembers whether all passed."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def line(self, good: bool, where: str, symbol: str, name: str, detail: str) -> None:
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f"{'PASS' if good else 'FAIL'}  {where:<12} {symbol:<16} {name:<24} {detail}", flush=True)


async def suite_accepts(
    report: Report, one: Any, symbol: str, method: str, test: Callable[..., Awaitable[Any]]
) -> None:
    """Run one test of CCXT's suite; one that had nothing to look at has not passed."""
    kind = one.markets[symbol]["type"]
    skipped = dict.fromkeys(UNTOLD.get((one.id, kind, method), ()), "the venue does not tell")
    try:
        await test(one, skipped, symbol)
    except Exception as error:
        report.line(False, one.id, symbol, method, f"{type(error).__name__}: {error}"[:400])
        return
    rows = one.gateway.answered.get((one.id, symbol, method), 0)
    unit = "levels" if method.endswith("Book") else "rows"
    report.line(rows > 0, one.id, symbol, method, f"{rows} {unit}")


def ccxt_reads_the_same(report: Report, one: Any, symbol: str, method: str) -> None:
    """Every trade is the one that CCXT finds in its ``info``."""
    name = f"{method}: info"
    parse = one.parse_trade if method.startswith("fetch") else one.parse_ws_trade
    trades = one.gateway.trades.get((one.id, symbol, method), {})
    for trade in trades.values():
        theirs = parse(trade["info"], one.markets[symbol])
        differing = [fact for fact in TRADE_FACTS if trade[fact] != theirs[fact]]
        if differing:
            told = ", ".join(f"{fact} {trade[fact]} is {theirs[fact]} to CCXT" for fact in differing)
            report.line(False, one.id, symbol, name, f"{told}: {json.dumps(trade['info'])}"[:400])
            return
    report.line(bool(trades), one.id, symbol, name, f"{len(trades)} trades")


def suite() -> Iterator[tuple[str, Callable[..., Awaitable[Any]]]]:
    """CCXT's tests by method. Imported by name: one folder is called ``async``."""
    for folder, methods in (("ccxt.test.exchange.async", FETCHES), ("ccxt.pro.test.Exchange", WATCHES)):
        for method, snake in methods.items():
            yield method, getattr(importlib.import_module(f"{folder}.test_{snake}"), f"test_{snake}")


async def check(url: str, report: Report) -> None:
    async with aiohttp.ClientSession() as session:
        gateway = Gateway(url, session)
        clients = [await client(gateway, exchange) for exchange in await gateway.exchanges()]
        report.line(bool(clients), "gateway", "", "exchanges", ", ".join(one.id for one in clients))
        pairs = [(one, found["symbol"]) for one in clients for found in of_each_kind(one)]
        try:
            for one in clients:
                kinds = [symbol for other, symbol in pairs if other is one]
                report.line(len(kinds) > 1, one.id, "", "markets", f"{len(one.markets)}, {', '.join(kinds)} tried")
            tests = dict(suite())
            await asyncio.gather(
                *(
                    suite_accepts(report, one, symbol, name, test)
                    for one, symbol in pairs
                    for name, test in tests.items()
                )
            )
            for one, symbol in pairs:
                for method in ("fetchTrades", "watchTrades"):
                    ccxt_reads_the_same(report, one, symbol, method)
        finally:
            for one in clients:
                await one.close()


@contextlib.contextmanager
def demo(command: str) -> Iterator[str]:
    """``market-gateway demo`` on a free port; gives its URL when it answers."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GATEWAY_")}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [command, "demo"], env={**clean, "GATEWAY_PORT": "0"}, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield started(process, output)
        finally:
            process.terminate()
            process.wait(10)


def started(process: "subprocess.Popen[bytes]", output: IO[bytes]) -> str:
    """The URL that the gateway says it will be at, once it answers there."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        output.seek(0)
        if url := URL.search(output.read()):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url[0].decode()}/healthz", timeout=5):
                return url[0].decode()
        time.sleep(0.05)
    output.seek(0)
    raise SystemExit(f"the gateway did not start: {output.read().decode(errors='replace')}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gateway", default=str(ROOT / ".venv" / "bin" / "market-gateway"), help="the command to run")
    arguments = parser.parse_args()
    began, report = time.monotonic(), Report()
    with demo(arguments.gateway) as url:
        try:
            asyncio.run(asyncio.wait_for(check(url, report), LIMIT_SECONDS))
        except TimeoutError:
            report.line(False, "gateway", "", "all of it", f"not done after {LIMIT_SECONDS:g} s")
    took = time.monotonic() - began
    print(f"{report.passed} passed, {report.failed} failed in {took:.1f} s (ccxt {ccxt.__version__})")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
