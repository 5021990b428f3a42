"""Writes down what a venue sends, as it sends it: one JSON object a line, each with the time it was received.

    python scripts/record.py --exchange binance --channel orderbook --symbol BTC/USDT:USDT --out btc.jsonl.gz

The socket is the gateway's own, with its subscriptions, pings and reconnects. Where a book's deltas need a snapshot by
REST, it stands in the place where it arrived, so that the lines drive a ``BookSync`` as they would drive a gateway's.
Venues are where ``GATEWAY_<VENUE>__*`` says, as for the gateway: a simulator can be recorded too.

A line has ``venue``, ``channel``, ``symbol`` (unified), ``market`` (the venue's product line), ``t`` (seconds since the
epoch, our clock), ``dir`` (``recv``: a websocket message, ``http``: a REST body), ``url``, and ``raw``, the exact text.
"""

import argparse
import asyncio
import gzip
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import orjson

from exchanges import registry
from exchanges.book import OrderBook
from exchanges.catalogue import CatalogueKeeper
from exchanges.errors import GatewayError, SubscribeFailed
from exchanges.events import BookDelta, BookSnapshot, Candle, Trade, VoidTrade
from exchanges.feed import State
from exchanges.pool import Pool
from exchanges.venue import CHANNELS, Channel, Parsed, Stream, Venue
from gateway import logs, settings
from topics.key import resolve


class Recorder:
    """Writes every message of a stream to ``file`` before it is parsed. Implements ``exchanges.feed.Listener``."""

    exact = False  # what is written is the venue's own text anyway

    def __init__(self, file: IO[bytes], *, max_bytes: int) -> None:
        self.lines = self.bytes = 0
        self.ended = asyncio.Event()
        self.problem = ""  # why there is nothing more to record
        self._file = file
        self._max_bytes = max_bytes
        self._facts: dict[str, Any] = {}

    def tap(self, stream: Stream, **facts: str) -> Stream:
        """``stream``, the same but for being written down; ``facts`` stand in each line."""
        self._facts = facts
        endpoint = stream.endpoint

        def parse(raw: bytes) -> Parsed:
            self.write("recv", endpoint.url, raw)
            return endpoint.parse(raw)

        return replace(stream, endpoint=replace(endpoint, parse=parse))

    def tap_requests(self, venue: Any) -> None:
        """Write down every answer of ``venue``'s REST API from now on."""

        async def written(response: Any) -> None:
            self.write("http", str(response.url), await response.aread())

        # A venue hands its requests' answers on parsed, and what is wanted here is their text. It has a client for each
        # pool of requests that it counts.
        held = vars(venue)
        for fetcher in held["_fetchers"].values() if "_fetchers" in held else [held["_fetcher"]]:
            fetcher._client.event_hooks = {"response": [written]}

    def write(self, direction: str, url: str, raw: bytes) -> None:
        if self.ended.is_set():
            return
        received = {"t": time.time(), "dir": direction, "url": url, "raw": raw.decode(errors="replace")}
        line = orjson.dumps({**self._facts, **received}, option=orjson.OPT_APPEND_NEWLINE)
        if self.bytes + len(line) > self._max_bytes:
            self.problem = f"another line would exceed {self._max_bytes} bytes"
            self.ended.set()
            return
        self._file.write(line)
        self.lines += 1
        self.bytes += len(line)

    def on_events(self, events: Sequence[Trade | VoidTrade | Candle], received_ms: int) -> None:
        """Written already, as it came."""

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        """Written already, as it came."""

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        """The feed says in the log what became of it."""

    def on_unreadable(self) -> None:
        """Written already, as it came."""

    def on_refused(self, error: SubscribeFailed) -> None:
        self.problem = str(error)
        self.ended.set()


async def record(
    venue: Venue, recorder: Recorder, *, channel: Channel, symbol: str, params: dict[str, Any], seconds: float
) -> None:
    """Write what ``venue`` sends about one topic.

    Raises:
        GatewayError: it cannot be asked for: no such symbol, or the venue does not answer.
    """
    keeper = CatalogueKeeper(venue, cache_dir=None)
    await keeper.refresh()
    key, instrument = resolve(
        channel,
        symbol,
        params,
        exchange=venue.name,
        catalogue=keeper.current(),
        capabilities=venue.capabilities,
    )
    stream = venue.stream(channel, instrument, dict(key.params))
    recorder.tap_requests(venue)
    pool = Pool(venue.name, venue.capabilities, breaker=venue.breaker)
    facts = {"venue": venue.name, "channel": channel, "symbol": key.symbol, "market": instrument.market}
    pool.open(recorder.tap(stream, **facts), recorder)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await recorder.ended.wait()
    finally:
        await pool.aclose()


async def run(arguments: argparse.Namespace, recorder: Recorder) -> None:
    addresses = settings.load().venue(arguments.exchange).model_dump()
    venue = registry.create(arguments.exchange, **{k: v for k, v in addresses.items() if k.endswith("_url")})
    wanted = {"ohlcv": {"timeframe": arguments.timeframe}, "orderbook": {"levels": arguments.levels}}
    params = {name: value for name, value in wanted.get(arguments.channel, {}).items() if value is not None}
    what = {"channel": arguments.channel, "symbol": arguments.symbol, "params": params}
    try:
        await record(venue, recorder, **what, seconds=arguments.seconds)
    finally:
        await venue.close()


def opened(path: Path) -> IO[bytes]:
    """A new file, compressed if its name says so; one that is there already is not touched."""
    return gzip.open(path, "xb") if path.suffix == ".gz" else path.open("xb")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exchange", required=True, choices=sorted(registry.VENUES))
    parser.add_argument("--channel", required=True, choices=CHANNELS)
    parser.add_argument("--symbol", required=True, help="unified, the venue's own, or a marketId for a spot market")
    parser.add_argument("--timeframe", help="of candles; default: 1m")
    parser.add_argument("--levels", type=int, help="of a book; default: the exchange's")
    parser.add_argument("--seconds", type=float, default=60.0, help="default: 60")
    parser.add_argument("--max-bytes", type=int, default=100_000_000, help="uncompressed; default: 100,000,000")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl[.gz]", help="must not exist")
    arguments = parser.parse_args()
    logs.configure("console", "warning")
    try:
        file = opened(arguments.out)
    except OSError as error:
        print(f"record: {error}", file=sys.stderr)
        return 1
    with file:
        recorder = Recorder(file, max_bytes=arguments.max_bytes)
        try:
            asyncio.run(run(arguments, recorder))
        except GatewayError as error:
            told = error.details.get("suggestions") or error.details.get("allowed") or []
            recorder.problem = ": ".join([str(error), *filter(None, [", ".join(map(str, told))])])
        except settings.SettingsError as error:
            recorder.problem = str(error)
        except KeyboardInterrupt:
            recorder.problem = "interrupted"
    if not recorder.lines:
        arguments.out.unlink()
        print(f"record: {recorder.problem or 'nothing was received'}", file=sys.stderr)
        return 1
    ending = f"; {recorder.problem}" if recorder.problem else ""
    print(f"{recorder.lines} lines, {recorder.bytes} bytes in {arguments.out}{ending}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
