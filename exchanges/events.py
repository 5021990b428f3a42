"""What a venue says, in our words. Frozen facts, no behaviour; built by each venue's ``parse.py``.

Times are milliseconds since the epoch, UTC, by the venue's clock. Prices are in quote units, amounts as CCXT has them
for the market (base units, or contracts where the market is contract-sized).

They are msgspec structs and not dataclasses because one is made for every message, at a quarter of the cost
(``scripts/bench_choices.py``).
"""

from collections.abc import Sequence
from math import inf
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Side = Literal["buy", "sell"]
# Of a book's levels. Decoded and checked at the border in one C call: what is no level, NaN included, gets no further.
Price = Annotated[float, Meta(gt=0, lt=1e300)]
Amount = Annotated[float, Meta(ge=0, lt=1e300)]
Level = tuple[Price, Amount]
# A venue's update number; -1 is Binance spot's for a listing without a book. Beyond 64 bits no frame could carry it.
UpdateNumber = Annotated[int, Meta(ge=-1, le=2**63 - 1)]
YEAR_10000_MS = 253_402_300_800_000  # no calendar goes further


class Trade(Struct, frozen=True, kw_only=True):
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
        if not (0.0 < self.price < inf and 0.0 < self.amount < inf and self.cost < inf):
            raise ValueError(f"not a trade: price {self.price}, amount {self.amount}, cost {self.cost}")
        _check_time(self.timestamp_ms)


class VoidTrade(Struct, frozen=True, kw_only=True):
    """An id the venue used up for something that is no public trade: nothing is missing there."""

    id: str


class Candle(Struct, frozen=True, kw_only=True):
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
        if self.closed not in (True, False, None):
            raise ValueError(f"not a candle: closed {self.closed!r}")
        _check_time(self.open_time_ms)


class BookSnapshot(Struct, frozen=True, kw_only=True):
    """A whole book: forget yours. Best levels first. ``sequence`` is the venue's, 0 where it has none.

    ``raw`` is the venue's own message or answer, for ``Stream.texts``; None where nobody will ask for them.
    """

    bids: Sequence[Level]
    asks: Sequence[Level]
    sequence: int
    timestamp_ms: int | None
    raw: Any = None

    def __post_init__(self) -> None:
        if self.timestamp_ms is not None:
            _check_time(self.timestamp_ms)


class BookDelta(Struct, frozen=True, kw_only=True):
    """Changed levels as absolute amounts, 0 removes. ``prev_sequence`` is the last sequence of the delta before.

    ``raw`` as in ``BookSnapshot``.
    """

    bids: Sequence[Level]
    asks: Sequence[Level]
    prev_sequence: int
    last_sequence: int
    timestamp_ms: int | None
    raw: Any = None

    def __post_init__(self) -> None:
        if self.timestamp_ms is not None:
            _check_time(self.timestamp_ms)


class Accepted(Struct, frozen=True, kw_only=True):
    """The venue acknowledged a subscription. On some venues that proves nothing (see their docstrings)."""


class Refused(Struct, frozen=True, kw_only=True):
    """The venue refused a subscription, in its own words."""

    reason: str


class Leaving(Struct, frozen=True, kw_only=True):
    """The venue announced that it is about to close this socket."""

    reason: str


class Unknown(Struct, frozen=True, kw_only=True):
    """A well-formed message we have no use for; ``kind`` is what to count and log it by."""

    kind: str


Event = Trade | VoidTrade | Candle | BookSnapshot | BookDelta | Accepted | Refused | Leaving | Unknown


def _check_time(timestamp_ms: object) -> None:
    """A venue's text or fraction in its place would fail where it is written for clients, far from here."""
    if not isinstance(timestamp_ms, int) or not 0 <= timestamp_ms < YEAR_10000_MS:
        raise ValueError(f"not a time: {timestamp_ms!r}")


def integer_id(number: object) -> str:
    """A trade's id where the venue counts: anything else (``null`` would become "None") is a ValueError."""
    if type(number) is not int:
        raise ValueError(f"not an id: {number!r}")
    return str(number)
