"""The public contract: events → CCXT shapes → bytes. Pure. Websocket and REST both write with it.

Shapes are those of CCXT's ``fetchTrades``, ``fetchOHLCV`` and ``fetchOrderBook``; a data frame wraps them with the
topic, the cursor and three times (venue event, received, encoded; ms).
"""

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import orjson

from exchanges.book import OrderBook
from exchanges.events import BookSnapshot, Candle, Trade
from topics.key import Cursor, TopicKey
from topics.ring import Row


def trade_row(trade: Trade, symbol: str) -> dict[str, Any]:
    """CCXT's trade. ``order``, ``type``, ``takerOrMaker`` and ``fee`` are None for public trades."""
    return {
        "info": trade.raw,
        "id": trade.id,
        "timestamp": trade.timestamp_ms,
        "datetime": iso8601(trade.timestamp_ms),
        "symbol": symbol,
        "order": None,
        "type": None,
        "side": trade.taker_side,
        "takerOrMaker": None,
        "price": trade.price,
        "amount": trade.amount,
        "cost": trade.cost,
        "fee": None,
        "fees": [],
    }


def candle_json(candle: Candle) -> Row:
    """CCXT's ``[open time, open, high, low, close, volume]``."""
    row = [candle.open_time_ms, candle.open, candle.high, candle.low, candle.close, candle.volume]
    return Row(candle.open_time_ms, orjson.dumps(row))


def candle_data(rows: Sequence[Row]) -> list[orjson.Fragment]:
    return [orjson.Fragment(row.payload) for row in rows]


def candle_meta(rows: Sequence[Row]) -> dict[str, Any]:
    """What a frame of candles says beside them."""
    return {"meta": [orjson.Fragment(row.meta) for row in rows]}


def book_view(book: OrderBook, symbol: str, *, levels: int) -> dict[str, Any]:
    """CCXT's order book: the best ``levels`` of each side, best first."""
    bids, asks = book.bids.rows(levels), book.asks.rows(levels)
    return book_shape(symbol, bids, asks, timestamp_ms=book.timestamp_ms, sequence=book.sequence)


def book_shape(
    symbol: str, bids: Sequence[Any], asks: Sequence[Any], *, timestamp_ms: int | None, sequence: int
) -> dict[str, Any]:
    """Rows of (price, amount) in CCXT's order book; ``nonce``: the venue's sequence, if any."""
    return {
        "symbol": symbol,
        "bids": bids,
        "asks": asks,
        "timestamp": timestamp_ms,
        "datetime": None if timestamp_ms is None else iso8601(timestamp_ms),
        "nonce": sequence or None,
    }


def snapshot_view(snapshot: BookSnapshot, symbol: str, *, levels: int) -> dict[str, Any]:
    """The same for a book as the venue's REST gave it."""
    return book_view(OrderBook(snapshot), symbol, levels=levels)


class DataEncoder:
    """Writes one topic's data frames; what never changes in them is encoded once."""

    def __init__(self, key: TopicKey) -> None:
        head = orjson.dumps({"type": key.channel, "channel": key.channel, "topic": key.topic})
        self._head = head[:-1] + b',"cursor":"'

    def encode(
        self,
        cursor: Cursor,
        data: Any,
        *,
        event_ms: int | None,
        received_ms: int,
        now_ms: int,
        beside: Mapping[str, Any] | None = None,
    ) -> bytes:
        """``data`` in its envelope. ``event_ms``: when the venue says it happened, None if it does not say.

        ``beside`` are further fields of the frame, between ``ts`` and ``data``.
        """
        event = "null" if event_ms is None else event_ms
        times = f'{cursor.epoch}-{cursor.seq}","ts":{{"ex":{event},"rx":{received_ms},"tx":{now_ms}}},'
        more = orjson.dumps(beside)[1:-1] + b"," if beside else b""
        return self._head + times.encode() + more + b'"data":' + orjson.dumps(data) + b"}"


GapReason = Literal["UPSTREAM_RECONNECT", "VENUE_SKIP", "EPOCH_CHANGED"]  # of a feed; a client's own have more


class Gap(NamedTuple):
    """A loss of a feed, as told to clients.

    It lies after the event ``since`` and before the event ``until``, from which on the stream is whole again.
    """

    reason: GapReason
    since: Cursor
    since_ms: int | None  # venue's time of the newest row before the loss
    until: Cursor
    until_ms: int | None  # of the first row that the stream itself brought after it
    missing: int | None  # rows lost for good; None: nobody can know
    rows: int  # rows fetched afterwards


