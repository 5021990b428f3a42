"""What tardis makes of recorded messages, and what we make of them, is the same wherever both speak of it.

Tardis gives single trades, changed levels and best levels. Where it gives nothing (the first trades of a coin, a
delta it keeps for later) there is nothing to compare, and ``test_messages.py`` reads those messages all the same.
"""

from collections.abc import Callable, Iterable
from typing import Any

import orjson
import pytest

from exchanges.book import BookSync
from exchanges.events import BookDelta, BookSnapshot, Event, Level
from tests.conformance.recordings import Recording, all_recordings, cases, named
from tests.conformance.shapes import trade_shapes
from tests.conformance.venues import ADAPTERS, events, take
from topics.wire import iso8601

# A delta and a snapshot written by hand, so that no venue's numbers join: its ``pu`` equals its own ``u``. Tardis goes
# by ``U`` and merges them; on futures ``U`` says nothing, and we ask for another snapshot.
IMPOSSIBLE = "tardis/binanceusdm.orderbook:2"
GENERATED = "@depthSnapshot"  # the recorder's wrapping of a REST answer


def is_generated(recording: Recording) -> bool:
    return str(orjson.loads(recording.raw).get("stream", "")).endswith(GENERATED)


def book_events(recording: Recording) -> list[Event]:
    if is_generated(recording):
        return [ADAPTERS[recording.venue].book(orjson.loads(recording.raw)["data"])]
    return events(recording)


def rows(levels: Iterable[Level]) -> list[dict[str, float]]:
    return [{"price": price, "amount": amount} for price, amount in levels]


def change(event: Event, *, timed: bool) -> dict[str, Any]:
    """Tardis's ``book_change``."""
    assert isinstance(event, BookSnapshot | BookDelta)
    known = {"isSnapshot": isinstance(event, BookSnapshot), "bids": rows(event.bids), "asks": rows(event.asks)}
    return known | ({"timestamp": event.timestamp_ms and iso8601(event.timestamp_ms)} if timed else {})


def told(*kinds: str) -> Callable[[Recording], bool]:
    """Whether tardis answered a recording with events of one of ``kinds``."""
    return lambda recording: bool(recording.expected) and {row["type"] for row in recording.expected or ()} <= {*kinds}


@pytest.mark.parametrize("recording", cases("trades", where=told("trade")))
def test_trades_equal_those_of_tardis(recording: Recording) -> None:
    names = {"id": "id", "price": "price", "amount": "amount", "side": "side", "datetime": "timestamp"}

    ours = trade_shapes(events(recording), "any")

    assert [{name: row[name] for name in names} for row in ours] == [
        {ours: row[theirs] for ours, theirs in names.items()} for row in recording.expected or ()
    ]


@pytest.mark.parametrize(
    "recording",
    cases("orderbook", where=lambda recording: told("book_change")(recording) and str(recording) != IMPOSSIBLE),
)
def test_changed_levels_equal_those_of_tardis(recording: Recording) -> None:
    # Of the two times of a futures delta tardis gives ``E``, when it was sent, and we ``T``, when it happened; a REST
    # answer of spot has none.
    timed = recording.venue != "binanceusdm" and not is_generated(recording)
    assert recording.expected is not None

    ours = [change(event, timed=timed) for event in book_events(recording)]

    assert ours == [{name: row[name] for name in one} for one, row in zip(ours, recording.expected, strict=True)]


@pytest.mark.parametrize("recording", cases("orderbook", venues=("bybit",), where=told("book_ticker")))
def test_best_levels_equal_those_of_tardis(recording: Recording) -> None:
    """Tardis keeps a book of one level for each symbol of a sequence; ours is played up to the same message."""
    assert recording.expected is not None
    sync = BookSync()
    stream = recording.file, recording.sequence, recording.symbol
    for earlier in all_recordings():
        if (earlier.file, earlier.sequence, earlier.symbol) == stream and earlier.line <= recording.line:
            for event in events(earlier):
                take(sync, event)

    assert sync.book is not None
    touch = rows([*sync.book.bids.rows(1), *sync.book.asks.rows(1)])
    (row,) = recording.expected
    assert touch == [{"price": row[f"{side}Price"], "amount": row[f"{side}Amount"]} for side in ("bid", "ask")]


@pytest.mark.parametrize("recording", named(IMPOSSIBLE))
def test_a_delta_that_follows_itself_joins_no_snapshot(recording: Recording) -> None:
    (delta,) = events(all_recordings()[all_recordings().index(recording) - 1])
    (snapshot,) = book_events(recording)
    assert isinstance(delta, BookDelta)
    assert delta.prev_sequence == delta.last_sequence
    sync = BookSync()
    take(sync, delta)

    assert take(sync, snapshot) is None
