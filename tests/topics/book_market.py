"""A book as its venue has it, the messages that three venues make of it, and the node that publishes it.

``Market`` is the model: texts by price, changed by the test alone. It applies no message and knows nothing of ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from exchanges.binance import parse as binance
from exchanges.book import BookSync, OrderBook
from exchanges.bybit import parse as bybit
from exchanges.errors import SequenceGap
from exchanges.events import BookDelta, BookSnapshot
from exchanges.hyperliquid import parse as hyperliquid
from exchanges.venue import Parsed, Texts
from topics.book_log import BookLog
from topics.key import Cursor
from topics.place import Place
from topics.redis_ring import RedisRing
from topics.ring import Entry, RingBudget
from topics.store import Store

EPOCH = 1_700_000_000_000
Side = Mapping[str, str]  # amount by price, in the venue's decimals
Row = tuple[str, str]
PLACE = Place(*(f"{{book}}:{name}" for name in Place._fields))


@dataclass(frozen=True)
class State:
    """A whole book, and what its venue says of it."""

    bids: Side
    asks: Side
    sequence: int
    timestamp_ms: int

    @property
    def numbers(self) -> tuple[dict[float, float], dict[float, float], int, int]:
        sides = [{float(price): float(amount) for price, amount in side.items()} for side in (self.bids, self.asks)]
        return sides[0], sides[1], self.sequence, self.timestamp_ms

    @property
    def texts(self) -> tuple[dict[float, Row], dict[float, Row]]:
        bids, asks = ({float(price): (price, amount) for price, amount in side.items()} for side in self.sides)
        return bids, asks

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.bids, self.asks


def numbers(book: OrderBook) -> tuple[dict[float, float], dict[float, float], int, int | None]:
    """Of one of ours, to be compared with a state's."""
    return dict(book.bids.levels()), dict(book.asks.levels()), book.sequence, book.timestamp_ms


@dataclass
class Market:
    """The venue's side."""

    bids: dict[str, str] = field(default_factory=lambda: {"99.50": "1.0"})
    asks: dict[str, str] = field(default_factory=lambda: {"100.50": "1.0"})
    sequence: int = 1_000
    timestamp_ms: int = EPOCH
    changed: dict[str, dict[str, str]] = field(default_factory=lambda: {"bids": {}, "asks": {}})
    said: int = 1_000  # the sequence of the last message

    def set(self, side: str, price: str, amount: str) -> None:
        """``0``: the level goes."""
        levels = self.bids if side == "bids" else self.asks
        if float(amount):
            levels[price] = amount
        else:
            levels.pop(price, None)
        self.changed[side][price] = amount

    def advance(self, *, sequences: int = 1, milliseconds: int = 100) -> None:
        self.said, self.sequence = self.sequence, self.sequence + sequences
        self.timestamp_ms += milliseconds

    def take_changed(self) -> tuple[list[Row], list[Row]]:
        """Levels that changed since this was asked last."""
        changed, self.changed = self.changed, {"bids": {}, "asks": {}}
        return list(changed["bids"].items()), list(changed["asks"].items())

    @property
    def state(self) -> State:
        return State(dict(self.bids), dict(self.asks), self.sequence, self.timestamp_ms)


@dataclass(frozen=True)
class Dialect:
    """How a venue puts it."""

    parse: Callable[[bytes], Parsed]
    texts: Callable[[Any], Texts]
    news: Callable[[Market], bytes]  # what it says of the changes since the last message
    whole: Callable[[Market], BookSnapshot]  # as it comes by stream, or by REST:
    by_rest: bool = False
    numbered: bool = True  # it counts its messages


def _binance_news(market: Market) -> bytes:
    bids, asks = market.take_changed()
    about = {"e": "depthUpdate", "E": market.timestamp_ms + 3, "T": market.timestamp_ms, "s": "BTCUSDT"}
    counted = {"U": market.said + 1, "u": market.sequence, "pu": market.said}
    return orjson.dumps({"stream": "btcusdt@depth@100ms", "data": {**about, **counted, "b": bids, "a": asks}})


def _binance_whole(market: Market) -> BookSnapshot:
    answer = {"lastUpdateId": market.sequence, "E": market.timestamp_ms + 9, "T": market.timestamp_ms}
    return binance.book({**answer, "bids": list(market.bids.items()), "asks": list(market.asks.items())})


def _bybit(market: Market, kind: str, bids: Sequence[Row], asks: Sequence[Row]) -> bytes:
    data = {"s": "BTCUSDT", "b": bids, "a": asks, "u": market.sequence, "seq": 7 * market.sequence}
    about = {"topic": "orderbook.200.BTCUSDT", "type": kind, "ts": market.timestamp_ms}
    return orjson.dumps({**about, "data": data, "cts": market.timestamp_ms - 6})


