"""The follower's own checks: each of them sees what it is there to see, and nothing in a stream that is right."""

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import pytest

from tests.system.invariants import Books, Candles, Frame, Trades, change, checksum

Times = dict[str, int | None]
MINUTE = 60_000


class Notes:
    """Remembers what was found wrong."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def __call__(self, what: str, evidence: object) -> None:
        self.kinds.append(what)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def trades(seq: int, *ids: int, epoch: int = 1, price: float = 1.0) -> Frame:
    rows = [{"id": str(id), "price": price, "amount": 1.0, "side": "buy", "timestamp": 1} for id in ids]
    return {"type": "trades", "cursor": f"{epoch}-{seq}", "data": rows}


def gap(seq: int, *, missing: int | None, rows: int = 0, backfilled: bool = False, to: int | None = None) -> Frame:
    ends = seq + 1 if rows else seq
    return {
        "type": "gap",
        "cursor": f"1-{seq}",
        "reason": "UPSTREAM_RECONNECT",
        "from": {"cursor": f"1-{seq - 1}", "time": 1},
        "to": {"cursor": f"1-{to or ends}", "time": 2},
        "missing": missing,
        "backfilled": backfilled,
        "rows": rows,
    }


TRADES: dict[str, tuple[Sequence[Frame], list[str]]] = {
    "a stream": ([trades(1, 1, 2), trades(2, 3), trades(3, 4)], []),
    "a hole in seq": ([trades(1, 1), trades(3, 2)], ["silent gap"]),
    "a repeated seq": ([trades(1, 1), trades(1, 2)], ["seq fell"]),
    "an older epoch": ([trades(1, 1, epoch=2), trades(2, 2, epoch=1)], ["epoch fell"]),
    "a new epoch": ([trades(1, 1), trades(1, 2, epoch=2)], ["silent epoch change"]),
    "a trade twice": ([trades(1, 1, 2), trades(2, 2)], ["duplicate trade", "trade ids fell"]),
    "a lost trade": ([trades(1, 1), trades(2, 3)], ["silent loss"]),
    "a free trade": ([trades(1, 1, price=0.0)], ["not a trade"]),
    "an empty frame": ([trades(1)], ["an empty frame"]),
    "a declared loss": ([trades(1, 1), gap(2, missing=2), trades(3, 4), trades(4, 5)], []),
    "a loss partly made up for": ([trades(1, 1), gap(2, missing=1, rows=1), trades(3, 2), trades(4, 4)], []),
    "a loss made up for": ([trades(1, 1), gap(2, missing=0, rows=1, backfilled=True), trades(3, 2), trades(4, 3)], []),
    "more lost than declared": ([trades(1, 1), gap(2, missing=1), trades(3, 4)], ["silent loss"]),
    "less lost than declared": (
        [trades(1, 1), gap(2, missing=2), trades(3, 3), trades(4, 4)],
        ["a gap declared more than was lost"],
    ),
    "a gap over nothing": (
        [trades(1, 1), gap(2, missing=0), trades(3, 2)],
        ["a gap declared though nothing was lost"],
    ),
    "a full gap that misses one": (
        [trades(1, 1), gap(2, missing=1, rows=1, backfilled=True), trades(3, 2), trades(4, 4)],
        ["a gap that is filled and still misses something"],
    ),
    "a gap that ends elsewhere": (
        [trades(1, 1), gap(2, missing=1, to=9), trades(3, 3)],
        ["a gap that does not end at itself, or with rows at the next event"],
    ),
    "fewer rows than declared": (
        [trades(1, 1), gap(2, missing=0, rows=3, backfilled=True), trades(3, 2)],
        ["fewer rows than the gap said"],
    ),
}


@pytest.mark.parametrize("name", TRADES)
def test_what_is_found_in_a_stream_of_trades(notes: Notes, name: str) -> None:
    frames, found = TRADES[name]
    content = Trades(notes, dense=True, told=True)
    feed(content, frames)
    assert notes.kinds == found


def test_a_connection_that_is_not_told_of_gaps_sees_holes(notes: Notes) -> None:
    feed(Trades(notes, dense=True, told=False), [trades(1, 1), trades(4, 9)])
    assert notes.kinds == []


def candles(seq: int, *rows: tuple[int, float, bool], repair: bool = False) -> Frame:
    data = [[minute * MINUTE, price, price, price, price, 1.0] for minute, price, _ in rows]
    meta = [{"closed": closed, "complete": True, "source": "venue"} for _, _, closed in rows]
    return {"type": "ohlcv", "cursor": f"1-{seq}", "data": data, "meta": meta, "repair": repair}


CANDLES: dict[str, tuple[Sequence[Frame], list[str]]] = {
    "a stream": ([candles(1, (1, 1.0, False)), candles(2, (1, 2.0, True)), candles(3, (2, 2.0, False))], []),
    "not ascending": ([candles(1, (2, 1.0, False), (1, 1.0, False))], ["candles not in order"]),
    "closed twice": (
        [candles(1, (1, 1.0, False)), candles(2, (1, 1.0, True)), candles(3, (1, 1.0, True))],
        ["a candle closed twice"],
    ),
    "changed when closed": (
        [candles(1, (1, 1.0, False)), candles(2, (1, 1.0, True)), candles(3, (1, 2.0, False))],
        ["a closed candle changed outside a repair"],
    ),
    "repaired": (
        [candles(1, (1, 1.0, False)), candles(2, (1, 1.0, True)), candles(3, (1, 2.0, True), repair=True)],
        [],
    ),
    "no meta": ([{"type": "ohlcv", "cursor": "1-1", "data": [[1, 1, 1, 1, 1, 1]]}], ["candles without their meta"]),
    "a hole in seq": ([candles(1, (1, 1.0, False)), candles(3, (1, 2.0, False))], ["silent gap"]),
}


@pytest.mark.parametrize("name", CANDLES)
def test_what_is_found_in_a_stream_of_candles(notes: Notes, name: str) -> None:
    frames, found = CANDLES[name]
    feed(Candles(notes, told=True), frames)
    assert notes.kinds == found


def test_a_candle_that_nobody_closed_is_found(notes: Notes) -> None:
    content = Candles(notes, told=True)
    feed(content, [candles(n, (n, 1.0, n == 2)) for n in (1, 2, 3, 4)])
    assert content.unclosed() == [MINUTE]


def book(seq: int, bid: float, ask: float, *, tx: int = 0, depth: int = 1) -> Frame:
    bids, asks = [[bid - n, 1.0] for n in range(depth)], [[ask + n, 1.0] for n in range(depth)]
    data = {"bids": bids, "asks": asks, "nonce": seq, "timestamp": 1}
    return {"type": "orderbook", "cursor": f"1-{seq}", "ts": {"tx": tx}, "data": data}


BOOKS: dict[str, tuple[Sequence[Frame], list[str]]] = {
    "a stream": ([book(1, 10, 11), book(5, 10, 11, tx=250), book(6, 9, 12, tx=500)], []),
    "crossed": ([book(1, 11, 11)], ["crossed book"]),
    "an older state": ([book(2, 10, 11), book(2, 10, 11, tx=250)], ["a book's cursor does not rise"]),
    "too deep": ([book(1, 10, 11, depth=6)], ["deeper than asked"]),
    "too fast": ([book(1, 10, 11), book(2, 10, 11, tx=100)], ["faster than its throttle"]),
}


@pytest.mark.parametrize("name", BOOKS)
def test_what_is_found_in_a_stream_of_books(notes: Notes, name: str) -> None:
    frames, found = BOOKS[name]
    feed(Books(notes, levels=5, throttle_ms=250), frames)
    assert notes.kinds == found


def test_levels_out_of_order_are_found(notes: Notes) -> None:
    frame = book(1, 10, 11, depth=2)
    frame["data"]["asks"].reverse()
    feed(Books(notes, levels=5), [frame])
    assert notes.kinds == ["levels out of order"]


SNAPSHOT = {"bids": [["10.0", "1.0"]], "asks": [["11.0", "2.0"]], "nonce": 1, "timestamp": 1}


def delta(seq: int, data: Frame, *, tx: int = 0, **fields: Any) -> Frame:
    return {"type": "orderbook", "cursor": f"1-{seq}", "ts": {"tx": tx}, "data": data, **fields}


def snapshot(seq: int = 1, **fields: Any) -> Frame:
    right = crc32(b"10.0:1.0:11.0:2.0")
    return delta(seq, SNAPSHOT, **{"kind": "snapshot", "reason": "join", "checksum": right, **fields})


ASK_GONE = {"bids": [], "asks": [["11.0", "0"], ["12.0", "3.0"]], "nonce": 2, "timestamp": 2}
DELTAS: dict[str, tuple[Sequence[Frame], list[str]]] = {
    "a chain": ([snapshot(), delta(4, ASK_GONE, kind="delta", prev="1-1")], []),
    "a broken chain": (
        [snapshot(), delta(4, ASK_GONE, kind="delta", prev="1-3")],
        ["a delta that does not extend the last frame"],
    ),
    "a wrong checksum": ([snapshot(checksum=7)], ["checksum"]),
    "no checksum": (
        [{name: value for name, value in snapshot().items() if name != "checksum"}],
        ["a snapshot without its checksum"],
    ),
    "a crossing delta": (
        [snapshot(), delta(4, {**ASK_GONE, "bids": [["12.5", "1"]]}, kind="delta", prev="1-1")],
        ["crossed book"],
    ),
    "no anchor for long": (
        [snapshot(), delta(4, ASK_GONE, kind="delta", prev="1-1", tx=40_000)],
        ["no anchor"],
    ),
}


@pytest.mark.parametrize("name", DELTAS)
def test_what_is_found_in_a_stream_of_deltas(notes: Notes, name: str) -> None:
    frames, found = DELTAS[name]
    feed(Books(notes, levels=5, delta=True), frames)
    assert notes.kinds == found


def test_a_delta_is_applied_and_the_side_truncated() -> None:
    side = {"10": "1", "9": "1"}
    assert change(side, [["11", "2"], ["10", "0"]], levels=1, is_bid=True) == [("11", "2")]
    assert side == {"11": "2"}


def test_the_checksum_interleaves_the_sides_and_skips_what_is_not_there() -> None:
    bids, asks = [("10", "1"), ("9", "2")], [("11", "3")]
    assert checksum(bids, asks, 5) == crc32(b"10:1:11:3:9:2")
    assert checksum(bids, asks, 1) == crc32(b"10:1:11:3")


def feed(content: Trades | Candles | Books, frames: Sequence[Frame]) -> None:
    for frame in frames:
        take: Callable[[Frame, float], object] = content.take
        if frame["type"] == "gap":
            assert not isinstance(content, Books)
            take = content.take_gap
        take(frame, 0.0)
