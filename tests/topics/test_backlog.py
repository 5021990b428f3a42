"""What those who are behind in a topic are owed, against a model that forgets nothing."""

from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.topics.scripted_venue import topic_key
from topics.backlog import MAX_GAPS, BookBacklog, CandleBacklog, TradeBacklog
from topics.frame import frame, unframed
from topics.key import Cursor
from topics.ring import MAX_ROWS, Row
from topics.subscriber import Mark, Missed, Sent

TRADES = topic_key("trades")
PLENTY = 1_000_000  # bytes


def trade(price: float, amount: float = 1.0, side: str = "buy") -> dict[str, Any]:
    return {"price": price, "amount": amount, "side": side}


def event(seq: int, *rows: Any) -> Sent:
    return Sent(frame(b'{"type":"trades","seq":%d}' % seq), Cursor(1, seq), rows)


def loss(seq: int) -> Sent:
    """A loss upstream, which is an event too."""
    return Sent(frame(b'{"type":"gap","seq":%d}' % seq), Cursor(1, seq), extended=True)


def mark(seq: int, reason: Any = "CLIENT_SLOW") -> Mark:
    return Mark(Cursor(1, seq), seq, reason)


def seqs(missed: Missed) -> list[int]:
    return [message["seq"] for message in messages(missed)]


def messages(missed: Missed) -> list[dict[str, Any]]:
    return [orjson.loads(payload) for whole in missed.frames for _, payload in unframed(whole)]


def gap_of(missed: Missed) -> dict[str, Any]:
    assert missed.gap is not None
    ((_, payload),) = unframed(missed.gap)
    message: dict[str, Any] = orjson.loads(payload)
    return message


def test_who_misses_little_of_trades_gets_it_as_it_was_sent() -> None:
    backlog = TradeBacklog(TRADES)
    backlog.begin(mark(1))
    sent = [event(seq, trade(1.0)) for seq in (1, 2, 3)]
    backlog.take(sent)

    missed = backlog.missed(mark(1), mark(3), extended=True, budget=PLENTY)

    assert missed == Missed([one.frame for one in sent[1:]], None, None)


def test_who_misses_more_than_is_kept_is_told_what_the_rest_was() -> None:
    backlog = TradeBacklog(TRADES, max_kept=1)
    backlog.begin(mark(0))
    backlog.take(
        [event(1, trade(5.0, 2.0, "buy"), trade(9.0, 3.0, "sell")), event(2, trade(4.0, 1.0, "sell")), event(3)]
    )

    missed = backlog.missed(mark(0), mark(3), extended=True, budget=PLENTY)

    assert seqs(missed) == [3]
    assert gap_of(missed) == {
        "type": "gap",
        "channel": "trades",
        "topic": TRADES.topic,
        "reason": "CLIENT_SLOW",
        "from": {"cursor": "1-0", "time": None},
        "to": {"cursor": "1-3", "time": None},
        "missing": 3,
        "backfilled": False,
        "rows": 0,
        "events": 2,
        "summary": {"count": 3, "buyAmount": 2.0, "sellAmount": 4.0, "high": 9.0, "low": 4.0, "last": 4.0},
    }
    assert missed.loss == {
        "channel": "trades", "topic": TRADES.topic, "from": "1-0", "to": "1-3", "missing": 3, "events": 2
    }  # fmt: skip


@pytest.mark.parametrize(("budget", "told"), [(0, []), (1, [3]), (2, [2, 3]), (3, [1, 2, 3])])
def test_what_is_given_at_once_is_bounded_in_bytes_and_the_newest(budget: int, told: list[int]) -> None:
    backlog = TradeBacklog(TRADES)
    backlog.begin(mark(0))
    backlog.take([event(seq, trade(1.0)) for seq in (1, 2, 3)])

    missed = backlog.missed(mark(0), mark(3), extended=True, budget=budget * len(event(1).frame) + 1)

    assert seqs(missed) == told
    assert (gap_of(missed)["events"] if missed.gap else 0) == 3 - len(told)


def test_what_is_kept_is_bounded_in_bytes_but_never_nothing() -> None:
    size = len(event(1).frame)
    for max_bytes, told in ((2 * size, [2, 3]), (1, [3])):
        backlog = TradeBacklog(TRADES, max_bytes=max_bytes)
        backlog.begin(mark(0))
        backlog.take([event(seq, trade(1.0)) for seq in (1, 2, 3)])

        assert seqs(backlog.missed(mark(0), mark(3), extended=True, budget=PLENTY)) == told


