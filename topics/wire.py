"""The public contract: events → CCXT shapes → bytes. Pure. Websocket and REST both write with it.

Shapes are those of CCXT's ``fetchTrades``, ``fetchOHLCV`` and ``fetchOrderBook``; a data frame wraps them with the
topic, the cursor and three times (venue event, received, encoded; ms).
"""

import time
from functools import lru_cache
from typing import Any

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


def book_view(book: OrderBook, symbol: str, *, levels: int) -> dict[str, Any]:
    """CCXT's order book: the best ``levels`` of each side, best first; ``nonce``: the venue's sequence, if any."""
    return {
        "symbol": symbol,
        "bids": book.bids.rows(levels),
        "asks": book.asks.rows(levels),
        "timestamp": book.timestamp_ms,
        "datetime": None if book.timestamp_ms is None else iso8601(book.timestamp_ms),
        "nonce": book.sequence or None,
    }


def snapshot_view(snapshot: BookSnapshot, symbol: str, *, levels: int) -> dict[str, Any]:
    """The same for a book as the venue's REST gave it."""
    return book_view(OrderBook(snapshot), symbol, levels=levels)


class DataEncoder:
    """Writes one topic's data frames; what never changes in them is encoded once."""

    def __init__(self, key: TopicKey) -> None:
        head = orjson.dumps({"type": key.channel, "channel": key.channel, "topic": key.topic})
        self._head = head[:-1] + b',"cursor":"'

    def encode(self, cursor: Cursor, data: Any, *, event_ms: int | None, received_ms: int, now_ms: int) -> bytes:
        """``data`` in its envelope. ``event_ms``: when the venue says it happened, None if it does not say."""
        event = "null" if event_ms is None else event_ms
        times = f'{cursor.epoch}-{cursor.seq}","ts":{{"ex":{event},"rx":{received_ms},"tx":{now_ms}}},"data":'
        return self._head + times.encode() + orjson.dumps(data) + b"}"


def rows_of(payload: bytes) -> list[Any]:
    """The rows inside a data frame of trades or candles."""
    rows: list[Any] = orjson.loads(payload)["data"]
    return rows


def iso8601(timestamp_ms: int) -> str:
    return _to_seconds(timestamp_ms // 1000) + MILLISECONDS[timestamp_ms % 1000]


@lru_cache(maxsize=1024)  # trades of one second share it
def _to_seconds(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


MILLISECONDS = tuple(f".{millisecond:03d}Z" for millisecond in range(1000))
