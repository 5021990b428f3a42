"""What must be true of one topic's frames, checked as they come. Pure: no clock, no socket.

Written from the public contract alone and importing nothing of the product, so that one misreading is not made twice.
Beside its checks each class keeps what can only be compared with the venue afterwards: rows, gaps, books.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple
from zlib import crc32

Frame = dict[str, Any]
Wrong = Callable[[str, object], None]  # what is wrong, and the evidence

COMPARED = 25  # best levels of a side that are kept for comparison; as many as the venue's truth has
MAX_VIEWS = 20_000  # books kept for comparison
CHECKSUM_LEVELS = 10
ANCHOR_MS = 30_000
SLACK_MS = 1_500  # of a busy machine
REASONS = {"UPSTREAM_RECONNECT", "VENUE_SKIP", "CLIENT_SLOW", "RING_TRIMMED", "EPOCH_CHANGED", "PAUSED"}


class Place(NamedTuple):
    epoch: int
    seq: int


def place(cursor: str) -> Place:
    epoch, _, seq = cursor.partition("-")
    return Place(int(epoch), int(seq))


class Order:
    """The events of one feed: each has the number after the one before, gaps included.

    ``told``: gap frames are sent to this connection, so that a hole in the numbers is always a fault.
    """

    def __init__(self, wrong: Wrong, *, told: bool) -> None:
        self.last: Place | None = None
        self._wrong = wrong
        self._told = told
        self._epoch_may_change = False

    def take(self, cursor: str) -> Place:
        here, last = place(cursor), self.last
        if last is not None and here.epoch == last.epoch:
            if here.seq <= last.seq:
                self._wrong("seq fell", f"{here} after {last}")
            elif self._told and here.seq != last.seq + 1:
                self._wrong("silent gap", f"{here} after {last}")
        elif last is not None and (here.epoch < last.epoch or (self._told and not self._epoch_may_change)):
            self._wrong("epoch fell" if here.epoch < last.epoch else "silent epoch change", f"{here} after {last}")
        self.last, self._epoch_may_change = here, False
        return here

    def skip(self, gap: "Gap", cursor: str | None) -> None:
        """A declared hole: an event of the feed, or this client's own loss, which has no number of its own."""
        self._epoch_may_change = gap.reason == "EPOCH_CHANGED"
        if cursor is not None:
            self.take(cursor)
        elif gap.to is not None:
            self.last = gap.to


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A declared hole. ``here`` is its own cursor; ``to`` is the event from which the stream is whole again."""

    reason: str
    here: Place | None
    since: Place | None
    to: Place | None
    missing: int | None
    backfilled: bool
    rows: int
    at: float  # when it came


def read_gap(frame: Frame, wrong: Wrong, *, at: float) -> Gap:
    """A gap frame, its shape checked."""
    cursor = frame.get("cursor")
    since, to = frame["from"]["cursor"], frame["to"]["cursor"]
    gap = Gap(
        reason=frame["reason"],
        here=place(cursor) if cursor else None,
        since=place(since) if since else None,
        to=place(to) if to else None,
        missing=frame["missing"],
        backfilled=frame["backfilled"],
        rows=frame["rows"],
        at=at,
    )
    if gap.reason not in REASONS:
        wrong("a gap of no known reason", frame)
    if gap.backfilled and gap.missing != 0:
        wrong("a gap that is filled and still misses something", frame)
    if gap.rows < 0 or (gap.missing or 0) < 0:
        wrong("a gap of a negative size", frame)
    if gap.here and gap.since and not gap.since < gap.here:
        wrong("a gap that begins after itself", frame)
    if gap.here and gap.to and gap.to != (Place(gap.here.epoch, gap.here.seq + 1) if gap.rows else gap.here):
        wrong("a gap that does not end at itself, or with rows at the next event", frame)
    if gap.rows == 0 and (gap.missing == 0 or gap.backfilled):
        wrong("a gap declared though nothing was lost", frame)
    return gap


class Trade(NamedTuple):
    id: str
    price: float
    amount: float
    side: str
    timestamp: int


class Trades:
    """Each trade once. ``dense``: the venue's ids rise by one, and what is lost was declared to the very trade."""

    def __init__(self, wrong: Wrong, *, dense: bool, told: bool) -> None:
        self.rows: list[Trade] = []
        self.ends: dict[Place, int] = {}  # how many rows there were with the frame of each cursor
        self.gaps: list[Gap] = []
        self.order = Order(wrong, told=told)
        self._wrong = wrong
        self._dense = dense
        self._told = told
        self._seen: set[str] = set()
        self._last_id: int | None = None
        self._declared: int | None = 0  # lost trades that a gap declared and no jump has shown yet; None: any number
        self._frames_since_gap = 0

    def take(self, frame: Frame, at: float) -> None:
        here = self.order.take(frame["cursor"])
        if not frame["data"]:
            self._wrong("an empty frame", frame)
        for row in frame["data"]:
            trade = Trade(row["id"], row["price"], row["amount"], row["side"], row["timestamp"])
            if trade.id in self._seen:
                self._wrong("duplicate trade", f"{trade} at {here}")
            self._seen.add(trade.id)
            if self._dense:
                self._follow(int(trade.id), here)
            if not (trade.price > 0 and trade.amount > 0 and trade.side in ("buy", "sell")):
                self._wrong("not a trade", trade)
            self.rows.append(trade)
        self.ends[here] = len(self.rows)
        self._check_refetched(frame, here)

    def take_gap(self, frame: Frame, at: float) -> Gap:
        gap = read_gap(frame, self._wrong, at=at)
        self.order.skip(gap, frame.get("cursor"))
        self.gaps.append(gap)
        if gap.here:
            self.ends[gap.here] = len(self.rows)
        self._declared = None if gap.missing is None or self._declared is None else self._declared + gap.missing
        self._frames_since_gap = 0
        return gap

    def _follow(self, number: int, here: Place) -> None:
        jump = number - self._last_id - 1 if self._last_id is not None else 0
        self._last_id = number
        if jump < 0:
            self._wrong("trade ids fell", f"{number} at {here}, {-jump} too low")
        elif jump and self._told and self._declared is not None:
            if jump > self._declared:
                self._wrong("silent loss", f"{jump} trades before {number} at {here}, declared {self._declared}")
            self._declared = max(0, self._declared - jump)

    def _check_refetched(self, frame: Frame, here: Place) -> None:
        gap = self.gaps[-1] if self.gaps else None
        self._frames_since_gap += 1
        if gap is None:
            return
        if here == gap.to and len(frame["data"]) < gap.rows:
            self._wrong("fewer rows than the gap said", f"{len(frame['data'])} at {here}, {gap}")
        if self._frames_since_gap == 2:  # the refetched rows and the first live ones are both here
            if self._dense and self._declared:
                self._wrong("a gap declared more than was lost", f"{self._declared} too many, {gap}")
            self._declared = 0


