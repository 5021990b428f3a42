"""What ``record.py`` writes: enough to build the venue's book from, in lines that say where each came from."""

import asyncio
import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from exchanges import registry
from exchanges.binance import parse as binance
from exchanges.book import BookSync
from exchanges.bybit import parse as bybit
from exchanges.events import BookDelta, BookSnapshot
from exchanges.hyperliquid import parse as hyperliquid
from exchanges.venue import Parsed
from gateway import cli
from scripts.record import Recorder, record
from tests.scripts.conftest import python
from tests.system import processes

Line = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One venue's book, and what reads its recording."""

    symbol: str
    venue_symbol: str
    levels: int  # as deep as its default stream goes
    parse: Callable[[bytes], Parsed]
    sources: set[str]  # what a recording of it holds: only Binance's deltas need a snapshot by REST


CASES = {
    "binance": Case(
        symbol="BTC/USDT:USDT", venue_symbol="BTCUSDT", levels=20, parse=binance.futures, sources={"recv", "http"}
    ),
    "bybit": Case(symbol="BTC/USDT:USDT", venue_symbol="BTCUSDT", levels=20, parse=bybit.linear, sources={"recv"}),
    "hyperliquid": Case(
        symbol="BTC/USDC:USDC", venue_symbol="BTC", levels=5, parse=hyperliquid.parse, sources={"recv"}
    ),
}


def read(content: bytes) -> list[Line]:
    return [orjson.loads(line) for line in content.splitlines()]


def best(lines: list[Line], case: Case) -> dict[str, list[tuple[float, float]]]:
    """The best levels after all ``lines``, each given to a ``BookSync`` as it came."""
    sync = BookSync()
    for line in lines:
        raw = line["raw"].encode()
        events = [binance.book(orjson.loads(raw))] if line["dir"] == "http" else case.parse(raw)[1]
        for event in events:
            if isinstance(event, BookSnapshot):
                sync.on_snapshot(event)
            elif isinstance(event, BookDelta):
                sync.on_delta(event)
    if sync.book is None:
        return {}
    return {"bids": sync.book.bids.rows(case.levels), "asks": sync.book.asks.rows(case.levels)}


async def truth(control: httpx2.AsyncClient, exchange: str, case: Case) -> dict[str, list[tuple[float, float]]]:
    query = {"venue": exchange, "symbol": case.venue_symbol}
    book = (await control.get("/control/book", params=query)).json()
    return {side: [(float(p), float(a)) for p, a in book[side][: case.levels]] for side in ("bids", "asks")}


@pytest.mark.parametrize("exchange", CASES)
async def test_a_recorded_stream_drives_a_book_to_the_venues_own(
    simulator_url: str, control: httpx2.AsyncClient, exchange: str
) -> None:
    case, file = CASES[exchange], io.BytesIO()
    recorder = Recorder(file, max_bytes=10_000_000)
    venue = registry.create(exchange, **cli.simulated(simulator_url)[exchange])
    what = {"channel": "orderbook", "symbol": case.symbol, "params": {}}
    recording = asyncio.create_task(record(venue, recorder, **what, seconds=processes.PATIENCE))

    async def recorded(count: int) -> bool:
        return recorder.lines >= count

    async def complete() -> bool:
        return best(read(file.getvalue()), case) == true_book

    await processes.until(lambda: recorded(5))
    await control.post("/control/freeze", json={"frozen": True})
    true_book = await truth(control, exchange, case)
    await processes.until(complete)
    recorder.ended.set()
    await recording
    await venue.close()

    assert len(true_book["bids"]) == case.levels
    assert {line["dir"] for line in read(file.getvalue())} == case.sources


