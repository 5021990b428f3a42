"""What a terminal of a given size shows."""

from typing import Any

import pytest
from rich.console import Console

from scripts.stream import chart, words
from scripts.stream.content import Candle
from scripts.stream.screen import bar, screen
from scripts.stream.watch import Watch
from tests.scripts.stream.frames import NOW, book, candles, data, gap, status, subscribed, trade, trades


def shown(
    channel: str, *frames: dict[str, Any], width: int = 90, height: int = 24, later: int = 0, direct: bool = False
) -> list[str]:
    """The lines of a picture, ``later`` ms after the last frame came."""
    watch = Watch(channel)
    for frame in frames:
        watch.take(frame, NOW)
    console = Console(record=True, width=width, height=height, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        console.print(screen(watch, NOW + later, width=width, height=height, direct=direct))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_the_tape_says_the_side_in_words_and_has_the_newest_first() -> None:
    sold = data("trades", [trade(2, side="sell", price=99.5, amount=0.25)])
    lines = shown("trades", subscribed(), trades(1), gap(missing=3), sold)
    assert lines[5:] == [
        "time (UTC)    side             price          amount              cost",
        "01:28:56.002  ▼ sell            99.5            0.25             24.88",
        "01:28:56.000  ── gap: the gateway lost the exchange; 3 missing ──",
        "01:28:56.001  ▲ buy            100.0            1.00            100.00",
        "01:28:56.000  ── connecting → live ──",
    ]


def test_the_head_has_topic_state_price_change_rate_and_delays() -> None:
    live = data("trades", [trade(2, price=101.5)], ex=NOW - 40, tx=NOW - 2)
    lines = shown("trades", subscribed(), trades(1), live)
    assert lines[:4] == [
        "trades  binance BTC/USDT:USDT  live",
        "101.5  ▲ +1.5 (+1.500 %) since 01:28:56",
        "1.0/s  2 updates  0 gaps  exchange → gateway 38 ms  gateway → here 2 ms",
        "01:28:56 connecting → live",
    ]


def test_a_stream_that_is_away_says_when_the_next_try_is() -> None:
    lines = shown("trades", subscribed(), status("reconnecting", reason="reset", retry=4200), later=2000)
    assert lines[0] == "trades  binance BTC/USDT:USDT  reconnecting, next try in 2.2 s"
    assert lines[5:] == [
        "time (UTC)    side             price          amount              cost",
        "01:28:56.000  ── live → reconnecting (reset) ──",
        "01:28:56.000  ── connecting → live ──",
    ]


def test_straight_from_the_venue_there_is_one_delay() -> None:
    lines = shown("trades", subscribed(), trades(1), trades(2, ex=NOW - 7, tx=NOW), direct=True)
    assert lines[0] == "trades  binance BTC/USDT:USDT  direct  live"
    assert lines[2].endswith("0 gaps  exchange → here 7 ms")


def test_the_ladder_has_asks_above_bids_sums_bars_spread_and_age() -> None:
    frame = book([[100.0, 1.0], [99.5, 3.0]], [[100.5, 2.0], [101.0, 0.5]])
    lines = shown("orderbook", subscribed(), frame, width=64, later=1500)
    assert lines[5:] == [
        "side           price          amount      cumulative",
        "ask            101.0             0.5             2.5  █▋",
        "ask            100.5             2.0             2.0  ██████▋",
        "mid           100.25      spread 0.5        49.88 bp  age 1.5 s",
        "bid            100.0             1.0             1.0  ███▍",
        "bid             99.5             3.0             4.0  ██████████",
    ]


def test_a_ladder_shows_as_many_levels_as_fit_the_best_ones() -> None:
    bids, asks = [[100.0 - n, 1.0] for n in range(50)], [[101.0 + n, 1.0] for n in range(50)]
    lines = shown("orderbook", subscribed(), book(bids, asks), height=16)
    assert [line.split()[1] for line in lines if line.startswith("ask")] == ["104", "103", "102", "101"]
    assert [line.split()[1] for line in lines if line.startswith("bid")] == ["100", "99", "98", "97"]


@pytest.mark.parametrize(("share", "text"), [(0.0, ""), (1e-9, "▏"), (0.5, "██"), (0.53, "██▏"), (1.0, "████")])
def test_a_bar_is_exact_to_an_eighth_of_a_column(share: float, text: str) -> None:
    assert bar(share, 4) == text


def candle(minute: int, *prices: float, volume: float = 1.0, **more: Any) -> Candle:
    opened, high, low, close = prices
    facts = {"closed": True, "complete": True, "repaired": False, **more}
    return Candle(open_time_ms=minute * 60_000, open=opened, high=high, low=low, close=close, volume=volume, **facts)


def test_a_chart_has_wicks_bodies_an_axis_marks_volume_and_times() -> None:
    series = [
        candle(0, 10, 19, 10, 16, volume=16.0),
        candle(1, 16, 16, 10, 12, volume=8.0, repaired=True),
        candle(2, 12, 14, 11, 13, volume=1.0, complete=False),
        candle(3, 13, 17, 13, 17, volume=0.0, closed=False),
    ]
    lines = [str(line).rstrip() for line in chart.draw(series, 40, 10)]
    assert lines == [
        "│       ┤ 19",
        "▄ ▄   █ ◄ 17",
        "█ ▒ ╷ █ │",
        "█ ▒ █ ▀ │",
        "█ │ ╵   ┤ 10",
        "  r ! •",
        "█       ┤ 16",
        "█ ▄     │",
        "█ █ ▂   │",
        "00:00",
    ]


def test_a_chart_has_only_as_many_candles_as_the_terminal_is_wide() -> None:
    series = [*(candle(minute, 10, 18, 10, 16) for minute in range(299)), candle(299, 10, 18, 10, 17)]
    lines = [str(line) for line in chart.draw(series, 60, 14)]
    assert len(lines) == 14
    assert max(map(len, lines)) <= 60
    assert sum("◄ 17" in line for line in lines) == 1  # the newest ones
    assert lines[9 + 1].count("█") == (60 - 4) // 2


def test_a_market_that_does_not_move_is_drawn_too() -> None:
    lines = [str(line) for line in chart.draw([candle(0, 5, 5, 5, 5, volume=0.0)], 40, 10)]
    assert any("◄ 5" in line for line in lines)


def test_the_newest_candle_says_that_it_is_forming_and_then_that_it_is_closed() -> None:
    forming, closed = candles((1, 10, 12, 9, 11, 5)), candles((1, 10, 12, 9, 11, 6), closed=True)
    assert "1970-01-01T00:01Z  O 10  H 12  L 9  C 11  V 5  forming" in shown("ohlcv", subscribed(), forming)
    assert "1970-01-01T00:01Z  O 10  H 12  L 9  C 11  V 6  closed" in shown("ohlcv", subscribed(), forming, closed)


@pytest.mark.parametrize("channel", ["trades", "orderbook", "ohlcv"])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (100, 18)])
def test_a_picture_fits_the_terminal(channel: str, width: int, height: int) -> None:
    many = {
        "trades": trades(*range(300)),
        "orderbook": book([[68400.5 - n, 1.0] for n in range(99)], [[68401.5 + n, 1.0] for n in range(99)]),
        "ohlcv": candles(*((n, 68410, 68418, 68410, 68416, 5) for n in range(300))),
    }
    lines = shown(channel, subscribed(), many[channel], width=width, height=height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert len(lines) >= height - 2  # and uses it


@pytest.mark.parametrize(("numbers", "places"), [([], 0), ([5.0], 0), ([68405.7, 1.25], 2), ([1e-7], 7), ([1e-30], 12)])
def test_numbers_in_a_column_have_the_decimals_of_the_finest(numbers: list[float], places: int) -> None:
    assert words.decimals(numbers) == places
