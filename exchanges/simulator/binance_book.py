"""Binance's order book streams: what changed, the whole top, the best prices.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
and https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

from collections.abc import Sequence
from typing import Any

import orjson

from .binance_instrument import USD_MARGINED, Instrument, levels
from .market import Change
from .streams import next_boundary


class Depth:
    """`@depth`: what changed since the previous event of this stream, as absolute quantities; "0.000" deletes."""

    def __init__(self, instrument: Instrument, interval_ms: int) -> None:
        self._instrument = instrument
        self._interval_ms = interval_ms
        self._sent = instrument.market.changes.last
        self._last_id = instrument.last_update_id
        self.due_ms = next_boundary(instrument.market.time_ms, interval_ms)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, self._interval_ms)
        market = self._instrument.market
        market.advance(now_ms)
        changes = market.changes.since(self._sent)
        if not changes:
            return []
        if market.changes.last - self._sent > len(changes):  # some are forgotten, after a long stall: a gap
            self._last_id = self._instrument.update_id(changes[0]) - 1
        self._sent = market.changes.last
        payload = self._event(changes, now_ms)
        self._last_id = self._instrument.update_id(changes[-1])
        self._instrument.note("depth", now_ms)
        return [payload]

    def _event(self, changes: Sequence[Change], now_ms: int) -> bytes:
        one = self._instrument
        latest: dict[str, dict[int, int]] = {"bids": {}, "asks": {}}
        for change in changes:
            latest[change.side][change.price] = change.amount
        event: dict[str, Any] = {"e": "depthUpdate", "E": now_ms, "s": one.symbol}
        event |= {"U": one.update_id(changes[0]), "u": one.update_id(changes[-1])}
        if one.futures:
            event |= {"T": changes[-1].time_ms, "ps": one.listing.pair, "pu": self._last_id, "st": USD_MARGINED}
        event["b"] = levels(one, sorted(latest["bids"].items(), reverse=True))
        event["a"] = levels(one, sorted(latest["asks"].items()))
        return orjson.dumps(event)


class PartialDepth:
    """`@depth5|10|20`: the whole top, sent when the book changed. Spot's has neither a symbol nor an event type."""

    def __init__(self, instrument: Instrument, count: int, interval_ms: int) -> None:
        self._instrument = instrument
        self._count = count
        self._interval_ms = interval_ms
        self._last_id = instrument.last_update_id
        self.due_ms = next_boundary(instrument.market.time_ms, interval_ms)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, self._interval_ms)
        one = self._instrument
        market = one.market
        market.advance(now_ms)
        last_id = one.last_update_id
        if last_id == self._last_id:
            return []
        bids, asks = levels(one, market.bids.top(self._count)), levels(one, market.asks.top(self._count))
        previous, self._last_id = self._last_id, last_id
        one.note(f"depth{self._count}", now_ms)
        if not one.futures:
            return [orjson.dumps({"lastUpdateId": last_id, "bids": bids, "asks": asks})]
        event = {"e": "depthUpdate", "E": now_ms, "T": market.last_change.time_ms, "s": one.symbol}
        event |= {"ps": one.listing.pair, "U": previous + 1, "u": last_id, "pu": previous}
        return [orjson.dumps(event | {"b": bids, "a": asks, "st": USD_MARGINED})]


class BestPrices:
    """`@bookTicker`: every change of a best price or its quantity."""

    def __init__(self, instrument: Instrument, now_ms: int) -> None:
        self._instrument = instrument
        self._sent = instrument.market.touches.last
        self.due_ms = now_ms

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        one = self._instrument
        one.market.advance(now_ms)
        fresh = one.market.touches.since(self._sent)
        self._sent = one.market.touches.last
        payloads = []
        for touch in fresh:
            change = Change(touch.sequence, touch.time_ms, touch.nth, "", 0, 0)
            row = {"u": one.update_id(change), "s": one.symbol, "b": one.price(touch.bid)}
            row |= {"B": one.amount(touch.bid_amount), "a": one.price(touch.ask), "A": one.amount(touch.ask_amount)}
            if one.futures:
                row |= {"e": "bookTicker", "ps": one.listing.pair, "T": touch.time_ms, "E": now_ms, "st": USD_MARGINED}
            payloads.append(orjson.dumps(row))
        return payloads
