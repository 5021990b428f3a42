"""Bybit's wire as far as faults must know it. Pure.

Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook and its neighbours
"""

from collections.abc import Mapping
from typing import Any

from .bybit_listings import key_of
from .dialect import Dialect, Sides, sides_of
from .faults import Place

TOPICS = {"publicTrade": "trades", "orderbook": "orderbook", "kline": "ohlcv"}
ENDPOINTS = {"recent-trade": "trades", "orderbook": "orderbook", "kline": "ohlcv"}


def place(name: str) -> Place:
    """Of a topic as streams are called: on spot with "spot/" before it."""
    path, _, symbol = name.rpartition(".")
    kind = path.removeprefix("spot/")
    return Place(symbol if kind == path else f"spot/{symbol}", TOPICS.get(kind.partition(".")[0], ""))


def _request(path: str, parameters: Mapping[str, Any]) -> Place:
    symbol = key_of(str(parameters.get("category", "linear")), str(parameters.get("symbol", "")))
    return Place(symbol, ENDPOINTS.get(path.rpartition("/")[2], ""))


def _sides(message: Any) -> Sides | None:
    return sides_of(message["data"], "b", "a") if isinstance(message, dict) and "data" in message else None


DIALECT = Dialect(
    place=place,
    request=_request,
    sides=_sides,
    level=lambda price, amount: [price, amount],
    numbers=frozenset({"p", "v", "T", "u", "ts", "start", "open", "high", "low", "close", "volume"}),
    busy=b'{"retCode":10006,"retMsg":"Too many visits!","result":{},"retExtInfo":{},"time":0}',
)