def gap_json(key: TopicKey, cursor: Cursor, gap: Gap) -> bytes:
    """A ``gap`` frame's JSON; ``cursor`` is its own place among the feed's events."""
    return orjson.dumps(
        {
            "type": "gap",
            "channel": key.channel,
            "topic": key.topic,
            "cursor": str(cursor),
            "reason": gap.reason,
            "from": {"cursor": str(gap.since), "time": gap.since_ms},
            "to": {"cursor": str(gap.until), "time": gap.until_ms},
            "missing": gap.missing,
            "backfilled": gap.missing == 0,
            "rows": gap.rows,
        }
    )


def is_gap(payload: bytes) -> bool:
    return payload.startswith(GAP)


def is_gap_frame(frame: bytes) -> bool:
    return frame.find(GAP, 2, 10 + len(GAP)) > 0


GAP = b'{"type":"gap"'


def missed_json(
    key: TopicKey,
    mark: Any,
    until: Cursor,
    *,
    missing: int,
    events: int,
    summary: Mapping[str, Any] | None,
    backfilled: bool,
) -> bytes:
    """A ``gap`` frame's JSON for one client that was behind: no event of the feed, so it has no cursor of its own.

    ``events``: frames of the feed that it is not sent, all of them between ``from`` and ``to``.
    """
    more = {} if summary is None else {"summary": summary}
    return orjson.dumps(
        {
            "type": "gap",
            "channel": key.channel,
            "topic": key.topic,
            "reason": mark.reason,
            "from": {"cursor": str(mark.cursor), "time": None},
            "to": {"cursor": str(until), "time": None},
            "missing": missing,
            "backfilled": backfilled,
            "rows": 0,
            "events": events,
            **more,
        }
    )


def skipped_json(key: TopicKey, since: Cursor, until: Cursor) -> bytes:
    """A ``gap`` frame's JSON for one client that goes on from a cursor, where the ring does not reach back to it.

    ``until``: the first event it is sent again. ``events``: those between, None where the epochs differ: nobody knows.
    """
    same = since.epoch == until.epoch
    return orjson.dumps(
        {
            "type": "gap",
            "channel": key.channel,
            "topic": key.topic,
            "reason": "RING_TRIMMED" if same else "EPOCH_CHANGED",
            "from": {"cursor": str(since), "time": None},
            "to": {"cursor": str(until), "time": None},
            "missing": None,
            "backfilled": False,
            "rows": 0,
            "events": until.seq - since.seq - 1 if same else None,
        }
    )


def caught_up_json(key: TopicKey, cursor: Cursor) -> bytes:
    """A ``caughtUp`` frame's JSON: all that was published until ``cursor`` has been sent, what follows is live."""
    return orjson.dumps({"type": "caughtUp", "channel": key.channel, "topic": key.topic, "cursor": str(cursor)})


def loss_row(key: TopicKey, mark: Any, until: Cursor, *, missing: int, events: int) -> dict[str, Any]:
    """The same in a few words, for ``lagged_json``."""
    place = {"from": str(mark.cursor), "to": str(until)}
    return {"channel": key.channel, "topic": key.topic, **place, "missing": missing, "events": events}


def lagged_json(losses: Sequence[Mapping[str, Any]]) -> bytes:
    """A ``warning`` frame's JSON: a client was too slow, and what that cost it."""
    message = "you read too slowly: newer data took the place of what you had not taken"
    return orjson.dumps({"type": "warning", "code": "CLIENT_LAGGED", "message": message, "topics": losses})


class Status(NamedTuple):
    """What is to be known of a topic's upstream beside its data. Times are ms, ``retry_in_ms`` from now."""

    state: str
    previous: str
    since_ms: int
    last_event_ms: int | None
    reason: str
    attempt: int
    retry_in_ms: int | None


def status_json(about: Mapping[str, Any], status: Status) -> bytes:
    """A ``status`` frame's JSON; ``about`` says of what: its scope, and a topic or an exchange."""
    return orjson.dumps(
        {
            "type": "status",
            **about,
            "state": status.state,
            "previous": status.previous,
            "since": status.since_ms,
            "lastEvent": status.last_event_ms,
            "reason": status.reason,
            "attempt": status.attempt,
            "retryInMs": status.retry_in_ms,
        }
    )


def rows_of(payload: bytes) -> list[Any]:
    """The rows inside a frame of trades or candles; a gap has none."""
    rows: list[Any] = orjson.loads(payload).get("data", [])
    return rows


def iso8601(timestamp_ms: int) -> str:
    return _to_seconds(timestamp_ms // 1000) + MILLISECONDS[timestamp_ms % 1000]


@lru_cache(maxsize=1024)  # trades of one second share it
def _to_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


MILLISECONDS = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))
