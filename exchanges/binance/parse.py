"""Binance's websocket messages and REST rows → events. Pure: no clock, no socket, no state.

Key order is not stable and new keys appear without notice: only what is named here is read.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

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
    Leaving,
    Level,
    Refused,
    Side,
    Trade,
    Unknown,
    UpdateNumber,
    VoidTrade,
    integer_id,
)
from exchanges.venue import Parsed, Texts

SHUTDOWN = "serverShutdown"  # of spot, shortly before it closes; the name it comes under is no stream of ours
TAKER_SIDES: dict[bool, Side] = {True: "sell", False: "buy"}  # by "m", "the buyer is the maker"


def futures(raw: bytes) -> Parsed:
    """Map one message of ``fstream``'s ``/stream`` to its stream and events.

    Raises:
        BadMessage: it is not what Binance documents.
    """
    return _parse(raw, parse_futures_depth)


def spot(raw: bytes) -> Parsed:
    """Map one message of ``stream.binance.com``'s ``/stream``. Raises as ``futures`` does."""
    return _parse(raw, parse_spot_depth)


def _parse(raw: bytes, parse_depth: Callable[[bytes], Parsed]) -> Parsed:
    try:
        if b'"depthUpdate"' in raw:
            return parse_depth(raw)
        message = orjson.loads(raw)
        name = message.get("stream")
        if name is None:
            return _answer(message)
        if not isinstance(name, str):
            raise TypeError("the stream's name is no text")
        data = message["data"]
        kind = data.get("e", "no event type")  # as spot's bookTicker and partial books
        if kind == SHUTDOWN:
            return "", [Leaving(reason=SHUTDOWN)]
        return name, PARSERS[kind](data) if kind in PARSERS else [Unknown(kind=str(kind))]
    except UNREADABLE as error:
        raise BadMessage("binance", repr(error), raw) from error


def _answer(message: dict[str, Any]) -> Parsed:
    """The reply to a command. Its error is nested on futures and flat in spot's documentation; both are read.

    Being accepted proves nothing: nonsense is acknowledged like anything else.
    """
    request = str(message.get("id", ""))
    error = message.get("error", message)
    if "code" in error:
        return request, [Refused(reason=str(error["msg"]))]
    if "result" in message:
        return request, [Accepted()]
    if message.get("e") == SHUTDOWN:
        return "", [Leaving(reason=SHUTDOWN)]
    return "", [Unknown(kind=str(message.get("e", "no stream")))]


def parse_agg_trade(data: dict[str, Any]) -> list[Event]:
    """``<symbol>@aggTrade``, and one row of REST ``aggTrades``: the fills of one taker order at one price.

    Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/Aggregate-Trade-Streams
    """
    return [_trade(data, id=data["a"])]


def parse_trade(data: dict[str, Any]) -> list[Event]:
    """``<symbol>@trade``: one fill. On futures it is undocumented, and rows that are no market trade are dropped.

    ``X`` is absent on spot. The dropped kinds (insurance fund, ADL, ``NA`` at price 0) use up an id all the same.
    """
    if data.get("X", "MARKET") != "MARKET":
        return [VoidTrade(id=integer_id(data["t"]))]
    return [_trade(data, id=data["t"])]


def _trade(data: dict[str, Any], *, id: object) -> Trade:
    price, amount = data["p"], data["q"]
    return Trade(
        id=integer_id(id),
        timestamp_ms=data["T"],
        taker_side=TAKER_SIDES[data["m"]],
        price=float(price),
        amount=float(amount),
        cost=float(Decimal(price) * Decimal(amount)),
        raw=data,
    )


def parse_candle(data: dict[str, Any]) -> list[Event]:
    """``<symbol>@kline_<interval>``; ``x`` says that the candle is closed."""
    k = data["k"]
    return [
        Candle(
            open_time_ms=k["t"],
            open=float(k["o"]),
            high=float(k["h"]),
            low=float(k["l"]),
            close=float(k["c"]),
            volume=float(k["v"]),
            closed=k["x"],
        )
    ]


