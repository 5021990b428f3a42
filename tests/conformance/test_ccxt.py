"""Recorded trades and candles come out of our public shapes as ccxt gives them, to the last bit of every number."""

import pytest

from tests.conformance.recordings import Recording, cases, known_to_ccxt
from tests.conformance.shapes import candle_shapes, compared, trade_shapes
from tests.conformance.venues import events


@pytest.mark.parametrize("recording", cases("trades", where=known_to_ccxt))
def test_trades_equal_those_of_ccxt(recording: Recording) -> None:
    assert recording.peer is not None

    ours = trade_shapes(events(recording), recording.peer["symbol"])

    assert ours == [compared(row) for row in recording.peer["expected"]]


@pytest.mark.parametrize("recording", cases("ohlcv", where=known_to_ccxt))
def test_candles_equal_those_of_ccxt(recording: Recording) -> None:
    assert recording.peer is not None

    assert candle_shapes(events(recording)) == recording.peer["expected"]
