"""How fast venue messages become frames: ours, and ccxt's parsing of the same messages in the same run.

    python scripts/bench_ingest.py [--ccxt-python .venv-peers/bin/python] [--seconds 1.0]

Ours is the whole way of a message: bytes → event → (book →) CCXT-shaped JSON with ``info`` → websocket frame. ccxt's is
the part of its websocket client that does the same work: JSON → its handler → its own structures. Rounds of both take
turns; the median of three is printed. One core, no sockets. Then the cost of a book by who watches it (bench_views.py).
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROUNDS = 3
MESSAGES = 2_000
START_MS = 1_795_000_000_000


def binance_trades() -> Iterator[bytes]:
    for n in range(MESSAGES):
        trade = {"e": "aggTrade", "E": START_MS + 9 * n + 150, "a": 3_470_214_112 + n, "s": "BTCUSDT"}
        trade |= {
            "p": f"{68_000 + random.random() * 100:.2f}",
            "q": f"{random.random() * 3 + 0.001:.3f}",
            "nq": "0.020",
        }
        trade |= {
            "f": 8_030_177_604 + 2 * n,
            "l": 8_030_177_605 + 2 * n,
            "T": START_MS + 9 * n,
            "m": n % 3 == 0,
            "st": 1,
        }
        yield wrapped("btcusdt@aggTrade", trade)


def levels(side: int, count: int) -> list[list[str]]:
    """``count`` changed levels within 1,000 ticks of the touch; one in ten is removed."""
    ticks = random.sample(range(1, 1_000), count)
    amounts = ("0.000" if random.random() < 0.1 else f"{random.random() * 5 + 0.001:.3f}" for _ in ticks)
    return [[f"{68_400 + side * tick * 0.1:.2f}", amount] for tick, amount in zip(ticks, amounts, strict=True)]


def binance_book() -> dict[str, object]:
    def side(sign: int) -> list[list[str]]:
        return [[f"{68_400 + sign * tick * 0.1:.2f}", "1.250"] for tick in range(1, 1_001)]

    return {"lastUpdateId": 1_000, "E": START_MS, "T": START_MS, "bids": side(-1), "asks": side(1)}


def binance_depth() -> Iterator[bytes]:
    for n in range(MESSAGES):
        last = 1_000 + 10 * n
        update = {"e": "depthUpdate", "E": START_MS + n, "T": START_MS + n, "s": "BTCUSDT", "ps": "BTCUSDT"}
        update |= {"U": last + 3, "u": last + 10, "pu": last, "b": levels(-1, 50), "a": levels(1, 50), "st": 1}
        yield wrapped("btcusdt@depth@100ms", update)


def wrapped(stream: str, data: dict[str, object]) -> bytes:
    return compact({"stream": stream, "data": data})


def compact(message: object) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def bybit_trades() -> Iterator[bytes]:
    for n in range(MESSAGES):
        trade = {
            "T": START_MS + n,
            "s": "BTCUSDT",
            "S": "Buy" if n % 3 else "Sell",
            "v": f"{random.random() + 0.001:.3f}",
        }
        trade |= {
            "p": f"{68_000 + random.random() * 100:.2f}",
            "L": "PlusTick",
            "i": str(uuid.UUID(int=n)),
            "BT": False,
        }
        message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": START_MS + n}
        yield compact(message | {"data": [trade | {"RPI": False, "seq": 452_611_930_290 + n}]})


def bybit_depth() -> Iterator[bytes]:
    whole = binance_book()
    for n in range(MESSAGES):
        sides = {"b": levels(-1, 50), "a": levels(1, 50)} if n else {"b": whole["bids"], "a": whole["asks"]}
        message = {"topic": "orderbook.1000.BTCUSDT", "type": "delta" if n else "snapshot", "ts": START_MS + n}
        data = {"s": "BTCUSDT", **sides, "u": 10_000 + n, "seq": 452_611_930_215 + n}
        yield compact(message | {"data": data, "cts": START_MS + n})


def hyperliquid_trades() -> Iterator[bytes]:
    for n in range(MESSAGES):
        trade = {"coin": "BTC", "side": "A" if n % 3 else "B", "px": f"{68_000 + n % 100}.0"}
        trade |= {
            "sz": f"{random.random() + 0.001:.5f}",
            "time": START_MS + n,
            "hash": f"0x{n:064x}",
            "tid": 10**14 + n,
        }
        users = [f"0x{n:040x}", f"0x{n + 1:040x}"]
        yield compact({"channel": "trades", "data": [trade | {"users": users}]})


def hyperliquid_book() -> Iterator[bytes]:
    for n in range(MESSAGES):
        sides = [
            [
                {"px": f"{68_400 + sign * tick}.0", "sz": f"{random.random() + 0.001:.5f}", "n": tick}
                for tick in range(1, 21)
            ]
            for sign in (-1, 1)
        ]
        yield compact({"channel": "l2Book", "data": {"coin": "BTC", "time": START_MS + n, "levels": sides}})


SAMPLES: dict[str, Callable[[], Iterator[bytes]]] = {
    "binance aggTrade": binance_trades,
    "binance depth, 100 levels": binance_depth,
    "bybit trade": bybit_trades,
    "bybit delta, 100 levels": bybit_depth,
    "hyperliquid trade": hyperliquid_trades,
    "hyperliquid book, 2 x 20": hyperliquid_book,
}


def our_work() -> dict[str, Callable[[list[bytes]], Callable[[bytes], object]]]:
    """For each sample, a factory of the function that takes one message all the way."""
    from exchanges.binance import parse as binance
    from exchanges.book import BookSync
    from exchanges.bybit import parse as bybit
    from exchanges.hyperliquid import parse as hyperliquid
    from topics.frame import frame
    from topics.key import Cursor, TopicKey
    from topics.wire import DataEncoder, book_view, trade_row

    cursor = Cursor(START_MS, 1)

    def trades(symbol: str, parse: Callable[[bytes], object]) -> Callable[[list[bytes]], Callable[[bytes], object]]:
        def factory(_: list[bytes]) -> Callable[[bytes], object]:
            encoder = DataEncoder(TopicKey("venue", "trades", symbol, ()))

            def work(raw: bytes) -> bytes:
                _, events = parse(raw)
                rows = [trade_row(trade, symbol) for trade in events]
                event_ms = events[-1].timestamp_ms
                return frame(encoder.encode(cursor, rows, event_ms=event_ms, received_ms=event_ms, now_ms=event_ms))

            return work

        return factory

    def book(
        symbol: str, parse: Callable[[bytes], object], snapshot: object
    ) -> Callable[[list[bytes]], Callable[[bytes], object]]:
        def factory(_: list[bytes]) -> Callable[[bytes], object]:
            encoder = DataEncoder(TopicKey("venue", "orderbook", symbol, (("levels", 20),)))
            sync = BookSync()
            if snapshot is not None:
                sync.on_snapshot(snapshot)

            def work(raw: bytes) -> bytes:
                _, (event,) = parse(raw)
                state = sync.on_delta(event) if hasattr(event, "prev_sequence") else sync.on_snapshot(event)
                view = book_view(state, symbol, levels=20)
                return frame(encoder.encode(cursor, view, event_ms=START_MS, received_ms=START_MS, now_ms=START_MS))

            return work

        return factory

    return {
        "binance aggTrade": trades("BTC/USDT:USDT", binance.futures),
        "binance depth, 100 levels": book("BTC/USDT:USDT", binance.futures, binance.book(binance_book())),
        "bybit trade": trades("BTC/USDT:USDT", bybit.linear),
        "bybit delta, 100 levels": book("BTC/USDT:USDT", bybit.linear, None),
        "hyperliquid trade": trades("BTC/USDC:USDC", hyperliquid.parse),
        "hyperliquid book, 2 x 20": book("BTC/USDC:USDC", hyperliquid.parse, None),
    }


def ccxt_work() -> dict[str, Callable[[list[bytes]], Callable[[bytes], object]]]:
    """The same for ccxt's websocket client, its network part left out."""
    import ccxt.pro
    import orjson  # what ccxt's own client reads with

    class Client:
        """As much of ccxt's client as its handlers use."""

        def __init__(self) -> None:
            self.subscriptions: dict[str, object] = {}
            self.futures: dict[str, object] = {}
            self.url = ""

        def resolve(self, *_: object) -> None:
            self.resolved = True

        def reject(self, *arguments: object) -> None:
            raise RuntimeError(arguments)

    def market(id: str, symbol: str) -> dict[str, object]:
        base, rest = symbol.split("/")
        quote, settle = rest.split(":")
        market = {"id": id, "symbol": symbol, "base": base, "quote": quote, "settle": settle, "baseId": base}
        market |= {"quoteId": quote, "settleId": settle, "type": "swap", "spot": False, "swap": True, "future": False}
        market |= {"option": False, "contract": True, "linear": True, "inverse": False, "contractSize": 1.0}
        market |= {"active": True, "precision": {"price": 0.1, "amount": 0.001}, "limits": {}, "info": {}}
        return market | {"margin": False, "expiry": None, "strike": None, "baseName": base}

    def client(
        exchange_class: type, id: str, symbol: str, *, url: str = "", prepare: Callable[[object], None] = lambda _: None
    ) -> Callable[[list[bytes]], Callable[[bytes], object]]:
        def factory(_: list[bytes]) -> Callable[[bytes], object]:
            exchange = exchange_class()
            exchange.set_markets([market(id, symbol)])
            prepare(exchange)
            client = Client()
            client.url = url

            def work(raw: bytes) -> None:
                exchange.handle_message(client, orjson.loads(raw))

            return work

        return factory

    def with_book(exchange: object) -> None:
        symbol = "BTC/USDT:USDT"
        exchange.orderbooks[symbol] = exchange.order_book({}, 1000)
        snapshot = exchange.parse_order_book(binance_book(), symbol)
        snapshot["nonce"] = 1_000
        exchange.orderbooks[symbol].reset(snapshot)

    binance = (ccxt.pro.binanceusdm, "BTCUSDT", "BTC/USDT:USDT")
    bybit = (ccxt.pro.bybit, "BTCUSDT", "BTC/USDT:USDT")
    hyperliquid = (ccxt.pro.hyperliquid, "0", "BTC/USDC:USDC")
    linear = "wss://stream.bybit.com/v5/public/linear"
    return {
        "binance aggTrade": client(*binance),
        "binance depth, 100 levels": client(*binance, prepare=with_book),
        "bybit trade": client(*bybit, url=linear),
        "bybit delta, 100 levels": client(*bybit, url=linear),
        "hyperliquid trade": client(*hyperliquid),
        "hyperliquid book, 2 x 20": client(*hyperliquid),
    }


