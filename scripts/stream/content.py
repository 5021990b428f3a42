"""What the frames of one channel add up to: a tape, a ladder, a series. Pure."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from . import words

Frame = Mapping[str, Any]
MAX_ROWS = 500  # of a tape
MAX_IDS = 5_000  # trades of a new epoch may repeat those before it
MAX_CANDLES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Print:
    """One trade."""

    time_ms: int
    side: str
    price: float
    amount: float
    cost: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that happened to the stream. ``bad``: rows are, or may be, missing or late."""

    time_ms: int
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Rows of (price, amount), best first. ``time_ms`` by the venue, None where it does not say."""

    bids: Sequence[tuple[float, float]]
    asks: Sequence[tuple[float, float]]
    time_ms: int | None
    received_ms: int

    @property
    def mid(self) -> float | None:
        """None: a side is empty."""
        # Rounded to what it can be: the sum of two floats has digits that no price has.
        return round((self.bids[0][0] + self.asks[0][0]) / 2, self._places + 1) if self.bids and self.asks else None

    @property
    def spread(self) -> float | None:
        return round(self.asks[0][0] - self.bids[0][0], self._places) if self.bids and self.asks else None

    @property
    def _places(self) -> int:
        return words.decimals(side[0][0] for side in (self.bids, self.asks) if side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    closed: bool
    complete: bool
    repaired: bool  # changed after it was closed, or fetched after a loss


Row = Print | Note | Book | Candle


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The newest, and what it is compared with."""

    last: float
    before: float
    since: str  # what ``before`` was

    @property
    def change(self) -> float:
        return self.last - self.before

    @property
    def percent(self) -> float:
        return 100 * self.change / self.before


class Content(Protocol):
    """What the frames of one channel add up to."""

    def take(self, frame: Frame, now_ms: int) -> Sequence[Row]:
        """The rows that are new or changed, oldest first."""
        ...

    def price(self) -> Price | None: ...


class Tape:
    """Trades and what happened between them, oldest first; each trade once."""

    def __init__(self) -> None:
        self.rows: deque[Print | Note] = deque(maxlen=MAX_ROWS)
        self._ids: dict[str, None] = {}
        self._first: Print | None = None
        self._last: Print | None = None

    def take(self, frame: Frame, now_ms: int) -> Sequence[Print]:
        new = [row for row in frame["data"] if self._is_new(row["id"])]
        prints = [
            Print(
                time_ms=row["timestamp"],
                side=row["side"],
                price=row["price"],
                amount=row["amount"],
                cost=row["cost"],
            )
            for row in new
        ]
        self.rows.extend(prints)
        if prints:
            self._first, self._last = self._first or prints[0], prints[-1]
        return prints

    def price(self) -> Price | None:
        if self._first is None or self._last is None:
            return None
        since = f"since {words.clock(self._first.time_ms)[:8]}"
        return Price(last=self._last.price, before=self._first.price, since=since)

    def _is_new(self, trade_id: str) -> bool:
        if trade_id in self._ids:
            return False
        self._ids[trade_id] = None
        if len(self._ids) > MAX_IDS:
            del self._ids[next(iter(self._ids))]
        return True


class Ladder:
    """The newest book."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self._first: tuple[float, int] | None = None  # mid and when

    def take(self, frame: Frame, now_ms: int) -> Sequence[Book]:
        data = frame["data"]
        self.book = Book(bids=data["bids"], asks=data["asks"], time_ms=data["timestamp"], received_ms=now_ms)
        if self._first is None and self.book.mid is not None:
            self._first = self.book.mid, now_ms
        return [self.book]

    def price(self) -> Price | None:
        if self.book is None or self.book.mid is None or self._first is None:
            return None
        before, when = self._first
        return Price(last=self.book.mid, before=before, since=f"since {words.clock(when)[:8]}")


class Series:
    """Candles by open time."""

    def __init__(self) -> None:
        self._candles: dict[int, Candle] = {}

    @property
    def candles(self) -> list[Candle]:
        """Ascending."""
        return [self._candles[at] for at in sorted(self._candles)]

    def take(self, frame: Frame, now_ms: int) -> Sequence[Candle]:
        repaired, rows = bool(frame.get("repair")), []
        for (at, opened, high, low, close, volume), meta in zip(frame["data"], frame["meta"], strict=True):
            known = self._candles.get(at)
            candle = Candle(
                open_time_ms=at,
                open=opened,
                high=high,
                low=low,
                close=close,
                volume=volume,
                closed=meta["closed"],
                complete=meta["complete"],
                repaired=repaired or (known is not None and known.repaired),
            )
            self._candles[at] = candle
            rows.append(candle)
        for at in sorted(self._candles)[:-MAX_CANDLES]:
            del self._candles[at]
        return rows

    def price(self) -> Price | None:
        if not self._candles:
            return None
        *earlier, newest = self.candles[-2:]
        before, since = (earlier[0].close, "since the last close") if earlier else (newest.open, "since it opened")
        return Price(last=newest.close, before=before, since=since)


CONTENTS = {"trades": Tape, "orderbook": Ladder, "ohlcv": Series}
