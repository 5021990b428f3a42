"""The market by itself: determinism, and that book, trades and candles are one truth."""

from itertools import pairwise
from random import Random

import pytest

from exchanges.simulator.candles import DAY, HOUR, MINUTE, MONTH, SECOND, WEEK, close_time, open_time
from exchanges.simulator.grid import Grid
from exchanges.simulator.market import Market, Spec

OPENED = 1_795_000_012_345
LIVELY = Spec(
    base="BTC", quote="USDT", price="68405.10", tick="0.10", step="0.001", amount="0.3", trades_per_second=30,
    changes_per_second=100, levels=300, warm_ms=60_000,
)  # fmt: skip
QUIET = Spec(
    base="ZEN", quote="USDT", price="14.512", tick="0.001", step="0.1", amount="45", trades_per_second=0.05,
    changes_per_second=1, levels=100, volatility=1, warm_ms=600_000,
)  # fmt: skip


def opened(spec: Spec = LIVELY, seed: str = "s") -> Market:
    market = Market(spec, seed=seed, opened_ms=OPENED)
    market.advance(OPENED)
    return market


def state(market: Market) -> tuple[object, ...]:
    return market.trades.newest(10_000), market.changes.newest(5_000), market.bids.top(), market.asks.top()


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    first, same, other = opened(), opened(), opened(seed="t")
    for market in (first, same, other):
        market.advance(OPENED + 20_000)

    assert state(first) == state(same)
    assert first.candle_rows(DAY, limit=100) == same.candle_rows(DAY, limit=100)
    assert state(first) != state(other)


@pytest.mark.parametrize("spec", [LIVELY, QUIET])
def test_it_does_not_matter_in_what_portions_time_is_advanced(spec: Spec) -> None:
    lazy, eager = opened(spec), opened(spec)
    rng = Random(5)
    now = OPENED
    while now < OPENED + 90_000:
        now = min(OPENED + 90_000, now + rng.choice((1, 7, 20, 333, 4_000)))
        eager.advance(now)
        if rng.random() < 0.05:
            eager.candle(HOUR, open_time(now, HOUR))  # being looked at changes nothing either
    lazy.advance(OPENED + 90_000)

    assert state(lazy) == state(eager)
    for timeframe in (SECOND, MINUTE, HOUR):
        assert lazy.candle_rows(timeframe, limit=20) == eager.candle_rows(timeframe, limit=20)


def test_advance_returns_what_happened_since_the_last_call() -> None:
    market = opened()
    trades, changes = market.trades.last, market.changes.last
    first, second = market.advance(OPENED + 500), market.advance(OPENED + 1_000)

    assert [trade.id for trade in first.trades + second.trades] == list(range(trades + 1, market.trades.last + 1))
    sequences = [change.sequence for change in first.changes + second.changes]
    assert sequences == list(range(changes + 1, market.changes.last + 1))
    assert market.advance(OPENED + 1_000) == ([], [])


def test_the_changes_rebuild_the_book_and_it_is_never_crossed() -> None:
    market = opened()
    sides = {"bids": dict(market.bids.top()), "asks": dict(market.asks.top())}
    for now in range(OPENED, OPENED + 30_000, 50):
        for change in market.advance(now).changes:
            sides[change.side][change.price] = change.amount
            if change.amount == 0:
                del sides[change.side][change.price]
        assert max(sides["bids"]) < min(sides["asks"])

    assert sides == {"bids": dict(market.bids.top()), "asks": dict(market.asks.top())}
    assert 0.9 * LIVELY.levels < len(sides["bids"]) < 1.1 * LIVELY.levels


def test_every_trade_takes_what_stood_at_its_price() -> None:
    market = opened()
    sides = {"bids": dict(market.bids.top()), "asks": dict(market.asks.top())}
    for now in range(OPENED, OPENED + 20_000):
        activity = market.advance(now)
        trades = list(activity.trades)
        for change in activity.changes:
            before = sides[change.side].get(change.price, 0)
            sides[change.side][change.price] = change.amount
            # A maker may act in the same millisecond: only a change of the trade's own size is the trade.
            if trades and (trades[0].price, trades[0].amount) == (change.price, before - change.amount):
                assert change.side == ("asks" if trades.pop(0).taker_side == "buy" else "bids")
        assert not trades


