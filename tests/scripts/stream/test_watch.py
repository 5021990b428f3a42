"""What a frame does to what is known of a stream."""

from typing import Any

import pytest

from scripts.stream.content import Ladder, Note, Print, Series, Tape
from scripts.stream.watch import Watch
from tests.scripts.stream.frames import NOW, book, candles, gap, status, subscribed, trade, trades


def watched(channel: str, *frames: dict[str, Any]) -> Watch:
    watch = Watch(channel)
    for frame in frames:
        watch.take(frame, NOW)
    return watch


def tape(watch: Watch) -> list[str]:
    assert isinstance(watch.content, Tape)
    return [row.text if isinstance(row, Note) else f"{row.side} {row.price}" for row in watch.content.rows]


@pytest.mark.parametrize(
    ("frames", "state", "note"),
    [
        ([], "connecting", None),
        ([subscribed("connecting")], "connecting", None),
        ([subscribed("live")], "live", "connecting → live"),
        ([subscribed(), status("reconnecting", reason="reset")], "reconnecting", "live → reconnecting (reset)"),
        ([subscribed(), status("unavailable", scope="exchange")], "live", "connecting → live"),
        (
            [subscribed(), {"type": "link", "state": "lost", "reason": "closed with 1012", "retryInMs": 5}],
            "disconnected",
            "connection lost: closed with 1012",
        ),
        (
            [{"type": "goaway", "reason": "DEPLOY", "graceMs": 10_000, "delayMs": 1}],
            "connecting",
            "the gateway ends in 10.0 s: DEPLOY",
        ),
        (
            [{"type": "warning", "code": "CLIENT_LAGGED", "message": "you were slow"}],
            "connecting",
            "CLIENT_LAGGED: you were slow",
        ),
        ([{"type": "a frame of next year"}], "connecting", None),
    ],
)
def test_a_frame_changes_the_state_and_says_what_happened(
    frames: list[dict[str, Any]], state: str, note: str | None
) -> None:
    watch = watched("trades", *frames)
    assert (watch.state, watch.note and watch.note.text) == (state, note)


@pytest.mark.parametrize(
    ("resume", "note"),
    [
        (
            {"status": "recovered", "from": "1-16", "to": "1-58", "count": 42},
            "resumed behind 1-16: recovered, 42 stored frames follow",
        ),
        ({"status": "lost", "from": "1-16", "to": "1-58", "count": 0}, "resumed behind 1-16: lost"),
    ],
)
def test_what_became_of_a_cursor_is_told(resume: dict[str, Any], note: str) -> None:
    watch = watched("trades", subscribed("live"), subscribed("live", resume=resume))
    assert watch.note is not None
    assert (watch.note.text, watch.note.bad) == (note, resume["status"] == "lost")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"backfilled": True, "rows": 41},
            "gap: the gateway lost the exchange; nothing is missing; 41 fetched afterwards",
        ),
        ({"missing": 3}, "gap: the gateway lost the exchange; 3 missing"),
        ({"missing": None}, "gap: the gateway lost the exchange; nobody can know what is missing"),
        ({"missing": None, "events": 7, "reason": "RING_TRIMMED"}, "gap: away for too long; 7 frames are missing"),
        ({"missing": 1, "reason": "NEXT_YEARS"}, "gap: NEXT_YEARS; 1 missing"),
        (
            {
                "missing": 63,
                "reason": "CLIENT_SLOW",
                "summary": {"buyAmount": 4.1, "sellAmount": 2.75, "low": 1.5, "high": 2.5},
            },
            "gap: this terminal was too slow; 63 missing; bought 4.1, sold 2.75, between 1.5 and 2.5",
        ),
    ],
)
def test_a_gap_stands_in_the_tape_between_the_trades_around_it(fields: dict[str, Any], words: str) -> None:
    watch = watched("trades", trades(1), gap(**fields), trades(2))
    assert tape(watch) == ["buy 100.0", words, "buy 100.0"]
    assert watch.gaps == 1


def test_a_trade_that_comes_twice_is_shown_once() -> None:
    watch = Watch("trades")
    assert len(watch.take(trades(1, 2), NOW)) == 2
    assert [row.time_ms for row in watch.take(trades(2, 3), NOW) if isinstance(row, Print)] == [NOW + 3]