class Candles:
    """Ascending, and each closed exactly once; a closed one changes only in a repair."""

    def __init__(self, wrong: Wrong, *, told: bool) -> None:
        self.newest: dict[int, list[float]] = {}  # the last state of each, by open time
        self.closed: dict[int, bool] = {}  # whether it is complete, by open time
        self.told: dict[int, str] = {}  # how its last state was told, by open time: for evidence
        self.gaps: list[Gap] = []
        self.order = Order(wrong, told=told)
        self._wrong = wrong
        self._closed_live: set[int] = set()

    def take(self, frame: Frame, at: float) -> None:
        joined = self.order.last is None
        here = self.order.take(frame["cursor"])
        data, meta, repair = frame["data"], frame.get("meta"), frame.get("repair", False)
        if meta is None or len(meta) != len(data):
            self._wrong("candles without their meta", frame)
            meta = [{"closed": False, "complete": True}] * len(data)
        if [row[0] for row in data] != sorted({row[0] for row in data}):
            self._wrong("candles not in order", frame)
        for row, facts in zip(data, meta, strict=True):
            if not repair:
                self._check_live(row, closed=facts["closed"] and not joined, here=here)
            if facts["closed"]:
                self.closed[row[0]] = facts["complete"]
            self.newest[row[0]] = row
            self.told[row[0]] = f"seq {here.seq} at {at:.0f} {'repair ' if repair else ''}{facts}"

    def take_gap(self, frame: Frame, at: float) -> Gap:
        gap = read_gap(frame, self._wrong, at=at)
        self.order.skip(gap, frame.get("cursor"))
        self.gaps.append(gap)
        return gap

    def unclosed(self) -> list[int]:
        """Open times of candles that should have been closed by now: two more have begun since."""
        return [opened for opened in sorted(self.newest)[:-2] if opened not in self.closed]

    def _check_live(self, row: list[Any], *, closed: bool, here: Place) -> None:
        opened = row[0]
        if opened in self.closed and row != self.newest[opened]:
            self._wrong("a closed candle changed outside a repair", f"{self.newest[opened]} to {row} at {here}")
        if closed and opened in self._closed_live:
            self._wrong("a candle closed twice", f"{row} at {here}")
        if closed:
            self._closed_live.add(opened)


