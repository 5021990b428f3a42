"""Binance's wire as far as faults must know it. Pure.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
and https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from .dialect import Dialect, sides_of
from .faults import Place

STREAMS = {
    "aggTrade": "trades",
    "trade": "trades",
    "depth": "orderbook",
    "kline": "ohlcv",
}  # others: none
ENDPOINTS = {"aggTrades": "trades", "trades": "trades", "depth": "orderbook", "klines": "ohlcv"}
BUSY = b'{"code":-1003,"msg":"Too many requests; please use the websocket for live updates."}'


def dialect(symbols: Mapping[str, str], *, farewell: bool) -> Dialect:
    """``symbols`` by the lower-case name that streams use; ``farewell``: spot announces that it shuts down."""

    def place(name: str) -> Place:
        lower, _, kind = name.partition("@")
        family = kind.partition("@")[0].partition("_")[0].rstrip("0123456789")
        return Place(symbols.get(lower, ""), STREAMS.get(family, ""))

    def request(path: str, parameters: Mapping[str, Any]) -> Place:
        return Place(str(parameters.get("symbol", "")).upper(), ENDPOINTS.get(path.rpartition("/")[2], ""))

    notice: Callable[[int], tuple[str, bytes]] | None = _shutdown if farewell else None
    return Dialect(
        place=place,
        request=request,
        sides=lambda message: sides_of(message, "b", "a") or sides_of(message, "bids", "asks"),
        level=lambda price, amount: [price, amount],
        numbers=frozenset({"p", "q", "a", "T", "t", "U", "u", "pu", "o", "h", "l", "c", "v"}),
        busy=BUSY,
        farewell=notice,
    )


def _shutdown(now_ms: int) -> tuple[str, bytes]:
    return "!serverShutdown", orjson.dumps({"e": "serverShutdown", "E": now_ms})
