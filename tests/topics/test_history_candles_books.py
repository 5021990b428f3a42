"""REST answers about candles and books: the ring's state of a candle, a proven book, or the venue."""

from typing import Any

import orjson
import pytest

from tests.topics.reader import live
from tests.topics.scripted_venue import EPOCH_MS, SYMBOL, ScriptedPool, ScriptedVenue, book, candle, snapshot
from topics.history import Answer, History, Span
from topics.key import Cursor
from topics.manager import Manager


def span(limit: int, *, since: int | None = None, until: int | None = None) -> Span:
    """Times are those of numbered candles."""
    return Span(
        since=None if since is None else EPOCH_MS + since * 60_000,
        until=None if until is None else EPOCH_MS + until * 60_000,
        limit=limit,
    )


async def candles(history: History, manager: Manager, span: Span) -> tuple[list[list[Any]], Answer]:
    key, instrument = manager.resolve("ohlcv", None, SYMBOL, {})
    answer = await history.candles(key, instrument, span)
    return orjson.loads(answer.body), answer


async def test_the_rings_candle_is_newer_than_the_venues(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    venue.candles = [candle(3), candle(4)]
    upstream = await live(manager, "ohlcv")
    upstream.on_events([candle(4, close=7.0)], EPOCH_MS)
    venue.candles = [candle(1), candle(2), candle(3), candle(4, close=5.0), candle(5)]

    rows, answer = await candles(history, manager, span(100))

    assert [(row[0], row[4]) for row in rows] == [
        (candle(minute).open_time_ms, close) for minute, close in ((1, 100.0), (2, 100.0), (3, 100.0), (4, 7.0))
    ]
    assert (answer.cursor, answer.state) == (upstream.cursor, "live")


@pytest.mark.parametrize(
    ("limit", "since", "until", "minutes", "joins", "asks"),
    [
        (3, None, None, [7, 8, 9], True, False),
        (5, None, None, [5, 6, 7, 8, 9], True, False),
        (100, None, None, list(range(1, 10)), True, True),
        (2, 6, None, [6, 7], False, False),
        (100, 6, None, [6, 7, 8, 9], True, False),
        (100, 5, None, [5, 6, 7, 8, 9], True, True),  # the ring cannot know that nothing is missing at its beginning
        (3, 2, None, [2, 3, 4], False, True),
        (100, None, 7, [1, 2, 3, 4, 5, 6, 7], False, True),
        (100, 6, 7, [6, 7], False, False),
        (100, 10, None, [], False, False),
    ],
)
async def test_candles_of_a_span(
    history: History,
    manager: Manager,
    venue: ScriptedVenue,
    limit: int,
    since: int | None,
    until: int | None,
    minutes: list[int],
    joins: bool,
    asks: bool,
) -> None:
    venue.candles = [candle(minute) for minute in range(5, 9)]
    upstream = await live(manager, "ohlcv")
    upstream.on_events([candle(9)], EPOCH_MS)
    venue.candles = [candle(minute) for minute in range(1, 10)]
    asked = venue.asked

    rows, answer = await candles(history, manager, span(limit, since=since, until=until))

    assert [row[0] for row in rows] == [candle(minute).open_time_ms for minute in minutes]
    assert (answer.cursor, venue.asked - asked) == (upstream.cursor if joins else None, int(asks))


async def test_live_candles_that_never_brought_anything_have_no_cursor_to_join_at(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    await live(manager, "ohlcv")
    venue.candles = [candle(1)]

    rows, answer = await candles(history, manager, span(5))

    assert (len(rows), answer.state, answer.cursor) == (1, "live", None)


async def ask_book(history: History, manager: Manager, levels: int) -> tuple[dict[str, Any], Answer]:
    key, instrument = manager.resolve("orderbook", None, SYMBOL, {"levels": levels})
    answer = await history.book(key, instrument, levels=levels)
    return orjson.loads(answer.body), answer


async def test_a_proven_book_answers_at_any_depth_without_the_venue(
    history: History, manager: Manager, venue: ScriptedVenue
) -> None:
    upstream = await live(manager, "orderbook")
    upstream.on_book(book(5), EPOCH_MS)

    body, answer = await ask_book(history, manager, 3)

    assert (len(body["bids"]), body["nonce"], venue.asked) == (3, 5, 0)
    assert (answer.state, answer.cursor) == ("live", Cursor(EPOCH_MS, 1))


@pytest.mark.parametrize(("running", "state"), [(False, "cold"), (True, "stale")])
async def test_without_a_proven_book_the_venue_answers(
    history: History, manager: Manager, venue: ScriptedVenue, running: bool, state: str
) -> None:
    if running:
        await live(manager, "orderbook")
    venue.book = snapshot(9)

    body, answer = await ask_book(history, manager, 2)

    assert (body["nonce"], len(body["asks"]), answer.state, answer.cursor) == (9, 2, state, None)


async def test_a_broken_book_is_not_answered_from(
    history: History, manager: Manager, pool: ScriptedPool, venue: ScriptedVenue
) -> None:
    upstream = await live(manager, "orderbook")
    upstream.on_book(book(5), EPOCH_MS)
    pool.listeners["BTCUSDT@orderbook"].on_state("resyncing", "crossed")
    venue.book = snapshot(9)

    body, answer = await ask_book(history, manager, 2)

    assert (body["nonce"], answer.state) == (9, "stale")