def test_minutes_are_the_exact_fold_of_the_ledger() -> None:
    market = opened()
    market.advance(OPENED + 200_000)
    ledger = market.trades.newest(100_000)
    rows = market.candle_rows(MINUTE, since_ms=ledger[0].time_ms // MINUTE * MINUTE, limit=100)

    assert sum(row.count for row in rows) == len(ledger)
    for row in rows:
        inside = [trade for trade in ledger if row.open_ms <= trade.time_ms < row.open_ms + MINUTE]
        prices = [trade.price for trade in inside]
        bought = [trade for trade in inside if trade.taker_side == "buy"]
        assert (row.open, row.high, row.low, row.close) == (prices[0], max(prices), min(prices), prices[-1])
        assert row.volume == sum(trade.amount for trade in inside)
        assert row.cost == sum(trade.amount * trade.price for trade in inside)
        assert (row.buy_volume, row.count) == (sum(trade.amount for trade in bought), len(inside))
        assert (row.first_id, row.last_id) == (inside[0].id, inside[-1].id)


@pytest.mark.parametrize("timeframe", [5 * MINUTE, HOUR, DAY, WEEK, MONTH])
def test_a_large_candle_is_made_of_the_minutes_and_hours_inside_it(timeframe: int) -> None:
    market = opened()
    whole = market.candle_rows(timeframe, limit=2)[-1]
    part = MINUTE if timeframe <= DAY else DAY
    parts = market.candle_rows(part, since_ms=whole.open_ms, limit=1500)
    parts = [candle for candle in parts if candle.open_ms < close_time(whole.open_ms, timeframe)]

    assert whole.high == max(candle.high for candle in parts)
    assert whole.low == min(candle.low for candle in parts)
    assert (whole.open, whole.close) == (parts[0].open, parts[-1].close)
    assert whole.volume == sum(candle.volume for candle in parts)
    assert whole.count == whole.last_id - whole.first_id + 1


def test_history_joins_the_trades_without_a_jump_and_without_a_hole() -> None:
    market = opened()
    rows = market.candle_rows(MINUTE, limit=1500)

    assert [row.open_ms for row in rows] == list(range(rows[0].open_ms, rows[-1].open_ms + 1, MINUTE))
    assert all(row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high for row in rows)
    jumps = [abs(after.open - before.close) for before, after in pairwise(rows)]
    assert max(jumps) < 30  # ticks
    assert len(market.candle_rows(DAY, limit=1500)) == 1500


def test_a_minute_without_trades_is_flat_at_the_price_before_it() -> None:
    market = opened(QUIET)
    market.advance(OPENED + HOUR)
    rows = market.candle_rows(MINUTE, limit=60)
    empty = [index for index, row in enumerate(rows) if row.count == 0 and index]

    assert empty
    for index in empty:
        row = rows[index]
        assert {row.open, row.high, row.low, row.close} == {rows[index - 1].close}
        assert (row.volume, row.first_id, row.last_id) == (0, -1, -1)


def test_weeks_open_on_monday_and_months_on_the_first() -> None:
    saturday = 1_795_258_353_000  # 2026-11-21
    assert open_time(saturday, WEEK) == 1_794_787_200_000  # Monday the 16th
    assert open_time(saturday, MONTH) == 1_793_491_200_000
    assert close_time(1_793_491_200_000, MONTH) == 1_796_083_200_000  # 1 December


def test_a_lively_symbol_is_lively_and_a_quiet_one_is_not() -> None:
    lively, quiet = opened(), opened(QUIET)
    busy, calm = lively.advance(OPENED + 60_000), quiet.advance(OPENED + 60_000)

    assert lively.trades.last >= 1_000
    assert 600 < len(busy.trades) < 3_600
    assert len(busy.changes) > 60 * 60 or lively.changes.last > 7_000
    assert len(calm.trades) < 30


def test_memory_is_bounded() -> None:
    market = opened()
    for minute in range(1, 26):
        market.advance(OPENED + minute * MINUTE)
    assert len(market.trades.newest(10**9)) < 40_000
    assert len(market.changes.newest(10**9)) < 8_192


@pytest.mark.parametrize(
    ("step", "decimals", "count", "text"),
    [
        ("0.10", None, 684051, "68405.10"),
        ("0.01", 8, 6841120, "68411.20000000"),
        ("1", None, 90000, "90000"),
        ("0.0000010", None, 11234, "0.0112340"),
        ("0.10", None, -318, "-31.80"),
        ("0.001", None, 0, "0.000"),
    ],
)
def test_a_grid_writes_decimals_as_the_venue_does(step: str, decimals: int | None, count: int, text: str) -> None:
    grid = Grid(step, decimals)
    assert grid.text(count) == text
    assert grid.count(text) == count