def _bybit_news(market: Market) -> bytes:
    return _bybit(market, "delta", *market.take_changed())


def _bybit_whole(market: Market) -> bytes:
    market.take_changed()
    return _bybit(market, "snapshot", list(market.bids.items()), list(market.asks.items()))


def _hyperliquid(market: Market) -> bytes:
    market.take_changed()
    levels = [
        [{"px": price, "sz": amount, "n": 2} for price, amount in sorted(side.items(), key=_price, reverse=reverse)]
        for side, reverse in ((market.bids, True), (market.asks, False))
    ]
    return orjson.dumps(
        {"channel": "l2Book", "data": {"coin": "BTC", "time": market.timestamp_ms, "levels": levels, "fast": True}}
    )


def _price(level: Row) -> float:
    return float(level[0])


def _heard(parse: Callable[[bytes], Parsed], message: Callable[[Market], bytes]) -> Callable[[Market], BookSnapshot]:
    def whole(market: Market) -> BookSnapshot:
        (event,) = parse(message(market))[1]
        assert isinstance(event, BookSnapshot)
        return event

    return whole


DIALECTS = {
    "binance": Dialect(binance.futures, binance.texts, _binance_news, _binance_whole, by_rest=True),
    "bybit": Dialect(bybit.linear, bybit.texts, _bybit_news, _heard(bybit.linear, _bybit_whole)),
    "hyperliquid": Dialect(
        hyperliquid.parse,
        hyperliquid.texts,
        _hyperliquid,
        _heard(hyperliquid.parse, _hyperliquid),
        numbered=False,
    ),
}


class Owner:
    """Does with the venue's messages what ``exchanges.feed.Feed`` does, and what ``topics.books.Books`` then does."""

    def __init__(self, dialect: Dialect, **bounds: int) -> None:
        self.dialect, self.market = dialect, Market()
        self.ring = RedisRing(RingBudget(), Store("redis://127.0.0.1:1"), PLACE, **bounds)  # it is never run
        self.log = BookLog(self.ring)
        self.cursor = Cursor(EPOCH, 0)
        self.due = False
        self.shown: State | None = None  # what it knows; None: it waits for a whole book
        self._sync = BookSync()

    def say(self) -> None:
        """The venue says what has changed."""
        (event,) = self.dialect.parse(self.dialect.news(self.market))[1]
        assert isinstance(event, BookDelta | BookSnapshot)
        try:
            self._take(event)
        except SequenceGap:
            self.begin(*([event] if isinstance(event, BookDelta) else []))

    def say_whole(self) -> None:
        """The venue says all of it, though nothing was amiss. One that does so by REST alone is asked again."""
        if self.dialect.by_rest:
            self.begin()
        else:
            self._take(self.dialect.whole(self.market))

    def begin(self, *kept: BookDelta) -> None:
        """It is synced afresh; by REST, ``kept`` came first."""
        self.log.forget()
        self._sync, self.due, self.shown = BookSync(), False, None
        if self.dialect.by_rest:
            self.swap(*kept)
        else:
            self._take(self.dialect.whole(self.market))

    def swap(self, *kept: BookDelta) -> None:
        """The book is another one, by no single message."""
        self._sync = BookSync()
        for delta in kept:
            self._sync.on_delta(delta)
        assert self._sync.on_snapshot(self.dialect.whole(self.market)) is not None
        self._heard(None)

    def publish(self) -> Entry:
        assert self._sync.book is not None
        self.due, self.cursor = False, self.cursor.next()
        self.log.publish(self.cursor, self._sync.book, self.cursor.seq)
        return self.ring.contents()[0][-1]

    def take_over(self) -> None:
        """Another epoch begins, as after the loss of a lease."""
        self.cursor = Cursor(self.cursor.epoch + 1, 0)
        self.begin()

    def _take(self, event: BookSnapshot | BookDelta) -> None:
        taken = self._sync.on_snapshot(event) if isinstance(event, BookSnapshot) else self._sync.on_delta(event)
        if taken is not None:
            self._heard(event)

    def _heard(self, event: BookSnapshot | BookDelta | None) -> None:
        self.log.hear(event)
        self.due = True
        state = self.market.state
        self.shown = state if self.dialect.numbered else State(state.bids, state.asks, 0, state.timestamp_ms)
        assert self._sync.book is not None
        assert numbers(self._sync.book) == self.shown.numbers
