"""Where a REST answer comes from: the ring of a live topic if it covers the question, else the venue, merged with it.

An answer that ends exactly at the ring's newest event carries its cursor: whoever continues from there misses nothing
and sees nothing twice. So rows that the venue has and the stream has not brought yet are left out.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from exchanges.instrument import Instrument
from topics.books import Books
from topics.candles import Candles
from topics.key import Cursor, TopicKey
from topics.manager import Manager
from topics.ring import MAX_YOUNG_EVENTS, Entry, Row
from topics.trades import Trades
from topics.upstream import Upstream
from topics.wire import book_view, candle_json, is_gap, rows_of, snapshot_view, trade_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A bare CCXT body, and what the headers say about it."""

    body: bytes
    state: Literal["live", "stale", "cold"]  # stale: a feed runs but is not live; cold: none runs
    cursor: Cursor | None  # where the stream goes on; None: the answer does not end at a cursor
    age_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The rows asked for: times in ms, inclusive. With ``since`` the first ``limit`` from it, else the newest."""

    since: int | None
    until: int | None
    limit: int

    def cut(self, rows: Sequence[Any], time_of: Callable[[Any], int]) -> list[Any]:
        """The part of ``rows``, ascending, that was asked for."""
        first = 0 if self.since is None else bisect_left(rows, self.since, key=time_of)
        last = len(rows) if self.until is None else bisect_right(rows, self.until, key=time_of)
        fitting = list(rows[first:last])
        return fitting[: self.limit] if self.since is not None else fitting[-self.limit :]

    def covered(self, held: int, oldest: int | None) -> bool:
        """Whether ``held`` rows, the first of them from ``oldest``, are all that the venue could add to."""
        if oldest is None:
            return False
        if self.since is not None:
            return oldest < self.since
        return self.until is None and held >= self.limit


class History:
    """Answers of the fetch endpoints."""

    def __init__(self, manager: Manager, *, clock_ms: Callable[[], int]) -> None:
        self._manager = manager
        self._clock_ms = clock_ms

    async def trades(
        self, key: TopicKey, instrument: Instrument, span: Span, *, newest_first: bool, params: Mapping[str, Any]
    ) -> Answer:
        """CCXT trades, oldest first unless ``newest_first``. Raises ``UpstreamError`` and its kin."""
        upstream = self._live(key, instrument)
        rows: list[dict[str, Any]] = []
        if upstream is not None:
            rows = await self._held_trades(upstream, span)
        if upstream is None or not span.covered(len(rows), rows[0]["timestamp"] if rows else None):
            venue = self._manager.exchanges[key.exchange].venue
            fetched = await venue.fetch_trades(
                instrument, since=span.since, until=span.until, limit=span.limit, params=params
            )
            theirs = [trade_row(trade, key.symbol) for trade in fetched]
            upstream = self._live(key, instrument)  # it may have come or gone meanwhile
            held = await self._held_trades(upstream, span) if upstream else []
            merged = merge_trades(theirs, held)
            rows = theirs if merged is None else merged
            upstream = None if merged is None else upstream
        answer = span.cut(rows, lambda row: int(row["timestamp"]))
        complete = bool(answer) and answer[-1] is rows[-1] and span.until is None
        body = orjson.dumps(answer[::-1] if newest_first else answer)
        return self._answer(self._manager.upstream(key, instrument), body, upstream if complete else None)

    async def candles(self, key: TopicKey, instrument: Instrument, span: Span) -> Answer:
        """CCXT candles, ascending, the forming one last. Raises ``UpstreamError`` and its kin."""
        upstream = self._live(key, instrument)
        rows: Sequence[Row] = ()
        if upstream is not None:
            rows = await self._held_candles(upstream)
        if upstream is None or not span.covered(len(rows), rows[0].open_time_ms if rows else None):
            venue, timeframe = self._manager.exchanges[key.exchange].venue, dict(key.params)["timeframe"]
            fetched = await venue.fetch_candles(
                instrument, timeframe, since=span.since, until=span.until, limit=span.limit
            )
            theirs = [candle_json(candle) for candle in fetched]
            upstream = self._live(key, instrument)
            held = await self._held_candles(upstream) if upstream else []
            rows = merge_candles(theirs, held)
            upstream = upstream if held else None
        answer = span.cut(rows, lambda row: int(row.open_time_ms))
        complete = bool(answer) and answer[-1] is rows[-1] and span.until is None
        body = b"[" + b",".join(row.payload for row in answer) + b"]"
        return self._answer(self._manager.upstream(key, instrument), body, upstream if complete else None)

    async def book(self, key: TopicKey, instrument: Instrument, *, levels: int) -> Answer:
        """A CCXT order book of ``levels`` a side, at most those of ``key``. Raises ``UpstreamError`` and its kin."""
        upstream = self._live(key, instrument)
        if upstream is not None and isinstance(upstream.content, Books) and upstream.content.book is not None:
            upstream.settle()
            body = orjson.dumps(book_view(upstream.content.book, key.symbol, levels=levels))
            return self._answer(self._manager.upstream(key, instrument), body, upstream)
        snapshot = await self._manager.exchanges[key.exchange].venue.fetch_book(instrument, levels=levels)
        return self._answer(
            self._manager.upstream(key, instrument),
            orjson.dumps(snapshot_view(snapshot, key.symbol, levels=levels)),
            None,
        )

    def _live(self, key: TopicKey, instrument: Instrument) -> Upstream | None:
        upstream = self._manager.upstream(key, instrument)
        return upstream if upstream is not None and upstream.live else None

    def _answer(self, running: Upstream | None, body: bytes, upstream: Upstream | None) -> Answer:
        """``running`` is whatever feed there is; ``upstream`` is given where the answer ends at its cursor."""
        state: Literal["live", "stale", "cold"] = "cold" if running is None else "live" if running.live else "stale"
        age_ms = 0
        if upstream is not None and upstream.last_event_ms is not None:
            age_ms = max(0, self._clock_ms() - upstream.last_event_ms)
        return Answer(body=body, state=state, cursor=upstream.cursor if upstream else None, age_ms=age_ms)

    async def _held_trades(self, upstream: Upstream, span: Span) -> list[dict[str, Any]]:
        """What the ring holds of ``span``, ascending by time, and one event more at its beginning as a proof."""
        assert isinstance(upstream.content, Trades)
        upstream.settle()
        found = await upstream.content.ring.last(span.limit if span.since is None else MAX_YOUNG_EVENTS)
        entries = [entry for entry in found if not is_gap(entry.payload)]
        if span.since is not None:
            entries = entries[max(0, bisect_left(entries, span.since, key=_first_ms) - 1) :]
        rows = [row for entry in entries for row in rows_of(entry.payload)]
        return sorted(rows, key=lambda row: int(row["timestamp"]))  # a stream need not keep the order of time

    async def _held_candles(self, upstream: Upstream) -> list[Row]:
        assert isinstance(upstream.content, Candles)
        upstream.settle()
        return await upstream.content.ring.rows(MAX_YOUNG_EVENTS)


def merge_trades(theirs: Sequence[dict[str, Any]], held: Sequence[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """Venue rows and ring rows by id, ascending by time; None if no row is in both.

    Then nothing proves that none lies between them: the ring is bounded and went on while the venue answered. Venue
    rows after the last one in both are left out, the stream has yet to bring them; their times would not tell, as many
    trades share one.
    """
    ids = {row["id"] for row in held}
    shared = [index for index, row in enumerate(theirs) if row["id"] in ids]
    if not shared:
        return None
    missing = [row for row in theirs[: shared[-1]] if row["id"] not in ids]
    return sorted([*missing, *held], key=lambda row: int(row["timestamp"]))


def merge_candles(theirs: Sequence[Row], held: Sequence[Row]) -> list[Row]:
    """Venue rows and ring rows by open time, ascending; the ring's is the newer state of a candle both have."""
    if not held:
        return list(theirs)
    rows = {row.open_time_ms: row for row in theirs if row.open_time_ms <= held[-1].open_time_ms}
    rows |= {row.open_time_ms: row for row in held}
    return [rows[open_time] for open_time in sorted(rows)]


def _first_ms(entry: Entry) -> int:
    return int(rows_of(entry.payload)[0]["timestamp"])
