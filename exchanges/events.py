"""What a venue says, in our words. Frozen facts, no behaviour; built by each venue's ``parse.py``.

Times are milliseconds since the epoch, UTC, by the venue's clock. Prices are in quote units, amounts as CCXT has them
for the market (base units, or contracts where the market is contract-sized).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

Side = Literal["buy", "sell"]
Level = tuple[str, str]  # (price, amount), the venue's own decimal text


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One public print. ``taker_side`` is the aggressor's; ``cost`` follows CCXT's rule for the market."""

    id: str
    timestamp_ms: int
    taker_side: Side
    price: float
    amount: float
    cost: float
    raw: Any  # the venue's own row, handed to clients as ``info``

    def __post_init__(self) -> None:
        # Text such as "NaN" or "-1" converts to a float; no client ever sees it.
        if not (0.0 < self.price < inf and 0.0 < self.amount < inf):
            raise ValueError(f"not a trade: price {self.price}, amount {self.amount}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """One interval's prices so far. ``closed``: the venue said it will not change; None: the venue never says."""

    open_time_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float | None
    closed: bool | None

    def __post_init__(self) -> None:
        prices = (self.open, self.high, self.low, self.close)
        if not all(0.0 < price < inf for price in prices) or not 0.0 <= (self.volume or 0.0) < inf:
            raise ValueError(f"not a candle: prices {prices}, volume {self.volume}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BookSnapshot:
    """A whole book: forget yours. Best levels first. ``sequence`` is the venue's, 0 where it has none."""

    bids: Sequence[Level]
    asks: Sequence[Level]
    sequence: int
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BookDelta:
    """Changed levels as absolute amounts, 0 removes. ``prev_sequence`` is the last sequence of the delta before."""

    bids: Sequence[Level]
    asks: Sequence[Level]
    prev_sequence: int
    last_sequence: int
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The venue acknowledged a subscription. On some venues that proves nothing (see their docstrings)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The venue refused a subscription, in its own words."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A well-formed message we have no use for; ``kind`` is what to count and log it by."""

    kind: str


Event = Trade | Candle | BookSnapshot | BookDelta | Accepted | Refused | Unknown