def test_a_loss_that_trades_nobody_knows_is_summed_up_as_no_trade() -> None:
    backlog = TradeBacklog(TRADES, max_kept=1)
    backlog.begin(mark(0))
    backlog.take([loss(1), event(2)])

    gap = gap_of(backlog.missed(mark(0), mark(2), extended=True, budget=PLENTY))

    empty = {"count": 0, "buyAmount": 0.0, "sellAmount": 0.0, "high": None, "low": None, "last": None}
    assert (gap["events"], gap["missing"], gap["summary"]) == (1, 0, empty)


@dataclass
class Everything:
    """All events of a topic of trades, for good."""

    events: list[list[dict[str, Any]]]
    declared: set[int]

    def gap(self, since: int, until: int) -> dict[str, Any]:
        """What the events after ``since`` and before ``until`` were."""
        trades = [row for rows in self.events[since : until - 1] for row in rows]
        prices = [row["price"] for row in trades]
        return {
            "count": len(trades),
            "buyAmount": sum(row["amount"] for row in trades if row["side"] == "buy"),
            "sellAmount": sum(row["amount"] for row in trades if row["side"] == "sell"),
            "high": max(prices, default=None),
            "low": min(prices, default=None),
            "last": prices[-1] if prices else None,
        }


TRADE_ROWS = st.builds(
    trade, st.integers(1, 9).map(float), st.integers(1, 9).map(float), st.sampled_from(["buy", "sell"])
)
STEP = st.one_of(
    st.tuples(st.just("take"), st.lists(st.none() | st.lists(TRADE_ROWS, max_size=3), min_size=1, max_size=5)),
    st.tuples(st.just("begin"), st.integers(0, 2)),  # as many events before the newest
    st.tuples(st.just("end"), st.integers(0, 9)),
    st.tuples(st.just("missed"), st.integers(0, 9)),
)


@settings(max_examples=300, deadline=None)
@given(steps=st.lists(STEP, max_size=40), max_kept=st.integers(1, 4), budget=st.integers(0, 4), extended=st.booleans())
def test_what_is_delivered_is_the_newest_and_what_is_declared_is_exactly_the_rest(
    steps: list[tuple[str, Any]], max_kept: int, budget: int, extended: bool
) -> None:
    backlog = TradeBacklog(TRADES, max_kept=max_kept)
    model, behind, coming = Everything([], set()), list[Mark](), list[Sent]()
    size = 100

    def take() -> None:
        if behind:
            backlog.take(coming)
        coming.clear()

    for step, value in steps:
        match step:
            case "take":
                for rows in value:
                    model.events.append(rows or [])
                    seq = len(model.events)
                    model.declared |= {seq} if rows is None else set()
                    one = loss(seq) if rows is None else event(seq, *rows)
                    coming.append(one._replace(frame=frame(bytes(one.frame[2:-1]).ljust(size - 3) + b"}")))
            case "begin":  # in the midst of what is still to be taken
                place = mark(len(model.events) - min(value, len(coming)))
                behind.append(place)
                backlog.begin(place)
            case "end" if behind:
                take()
                backlog.end(behind.pop(value % len(behind)))
            case "missed" if behind:
                take()
                since, now = behind[value % len(behind)], mark(len(model.events))
                missed = backlog.missed(since, now, extended=extended, budget=budget * size)
                first = now.events - len(missed.frames) + 1 if extended else None
                told = range(max(since.events, now.events - min(max_kept, budget)) + 1, now.events + 1)
                assert seqs(missed) == [seq for seq in told if extended or seq not in model.declared]
                assert first is None or first == told.start
                lost = told.start - since.events - 1
                assert bool(lost) is (missed.gap is not None) is (missed.loss is not None)
                if lost:
                    gap, summary = gap_of(missed), model.gap(since.events, told.start)
                    assert (gap["events"], gap["missing"], gap["summary"]) == (lost, summary["count"], summary)
                    assert gap["from"]["cursor"] == str(since.cursor)
                    assert gap["to"]["cursor"] == f"1-{min(told.start, now.events)}"
        assert len(backlog._kept) <= max_kept
        assert set(backlog._sums) == {place.cursor for place in behind} == set(backlog._marks)
        assert behind or not (backlog._kept or backlog._bytes or backlog._holders)
        assert backlog._bytes == sum(len(kept.frame) for kept in backlog._kept)


# -- candles -----------------------------------------------------------------------------------------------------------


def row(time: int, value: int = 0) -> Row:
    return Row(time, b"%d" % value)


def candle_backlog() -> CandleBacklog:
    def encode(cursor: Cursor, rows: list[Row], repair: bool) -> bytes:
        shown = [[one.open_time_ms, int(one.payload)] for one in rows]
        return orjson.dumps({"type": "ohlcv", "seq": cursor.seq, "data": shown, "repair": repair})

    return CandleBacklog(topic_key("ohlcv"), encode)


