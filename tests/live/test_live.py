"""Are the exchanges still what our adapters take them for? Off unless asked for: ``pytest -m live tests/live``.

Each test talks to one real exchange, for a minute at the most, about its BTC perpetual. ``GATEWAY_<VENUE>__*`` settings
turn the tests to other addresses, as they do the gateway: a run against ``market-gateway simulate`` tests the tests.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from exchanges import registry
from exchanges.events import Candle, Trade
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Stream, Venue
from gateway import settings
from tests.live.listening import listening

pytestmark = pytest.mark.live

PATIENCE = 60.0  # seconds for what a busy market brings in a few
MINUTE = 60_000
CLOCKS = 30_000  # ms by which the venue's clock, or ours, may be wrong


@pytest.fixture(params=sorted(registry.VENUES))
async def venue(request: pytest.FixtureRequest) -> AsyncIterator[Venue]:
    addresses = settings.load().venue(request.param).model_dump()
    one = registry.create(request.param, **{k: v for k, v in addresses.items() if k.endswith("_url")})
    yield one
    await one.close()


@pytest.fixture
async def instruments(venue: Venue) -> list[Instrument]:
    return await venue.fetch_instruments(venue.capabilities.default_market)


@pytest.fixture
def bitcoin(instruments: list[Instrument]) -> Instrument:
    """The market that is never quiet."""
    symbols = {"BTC/USDT:USDT", "BTC/USDC:USDC"}
    named = [i for i in instruments if i.symbol in symbols and i.active]
    assert named, f"none of {symbols} among {len(instruments)} instruments"
    return max(named, key=lambda instrument: instrument.symbol)


def subscription(venue: Venue, channel: Channel, instrument: Instrument) -> Stream:
    params = {"levels": venue.capabilities.default_levels, "timeframe": "1m"}
    return venue.stream(channel, instrument, params)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_trades_stream_without_a_hole_and_by_the_ids_that_rest_knows(venue: Venue, bitcoin: Instrument) -> None:
    stream = subscription(venue, "trades", bitcoin)
    async with listening(venue, stream) as heard:
        await heard.until(lambda: len(heard.events) >= 20, seconds=PATIENCE)
        streamed = list(heard.events)
        fetched = await venue.fetch_trades(bitcoin, since=None, until=None, limit=1000, params={})
        await heard.until(lambda: {t.id for t in fetched} & ids(heard.events) != set(), seconds=PATIENCE)

    assert (heard.strange, heard.states) == ([], ["live"])
    assert stream.replays or len(ids(streamed)) == len(streamed)  # what was replayed may come again
    assert all(isinstance(trade, Trade) and abs(trade.timestamp_ms - now_ms()) < 10 * MINUTE for trade in streamed)
    if venue.capabilities.trades_backfill == "by-id":
        numbers = [int(trade.id) for trade in heard.events if isinstance(trade, Trade)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    same = {trade.id: trade for trade in fetched}
    for trade in heard.events:
        if isinstance(trade, Trade) and (other := same.get(trade.id)) is not None:
            assert facts(trade) == facts(other)


def ids(events: list[Trade | Candle]) -> set[str]:
    return {event.id for event in events if isinstance(event, Trade)}


def facts(trade: Trade) -> tuple[object, ...]:
    return trade.timestamp_ms, trade.taker_side, trade.price, trade.amount, trade.cost


async def test_a_book_is_proven_stays_proven_and_agrees_with_rest(venue: Venue, bitcoin: Instrument) -> None:
    levels = venue.capabilities.default_levels
    async with listening(venue, subscription(venue, "orderbook", bitcoin)) as heard:
        await heard.until(lambda: len(heard.sequences) >= 20, seconds=PATIENCE)
        snapshot = await venue.fetch_book(bitcoin, levels=levels)
        assert heard.book is not None
        bids, asks = heard.book.bids.rows(levels), heard.book.asks.rows(levels)

    assert (heard.strange, heard.states) == ([], ["live"])
    assert len(bids) == len(asks) == levels
    assert heard.sequences == sorted(heard.sequences)
    assert heard.book.timestamp_ms is not None
    assert abs(heard.book.timestamp_ms - now_ms()) < CLOCKS
    assert bids[0][0] == pytest.approx(float(snapshot.bids[0][0]), rel=0.005)
    assert asks[0][0] == pytest.approx(float(snapshot.asks[0][0]), rel=0.005)
    assert len(snapshot.bids) >= levels


async def test_candles_stream_in_the_units_of_rest(venue: Venue, bitcoin: Instrument) -> None:
    async with listening(venue, subscription(venue, "ohlcv", bitcoin)) as heard:
        await heard.until(lambda: len(heard.events) >= 3, seconds=PATIENCE)
        streamed = heard.events[0]  # not the last: what REST answers may be a moment old
        fetched = await venue.fetch_candles(bitcoin, "1m", since=None, until=None, limit=5)

    assert (heard.strange, heard.states) == ([], ["live"])
    assert isinstance(streamed, Candle)
    assert streamed.open_time_ms % MINUTE == 0
    assert -CLOCKS < now_ms() - streamed.open_time_ms < 2 * MINUTE + CLOCKS
    # The fetched one is the same minute, later: it can only have grown.
    later = {candle.open_time_ms: candle for candle in fetched}[streamed.open_time_ms]
    assert later.open == streamed.open
    assert later.low <= streamed.low <= streamed.high <= later.high
    assert streamed.volume is not None
    assert later.volume is not None
    assert streamed.volume <= later.volume < 1_000 * max(streamed.volume, 1.0)


async def test_rest_answers_are_in_order_and_bounded_as_asked(
    venue: Venue, instruments: list[Instrument], bitcoin: Instrument
) -> None:
    trades, candles, book = await asyncio.gather(
        venue.fetch_trades(bitcoin, since=None, until=None, limit=50, params={}),
        venue.fetch_candles(bitcoin, "1m", since=None, until=None, limit=50),
        venue.fetch_book(bitcoin, levels=20),
    )
    opened = [candle.open_time_ms for candle in candles]
    some = await venue.fetch_candles(bitcoin, "1m", since=opened[10], until=opened[20], limit=50)

    active = [instrument for instrument in instruments if instrument.active]
    assert len({instrument.symbol for instrument in active}) == len(active) >= 5
    assert all(instrument.kind in ("perp", "future") and instrument.contract_size for instrument in active)
    assert 5 <= len(trades) <= 50
    assert [t.timestamp_ms for t in trades] == sorted(t.timestamp_ms for t in trades)
    assert abs(trades[-1].timestamp_ms - now_ms()) < 10 * MINUTE
    assert opened == list(range(opened[0], opened[0] + 50 * MINUTE, MINUTE))
    assert -CLOCKS < now_ms() - opened[-1] < 2 * MINUTE + CLOCKS
    assert [candle.closed for candle in candles[:-1]].count(False) == 0
    assert [candle.open_time_ms for candle in some] == opened[10:21]
    assert len(book.bids) >= 20
    assert float(book.bids[0][0]) < float(book.asks[0][0])
