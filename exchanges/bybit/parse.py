"""Bybit's websocket messages and REST rows → events. Pure: no clock, no socket, no state.

A socket is one category, and only inverse contracts count their cost in another way, so there are two entrances.
"""

from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from typing import Any

import orjson

from exchanges.errors import BadMessage
from exchanges.events import Accepted, BookDelta, BookSnapshot, Candle, Event, Refused, Side, Trade, Unknown
from exchanges.venue import Parsed

TAKER_SIDES: dict[str, Side] = {"Buy": "buy", "Sell": "sell"}
CCXT_DIVISION = Decimal("1e-18")  # CCXT's decimal division keeps 18 digits and cuts the rest

Cost = Callable[[str, str], float]


def linear_cost(price: str, amount: str) -> float:
    return float(Decimal(price) * Decimal(amount))


def inverse_cost(price: str, amount: str) -> float:
    """In the settle coin, as CCXT counts it: contracts of one quote unit, over the price."""
    return float((1 / Decimal(price)).quantize(CCXT_DIVISION, ROUND_DOWN) * Decimal(amount))


def linear(raw: bytes) -> Parsed:
    """Map one message of a linear or spot socket to its topic and events.

    Raises:
        BadMessage: it is not what Bybit documents.
    """
    return _parse(raw, linear_cost)


def inverse(raw: bytes) -> Parsed:
    """Map one message of an inverse socket. Raises as ``linear`` does."""
    return _parse(raw, inverse_cost)


def _parse(raw: bytes, cost: Cost) -> Parsed:
    try:
        message = orjson.loads(raw)
        topic = message.get("topic")
        if topic is None:
            return _answer(message)
        kind = topic.partition(".")[0]
        if kind == "publicTrade":
            return topic, parse_trades(message, cost)
        return topic, PARSERS[kind](message) if kind in PARSERS else [Unknown(kind=kind)]
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
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


def parse_trades(message: dict[str, Any], cost: Cost) -> list[Event]:
    """``publicTrade.{symbol}``, ascending; ``S`` is the taker's side, ``T`` the match time.

    Source: https://bybit-exchange.github.io/docs/v5/websocket/public/trade
    """
    return [
        Trade(
            id=row["i"],
            timestamp_ms=row["T"],
            taker_side=TAKER_SIDES[row["S"]],
            price=float(row["p"]),
            amount=float(row["v"]),
            cost=cost(row["p"], row["v"]),
            raw=row,
        )
        for row in message["data"]
    ]


def parse_book(message: dict[str, Any]) -> list[Event]:
    """``orderbook.{depth}.{symbol}``; ``u`` rises by one on each topic, and starts again at 1 with a whole book.

    Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
    """
    data = message["data"]
    sequence = data["u"]
    if message["type"] == "snapshot" or sequence == 1:
        return [BookSnapshot(bids=data["b"], asks=data["a"], sequence=sequence, timestamp_ms=message["ts"])]
    return [
        BookDelta(
            bids=data["b"],
            asks=data["a"],
            prev_sequence=sequence - 1,
            last_sequence=sequence,
            timestamp_ms=message["ts"],
        )
    ]


def parse_candles(message: dict[str, Any]) -> list[Event]:
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
            volume=float(row["volume"]),
            closed=row["confirm"],
        )
        for row in message["data"]
    ]


def rest_trade(row: dict[str, Any], cost: Cost) -> Trade:
    """One row of REST ``recent-trade``; ``execId`` is the websocket's ``i``."""
    return Trade(
        id=row["execId"],
        timestamp_ms=int(row["time"]),
        taker_side=TAKER_SIDES[row["side"]],
        price=float(row["price"]),
        amount=float(row["size"]),
        cost=cost(row["price"], row["size"]),
        raw=row,
    )


def rest_candle(row: list[str], *, closed: bool) -> Candle:
    """One row of REST ``kline``: start, o, h, l, c, volume, turnover."""
    return Candle(
        open_time_ms=int(row[0]),
        open=float(row[1]),
        high=float(row[2]),
        low=float(row[3]),
        close=float(row[4]),
        volume=float(row[5]),
        closed=closed,
    )


def rest_book(result: dict[str, Any]) -> BookSnapshot:
    """REST ``orderbook``. Its ``u`` is that of the 1,000-level topic alone, so it is no sequence to others."""
    return BookSnapshot(bids=result["b"], asks=result["a"], sequence=0, timestamp_ms=result["ts"])


PARSERS: dict[str, Callable[[dict[str, Any]], list[Event]]] = {"orderbook": parse_book, "kline": parse_candles}
