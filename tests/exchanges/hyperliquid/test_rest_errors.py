"""Hyperliquid's ``POST /info`` when it goes wrong: there are no error objects, only a status, a text or ``null``."""

from typing import Any

import orjson
import pytest

from exchanges.errors import BadMessage, GatewayError, UpstreamError, VenueBusy, VenueUnavailable
from exchanges.hyperliquid import Hyperliquid
from exchanges.hyperliquid.rest import refusal
from tests.exchanges.hyperliquid.test_rest import (
    EMPTY_BOOK,
    TRADE_ROW,
    Ask,
    book,
    candle_row,
    candles,
    hyperliquid,  # noqa: F401  # the fixture
    says,
    trades,
)
from tests.exchanges.web import Answer, Web

pytestmark = pytest.mark.jumping_clock