def test_of_candles_the_newest_state_of_each_that_changed_comes_in_one_frame() -> None:
    backlog = candle_backlog()
    backlog.begin(mark(0))
    backlog.take([event(1, (row(60, 1), False)), event(2, (row(120, 2), False)), event(3, (row(60, 3), False))])

    missed = backlog.missed(mark(0), mark(3), extended=True, budget=PLENTY)

    assert messages(missed) == [{"type": "ohlcv", "seq": 3, "data": [[60, 3], [120, 2]], "repair": False}]
    gap = gap_of(missed)
    assert (gap["events"], gap["missing"], gap["backfilled"], "summary" in gap) == (2, 0, True, False)


def test_who_fell_behind_later_gets_only_the_candles_that_changed_since() -> None:
    backlog = candle_backlog()
    backlog.begin(mark(0))
    backlog.take([event(1, (row(60, 1), False)), event(2, (row(120, 2), False))])
    backlog.begin(mark(1))

    missed = backlog.missed(mark(1), mark(2), extended=True, budget=PLENTY)

    assert (messages(missed)[0]["data"], missed.gap, missed.loss) == ([[120, 2]], None, None)


@pytest.mark.parametrize(("repairs", "flag"), [((False, False), False), ((True, False), True), ((False, True), True)])
def test_a_repair_that_was_missed_is_told_as_one(repairs: tuple[bool, bool], flag: bool) -> None:
    backlog = candle_backlog()
    backlog.begin(mark(0))
    for seq, repair in enumerate(repairs, 1):
        backlog.take([event(seq, (row(60, seq), repair))])

    (message,) = messages(backlog.missed(mark(0), mark(2), extended=True, budget=PLENTY))

    assert message["repair"] is flag


@pytest.mark.parametrize(
    ("order", "told"),
    [("cg", [1, 2]), ("gc", [1, 2]), ("cgc", [2, 3]), ("gcg", [1, 2, 3]), ("ccgg", [2, 3, 4]), ("g", [1])],
)
@pytest.mark.parametrize("extended", [True, False])
def test_losses_upstream_stand_in_their_place_and_every_event_is_delivered_or_declared(
    order: str, told: list[int], extended: bool
) -> None:
    backlog = candle_backlog()
    backlog.begin(mark(0))
    kinds = {"c": lambda seq: event(seq, (row(60, seq), False)), "g": loss}
    backlog.take([kinds[kind](seq) for seq, kind in enumerate(order, 1)])

    missed = backlog.missed(mark(0), mark(len(order)), extended=extended, budget=PLENTY)

    assert seqs(missed) == [seq for seq in told if extended or order[seq - 1] == "c"]
    assert (gap_of(missed)["events"] if missed.gap else 0) == len(order) - len(told)


def test_of_many_losses_upstream_the_newest_are_told_and_the_others_counted() -> None:
    backlog = candle_backlog()
    backlog.begin(mark(0))
    backlog.take([loss(seq) for seq in range(1, MAX_GAPS + 6)])

    missed = backlog.missed(mark(0), mark(MAX_GAPS + 5), extended=True, budget=PLENTY)

    assert (seqs(missed), gap_of(missed)["events"]) == (list(range(6, MAX_GAPS + 6)), 5)


def test_of_many_candles_those_are_kept_that_changed_last() -> None:
    backlog = candle_backlog()
    backlog.begin(mark(0))
    backlog.take([event(1, *((row(time), False) for time in range(MAX_ROWS))), event(2, (row(0), False))])
    backlog.take([event(3, (row(MAX_ROWS), False))])

    (message,) = messages(backlog.missed(mark(0), mark(3), extended=True, budget=PLENTY))

    assert [time for time, _ in message["data"]] == [0, *range(2, MAX_ROWS + 1)]


def test_nothing_of_candles_is_kept_when_nobody_is_behind() -> None:
    backlog = candle_backlog()
    for seq in (0, 1):
        backlog.begin(mark(seq))
    backlog.take([event(1, (row(60), False)), loss(2)])

    backlog.end(mark(0))
    assert backlog._rows
    backlog.end(mark(1))

    assert not (backlog._rows or backlog._gaps)


# -- books -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "missed", "frames", "skipped"),
    [
        (b"{}", 0, [], None),
        (b"{}", 1, [frame(b"{}")], None),
        (b"{}", 4, [frame(b"{}")], 3),
        (None, 4, [], None),
    ],
    ids=["nothing", "one view", "many", "a book that broke"],
)
def test_of_a_book_the_newest_view_comes_and_no_gap(
    view: bytes | None, missed: int, frames: list[bytes], skipped: int | None
) -> None:
    backlog = BookBacklog(topic_key("orderbook"), lambda: view)
    backlog.begin(mark(2))
    backlog.take([event(3)])

    got = backlog.missed(mark(2), mark(2 + missed), extended=True, budget=PLENTY)

    assert (got.frames, got.gap, got.loss and got.loss["events"]) == (frames, None, skipped)
