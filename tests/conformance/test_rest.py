"""Recorded REST bodies, answered by a web server to our own requests, come out of our public shapes as ccxt's do."""

from collections.abc import AsyncIterator

import orjson
import pytest

from exchanges.registry import create
from exchanges.venue import Venue
from tests.conformance.recordings import Recording, all_recordings, cases, known_to_ccxt
from tests.conformance.shapes import candle_shapes, compared, trade_shapes
from tests.conformance.venues import ADAPTERS, instrument
from tests.exchanges.web import Answer, Web
from topics.wire import snapshot_view

ALL = 1000  # rows or levels, more than any of the bodies holds
FETCHED = ("binanceusdm", "binance", "bybit")  # ccxt fetches no public trades of Hyperliquid


@pytest.fixture
async def venue(recording: Recording, web: Web) -> AsyncIterator[Venue]:
    """Our adapter, whose venue answers everything with the recorded body."""
    web.always(Answer(recording.raw))
    venue = create(ADAPTERS[recording.venue].exchange, rest_url=web.url, spot_rest_url=web.url)
    yield venue
    await venue.close()


def stream_of(recording: Recording) -> dict[str, str]:
    """Which of Binance's two kinds of trades a body holds; other venues have one."""
    return {"name": "aggTrade" if "aggTrades" in (recording.url or "") else "trade"}


@pytest.mark.parametrize("recording", cases("rest.trades"))
async def test_every_row_of_a_body_of_trades_comes_out_oldest_first(recording: Recording, venue: Venue) -> None:
    rows = ADAPTERS[recording.venue].rows(orjson.loads(recording.raw))
    market = instrument(recording, "BTC/USDT:USDT")

    trades = await venue.fetch_trades(market, since=None, until=None, limit=ALL, params=stream_of(recording))

    assert sorted(orjson.dumps(trade.raw) for trade in trades) == sorted(orjson.dumps(row) for row in rows)
    assert [trade.timestamp_ms for trade in trades] == sorted(trade.timestamp_ms for trade in trades)


@pytest.mark.parametrize("recording", cases("rest.trades", venues=FETCHED, where=known_to_ccxt))
async def test_a_body_of_trades_equals_that_of_ccxt(recording: Recording, venue: Venue) -> None:
    assert recording.peer is not None
    symbol = recording.peer["symbol"]

    trades = await venue.fetch_trades(
        instrument(recording, symbol), since=None, until=None, limit=ALL, params=stream_of(recording)
    )

    assert trade_shapes(trades, symbol) == [compared(row) for row in recording.peer["expected"]]


@pytest.mark.parametrize("recording", cases("rest.ohlcv", where=known_to_ccxt))
async def test_a_body_of_candles_equals_that_of_ccxt(recording: Recording, venue: Venue) -> None:
    assert recording.peer is not None
    market = instrument(recording, recording.peer["symbol"])

    candles = await venue.fetch_candles(market, "1m", since=None, until=None, limit=ALL)

    assert candle_shapes(candles) == recording.peer["expected"]


@pytest.mark.parametrize("recording", cases("rest.orderbook", where=known_to_ccxt))
async def test_a_body_of_depth_equals_that_of_ccxt(recording: Recording, venue: Venue) -> None:
    assert recording.peer is not None
    symbol = recording.peer["symbol"]

    book = await venue.fetch_book(instrument(recording, symbol), levels=ALL)

    view = orjson.loads(orjson.dumps(snapshot_view(book, symbol, levels=ALL)))
    assert view == recording.peer["expected"]


@pytest.mark.parametrize("recording", cases("rest.markets", venues=("binanceusdm",)))
async def test_every_market_of_a_body_of_instruments_has_a_symbol_of_its_own(
    recording: Recording, venue: Venue
) -> None:
    rows = orjson.loads(recording.raw)["symbols"]

    instruments = await venue.fetch_instruments("linear")

    assert [instrument.venue_symbol for instrument in instruments] == [row["symbol"] for row in rows]
    assert len({instrument.symbol for instrument in instruments}) == len(rows)


@pytest.mark.parametrize("recording", cases("rest.markets", venues=("binanceusdm",)))
async def test_instruments_are_called_what_ccxt_calls_them(recording: Recording, venue: Venue) -> None:
    known = {r.peer["id"]: r.peer["symbol"] for r in all_recordings() if r.folder == recording.folder and r.peer}

    instruments = await venue.fetch_instruments("linear")

    assert known
    assert {i.venue_symbol: i.symbol for i in instruments if i.venue_symbol in known} == known
