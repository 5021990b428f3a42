"""Proof by a third party: CCXT Pro, pointed at the simulator, must see exactly what is true there.

If CCXT, which was written against the real venues, understands the simulated ones and ends with their books, trades and
candles, then the simulated wire protocols are right where it matters, and our own parsers are tested against them.

    make peers                       # all venues
    python scripts/peers.py --venues binance --simulator .venv/bin/python

Runs in an environment of its own (CCXT's pins clash with ours): only the standard library and ccxt are imported here.
The simulator is a subprocess of the project's Python; its first line of output is its URL.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ccxt.pro

ROOT = Path(__file__).resolve().parent.parent
TOP = 50  # levels a side that must be equal
LISTEN_SECONDS = 4.0
FIRST_DATA_SECONDS = 30.0  # quiet symbols trade every few seconds
STEP_SECONDS = 15.0  # for any one thing CCXT is asked to do


@dataclass(frozen=True)
class Peer:
    """One venue as CCXT calls it. ``point`` turns a CCXT client to the simulator's URL."""

    name: str  # the simulator's path and the venue's name in its control endpoint
    exchange: str  # CCXT's class
    symbol: str  # CCXT's unified symbol
    venue_symbol: str
    point: Callable[[Any, str], None]
    trade_options: dict[str, Any] = field(default_factory=dict)  # to watch fills, where that is not the default
    fetch_options: dict[str, Any] = field(default_factory=dict)  # to fetch fills
    book_limit: int | None = 1000
    trade_limit: int = 1000  # the most that can be fetched; 0: CCXT fetches none without an account
    levels: int = TOP  # a side that must be equal: fewer where the venue shows fewer
    venue: str = ""  # in the control endpoint, if not ``name``
    volume: Callable[[float, float], float] = lambda _price, amount: amount  # of one trade, as candles count it

    @property
    def query(self) -> str:
        return f"venue={self.venue or self.name}&symbol={self.venue_symbol}"


def point_binance(client: Any, url: str) -> None:
    api = client.urls["api"]
    for key in ("fapiPublic", "fapiPublicV2", "fapiPublicV3"):
        api[key] = f"{url}/binance/fapi/v{key[-1] if key[-1].isdigit() else 1}"
    api["ws"]["linear"] = f"{websocket(url)}/binance/ws"  # ccxt inserts /public or /market before /ws


def point_binance_spot(client: Any, url: str) -> None:
    client.options["fetchMarkets"]["types"] = ["spot"]
    client.urls["api"]["public"] = f"{url}/binance-spot/api/v3"
    client.urls["api"]["ws"]["spot"] = f"{websocket(url)}/binance-spot/ws"


def point_bybit(client: Any, url: str) -> None:
    client.options["fetchMarkets"]["types"] = ["spot", "linear", "inverse"]
    client.urls["api"]["public"] = f"{url}/bybit"  # where a template with {hostname} was
    for category, address in client.urls["api"]["ws"]["public"].items():
        client.urls["api"]["ws"]["public"][category] = f"{websocket(url)}/bybit{address.partition('{hostname}')[2]}"


def point_hyperliquid(client: Any, url: str) -> None:
    client.urls["api"]["public"] = f"{url}/hyperliquid"
    client.urls["api"]["ws"]["public"] = f"{websocket(url)}/hyperliquid/ws"


