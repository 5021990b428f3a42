"""Hyperliquid's websocket messages and ``/info`` answers → events. Pure: no clock, no socket, no state.

The documentation shows numbers where the wire has strings; the wire is what is read.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import orjson
from msgspec import Struct, convert
from msgspec.json import Decoder

from exchanges.errors import UNREADABLE, BadMessage
from exchanges.events import Accepted, Amount, BookSnapshot, Candle, Price, Side, Trade, Unknown, integer_id
from exchanges.venue import Parsed, Texts

TAKER_SIDES: dict[str, Side] = {"B": "buy", "A": "sell"}
GREETING = b"Websocket connection established."  # the one message that is not JSON
ALREADY_SUBSCRIBED = "Already subscribed: "
HARMLESS = ("Already unsubscribed: ",)


def parse(raw: bytes) -> Parsed:
    """Map one message to its stream and events; greetings and pongs map to nothing.

    Raises:
        BadMessage: it is not what Hyperliquid documents.
    """
    if raw == GREETING:
        return "", []
    try:
        if b'"l2Book"' in raw and b'"levels"' in raw:  # the first alone may be an answer to our request
            return parse_book(raw)
        message = orjson.loads(raw)
        channel = message["channel"]
        if channel == "l2Book":
            return parse_book(raw)  # it has no levels, and is refused for that
        if channel in PARSERS:
            return PARSERS[channel](message["data"])
        return CONTROL[channel](message) if channel in CONTROL else ("", [Unknown(kind=str(channel))])
    except UNREADABLE as error:
        raise BadMessage("hyperliquid", repr(error), raw) from error


def stream_name(subscription: dict[str, Any]) -> str:
    """What a subscription, ours or as the venue echoes it with defaults filled in, is recognised by."""
    kind, coin = subscription["type"], subscription.get("coin", "")
    if kind == "l2Book":
        return f"l2Book:{coin}:fast" if subscription.get("fast") else f"l2Book:{coin}"
    if kind == "candle":
        return f"candle:{coin}:{subscription['interval']}"
    return f"{kind}:{coin}"


def parse_trades(data: list[dict[str, Any]]) -> Parsed:
    """``trades``, oldest first; ``side`` is the aggressor's. ``tid`` is a hash: unique, and in no order."""
    return (f"trades:{data[0]['coin']}", [trade(row) for row in data]) if data != [] else ("", [])


class BookLevel(Struct):
    px: Price
    sz: Amount


class Book(Struct):
    """There is no sequence; ``time`` never goes backwards."""

    coin: str
    time: int
    levels: tuple[list[BookLevel], list[BookLevel]]  # bids, asks
    fast: bool = False


class BookMessage(Struct):
    channel: Literal["l2Book"]
    data: Book


BOOK_MESSAGE = Decoder(BookMessage, strict=False)


def parse_book(raw: bytes) -> Parsed:
    """``l2Book``: always a whole book; only ``fast`` tells the two kinds of one coin apart."""
    data = BOOK_MESSAGE.decode(raw).data
    return f"l2Book:{data.coin}:fast" if data.fast else f"l2Book:{data.coin}", [_snapshot(data, raw)]


def book(answer: Any) -> BookSnapshot:
    """The answer to ``l2Book``."""
    return _snapshot(convert(answer, Book, strict=False), answer)


def _snapshot(book: Book, raw: Any) -> BookSnapshot:
    bids, asks = ([(level.px, level.sz) for level in side] for side in book.levels)
    return BookSnapshot(bids=bids, asks=asks, sequence=0, timestamp_ms=book.time, raw=raw)


class LevelText(Struct):
    px: str
    sz: str


class BookTexts(Struct):
    levels: tuple[list[LevelText], list[LevelText]]


class BookTextsMessage(Struct):
    data: BookTexts


BOOK_TEXTS = Decoder(BookTextsMessage)


def texts(raw: Any) -> Texts:
    """The levels of an ``l2Book`` message, or of the answer to one (decoded), as Hyperliquid wrote them."""
    book = BOOK_TEXTS.decode(raw).data if isinstance(raw, bytes) else convert(raw, BookTexts)
    bids, asks = ([(level.px, level.sz) for level in side] for side in book.levels)
    return bids, asks


def parse_candle(data: dict[str, Any]) -> Parsed:
    """``candle``: one object, never marked closed."""
    return f"candle:{data['s']}:{data['i']}", [candle(data)]


def parse_response(message: dict[str, Any]) -> Parsed:
    answered = message["data"]
    if answered["method"] != "subscribe":
        return "", []
    return stream_name(answered["subscription"]), [Accepted()]


def parse_error(message: dict[str, Any]) -> Parsed:
    """An error names its subscription only where it is harmless; what the venue dislikes closes the socket."""
    text = message["data"]
    if text.startswith(ALREADY_SUBSCRIBED):
        return stream_name(orjson.loads(text.removeprefix(ALREADY_SUBSCRIBED))), [Accepted()]
    return "", [] if text.startswith(HARMLESS) else [Unknown(kind=f"error {text[:40]}")]


def trade(row: dict[str, Any]) -> Trade:
    price, amount = row["px"], row["sz"]
    return Trade(
        id=integer_id(row["tid"]),
        timestamp_ms=row["time"],
        taker_side=TAKER_SIDES[row["side"]],
        price=float(price),
        amount=float(amount),
        cost=float(Decimal(price) * Decimal(amount)),
        raw=row,
    )


def candle(row: dict[str, Any]) -> Candle:
    return Candle(
        open_time_ms=row["t"],
        open=float(row["o"]),
        high=float(row["h"]),
        low=float(row["l"]),
        close=float(row["c"]),
        volume=float(row["v"]),
        closed=None,
    )


PARSERS: dict[str, Callable[[Any], Parsed]] = {"trades": parse_trades, "candle": parse_candle}
CONTROL: dict[str, Callable[[dict[str, Any]], Parsed]] = {
    "subscriptionResponse": parse_response,
    "error": parse_error,
    "pong": lambda _: ("", []),
}