async def test_each_line_says_what_it_is_and_when_and_whence_it_came(simulator_url: str, tmp_path: Path) -> None:
    file = tmp_path / "trades.jsonl.gz"
    outcome = await python(
        "record.py",
        *("--exchange", "bybit", "--channel", "trades", "--symbol", "BTCUSDT", "--seconds", "1", "--out", file),
        environment=processes.simulated(simulator_url),
    )
    lines = read(gzip.decompress(file.read_bytes()))
    facts = {"venue": "bybit", "channel": "trades", "symbol": "BTC/USDT:USDT", "market": "linear", "dir": "recv"}
    assert outcome.status == 0
    assert outcome.lines[0].startswith(f"{len(lines)} lines, ")
    assert all(line.items() >= facts.items() for line in lines)
    assert {line["url"] for line in lines} == {f"{simulator_url.replace('http', 'ws')}/bybit/v5/public/linear"}
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    assert bybit.linear(lines[0]["raw"].encode())[0] == "publicTrade.BTCUSDT"


async def test_a_recording_stays_within_its_bytes(simulator_url: str, tmp_path: Path) -> None:
    file = tmp_path / "book.jsonl"
    outcome = await python(
        "record.py",
        *("--exchange", "bybit", "--channel", "orderbook", "--symbol", "BTCUSDT", "--levels", "1000"),
        *("--seconds", "20", "--max-bytes", "52000", "--out", file),
        environment=processes.simulated(simulator_url),
    )
    assert outcome.status == 0
    assert outcome.lines[0].endswith("another line would exceed 52000 bytes")
    assert 0 < file.stat().st_size <= 52_000
    assert '"topic":"orderbook.1000.BTCUSDT"' in read(file.read_bytes())[1]["raw"]


async def test_candles_are_recorded_in_the_timeframe_asked_for(simulator_url: str, tmp_path: Path) -> None:
    file = tmp_path / "candles.jsonl"
    outcome = await python(
        "record.py",
        *("--exchange", "binance", "--channel", "ohlcv", "--symbol", "BTCUSDT", "--timeframe", "5m"),
        *("--seconds", "20", "--max-bytes", "1500", "--out", file),
        environment=processes.simulated(simulator_url),
    )
    assert outcome.status == 0
    assert {orjson.loads(line["raw"]).get("stream") for line in read(file.read_bytes())} == {None, "btcusdt@kline_5m"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--channel", "trades", "--symbol", "btcusdt"), "record: no such symbol: BTC/USDT, "),
        (("--channel", "ohlcv", "--symbol", "BTCUSDT", "--timeframe", "7m"), "record: no such timeframe on this"),
    ],
)
async def test_what_cannot_be_recorded_is_said_in_one_line_and_leaves_no_file(
    simulator_url: str, tmp_path: Path, asked: tuple[str, ...], told: str
) -> None:
    file = tmp_path / "nothing.jsonl"
    outcome = await python(
        "record.py",
        *("--exchange", "binance", *asked, "--seconds", "5", "--out", file),
        environment=processes.simulated(simulator_url),
    )
    assert (outcome.status, outcome.lines) == (1, [])
    assert outcome.errors.startswith(told)
    assert outcome.errors.count("\n") == 1
    assert not file.exists()


@pytest.mark.parametrize("name", ["kept.jsonl", "kept.jsonl.gz"])
async def test_a_recording_that_exists_is_not_overwritten(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("kept")
    outcome = await python(
        "record.py",
        *("--exchange", "bybit", "--channel", "trades", "--symbol", "BTCUSDT", "--out", file),
        environment=processes.simulated("http://127.0.0.1:1"),
    )
    assert outcome.status == 1
    assert "File exists" in outcome.errors
    assert file.read_text() == "kept"


async def test_a_venue_that_is_not_there_fails_and_leaves_no_file(tmp_path: Path) -> None:
    file = tmp_path / "nothing.jsonl"
    outcome = await python(
        "record.py",
        *("--exchange", "bybit", "--channel", "trades", "--symbol", "BTCUSDT", "--out", file),
        environment=processes.simulated("http://127.0.0.1:1"),
    )
    assert outcome.status == 1
    assert outcome.errors.splitlines()[-1] == "record: bybit has not given its list of markets yet"
    assert not file.exists()
