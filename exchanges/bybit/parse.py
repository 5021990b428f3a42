"""Bybit's websocket messages and REST rows → events. Pure: no clock, no socket, no state.

A socket is one category, and inverse contracts count in another way than the rest: hence two entrances.
"""

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any, Literal, NamedTuple

import orjson
from msgspec import Struct, convert
from msgspec.json import Decoder

from exchanges.errors import UNREADABLE, BadMessage
from exchanges.events import (
    Accepted,
    BookDelta,
    BookSnapshot,
    Candle,
    Event,
    Level,
    Refused,
    Side,
    Trade,
    Unknown,
    UpdateNumber,
)
from exchanges.venue import Parsed, Texts

TAKER_SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
CCXT_DIVISION = Decimal("1e-18")  # CCXT's decimal division keeps 18 digits and cuts the rest


def linear_cost(price: str, amount: str) -> float:
    return float(Decimal(price) * Decimal(amount))


def inverse_cost(price: str, amount: str) -> float:
    """In the settle coin, as CCXT counts it: contracts of one quote unit, over the price."""
    return float((1 / Decimal(price)).quantize(CCXT_DIVISION, ROUND_DOWN) * Decimal(amount))


class Counting(NamedTuple):
    """How CCXT counts a market."""

    cost: Callable[[str, str], float]
    volume: str  # a candle's field
    volume_index: int  # the same in a row of REST


LINEAR = Counting(linear_cost, "volume", 5)
INVERSE = Counting(inverse_cost, "turnover", 6)  # the venue's volume is in quote units there


def linear(raw: bytes) -> Parsed:
    """Map one message of a linear or spot socket to its topic and events.

    Raises:
        BadMessage: it is not what Bybit documents.
    """
    return _parse(raw, LINEAR)


def inverse(raw: bytes) -> Parsed:
    """Map one message of an inverse socket. Raises as ``linear`` does."""
    return _parse(raw, INVERSE)


def counting(market: str) -> Counting:
    return INVERSE if market == "inverse" else LINEAR


def _parse(raw: bytes, counting: Counting) -> Parsed:
    try:
        if b'"orderbook.' in raw and b'"topic"' in raw:  # the first alone may be our own request's name
            return parse_book(raw)
        message = orjson.loads(raw)
        topic = message.get("topic")
        if topic is None:
            return _answer(message)
        kind = topic.partition(".")[0]
        return topic, PARSERS[kind](message, counting) if kind in PARSERS else [Unknown(kind=kind)]
    except UNREADABLE as error:
        raise BadMessage("bybit", repr(error), raw) from error


def _answer(message: dict[str, Any]) -> Parsed:
    """The reply to a command, by its ``req_id``. The public pong has ``op: "ping"``."""
    op, request = message.get("op"), str(message.get("req_id", ""))
    if op in ("ping", "pong"):
        return "", []
    if op == "subscribe" and message["success"]:
        return request, [Accepted()]
    if op == "unsubscribe" and message["success"]:
        return "", []
    if message.get("success") is False:
        reason = str(message["ret_msg"])
        return request, [Accepted() if "already subscribed" in reason else Refused(reason=reason)]
    return "", [Unknown(kind=str(op))]


def parse_trades(message: dict[str, Any], counting: Counting) -> list[Event]:
    """``publicTrade.{symbol}``, ascending; ``S`` is the taker's side, ``T`` the match time.

    Source: https://bybit-exchange.github.io/docs/v5/websocket/public/trade
    """
    return [
        Trade(
            id=convert(row["i"], str),
            timestamp_ms=row["T"],
            taker_side=TAKER_SIDES[row["S"]],
            price=float(row["p"]),
            amount=float(row["v"]),
            cost=counting.cost(row["p"], row["v"]),
            raw=row,
        )
        for row in message["data"]
    ]


class Book(Struct):
    u: UpdateNumber
    b: list[Level]
    a: list[Level]


class BookMessage(Struct):
    topic: str
    type: Literal["snapshot", "delta"]  # a third is an error and not a delta
    ts: int
    data: Book


BOOK_MESSAGE = Decoder(BookMessage, strict=False)


def parse_book(raw: bytes) -> Parsed:
    """``orderbook.{depth}.{symbol}``; ``u`` rises by one on each topic, and starts again at 1 with a whole book.

    Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
    """
    message = BOOK_MESSAGE.decode(raw)
    data = message.data
    if message.type == "snapshot" or data.u == 1:
        return message.topic, [
            BookSnapshot(bids=data.b, asks=data.a, sequence=data.u, timestamp_ms=message.ts, raw=raw)
        ]
    return message.topic, [
        BookDelta(
            bids=data.b, asks=data.a, prev_sequence=data.u - 1, last_sequence=data.u, timestamp_ms=message.ts, raw=raw
        )
    ]


def parse_candles(message: dict[str, Any], counting: Counting) -> list[Event]:
    """``kline.{interval}.{symbol}``; ``confirm`` says that the candle is closed.

    Source: https://bybit-exchange.github.io/docs/v5/websocket/public/kline
    """
    return [
        Candle(
            open_time_ms=row["start"],
            open=float(row["open"]),
            high=float(row["high"]),
            low=float(row["low"]),
            close=float(row["close"]),
            volume=float(row[counting.volume]),
            closed=convert(row["confirm"], bool),
        )
        for row in message["data"]
    ]


def rest_trade(row: dict[str, Any], counting: Counting) -> Trade:
    """One row of REST ``recent-trade``; ``execId`` is the websocket's ``i``."""
    return Trade(
        id=convert(row["execId"], str),
        timestamp_ms=int(row["time"]),
        taker_side=TAKER_SIDES[row["side"]],
        price=float(row["price"]),
        amount=float(row["size"]),
        cost=counting.cost(row["price"], row["size"]),
        raw=row,
    )


def rest_candle(row: list[str], counting: Counting, *, closed: bool) -> Candle:
    """One row of REST ``kline``: start, o, h, l, c, volume, turnover."""
    return Candle(
        open_time_ms=int(row[0]),
        open=float(row[1]),
        high=float(row[2]),
        low=float(row[3]),
        close=float(row[4]),
        volume=float(row[counting.volume_index]),
        closed=closed,
    )


class BookAnswer(Struct):
    ts: int
    b: list[Level]
    a: list[Level]


def rest_book(result: Any) -> BookSnapshot:
    """REST ``orderbook``. Its ``u`` is that of the 1,000-level topic alone, so it is no sequence to others."""
    book = convert(result, BookAnswer, strict=False)
    return BookSnapshot(bids=book.b, asks=book.a, sequence=0, timestamp_ms=book.ts, raw=result)


class BookTexts(Struct):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class BookTextsMessage(Struct):
    data: BookTexts


BOOK_TEXTS = Decoder(BookTextsMessage)


def texts(raw: Any) -> Texts:
    """The levels of an ``orderbook`` message, or of REST's result (decoded), as Bybit wrote them."""
    data = BOOK_TEXTS.decode(raw).data if isinstance(raw, bytes) else convert(raw, BookTexts)
    return data.b, data.a


PARSERS: dict[str, Callable[[dict[str, Any], Counting], list[Event]]] = {
    "publicTrade": parse_trades,
    "kline": parse_candles,
}
