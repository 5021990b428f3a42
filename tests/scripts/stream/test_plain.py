"""A stream's rows as lines for pipes."""

import pytest

from scripts.stream.content import Book, Candle, Note, Print, Row
from scripts.stream.plain import line
from tests.scripts.stream.frames import NOW


@pytest.mark.parametrize(
    ("row", "text"),
    [
        (
            Print(time_ms=NOW + 6, side="buy", price=68405.7, amount=0.005, cost=342.0285),
            "2026-11-27T01:28:56.006Z buy  68405.7 0.005 342.0285",
        ),
        (Note(time_ms=NOW, text="live → stale (late)", bad=True), "# 2026-11-27T01:28:56.000Z live → stale (late)"),
        (
            Candle(
                open_time_ms=NOW,
                open=1.0,
                high=2.0,
                low=0.5,
                close=1.5,
                volume=None,
                closed=True,
                complete=False,
                repaired=True,
            ),
            "2026-11-27T01:28:56.000Z 1.0 2.0 0.5 1.5 – closed repair incomplete",
        ),
        (
            Book(bids=[(100.1, 0.5), (100.0, 1.25)], asks=[(100.3, 2.0)], time_ms=NOW, received_ms=NOW + 9),
            "2026-11-27T01:28:56.000Z bid 100.1 0.5 of 1.75 ask 100.3 2.0 of 2.00 spread 0.2 mid 100.20",
        ),
        (
            Book(bids=[], asks=[(100.3, 2.0)], time_ms=None, received_ms=NOW + 9),
            "2026-11-27T01:28:56.009Z bid – – of 0 ask 100.3 2.0 of 2 spread – mid –",
        ),
    ],
)
def test_a_row_is_one_line(row: Row, text: str) -> None:
    assert line(row) == text
