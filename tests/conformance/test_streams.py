"""A recorded message carries the name by which the subscription that we would send recognises its own."""

from collections.abc import Mapping
from typing import Any

import pytest

from exchanges.registry import create
from exchanges.venue import Venue
from tests.conformance.recordings import Recording, cases
from tests.conformance.venues import ADAPTERS, instrument

CAPTURED = ("cryptofeed-20210722-binanceusdm", "cryptofeed-20211012-binance")  # of streams as we ask for them
SYMBOLS = {"binance": "BTC/USDT"}  # else a perpetual
PARAMS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("binanceusdm", "ohlcv"): {"timeframe": "1m"},
    ("binance", "ohlcv"): {"timeframe": "1m"},
    ("binanceusdm", "orderbook"): {"levels": 20},
    ("binance", "orderbook"): {"levels": 20},
    ("hyperliquid", "ohlcv"): {"timeframe": "1d"},
    ("hyperliquid", "orderbook"): {"levels": 20},
}


def asked_for(recording: Recording) -> bool:
    """Documentation examples of Binance and Bybit name another stream than their data is of, or depths long gone."""
    if recording.venue in ("binanceusdm", "binance"):
        return recording.folder in CAPTURED and not recording.is_body
    return recording.venue == "hyperliquid" or recording.channel == "trades"


@pytest.fixture(scope="module")
def venues() -> Mapping[str, Venue]:
    return {adapter.exchange: create(adapter.exchange) for adapter in ADAPTERS.values()}


@pytest.mark.parametrize("recording", cases("trades", "ohlcv", "orderbook", where=asked_for))
def test_a_message_is_recognised_by_its_subscription(recording: Recording, venues: Mapping[str, Venue]) -> None:
    adapter = ADAPTERS[recording.venue]
    market = instrument(recording, SYMBOLS.get(recording.venue, "BTC/USDT:USDT"))
    params = PARAMS.get((recording.venue, recording.channel), {})

    stream = venues[adapter.exchange].stream(recording.channel, market, params)  # type: ignore[arg-type]  # one of three

    assert adapter.parse(recording)[0] == stream.name