def measure(side: str, seconds: float) -> dict[str, float]:
    """Messages a second of one core, by sample."""
    rates = {}
    work_of = our_work() if side == "ours" else ccxt_work()
    for name, factory in work_of.items():
        random.seed(1)
        messages = list(SAMPLES[name]())
        done, spent = 0, 0.0
        while spent < seconds:
            work = factory(messages)
            begin = time.process_time()
            for raw in messages:
                work(raw)
            spent += time.process_time() - begin
            done += len(messages)
        rates[name] = done / spent
    return rates


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--ccxt-python", default=str(ROOT / ".venv-peers/bin/python"), help="an interpreter with ccxt"
    )
    arguments.add_argument("--seconds", type=float, default=1.0, help="CPU time of each measurement")
    arguments.add_argument("--side", choices=("ours", "ccxt"), help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.side:
        print(json.dumps(measure(options.side, options.seconds)))
        return
    interpreters = {"ours": sys.executable}
    if Path(options.ccxt_python).exists():
        interpreters["ccxt"] = options.ccxt_python
    else:
        print(f"no ccxt beside ours: {options.ccxt_python} does not exist (make peers makes it)")
    rounds: dict[str, list[dict[str, float]]] = {side: [] for side in interpreters}
    for _ in range(ROUNDS):
        for side, python in interpreters.items():
            command = [python, __file__, "--side", side, "--seconds", str(options.seconds)]
            output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
            rounds[side].append(json.loads(output.splitlines()[-1]))
    print(f"{'messages/s of one core':28}{'ours':>12}{'ccxt':>12}{'ratio':>8}")
    for name in SAMPLES:
        ours = statistics.median(one[name] for one in rounds["ours"])
        line = f"{name:28}{ours:>12,.0f}"
        if "ccxt" in rounds:
            theirs = statistics.median(one[name] for one in rounds["ccxt"])
            line += f"{theirs:>12,.0f}{ours / theirs:>8.1f}"
        print(line)
    from bench_views import report

    report(binance_depth, binance_book(), seconds=options.seconds)


if __name__ == "__main__":
    main()
