"""Hyperliquid's websocket channels: one class a channel, each turning the market's truth into whole messages.

Snapshots of all coins keep to one clock and share its ``time``; what a block changed is sent at the block's end.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from . import hyperliquid_contexts as contexts
from .candles import open_time
from .clock import Clock
from .history import Candle
from .hyperliquid_instrument import DEPTH, FAST_DEPTH, INTERVALS, Instrument, book
from .hyperliquid_listings import DEXES, Listing
from .streams import Stream, next_boundary

if TYPE_CHECKING:
    from .hyperliquid import Exchange

BLOCK_MS = 70
FAST_MS, SLOW_MS = 540, 5_400  # between two snapshots of a book
CANDLE_MS = 560
CONTEXT_MS, FAST_CONTEXTS_MS = 1_000, 1_000
MIDS_MS, CONTEXTS_MS, ALL_CONTEXTS_MS = 5_000, 5_000, 13_600
REPLAYED, REPLAYED_MS = 30, 20_000  # how many trades, and of what age, a new subscriber is given first


class Touches:
    """``bbo``: the best bid and ask after a block that changed them, and nothing after one that did not."""

    def __init__(self, one: Instrument, now_ms: int) -> None:
        self._one = one
        self._sent = one.market.touch[3:]
        self.due_ms = next_boundary(now_ms, BLOCK_MS)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, BLOCK_MS)
        self._one.market.advance(now_ms)
        touch = self._one.market.touch
        if touch[3:] == self._sent:
            return []
        self._sent = touch[3:]
        return [message("bbo", {"coin": self._one.coin, "time": now_ms, "bbo": self._one.touch(touch)})]


class Tape:
    """``trades``: those of a block in one message, oldest first; to begin with some that are past, without a mark."""

    def __init__(self, one: Instrument, now_ms: int) -> None:
        self._one = one
        self._sent = one.market.trades.last
        self.due_ms = next_boundary(now_ms, BLOCK_MS)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, BLOCK_MS)
        trades = self._one.market.trades
        self._one.market.advance(now_ms)
        fresh, self._sent = trades.since(self._sent), trades.last
        return [message("trades", [self._one.trade(trade) for trade in fresh])] if fresh else []

    def greet(self, now_ms: int) -> list[bytes]:
        past = [each for each in self._one.market.trades.newest(REPLAYED) if each.time_ms >= now_ms - REPLAYED_MS]
        return [message("trades", [self._one.trade(trade) for trade in past])] if past else []


class Candles:
    """``candle``: the candles that were traded in since the last message; an interval without trades has none."""

    def __init__(self, one: Instrument, interval: str, now_ms: int) -> None:
        self._one = one
        self._interval = interval
        self._sent = one.market.trades.last
        self.due_ms = next_boundary(now_ms, CANDLE_MS)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, CANDLE_MS)
        market, timeframe = self._one.market, INTERVALS[self._interval]
        market.advance(now_ms)
        fresh, self._sent = market.trades.since(self._sent), market.trades.last
        # An interval that has ended gets its last state before the next one shows: nothing else says that it closed.
        opens = sorted({open_time(trade.time_ms, timeframe) for trade in fresh})
        return [self._message(market.candle(timeframe, open_ms)) for open_ms in opens]

    def _message(self, candle: Candle) -> bytes:
        return message("candle", self._one.candle(self._interval, candle))


class Repeated:
    """A channel that states something again and again, changed or not, at fixed times for all of its kind."""

    def __init__(self, channel: str, every_ms: int, state: Callable[[int], Any], *, clock: Clock) -> None:
        self._channel = channel
        self._every_ms = every_ms
        self._state = state
        self._clock = clock
        self.due_ms = next_boundary(clock.now(), every_ms)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        # Somebody's subscribing must not bring the others anything off the clock; the end of market time must.
        if now_ms < self.due_ms and not self._clock.frozen:
            return []
        self.due_ms = next_boundary(now_ms, self._every_ms)
        return self.greet(now_ms)

    def greet(self, now_ms: int) -> list[bytes]:
        return [message(self._channel, self._state(now_ms))]


class FastContexts:
    """``fastAssetCtxs``: mark and mid of every coin, then of those that changed: JSON, raw deflate, base64."""

    def __init__(self, all_coins: Callable[[], list[tuple[Listing, Instrument | None]]], now_ms: int) -> None:
        self._all_coins = all_coins
        self._sent = self._state()
        self.due_ms = next_boundary(now_ms, FAST_CONTEXTS_MS)

    def produce(self, now_ms: int, *, flush: bool) -> list[bytes]:
        self.due_ms = next_boundary(now_ms, FAST_CONTEXTS_MS)
        before, self._sent = self._sent, self._state()
        changed = {coin: row for coin, row in self._sent.items() if before[coin] != row}
        return [self._message(changed)] if changed else []

    def greet(self, now_ms: int) -> list[bytes]:
        return [self._message(self._sent)]

    def _state(self) -> dict[str, dict[str, str]]:
        return {
            listing.coin: {"markPx": contexts.mark(one), "midPx": contexts.mid(one)}
            for listing, one in self._all_coins()
            if one is not None
        }

    @staticmethod
    def _message(state: dict[str, dict[str, str]]) -> bytes:
        deflate = zlib.compressobj(wbits=-15)
        return message("fastAssetCtxs", b64encode(deflate.compress(orjson.dumps(state)) + deflate.flush()).decode())


def message(channel: str, data: Any) -> bytes:
    return orjson.dumps({"channel": channel, "data": data})


Wanted = dict[str, Any]  # a subscription with all its defaults


def open_stream(exchange: "Exchange", name: str, now_ms: int) -> Stream | None:
    """``name`` is a subscription in full. None: nothing will ever come, as for most things of a delisted coin."""
    wanted: Wanted = orjson.loads(name)
    if wanted["type"] in REPEATED:
        channel, every_ms, state = REPEATED[wanted["type"]](exchange, wanted)
        return Repeated(channel, every_ms, state, clock=exchange.clock)
    if wanted["type"] == "fastAssetCtxs":
        return FastContexts(exchange.all, now_ms)
    one = exchange.instrument(wanted["coin"])
    return EVENTS[wanted["type"]](one, wanted, now_ms) if one else None


Statement = tuple[str, int, Callable[[int], Any]]  # channel, ms between two, what it says at a time


def _book(exchange: "Exchange", wanted: Wanted) -> Statement:
    """``l2Book``: the whole book. A delisted coin's is empty and comes all the same."""
    coin, fast = wanted["coin"], wanted["fast"]
    depth, mark = (FAST_DEPTH, {"fast": True}) if fast else (DEPTH, {})
    figures, mantissa = wanted["nSigFigs"], wanted["mantissa"]

    def state(now_ms: int) -> Any:
        one = exchange.instrument(coin)
        if one is not None and figures is None:  # rounded books are no statement of the book's levels
            one.note("l2Book:fast" if fast else "l2Book", now_ms)
        return book(one, coin, now_ms, depth=depth, figures=figures, mantissa=mantissa) | mark

    return "l2Book", FAST_MS if fast else SLOW_MS, state