PEERS = [
    Peer(
        name="binance",
        exchange="binanceusdm",
        symbol="BTC/USDT:USDT",
        venue_symbol="BTCUSDT",
        point=point_binance,
        trade_options={"name": "trade"},
        fetch_options={"fetchTradesMethod": "fapiPublicGetTrades"},
    ),
    Peer(
        name="binance-spot",
        exchange="binance",
        symbol="BTC/USDT",
        venue_symbol="BTCUSDT",
        point=point_binance_spot,
        trade_options={"name": "trade"},
        fetch_options={"fetchTradesMethod": "publicGetTrades"},
    ),
    Peer(name="bybit", exchange="bybit", symbol="BTC/USDT:USDT", venue_symbol="BTCUSDT", point=point_bybit),
    Peer(
        name="bybit-spot",
        exchange="bybit",
        symbol="BTC/USDT",
        venue_symbol="spot/BTCUSDT",
        point=point_bybit,
        venue="bybit",
        trade_limit=60,
    ),
    Peer(
        name="bybit-inverse",
        exchange="bybit",
        symbol="BTC/USD:BTC",
        venue_symbol="BTCUSD",
        point=point_bybit,
        venue="bybit",
        volume=lambda price, amount: round(amount / price, 8),  # CCXT takes the turnover, which is in coin
    ),
    Peer(
        name="hyperliquid",
        exchange="hyperliquid",
        symbol="BTC/USDC:USDC",
        venue_symbol="BTC",
        point=point_hyperliquid,
        trade_limit=0,
        levels=20,
    ),
    Peer(
        name="hyperliquid-spot",
        exchange="hyperliquid",
        symbol="HYPE/USDC",
        venue_symbol="@107",
        point=point_hyperliquid,
        venue="hyperliquid",
        trade_limit=0,
        levels=20,
    ),
    Peer(
        name="hyperliquid-hip3",
        exchange="hyperliquid",
        symbol="XYZ-SP500/USDC:USDC",
        venue_symbol="xyz:SP500",
        point=point_hyperliquid,
        venue="hyperliquid",
        trade_limit=0,
        levels=20,
    ),
]


def websocket(url: str) -> str:
    return url.replace("http", "ws", 1)


