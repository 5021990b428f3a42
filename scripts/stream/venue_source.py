"""A stream straight from the venue, by the gateway's own adapters, written as the frames a gateway would send.

It has no cursors, and it fetches no trades that a lost connection cost: what may be missing is declared as a ``gap``.
Candles are followed, closed and repaired by the gateway's own rules.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from exchanges import registry
from exchanges.book import OrderBook
from exchanges.catalogue import CatalogueKeeper
from exchanges.errors import GatewayError, SubscribeFailed, UnsupportedExchange, UpstreamError
from exchanges.events import BookDelta, BookSnapshot, Candle, Trade, VoidTrade
from exchanges.feed import State
from exchanges.instrument import Instrument
from exchanges.pool import Pool
from exchanges.socket import wall_clock_ms
from exchanges.venue import Channel, Stream, Venue
from gateway import settings
from topics.candle_sequence import CandleSequence
from topics.candle_sequence import State as CandleState
from topics.key import TopicKey, resolve
from topics.wire import book_view, trade_row

from . import words
from .outcome import Ended, NotReached, Refused

FIRST_LIVE = 5.0  # seconds a subscription may take before the past is shown without it
MAX_RECENT = 1_000  # trades that a repetition is looked for among
CHECK_EVERY = 1.0  # second: candles that are over, and repairs

Deliver = Callable[[Mapping[str, Any]], None]
Events = Sequence[Trade | VoidTrade | Candle]


def ending(error: GatewayError) -> Ended:
    """An error of ours as the end of a run."""
    kind = NotReached if error.retryable else Refused
    return kind(words.refusal(error.code, str(error), error.details))


class VenueSource:
    """``rewind``: rows of the past, by REST."""

    def __init__(self, exchange: str, channel: Channel, symbol: str, params: Mapping[str, Any], *, rewind: int) -> None:
        self._exchange = exchange
        self._channel = channel
        self._symbol = symbol
        self._params = params
        self._rewind = rewind

    async def run(self, deliver: Deliver) -> None:
        """Hand over frames until cancelled.

        Raises:
            NotReached: the venue does not answer to begin with.
            Refused: there is no such thing, or the venue will not serve it.
        """
        try:
            await self._run(deliver)
        except GatewayError as error:
            raise ending(error) from error
        except settings.SettingsError as error:
            raise Refused(str(error)) from error

    async def _run(self, deliver: Deliver) -> None:
        if self._exchange not in registry.VENUES:
            raise UnsupportedExchange("no such exchange here", field="exchange", supported=sorted(registry.VENUES))
        addresses = settings.load().venue(self._exchange).model_dump()
        venue = registry.create(self._exchange, **{k: v for k, v in addresses.items() if k.endswith("_url")})
        try:
            keeper = CatalogueKeeper(venue, cache_dir=None)
            await keeper.refresh()
            key, instrument = resolve(
                self._channel,
                self._symbol,
                self._params,
                exchange=venue.name,
                catalogue=keeper.current(),
                capabilities=venue.capabilities,
            )
            stream = venue.stream(self._channel, instrument, dict(key.params))
            deliver({"type": "subscribed", "topic": key.topic, "state": "connecting"})
            writer = Writer(key, series_of(self._channel, venue, instrument, key, stream), Frames(key, deliver))
            pool = Pool(venue.name, venue.capabilities, breaker=venue.breaker)
            pool.open(stream, writer)
            try:
                await writer.follow(self._rewind)
            finally:
                await pool.aclose()
        finally:
            await venue.close()


class Frames:
    """Writes frames of one topic, as a gateway would."""

    def __init__(self, key: TopicKey, deliver: Deliver) -> None:
        self._key, self._deliver = key, deliver

    def data(self, data: Any, *, event_ms: int | None, received_ms: int, **beside: Any) -> None:
        ts = {"ex": event_ms, "rx": received_ms, "tx": received_ms}
        self._deliver({"type": self._key.channel, "topic": self._key.topic, "ts": ts, "data": data, **beside})

    def gap(self, reason: str, missing: int | None) -> None:
        self._deliver({"type": "gap", "reason": reason, "missing": missing, "backfilled": False, "rows": 0})

    def status(self, state: State, reason: str, retry_ms: int | None) -> None:
        about = {"type": "status", "scope": "topic", "topic": self._key.topic}
        self._deliver({**about, "state": state, "reason": reason, "retryInMs": retry_ms})

    def warning(self, error: GatewayError) -> None:
        self._deliver({"type": "warning", "code": error.code, "message": str(error)})


class Writer:
    """Writes what a feed says as frames. Implements ``exchanges.feed.Listener``."""

    exact = False  # numbers will do

    def __init__(self, key: TopicKey, series: "Series | None", frames: Frames) -> None:
        """``series``: of trades or candles; None: a book, which has no past."""
        self._key, self._series, self._frames = key, series, frames
        self._lost = False  # the stream was, since what it said last
        self._live = asyncio.Event()
        self._held: list[tuple[Events, int]] | None = []  # until the past has come; then None
        self._refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def follow(self, rewind: int) -> None:
        """The past, what came meanwhile, then what comes; until cancelled or refused."""
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LIVE):  # what REST says then reaches what the stream says
                await self._live.wait()
        if self._series is not None and rewind and not self._refused.done():
            try:
                await self._series.recall(self._frames, rewind)
            except UpstreamError as error:
                self._frames.warning(error)
        held, self._held = self._held or [], None
        for events, received_ms in held:
            self.on_events(events, received_ms)
        while self._series is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY):
                    await asyncio.shield(self._refused)
            lost, self._lost = self._lost, self._lost and not self._live.is_set()
            try:
                await self._series.check(self._frames, lost=lost and self._live.is_set())
            except UpstreamError as error:
                self._frames.warning(error)
        await self._refused

    def on_events(self, events: Events, received_ms: int) -> None:
        assert self._series is not None  # a book's feed calls ``on_book``
        if self._held is not None:
            self._held.append((events, received_ms))
        else:
            self._series.write(self._frames, events, received_ms)

    def on_book(self, book: OrderBook, received_ms: int, event: BookSnapshot | BookDelta | None = None) -> None:
        view = book_view(book, self._key.symbol, levels=dict(self._key.params)["levels"])
        self._frames.data(view, event_ms=book.timestamp_ms, received_ms=received_ms)

    def on_state(self, state: State, reason: str, *, attempt: int = 0, retry_in: float | None = None) -> None:
        if state == "live":
            self._live.set()
        elif state not in ("connecting", "stale"):
            self._live.clear()
            self._break()
        self._frames.status(state, reason, None if retry_in is None else round(1000 * retry_in))

    def on_unreadable(self) -> None:
        self._break()

    def on_refused(self, error: SubscribeFailed) -> None:
        if not self._refused.done():
            self._refused.set_exception(error)

    def _break(self) -> None:
        self._lost = True
        if self._series is not None:
            self._series.broken()


class TradeSeries:
    """Trades, and what is missing between them."""

    def __init__(self, venue: Venue, instrument: Instrument, key: TopicKey, stream: Stream) -> None:
        self._venue, self._instrument, self._key, self._stream = venue, instrument, key, stream
        self._lost = False  # the stream was, since its last trade
        self._last_id: int | None = None  # where the venue counts
        self._recent: deque[str] = deque(maxlen=MAX_RECENT)  # ids

    async def recall(self, frames: Frames, rewind: int) -> None:
        """Write the last so many."""
        trades = await self._venue.fetch_trades(
            self._instrument, since=None, until=None, limit=rewind, params=dict(self._key.params)
        )
        self.write(frames, trades, wall_clock_ms())

    async def check(self, frames: Frames, *, lost: bool) -> None:
        """Time brings no trade, and none is fetched: what shows a loss is the next one."""

    def broken(self) -> None:
        self._lost = True

    def write(self, frames: Frames, events: Events, received_ms: int) -> None:
        if self._stream.dense:
            events = [event for event in events if self._follows(frames, event)]
        elif self._lost and self._recent and not self._joins(events):
            frames.gap("VENUE_LOST", None)
        self._lost = False
        trades = [event for event in events if isinstance(event, Trade)]
        if trades:
            self._recent.extend(trade.id for trade in trades)
            rows = [trade_row(trade, self._key.symbol) for trade in trades]
            frames.data(rows, event_ms=trades[-1].timestamp_ms, received_ms=received_ms)

    def _follows(self, frames: Frames, event: Any) -> bool:
        """Not had before; what it shows to be missing is declared."""
        number = int(event.id)
        if self._last_id is not None:
            if number <= self._last_id:
                return False
            if missing := number - self._last_id - 1:
                frames.gap("VENUE_LOST" if self._lost else "VENUE_SKIP", missing)
        self._last_id = number
        return True

    def _joins(self, events: Events) -> bool:
        """What is repeated after a subscription reaches back to a trade we had: nothing is missing between."""
        return self._stream.replays and any(event.id in self._recent for event in events if isinstance(event, Trade))


class CandleSeries:
    """Candles, closed and repaired by the gateway's own rules."""

    def __init__(self, venue: Venue, instrument: Instrument, key: TopicKey, stream: Stream) -> None:
        self._venue, self._instrument = venue, instrument
        self._timeframe = dict(key.params)["timeframe"]
        self._sequence = CandleSequence(self._timeframe, marks_closed=stream.marks_closed)

    async def recall(self, frames: Frames, rewind: int) -> None:
        """Write the last so many."""
        now = wall_clock_ms()
        self._tell(frames, self._sequence.start(await self._fetch(None, rewind), [], now), now)

    async def check(self, frames: Frames, *, lost: bool) -> None:
        """Once a second: candles that are over, and repairs. ``lost``: the stream was, and is back."""
        now = wall_clock_ms()
        self._tell(frames, self._sequence.check(now), now)
        if lost or self._sequence.wants(now):
            limit = self._venue.capabilities.limit("max_candles", self._instrument.market)
            rows = await self._fetch(self._sequence.since_ms, limit)
            self._tell(frames, self._sequence.mend(rows, now), now, repair=True)

    def broken(self) -> None:
        self._sequence.broken()

    def write(self, frames: Frames, events: Events, received_ms: int) -> None:
        candles = [event for event in events if isinstance(event, Candle)]
        changes, repairs = self._sequence.follow(candles, wall_clock_ms())
        self._tell(frames, changes, received_ms)
        self._tell(frames, repairs, received_ms, repair=True)

    async def _fetch(self, since: int | None, limit: int) -> list[Candle]:
        return await self._venue.fetch_candles(self._instrument, self._timeframe, since=since, until=None, limit=limit)

    def _tell(self, frames: Frames, states: Sequence[CandleState], received_ms: int, *, repair: bool = False) -> None:
        if not states:
            return
        rows = [[c.open_time_ms, c.open, c.high, c.low, c.close, c.volume] for c in (s.candle for s in states)]
        meta = [{"closed": s.closed, "complete": s.complete, "source": s.source} for s in states]
        frames.data(rows, event_ms=None, received_ms=received_ms, meta=meta, **({"repair": True} if repair else {}))


Series = TradeSeries | CandleSeries


def series_of(channel: Channel, venue: Venue, instrument: Instrument, key: TopicKey, stream: Stream) -> Series | None:
    if channel == "orderbook":
        return None
    return (TradeSeries if channel == "trades" else CandleSeries)(venue, instrument, key, stream)