def test_a_book_is_replaced_and_its_middle_has_no_digits_that_a_price_has_not() -> None:
    watch = watched("orderbook", book([[68407.1, 1]], [[68407.2, 2]]), book([[68400.1, 1]], [[68400.3, 2]]))
    assert isinstance(watch.content, Ladder)
    assert watch.content.book is not None
    assert (watch.content.book.mid, watch.content.book.spread) == (68400.2, 0.2)


def test_an_empty_side_has_no_middle() -> None:
    watch = watched("orderbook", book([[100.0, 1]], []))
    assert watch.content.price() is None


def test_candles_are_upserted_by_open_time_whatever_their_order() -> None:
    watch = watched(
        "ohlcv",
        candles((1, 10, 12, 9, 11, 5), (3, 12, 13, 12, 13, 1)),
        candles((2, 11, 12, 11, 12, 2), closed=True, repair=True),
        candles((3, 12, 14, 12, 14, 4), closed=True),
    )
    assert isinstance(watch.content, Series)
    got = [(c.open_time_ms // 60_000, c.close, c.closed, c.repaired) for c in watch.content.candles]
    assert got == [(1, 11, False, False), (2, 12, True, True), (3, 14, True, False)]


def test_a_repaired_candle_stays_marked_as_one() -> None:
    watch = watched("ohlcv", candles((1, 10, 12, 9, 11, 5), repair=True), candles((1, 10, 12, 9, 12, 6), closed=True))
    assert isinstance(watch.content, Series)
    assert watch.content.candles[0].repaired


@pytest.mark.parametrize(
    ("channel", "frames", "last", "before"),
    [
        ("trades", [trades(1), {**trades(), "data": [trade(2, price=103.0)]}], 103.0, 100.0),
        ("orderbook", [book([[99.0, 1]], [[101.0, 1]]), book([[100.0, 1]], [[102.0, 1]])], 101.0, 100.0),
        ("ohlcv", [candles((1, 10, 12, 9, 11, 5), (2, 12, 13, 11, 13, 1))], 13, 11),
        ("ohlcv", [candles((2, 12, 13, 11, 13, 1))], 13, 12),
    ],
)
def test_the_price_is_compared_with_the_first_one_or_with_the_last_close(
    channel: str, frames: list[dict[str, Any]], last: float, before: float
) -> None:
    price = watched(channel, *frames).content.price()
    assert price is not None
    assert (price.last, price.before, price.change) == (last, before, last - before)


def test_delays_are_those_of_live_frames_not_of_stored_ones() -> None:
    watch = Watch("trades")
    watch.take(subscribed(), NOW)
    watch.take(trades(1, ex=NOW - 90_000, tx=NOW - 80_000), NOW)
    assert (watch.delays.venue, watch.delays.here) == (None, None)
    watch.take(trades(2, ex=NOW - 30, tx=NOW - 10), NOW)
    assert (watch.delays.venue, watch.delays.here) == (20, 10)


def test_after_a_resumption_all_is_stored_until_it_says_that_it_caught_up() -> None:
    watch = Watch("trades")
    watch.take(subscribed(resume={"status": "recovered", "from": "1-1", "to": "1-3", "count": 2}), NOW)
    for number in (1, 2):
        watch.take(trades(number, tx=NOW - 60_000), NOW)
    watch.take({"type": "caughtUp"}, NOW)
    watch.take(trades(3, tx=NOW - 5), NOW)
    assert watch.delays.here == 5


def test_a_candle_says_nothing_of_the_venues_delay() -> None:
    watch = watched("ohlcv", candles((1, 10, 12, 9, 11, 5)), candles((1, 10, 12, 9, 12, 5)))
    assert (watch.delays.venue, watch.delays.here) == (None, 0)


def test_the_rate_is_of_the_last_ten_seconds_and_leaves_history_out() -> None:
    watch = Watch("trades")
    watch.take(subscribed(), NOW)
    watch.take(trades(*range(50)), NOW)
    watch.take(trades(50, 51, 52), NOW + 1000)
    watch.take(trades(53, 54), NOW + 2000)
    rates = [watch.rate(NOW + ms) for ms in (2000, 10_000, 11_500, 30_000)]
    assert rates == [2.5, 0.5, 0.2, 0.0]