class Control:
    """The simulator's control endpoint; blocking, it is on this machine."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._url}/control/{path}", timeout=10) as reply:
            return json.load(reply)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self._url}/control/{path}", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)


class Report:
    """Prints a line a check and remembers whether all passed."""

    def __init__(self) -> None:
        self.failed = 0
        self.passed = 0

    def check(self, peer: Peer, name: str, good: bool, detail: str) -> None:
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f"{'PASS' if good else 'FAIL'}  {peer.name:<16} {name:<36} {detail}", flush=True)


class Listener:
    """One CCXT client watching a book, its trades and its candles until told to stop."""

    def __init__(self, client: Any, peer: Peer) -> None:
        self.trades: dict[str, dict[str, Any]] = {}
        self.candles: dict[int, list[float]] = {}
        self.book: Any = None
        self.seen = {"trades": asyncio.Event(), "book": asyncio.Event(), "candles": asyncio.Event()}
        self._client, self._peer = client, peer
        self._tasks = [asyncio.ensure_future(watch()) for watch in (self._trades, self._book, self._candles)]

    async def _trades(self) -> None:
        while True:
            for trade in await self._client.watch_trades(self._peer.symbol, params=dict(self._peer.trade_options)):
                self.trades[trade["id"]] = trade
            self.seen["trades"].set()

    async def _book(self) -> None:
        while True:
            self.book = await self._client.watch_order_book(self._peer.symbol, self._peer.book_limit)
            self.seen["book"].set()

    async def _candles(self) -> None:
        while True:
            for row in await self._client.watch_ohlcv(self._peer.symbol, "1m"):
                self.candles[row[0]] = row
            self.seen["candles"].set()

    async def all_seen(self) -> None:
        """Until each stream brought something; whatever failed is raised."""

        async def all_set() -> None:
            for event in self.seen.values():
                await event.wait()

        waiting = asyncio.create_task(all_set())
        await asyncio.wait([waiting, *self._tasks], return_when=asyncio.FIRST_COMPLETED, timeout=FIRST_DATA_SECONDS)
        for task in self._tasks:
            if task.done():
                task.result()
        missing = [name for name, event in self.seen.items() if not event.is_set()]
        waiting.cancel()
        if missing:
            raise TimeoutError(f"nothing came for {', '.join(missing)}")

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()


def numbers(levels: list[list[Any]]) -> list[tuple[float, float]]:
    return [(float(level[0]), float(level[1])) for level in levels[:TOP]]


def fact(price: Any, amount: Any, side: str, timestamp: int) -> tuple[float, float, str, int]:
    return float(price), float(amount), side, timestamp


async def within(seconds: float, result: Awaitable[Any]) -> Any:
    async with asyncio.timeout(seconds):
        return await result


async def listen(peer: Peer, client: Any, report: Report) -> Listener | None:
    """A listener that has heard something of everything; None, and a failed check, if that could not be."""
    listener = None
    try:
        markets = await within(STEP_SECONDS, client.load_markets())
        report.check(peer, "load markets", peer.symbol in markets, f"{len(markets)} markets")
        listener = Listener(client, peer)
        await listener.all_seen()
        report.check(peer, "watch trades, book and candles", True, "first data of each")
        return listener
    except Exception as error:
        if listener is not None:
            listener.stop()
        report.check(peer, "watch trades, book and candles", False, f"{type(error).__name__}: {error}"[:300])
        return None


async def compare(peer: Peer, client: Any, control: Control, listener: Listener, report: Report) -> None:
    """Everything heard and everything fetched against the truth, while market time stands still."""
    try:
        await settled(listener)
        await compare_streams(peer, control, listener, report)
        await compare_rest(peer, client, control, listener, report)
    except Exception as error:
        report.check(peer, "all comparisons", False, f"{type(error).__name__}: {error}"[:300])


async def settled(listener: Listener) -> None:
    """Market time stands still; wait until nothing more arrives."""
    before = None
    for _ in range(50):
        await asyncio.sleep(0.1)
        now = (len(listener.trades), listener.book["nonce"], numbers(listener.book["bids"]))
        if now == before:
            return
        before = now


async def compare_streams(peer: Peer, control: Control, listener: Listener, report: Report) -> None:
    truth = await asyncio.to_thread(control.get, f"book?{peer.query}")
    for side in ("bids", "asks"):
        held, true = numbers(listener.book[side][: peer.levels]), numbers(truth[side][: peer.levels])
        differing = sum(1 for pair in zip(held, true, strict=False) if pair[0] != pair[1])
        good = held == true and len(held) == peer.levels
        report.check(peer, f"watched {side} equal the true book", good, f"{len(held)} levels, {differing} differ")
    ledger = await asyncio.to_thread(control.get, f"trades?{peer.query}&limit=20000")
    true_facts = {fact(t["price"], t["amount"], t["taker_side"], t["timestamp_ms"]) for t in ledger}
    # Prints that are not book trades (Binance: price 0, or the insurance fund) are in no ledger; CCXT passes them on.
    watched = [t for t in listener.trades.values() if t["info"].get("X", "MARKET") == "MARKET"]
    unknown = [t for t in watched if fact(t["price"], t["amount"], t["side"], t["timestamp"]) not in true_facts]
    good = bool(watched) and not unknown
    report.check(peer, "watched trades are in the ledger", good, f"{len(watched)} trades, {len(unknown)} unknown")
    newest = ledger[-1]["timestamp_ms"]
    last = max(t["timestamp"] for t in watched)
    report.check(peer, "the last trade arrived", last == newest, f"{last} and {newest}")


async def compare_rest(peer: Peer, client: Any, control: Control, listener: Listener, report: Report) -> None:
    truth = await asyncio.to_thread(control.get, f"book?{peer.query}")
    book = await within(STEP_SECONDS, client.fetch_order_book(peer.symbol, 100))
    good = all(numbers(book[side][: peer.levels]) == numbers(truth[side][: peer.levels]) for side in ("bids", "asks"))
    report.check(peer, "fetched book equals the true book", good, f"{len(book['bids'])} levels")
    ledger = await asyncio.to_thread(control.get, f"trades?{peer.query}&limit=20000")
    true_facts = {fact(t["price"], t["amount"], t["taker_side"], t["timestamp_ms"]) for t in ledger}
    if peer.trade_limit:
        trades = await within(
            STEP_SECONDS, client.fetch_trades(peer.symbol, None, peer.trade_limit, dict(peer.fetch_options))
        )
        unknown = [t for t in trades if fact(t["price"], t["amount"], t["side"], t["timestamp"]) not in true_facts]
        good = len(trades) > 0 and not unknown
        report.check(peer, "fetched trades are in the ledger", good, f"{len(trades)} trades, {len(unknown)} unknown")
    rows = {row[0]: row for row in await within(STEP_SECONDS, client.fetch_ohlcv(peer.symbol, "1m", None, 200))}
    differing = [opened for opened, row in listener.candles.items() if rows.get(opened) != row]
    good = bool(listener.candles) and not differing
    report.check(peer, "watched candles equal fetched ones", good, f"{len(listener.candles)}, {len(differing)} differ")
    whole = [row for opened, row in rows.items() if opened > ledger[0]["timestamp_ms"]]
    wrong = [row for row in whole if folded(peer, row[0], ledger) != row[1:]]
    good = bool(whole) and not wrong
    report.check(peer, "candles equal the fold of the ledger", good, f"{len(whole)} candles, {len(wrong)} differ")


def folded(peer: Peer, opened: int, ledger: list[dict[str, Any]]) -> list[float]:
    """Open, high, low, close, volume of one minute, from its trades."""
    inside = [t for t in ledger if opened <= t["timestamp_ms"] < opened + 60_000]
    prices = [float(t["price"]) for t in inside]
    volume = round(sum(peer.volume(float(t["price"]), float(t["amount"])) for t in inside), 8)
    return [prices[0], max(prices), min(prices), prices[-1], volume] if prices else []


def start_simulator(python: str) -> tuple[subprocess.Popen[str], str]:
    command = [python, "-m", "exchanges.simulator", "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url.startswith("http"):
        process.kill()
        raise SystemExit(f"the simulator did not start: {url!r}")
    return process, url


async def run(peers: list[Peer], url: str, report: Report) -> None:
    """All peers at once: freezing stops market time for all of them."""
    control = Control(url)
    clients = [getattr(ccxt.pro, peer.exchange)({"enableRateLimit": False, "newUpdates": True}) for peer in peers]
    for peer, client in zip(peers, clients, strict=True):
        peer.point(client, url)
    listeners: list[Listener | None] = []
    try:
        listeners = await asyncio.gather(*map(listen, peers, clients, [report] * len(peers)))
        await asyncio.sleep(LISTEN_SECONDS)
        await asyncio.to_thread(control.post, "freeze", {"frozen": True})
        heard = zip(peers, clients, listeners, strict=True)
        await asyncio.gather(*(compare(peer, client, control, told, report) for peer, client, told in heard if told))
    finally:
        for listener in listeners:
            if listener is not None:
                listener.stop()
        await asyncio.gather(*(client.close() for client in clients))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venues", nargs="*", choices=[peer.name for peer in PEERS], help="default: all")
    parser.add_argument("--simulator", default=str(ROOT / ".venv" / "bin" / "python"), help="the project's Python")
    arguments = parser.parse_args()
    wanted = [peer for peer in PEERS if not arguments.venues or peer.name in arguments.venues]
    started = time.monotonic()
    process, url = start_simulator(arguments.simulator)
    report = Report()
    try:
        asyncio.run(asyncio.wait_for(run(wanted, url, report), 55))
    except TimeoutError:
        print("FAIL  out of time", flush=True)
        report.failed += 1
    finally:
        process.terminate()
        process.wait(10)
    took = time.monotonic() - started
    print(f"{report.passed} passed, {report.failed} failed in {took:.1f} s (ccxt {ccxt.__version__})")
    return 1 if report.failed or not report.passed else 0


if __name__ == "__main__":
    sys.exit(main())