def _context(exchange: "Exchange", wanted: Wanted) -> Statement:
    """``activeAssetCtx``: one subscription, two channels: spot pairs are answered on their own."""
    coin = wanted["coin"]
    channel = "activeAssetCtx" if exchange.listings[coin].max_leverage else "activeSpotAssetCtx"
    return channel, CONTEXT_MS, lambda now_ms: {"coin": coin, "ctx": exchange.context(coin, now_ms)}


def _mids(exchange: "Exchange", wanted: Wanted) -> Statement:
    dex = wanted["dex"] or ""
    tag = {"dex": dex} if dex else {}
    return "allMids", MIDS_MS, lambda _now: {"mids": exchange.mids(dex), **tag}


def _contexts(exchange: "Exchange", wanted: Wanted) -> Statement:
    dex = wanted["dex"] or ""
    return "assetCtxs", CONTEXTS_MS, lambda now: {"dex": dex, "ctxs": exchange.contexts(dex, now)}


def _all_contexts(exchange: "Exchange", wanted: Wanted) -> Statement:
    return (
        "allDexsAssetCtxs",
        ALL_CONTEXTS_MS,
        lambda now: {"ctxs": [[dex, exchange.contexts(dex, now)] for dex in DEXES]},
    )


def _spot_contexts(exchange: "Exchange", wanted: Wanted) -> Statement:
    return "spotAssetCtxs", CONTEXTS_MS, exchange.spot_contexts


REPEATED: Mapping[str, Callable[["Exchange", Wanted], Statement]] = {
    "l2Book": _book,
    "activeAssetCtx": _context,
    "allMids": _mids,
    "assetCtxs": _contexts,
    "allDexsAssetCtxs": _all_contexts,
    "spotAssetCtxs": _spot_contexts,
}
EVENTS: Mapping[str, Callable[[Instrument, Wanted, int], Stream]] = {
    "bbo": lambda one, _wanted, now_ms: Touches(one, now_ms),
    "trades": lambda one, _wanted, now_ms: Tape(one, now_ms),
    "candle": lambda one, wanted, now_ms: Candles(one, wanted["interval"], now_ms),
}
