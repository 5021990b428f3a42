"""Hyperliquid's wire as far as faults must know it. Pure.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Mapping
from typing import Any

import orjson

from .dialect import Dialect, Sides
from .faults import Place

KINDS = {
    "trades": "trades", "recentTrades": "trades", "l2Book": "orderbook", "candle": "ohlcv", "candleSnapshot": "ohlcv",
}  # fmt: skip


def place_of(wanted: Mapping[str, Any]) -> Place:
    """Of a subscription or the body of a request."""
    inner = wanted.get("req")
    coin = (inner if isinstance(inner, Mapping) else wanted).get("coin", "")
    return Place(str(coin), KINDS.get(str(wanted.get("type")), ""))


def _sides(message: Any) -> Sides | None:
    data = message.get("data") if isinstance(message, dict) else None
    levels = data.get("levels") if isinstance(data, dict) else None
    return (levels[0], levels[1]) if isinstance(levels, list) else None


DIALECT = Dialect(
    place=lambda name: place_of(orjson.loads(name)),
    request=lambda _path, body: place_of(body),
    sides=_sides,
    level=lambda price, amount: {"px": price, "sz": amount, "n": 1},
    numbers=frozenset({"px", "sz", "time", "tid", "t", "o", "h", "l", "c", "v"}),
    busy=b"null",
)
