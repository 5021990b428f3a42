"""A venue that says what a test tells it to say. Opens no socket.

The REST side answers from plain lists, by the rules of ``exchanges.venue.Venue``. The stream side is the listener
itself: a test calls ``on_events``, ``on_book`` and ``on_state`` in the place of the socket.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from exchanges.book import OrderBook
from exchanges.breaker import Breaker
from exchanges.budget import CLIENT, Budget, Patience
from exchanges.catalogue import CatalogueKeeper
from exchanges.errors import GatewayError
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.feed import Feed, Listener
from exchanges.instrument import Instrument
from exchanges.venue import TIMEFRAMES_MS, Capabilities, Channel, Endpoint, Stream
from topics.books import Books
from topics.candles import Candles
from topics.key import TopicKey
from topics.manager import Exchange
from topics.recovery import CandlesByRest, Fetch, TradesByRest
from topics.ring import MemoryRing, Ring, RingBudget
from topics.tick import Tick
from topics.topic import Topic
from topics.trades import Trades
from topics.upstream import Upstream

SYMBOL = "BTC/USDT:USDT"
EPOCH_MS = 1_700_000_000_000  # when every epoch begins and numbered trades happen
NOW_MS = EPOCH_MS + 10_000  # when questions are asked

# Unlike any real venue's, deep enough in rungs for more views of a book than are allowed.
CAPABILITIES = Capabilities(
    markets={"spot": "spot", "swap": "linear", "linear": "linear"},
    market_param="type",
    default_market="linear",
    instrument_groups=("all",),
    timeframes=tuple(TIMEFRAMES_MS),
    levels=tuple(range(1, 31)),
    trade_streams=("aggTrade", "trade"),
)
ENDPOINT = Endpoint(
    url="ws://127.0.0.1:1/none", parse=lambda raw: ("", ()), ping=None, ping_interval=20.0, idle_timeout=inf
)


def instrument(symbol: str = SYMBOL, **changes: Any) -> Instrument:
    base, _, rest = symbol.partition("/")
    quote, _, settle = rest.partition(":")
    perp = Instrument(
        exchange="scripted",
        market="linear" if settle else "spot",
        symbol=symbol,
        venue_symbol=f"{base}{quote}{'' if settle else '.S'}",
        base=base,
        quote=quote,
        settle=settle or None,
        kind="perp" if settle else "spot",
        active=True,
        tick_size=0.1,
        min_order_size=0.001,
        contract_size=1.0 if settle else None,
        info={},
    )
    return replace(perp, **changes)


def trade(number: int, *, at: int | None = None) -> Trade:
    """Trade ``number``, at ``at`` ms or one ms after the trade before it."""
    timestamp_ms = EPOCH_MS + number if at is None else at
    return Trade(
        id=str(number), timestamp_ms=timestamp_ms, taker_side="buy", price=100.0, amount=1.0, cost=100.0, raw={}
    )


def trades(first: int, last: int) -> list[Trade]:
    return [trade(number) for number in range(first, last + 1)]


def candle(minute: int, *, close: float = 100.0) -> Candle:
    return Candle(
        open_time_ms=EPOCH_MS + minute * 60_000,
        open=100.0,
        high=max(100.0, close),
        low=min(100.0, close),
        close=close,
        volume=1.0,
        closed=False,
    )


def snapshot(sequence: int, *, best_bid: int = 100, depth: int = 40) -> BookSnapshot:
    """A book of ``depth`` levels a side, one apart, around ``best_bid`` and the price above it."""
    return BookSnapshot(
        bids=[(float(best_bid - n), 1.0) for n in range(depth)],
        asks=[(float(best_bid + 1 + n), 1.0) for n in range(depth)],
        sequence=sequence,
        timestamp_ms=EPOCH_MS + sequence,
    )


def book(sequence: int, **shape: Any) -> OrderBook:
    return OrderBook(snapshot(sequence, **shape))


class ScriptedVenue:
    """Implements ``exchanges.venue.Venue`` over plain lists."""

    def __init__(self, capabilities: Capabilities = CAPABILITIES, *, name: str = "scripted") -> None:
        self.name = name
        self.capabilities = capabilities
        self.breaker = Breaker(name)
        self.budgets: Mapping[str, Budget] = {}
        self.instruments = [instrument(), instrument("ETH/USDT:USDT"), instrument("BTC/USDT")]
        self.trades: list[Trade] = []
        self.candles: list[Candle] = []
        self.book = snapshot(1)
        self.error: GatewayError | None = None
        self.now_ms = EPOCH_MS  # our clock
        self.asked = 0  # requests so far
        self.missed_after: list[str] = []  # the trades after which something was missed
        self.answering = asyncio.Event()  # cleared by a test that wants requests to wait
        self.answering.set()

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        return self.instruments

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        parts = [instrument.venue_symbol, channel]
        parts += [str(params[name]) for name in ("name", "timeframe") if name in params]
        name = "@".join(parts)
        return Stream(
            endpoint=ENDPOINT,
            channel=channel,
            name=name,
            request=name,
            subscribe=name,
            unsubscribe=name,
            dense=channel == "trades",
        )

    async def fetch_trades(
        self,
        instrument: Instrument,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        params: Mapping[str, Any],
        patience: Patience = CLIENT,
    ) -> list[Trade]:
        rows = list(self.trades)  # the venue's state when it was asked, however long its answer takes
        await self._answer()
        return _part(rows, lambda row: row.timestamp_ms, since=since, until=until, limit=limit)

    async def fetch_missed(self, instrument: Instrument, *, after: str, params: Mapping[str, Any]) -> list[Trade]:
        rows = list(self.trades)
        self.missed_after.append(after)
        await self._answer()
        return rows

    async def fetch_candles(
        self,
        instrument: Instrument,
        timeframe: str,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        patience: Patience = CLIENT,
    ) -> list[Candle]:
        rows = list(self.candles)
        await self._answer()
        return _part(rows, lambda row: row.open_time_ms, since=since, until=until, limit=limit)

    async def fetch_book(self, instrument: Instrument, *, levels: int, patience: Patience = CLIENT) -> BookSnapshot:
        await self._answer()
        return self.book

    async def close(self) -> None:
        self.answering.set()

    async def _answer(self) -> None:
        self.asked += 1
        await self.answering.wait()
        if self.error is not None:
            raise self.error


def _part(
    rows: list[Any], time_of: Callable[[Any], int], *, since: int | None, until: int | None, limit: int
) -> list[Any]:
    fitting = [r for r in rows if (since is None or time_of(r) >= since) and (until is None or time_of(r) <= until)]
    return fitting[:limit] if since is not None else fitting[-limit:]


class ScriptedPool:
    """Has the shape of ``exchanges.pool.Pool``; gives the test the listeners in the place of sockets."""

    def __init__(self) -> None:
        self.listeners: dict[str, Listener] = {}  # of the open feeds, by stream name
        self.opened: list[str] = []
        self.error: GatewayError | None = None
        self.connected = 0
        self.breaker = Breaker("scripted")
        self.budgets: Mapping[str, Budget] = {}

    @property
    def sockets(self) -> int:
        return len(self.listeners)

    def open(self, stream: Stream, listener: Listener) -> Feed:
        if self.error is not None:
            raise self.error
        self.opened.append(stream.name)
        self.listeners[stream.name] = listener
        return Feed("scripted", stream, listener)

    def close(self, feed: Feed) -> None:
        feed.close()
        del self.listeners[feed.stream.name]

    async def aclose(self) -> None:
        self.listeners.clear()


async def exchange(venue: ScriptedVenue, pool: ScriptedPool) -> Exchange:
    keeper = CatalogueKeeper(venue, cache_dir=None)
    await keeper.refresh()
    return Exchange(venue=venue, catalogue=keeper, pool=pool)


def topic_key(channel: Channel, **params: Any) -> TopicKey:
    defaults: dict[str, dict[str, Any]] = {"trades": {}, "ohlcv": {"timeframe": "1m"}, "orderbook": {"levels": 20}}
    return TopicKey("scripted", channel, SYMBOL, tuple(sorted({**defaults[channel], **params}.items())))


def upstream(
    venue: ScriptedVenue,
    channel: Channel,
    *,
    ring: Ring | None = None,
    refused: list[Upstream] | None = None,
    owned: bool = True,
    **differences: Any,
) -> Upstream:
    """One feed of ``venue`` as a manager would run it, on the running loop; ``differences`` are of its stream."""
    key, tick = topic_key(channel), Tick(clock=lambda: 0.0)  # no round takes long, however busy the machine
    where = ring or MemoryRing(RingBudget())
    stream = replace(venue.stream(channel, instrument(), dict(key.params)), **differences)

    def topic(key: TopicKey) -> Topic:
        return Topic(key, tick, clock_ms=lambda: venue.now_ms)

    def candles() -> Candles:
        return Candles(
            topic(key), where, clock_ms=lambda: venue.now_ms, timeframe="1m", marks_closed=stream.marks_closed
        )

    contents: dict[str, Callable[[], Trades | Candles | Books]] = {
        "trades": lambda: Trades(topic(key), where, dense=stream.dense),
        "ohlcv": candles,
        "orderbook": lambda: Books(topic),
    }
    fetches: dict[str, Fetch] = {
        "trades": TradesByRest(venue, instrument(), {}),
        "ohlcv": CandlesByRest(venue, instrument(), {"timeframe": "1m"}),
    }
    gone = refused if refused is not None else []
    return Upstream(
        key,
        stream,
        contents[channel](),
        epoch=EPOCH_MS if owned else None,
        tick=tick,
        clock_ms=lambda: venue.now_ms,
        fetch=fetches.get(channel),
        refused=lambda one, _: gone.append(one),
    )
