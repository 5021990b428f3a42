"""Our public shapes, as a client reads them out of our bytes. Pure."""

from collections.abc import Iterable
from typing import Any

import orjson

from exchanges.events import Candle, Event, Trade
from topics.wire import candle_json, trade_row

NOT_COMPARED = ("info", "fee", "fees")  # the venue's own row; what a public trade never has


def trade_shapes(events: Iterable[Event], symbol: str) -> list[dict[str, Any]]:
    rows = orjson.loads(orjson.dumps([trade_row(event, symbol) for event in events if isinstance(event, Trade)]))
    return [compared(row) for row in rows]


def candle_shapes(events: Iterable[Event]) -> list[list[Any]]:
    return [orjson.loads(candle_json(event).payload) for event in events if isinstance(event, Candle)]


def compared(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in NOT_COMPARED}
