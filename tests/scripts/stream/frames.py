"""Frames as docs/protocol.md shows them, for tables."""

from typing import Any

TOPIC = {"exchange": "binance", "symbol": "BTC/USDT:USDT", "params": {}}
NOW = 1_795_742_936_000  # 2026-11-27T01:28:56Z


def trade(number: int, *, side: str = "buy", price: float = 100.0, amount: float = 1.0) -> dict[str, Any]:
    return {
        "id": str(number),
        "timestamp": NOW + number,
        "side": side,
        "price": price,
        "amount": amount,
        "cost": price * amount,
    }


def data(channel: str, content: Any, *, ex: int | None = NOW, tx: int = NOW, **more: Any) -> dict[str, Any]:
    return {"type": channel, "topic": TOPIC, "ts": {"ex": ex, "rx": tx, "tx": tx}, "data": content, **more}


def trades(*numbers: int, **more: Any) -> dict[str, Any]:
    return data("trades", [trade(number) for number in numbers], **more)


def book(bids: list[list[float]], asks: list[list[float]]) -> dict[str, Any]:
    return data("orderbook", {"bids": bids, "asks": asks, "timestamp": NOW})


def candles(*rows: tuple[Any, ...], closed: bool = False, complete: bool = True, **more: Any) -> dict[str, Any]:
    """``rows``: minute, open, high, low, close, volume."""
    content = [[minute * 60_000, *rest] for minute, *rest in rows]
    meta = [{"closed": closed, "complete": complete, "source": "venue"} for _ in rows]
    return data("ohlcv", content, ex=None, meta=meta, **more)


def subscribed(state: str = "live", **more: Any) -> dict[str, Any]:
    return {"type": "subscribed", "topic": TOPIC, "state": state, **more}


def status(state: str, *, reason: str = "", retry: int | None = None, scope: str = "topic") -> dict[str, Any]:
    return {"type": "status", "scope": scope, "topic": TOPIC, "state": state, "reason": reason, "retryInMs": retry}


def gap(**fields: Any) -> dict[str, Any]:
    return {"type": "gap", "reason": "UPSTREAM_RECONNECT", "missing": 0, "backfilled": False, "rows": 0, **fields}
