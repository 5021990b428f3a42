"""Makes up for what a feed of trades or candles did not bring: its past at the beginning, what was missed later on.

Asks REST and waits. What is missing is the content's to know, and what becomes of it the upstream's.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exchanges.budget import HEALING
from exchanges.errors import GatewayError
from exchanges.events import Candle, Trade, VoidTrade
from exchanges.instrument import Instrument
from exchanges.venue import Stream, Venue
from topics import metrics
from topics.content import Series

log = logging.getLogger("topics.recovery")

BEGIN_TIMEOUT = 2.0  # seconds the live stream is held back for its history
FIRST_WORDS = 1.0  # seconds in which a venue that replays trades, unmarked, has done so
MAX_HELD = 10_000  # events, until the stream begins
REORDER_WINDOW = 0.25  # seconds a message may come late before it is looked for by REST
MEND_TIMEOUT = 5.0  # seconds in which a loss is made up for, else it is said
FIRST_PAUSE = 0.25  # seconds before REST is asked again; doubles


class Fetch(Protocol):
    """The venue's REST side, for one feed. Both raise ``GatewayError``."""

    async def history(self) -> Sequence[Trade | Candle]:
        """The recent past, oldest first."""
        ...

    async def missed(self, place: Any) -> Sequence[Trade | Candle]:
        """What came after ``place``, a trade's id, or from ``place``, a candle's open time; oldest first."""
        ...


PRIME_TRADES = 500
PRIME_CANDLES = 500


@dataclass(frozen=True, slots=True)
class TradesByRest:
    """Implements ``Fetch``."""

    venue: Venue
    instrument: Instrument
    params: Mapping[str, Any]

    async def history(self) -> Sequence[Trade | Candle]:
        return await self.venue.fetch_trades(
            self.instrument, since=None, until=None, limit=PRIME_TRADES, params=self.params, patience=HEALING
        )

    async def missed(self, place: Any) -> Sequence[Trade | Candle]:
        if place is None:
            return await self.history()
        return await self.venue.fetch_missed(self.instrument, after=place, params=self.params)


@dataclass(frozen=True, slots=True)
class CandlesByRest:
    """Implements ``Fetch``."""

    venue: Venue
    instrument: Instrument
    params: Mapping[str, Any]

    async def history(self) -> Sequence[Trade | Candle]:
        return await self.missed(None)

    async def missed(self, place: Any) -> Sequence[Trade | Candle]:
        return await self.venue.fetch_candles(
            self.instrument,
            self.params["timeframe"],
            since=place,
            until=None,
            limit=PRIME_CANDLES,
            patience=HEALING,
        )


class Recovery:
    """One feed's.

    ``begin`` is told (history, held), None where the history could not be had; ``mended`` the rows that were fetched,
    empty if none could be.
    """

    def __init__(
        self,
        content: Series,
        fetch: Fetch | None,
        stream: Stream,
        exchange: str,
        *,
        begin: Callable[[Sequence[Any] | None, Sequence[Any]], None],
        mended: Callable[[Sequence[Any]], None],
    ) -> None:
        self._content = content
        self._fetch = fetch
        self._stream = stream
        self._exchange = exchange
        self._begin = begin
        self._mended = mended
        self._held: list[Trade | VoidTrade | Candle] = []
        self._held_more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def hold(self, events: Sequence[Trade | VoidTrade | Candle]) -> None:
        """Keep what came before the stream has begun."""
        self._held.extend(events)
        self._held_more.set()
        if len(self._held) > MAX_HELD:
            metrics.HELD_OVERFLOWS.labels(self._exchange).inc()
            self.stop_waiting()
            self._end_beginning(None)

    def begin(self) -> None:
        """Fetch the recent past; what is held meanwhile comes after it."""
        self.stop()
        self._task = asyncio.create_task(self._fetch_history())

    def mend(self, *, lost: bool) -> None:
        """Fetch what was missed. ``lost``: the feed was; else a message may only be late."""
        if self._task is not None and not self._task.done():
            self._held_more.set()
            if self._content.crowded:
                metrics.HELD_OVERFLOWS.labels(self._exchange).inc()
                self.stop_waiting()
                self._mended(())
            return
        self._task = asyncio.create_task(self._fetch_missed(lost=lost))

    def stop(self) -> None:
        """The feed is lost: what is being fetched would be older than that."""
        self.stop_waiting()
        self._held.clear()

    def stop_waiting(self) -> None:
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None

    async def _fetch_history(self) -> None:
        history: Sequence[Trade | Candle] | None = None
        try:
            async with asyncio.timeout(BEGIN_TIMEOUT):
                history = await self._fetch.history() if self._fetch else ()
        except (GatewayError, TimeoutError) as error:
            log.warning("prime_failed", extra=self._failure(error))
        if self._stream.replays and not self._held:
            await self._first_words()
        self._end_beginning(history)

    async def _first_words(self) -> None:
        """Wait for the stream to speak, a moment: what it says first joins what REST tells."""
        try:
            async with asyncio.timeout(FIRST_WORDS):
                self._held_more.clear()
                await self._held_more.wait()
        except TimeoutError:
            log.debug("nothing_said", extra={"exchange": self._exchange, "stream": self._stream.name})

    def _end_beginning(self, history: Sequence[Trade | Candle] | None) -> None:
        held, self._held = self._held, []
        self._begin(history, held)

    async def _fetch_missed(self, *, lost: bool) -> None:
        if self._stream.dense and not lost:
            await asyncio.sleep(REORDER_WINDOW)
            if not self._content.open:
                return  # it was only late
        if lost and self._stream.channel == "trades" and not self._stream.dense and not self._content.open:
            await self._first_words()
        rows: list[Trade | Candle] = []
        try:
            async with asyncio.timeout(MEND_TIMEOUT):
                await self._ask_until_it_reaches(rows)
        except TimeoutError as error:
            log.warning("backfill_failed", extra=self._failure(error))
        self._task = None
        self._mended(rows)

    async def _ask_until_it_reaches(self, rows: list[Trade | Candle]) -> None:
        """Put what REST tells into ``rows``. It may be behind the stream for a moment, or away."""
        pause = FIRST_PAUSE
        while self._fetch is not None:
            try:
                rows[:] = await self._fetch.missed(self._content.place)
            except GatewayError as error:
                log.warning("backfill_failed", extra=self._failure(error))
            else:
                if self._content.reached(rows):
                    return
            await asyncio.sleep(pause)
            pause *= 2

    def _failure(self, error: Exception) -> dict[str, str]:
        metrics.PRIME_FAILURES.labels(self._exchange, self._stream.channel).inc()
        return {"exchange": self._exchange, "stream": self._stream.name, "error": str(error) or "no answer in time"}
