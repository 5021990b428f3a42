"""Name → venue: the only file that names them all."""

from collections.abc import Callable, Mapping
from typing import Any

from exchanges.binance import Binance
from exchanges.bybit import Bybit
from exchanges.hyperliquid import Hyperliquid
from exchanges.venue import Venue

VENUES: Mapping[str, Callable[..., Any]] = {"binance": Binance, "bybit": Bybit, "hyperliquid": Hyperliquid}


def create(name: str, *, parts: int = 1, **urls: str | None) -> Venue:
    """The venue called ``name``; ``urls`` override its own (``rest_url``, ``ws_url``, ``spot_rest_url``, …).

    ``parts``: processes that share what the venue allows our address.
    """
    venue: Venue = VENUES[name](parts=parts, **urls)
    return venue