class FuturesDepth(Struct):
    """``pu`` is the ``u`` of the event before. ``U`` says nothing: ids are shared by all symbols."""

    T: int
    pu: UpdateNumber
    u: UpdateNumber
    b: list[Level]
    a: list[Level]


class SpotDepth(Struct):
    """Ids are the symbol's own, so the event before ended at ``U - 1``. There is no ``T``."""

    E: int
    U: UpdateNumber
    u: UpdateNumber
    b: list[Level]
    a: list[Level]


class FuturesDepthMessage(Struct):
    stream: str
    data: FuturesDepth


class SpotDepthMessage(Struct):
    stream: str
    data: SpotDepth


# Typed, because a book update has a hundred times the numbers of a trade, and texts turned into checked numbers one by
# one cost five times as much (scripts/bench_choices.py).
FUTURES_DEPTH = Decoder(FuturesDepthMessage, strict=False)
SPOT_DEPTH = Decoder(SpotDepthMessage, strict=False)


def parse_futures_depth(raw: bytes) -> Parsed:
    """``<symbol>@depth``.

    Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams/How-to-manage-a-local-order-book-correctly
    """
    message = FUTURES_DEPTH.decode(raw)
    data = message.data
    return message.stream, [
        BookDelta(bids=data.b, asks=data.a, prev_sequence=data.pu, last_sequence=data.u, timestamp_ms=data.T, raw=raw)
    ]


def parse_spot_depth(raw: bytes) -> Parsed:
    """``<symbol>@depth`` of spot."""
    message = SPOT_DEPTH.decode(raw)
    data = message.data
    return message.stream, [
        BookDelta(
            bids=data.b, asks=data.a, prev_sequence=data.U - 1, last_sequence=data.u, timestamp_ms=data.E, raw=raw
        )
    ]


class DepthAnswer(Struct):
    """``T``, the matching time, is there on futures only."""

    lastUpdateId: UpdateNumber
    bids: list[Level]
    asks: list[Level]
    T: int | None = None


def book(answer: Any) -> BookSnapshot:
    """REST ``depth``."""
    book = convert(answer, DepthAnswer, strict=False)
    return BookSnapshot(bids=book.bids, asks=book.asks, sequence=book.lastUpdateId, timestamp_ms=book.T, raw=answer)


class DepthTexts(Struct):
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class DepthTextsMessage(Struct):
    data: DepthTexts


class DepthTextsAnswer(Struct):
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


DEPTH_TEXTS = Decoder(DepthTextsMessage)


def texts(raw: Any) -> Texts:
    """The levels of a ``depth`` message, or of REST's answer (decoded), as Binance wrote them."""
    if isinstance(raw, bytes):
        data = DEPTH_TEXTS.decode(raw).data
        return data.b, data.a
    answer = convert(raw, DepthTextsAnswer)
    return answer.bids, answer.asks


def recent_trade(row: dict[str, Any]) -> Trade:
    """One row of REST ``trades``; its cost is the venue's own product."""
    return Trade(
        id=integer_id(row["id"]),
        timestamp_ms=row["time"],
        taker_side=TAKER_SIDES[row["isBuyerMaker"]],
        price=float(row["price"]),
        amount=float(row["qty"]),
        cost=float(row["quoteQty"]),
        raw=row,
    )


def candle(row: list[Any], *, now_ms: int) -> Candle:
    """One row of REST ``klines``: open time, o, h, l, c, volume, close time, …"""
    return Candle(
        open_time_ms=row[0],
        open=float(row[1]),
        high=float(row[2]),
        low=float(row[3]),
        close=float(row[4]),
        volume=float(row[5]),
        closed=row[6] < now_ms,
    )


PARSERS: dict[str, Callable[[dict[str, Any]], list[Event]]] = {
    "aggTrade": parse_agg_trade,
    "trade": parse_trade,
    "kline": parse_candle,
}
