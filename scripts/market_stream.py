"""Shows a market as it moves: the tape of trades, the ladder of the book, or the chart of candles.

    python scripts/market_stream.py trades|orderbook|ohlcv --exchange binance --symbol BTC/USDT:USDT [--direct]

Through a gateway, or with ``--direct`` straight from the exchange, found where ``GATEWAY_<VENUE>__*`` says, as by the
gateway. Into a pipe or a file it writes plain lines; those that begin with ``#`` tell what happened to the stream.

It ends with 0 after ``--duration-secs`` or ``--iterations``, 2 if it was refused and would be again, 1 if there was
nobody to ask, 130 on Ctrl-C and 143 on SIGTERM. A lost connection is no end: it tries again, and goes on where it was.
"""

import argparse
import asyncio
import logging
import os
import sys
import time

from rich.console import Console
from stream import chart, session
from stream.gateway_source import GatewaySource
from stream.outcome import INTERRUPTED, Ended
from stream.watch import Watch

from exchanges.venue import CHANNELS
from gateway import logs

REWIND = {"trades": 50, "orderbook": 0, "ohlcv": 200}  # rows of the past; of candles more where the terminal is wide
MAX_REWIND = 1_000  # the gateway's


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("channel", choices=CHANNELS)
    parser.add_argument("--exchange", required=True, help="binance, bybit, hyperliquid")
    parser.add_argument("--symbol", required=True, help="unified (BTC/USDT:USDT), or the exchange's own")
    parser.add_argument("--timeframe", help="of ohlcv; default: 1m")
    parser.add_argument("--levels", type=count, help="of orderbook; default: the exchange's")
    parser.add_argument("--duration-secs", type=positive, metavar="SECONDS", help="end after so long")
    parser.add_argument(
        "--iterations", type=count, metavar="N", help="end after so many updates, the first one included"
    )
    parser.add_argument("--url", default="ws://127.0.0.1:8787/v1/ws", help="of the gateway; default: %(default)s")
    parser.add_argument("--direct", action="store_true", help="ask the exchange itself")
    parser.add_argument("--plain", action="store_true", help="lines, also in a terminal")
    arguments = parser.parse_args()
    for name, channel in (("timeframe", "ohlcv"), ("levels", "orderbook")):
        if getattr(arguments, name) is not None and arguments.channel != channel:
            parser.error(f"--{name} is for {channel}")
    if not arguments.url.startswith(("ws://", "wss://")):
        parser.error(f"--url must begin with ws:// or wss://, such as {parser.get_default('url')}")
    return arguments


def source(arguments: argparse.Namespace, *, rewind: int) -> session.Source:
    given = {"timeframe": arguments.timeframe, "levels": arguments.levels}
    params = {name: value for name, value in given.items() if value is not None}
    if arguments.direct:
        from stream.venue_source import VenueSource  # the adapters take a while to load, and a gateway needs none

        return VenueSource(arguments.exchange, arguments.channel, arguments.symbol, params, rewind=rewind)
    topic = {"channel": arguments.channel, "exchange": arguments.exchange, "symbol": arguments.symbol, "params": params}
    return GatewaySource(arguments.url, topic, rewind=rewind)


def main() -> int:
    arguments = parse()
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know fewer characters
    drawn = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not arguments.plain
    rewind = REWIND[arguments.channel]
    if drawn:
        console = Console()
        logging.disable()  # what happens is in the picture, and lines between would tear it
        display: session.Display = session.Terminal(console, direct=arguments.direct)
        if arguments.channel == "ohlcv":
            rewind = min(MAX_REWIND, max(rewind, chart.fitting(console.width)))
    else:
        logs.configure("console", "error")  # what is milder is among the lines
        display = session.Lines()
    watch, began = Watch(arguments.channel), time.monotonic()
    try:
        status = asyncio.run(
            session.run(
                watch,
                source(arguments, rewind=rewind),
                display,
                seconds=arguments.duration_secs,
                iterations=arguments.iterations,
            )
        )
    except Ended as end:
        print(f"market_stream: {end}", file=sys.stderr)
        return end.status
    except KeyboardInterrupt:
        status = INTERRUPTED
    took = time.monotonic() - began
    print(f"market_stream: {watch.updates} updates and {watch.gaps} gaps in {took:.1f} s", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