class View(NamedTuple):
    """One published book: its best levels as they came, numbers in full mode and texts in delta mode."""

    nonce: int | None
    timestamp: int | None
    bids: list[Any]
    asks: list[Any]
    at: float


@dataclass(slots=True)
class Books:
    """One view of a book: never crossed, in order, no deeper than asked; deltas chained, checksums right."""

    wrong: Wrong
    levels: int
    throttle_ms: int = 0
    delta: bool = False
    views: deque[View] = field(default_factory=lambda: deque(maxlen=MAX_VIEWS))  # to be compared; newest last
    frames: int = 0
    kinds: dict[str, int] = field(default_factory=dict)  # frames by kind and reason
    quiet: bool = True  # the next frame may follow the last at once: it is the first, or follows a break
    _last: str = ""  # cursor
    _sides: tuple[dict[str, str], dict[str, str]] = field(default_factory=lambda: ({}, {}))
    _told_ms: int = 0
    _anchored_ms: int = 0

    def take(self, frame: Frame, at: float) -> None:
        cursor, data, told_ms = frame["cursor"], frame["data"], frame["ts"]["tx"]
        if self._last and place(cursor) <= place(self._last):
            self.wrong("a book's cursor does not rise", f"{cursor} after {self._last}")
        if not self.quiet and told_ms - self._told_ms < self.throttle_ms * 0.9:
            self.wrong("faster than its throttle", f"{told_ms - self._told_ms} ms at {cursor}")
        bids, asks = self._applied(frame) if self.delta else (data["bids"], data["asks"])
        self.frames += 1
        self.quiet, self._last, self._told_ms = False, cursor, told_ms
        self._check(bids, asks, cursor)
        self.views.append(View(data["nonce"], data["timestamp"], bids[:COMPARED], asks[:COMPARED], at))

    def _applied(self, frame: Frame) -> tuple[list[Any], list[Any]]:
        kind, data, now_ms = frame["kind"], frame["data"], frame["ts"]["tx"]
        name = f"{kind} {frame.get('reason', '')}".strip()
        self.kinds[name] = self.kinds.get(name, 0) + 1
        if kind == "snapshot":
            self._anchored_ms, self._sides = now_ms, ({}, {})
            if "checksum" not in frame:
                self.wrong("a snapshot without its checksum", frame["cursor"])
        elif frame["prev"] != self._last:
            self.wrong("a delta that does not extend the last frame", f"{frame['prev']}, not {self._last}")
        elif now_ms - self._anchored_ms > ANCHOR_MS + SLACK_MS + self.throttle_ms:
            self.wrong("no anchor", f"{now_ms - self._anchored_ms} ms at {frame['cursor']}")
        bids = change(self._sides[0], data["bids"], levels=self.levels, is_bid=True)
        asks = change(self._sides[1], data["asks"], levels=self.levels, is_bid=False)
        if "checksum" in frame and frame["checksum"] != checksum(bids, asks, self.levels):
            self.wrong("checksum", f"{frame['checksum']} at {frame['cursor']}, {bids[:3]} {asks[:3]}")
        return bids, asks

    def _check(self, bids: list[Any], asks: list[Any], cursor: str) -> None:
        if bids and asks and float(bids[0][0]) >= float(asks[0][0]):
            self.wrong("crossed book", f"{bids[0]} {asks[0]} at {cursor}")
        if max(len(bids), len(asks)) > self.levels:
            self.wrong("deeper than asked", f"{len(bids)} {len(asks)} at {cursor}")
        if not self.delta and not (descends(bids) and descends(asks[::-1])):
            self.wrong("levels out of order", f"{bids} {asks} at {cursor}")


def change(side: dict[str, str], changed: list[list[str]], *, levels: int, is_bid: bool) -> list[tuple[str, str]]:
    """Apply the changed levels to ``side`` and truncate it; the result, best first."""
    for price, amount in changed:
        if float(amount) == 0.0:
            side.pop(price, None)
        else:
            side[price] = amount
    best = sorted(side, key=float, reverse=is_bid)
    for price in best[levels:]:
        del side[price]
    return [(price, side[price]) for price in best[:levels]]


def checksum(bids: list[Any], asks: list[Any], levels: int) -> int:
    parts: list[str] = []
    for index in range(min(CHECKSUM_LEVELS, levels)):
        for side in (bids, asks):
            if index < len(side):
                parts += side[index]
    return crc32(":".join(parts).encode())


def descends(levels: list[Any]) -> bool:
    return all(better[0] > worse[0] for better, worse in pairwise(levels))
