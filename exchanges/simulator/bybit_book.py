"""Bybit's order book topics: what was pushed last, its number, and the next frame. Pure: no clock, no sockets.

Every depth of a symbol is numbered on its own (``u``), whether or not somebody listens; ``seq`` compares them.

Source: https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

from collections.abc import Callable
from typing import Any
from zlib import crc32

import orjson

from .levels import Levels
from .market import Market, Touch

SNAPSHOT_EVERY = 2999  # pushes; now and then the venue sends the whole book again, unasked
BEST_GRID_MS = 10  # the best level is pushed at most this often
BEST_REPEAT_MS = 3_000

Rows = list[tuple[int, int]]  # (price, amount), in ticks and steps


class BookTopic:
    """``orderbook.{depth}.{symbol}`` for depths above 1: a snapshot, then deltas of which each is ``u`` + 1.

    A level that falls out of the depth is deleted explicitly, one that comes into it is told. A delta may delete what
    the reader never had (an order that came and went), and often has one empty side.
    """

    def __init__(self, symbol: str, market: Market, depth: int, seq: Callable[[int], int]) -> None:
        self.depth = depth
        self.update = _first_update(symbol, depth)
        self.restart = False  # begin anew with the next frame
        self.bids: dict[int, int] = {}  # as pushed last, best first
        self.asks: dict[int, int] = {}
        self.changed_ms = market.time_ms
        self._topic = f"orderbook.{depth}.{symbol}"
        self._symbol = symbol
        self._market = market
        self._seq = seq
        self._sequence = -1  # of the market's last change when this was pushed

    def push(self, now_ms: int) -> bytes | None:
        """Bring the topic to the market's present state; None when nothing changed within the depth."""
        market = self._market
        market.advance(now_ms)
        if market.changes.last == self._sequence and not self.restart:
            return None
        gone = self._came_and_went()
        bids, asks = dict(market.bids.top(self.depth)), dict(market.asks.top(self.depth))
        changed_bids, changed_asks = changes(self.bids, bids), changes(self.asks, asks)
        changed_bids += [
            (price, 0) for price in gone["bids"] if price not in self.bids and price > next(reversed(bids))
        ]
        changed_asks += [
            (price, 0) for price in gone["asks"] if price not in self.asks and price < next(reversed(asks))
        ]
        self._sequence = market.changes.last
        self.bids, self.asks = bids, asks
        if self.restart:
            self.restart, self.update = False, 1
            self.changed_ms = market.last_change.time_ms
            return self._encode("delta", list(bids.items()), list(asks.items()), now_ms)
        if not (changed_bids or changed_asks):
            return None
        self.update += 1
        self.changed_ms = market.last_change.time_ms
        if self.update % SNAPSHOT_EVERY == 0:
            return self.snapshot(now_ms)
        return self._encode("delta", changed_bids, changed_asks, now_ms)

    def snapshot(self, now_ms: int) -> bytes:
        """What was pushed last, whole, under its number."""
        return self._encode("snapshot", list(self.bids.items()), list(self.asks.items()), now_ms)

    def body(self, bids: Rows, asks: Rows) -> dict[str, Any]:
        """``data`` of a frame, and most of what REST answers."""
        market = self._market
        data: dict[str, Any] = {"s": self._symbol, "b": rows(market, bids), "a": rows(market, asks)}
        return data | {"u": self.update, "seq": self._seq(self.changed_ms)}

    def _encode(self, kind: str, bids: Rows, asks: Rows, now_ms: int) -> bytes:
        head = {"topic": self._topic, "type": kind, "ts": now_ms}
        return orjson.dumps(head | {"data": self.body(bids, asks), "cts": self.changed_ms})

    def _came_and_went(self) -> dict[str, set[int]]:
        """Prices removed since the last push."""
        removed: dict[str, set[int]] = {"bids": set(), "asks": set()}
        if self._sequence >= 0:
            for change in self._market.changes.since(self._sequence):
                if change.amount == 0:
                    removed[change.side].add(change.price)
        market = self._market
        return {"bids": _absent(removed["bids"], market.bids), "asks": _absent(removed["asks"], market.asks)}


class BestLevel:
    """``orderbook.1.{symbol}``: a snapshot for every change, at most one in 10 ms, repeated after 3 s without one."""

    def __init__(self, symbol: str, market: Market, seq: Callable[[int], int]) -> None:
        self.update = _first_update(symbol, 1)
        self.restart = False
        self.stated: Callable[[int, int, Touch], None] = lambda _update, _now_ms, _touch: None
        self._symbol = symbol
        self._market = market
        self._seq = seq
        self._told: Touch | None = None
        self._sent = 0  # of market.touches
        self._sent_ms = 0

    def resume(self) -> None:
        """Somebody listens again: what happened unheard is one change."""
        self._sent = max(self._sent, self._market.touches.last - 1)

    def push(self, now_ms: int) -> list[bytes]:
        """The frames due by ``now_ms``, oldest first."""
        market = self._market
        market.advance(now_ms)
        fresh, self._sent = market.touches.since(self._sent), market.touches.last
        payloads = []
        for place, touch in enumerate(fresh):
            later = fresh[place + 1] if place + 1 < len(fresh) else None
            if later is None or later.time_ms // BEST_GRID_MS != touch.time_ms // BEST_GRID_MS:
                payloads.append(self._tell(touch, now_ms))
        if not payloads and (self.restart or now_ms - self._sent_ms >= BEST_REPEAT_MS):
            payloads.append(self._tell(market.touch, now_ms) if self.restart else self.snapshot(now_ms))
        return payloads

    def snapshot(self, now_ms: int) -> bytes:
        self._sent_ms = now_ms
        touch = self._told or self._market.touch
        self.stated(self.update, now_ms, touch)
        data: dict[str, Any] = {"s": self._symbol, "b": rows(self._market, [(touch.bid, touch.bid_amount)])}
        data["a"] = rows(self._market, [(touch.ask, touch.ask_amount)])
        data |= {"u": self.update, "seq": self._seq(touch.time_ms)}
        head = {"topic": f"orderbook.1.{self._symbol}", "ts": now_ms, "type": "snapshot"}
        return orjson.dumps(head | {"data": data, "cts": touch.time_ms})

    def _tell(self, touch: Touch, now_ms: int) -> bytes:
        self._told = touch
        self.update = 1 if self.restart else self.update + 1
        self.restart = False
        return self.snapshot(now_ms)


def changes(before: dict[int, int], now: dict[int, int]) -> Rows:
    """What turns one side into another, deletions last: readers must not count on an order."""
    changed = [(price, amount) for price, amount in now.items() if before.get(price) != amount]
    return changed + [(price, 0) for price in before if price not in now]


def rows(market: Market, side: Rows) -> list[list[str]]:
    """``[[price, size], ...]`` in the order given; a size of "0" deletes."""
    price, amount = market.prices.text, market.amounts.text
    return [[price(level), amount(total) if total else "0"] for level, total in side]


def _absent(prices: set[int], side: Levels) -> set[int]:
    return {price for price in prices if price not in side.amounts}


def _first_update(symbol: str, depth: int) -> int:
    """As if the venue had been up for some time: each topic has a number of its own."""
    return 1_000_000 + crc32(f"{symbol} {depth}".encode()) % 30_000_000
