"""One Binance symbol: a market with Binance's ids and aggregated trades. Both markets, USD-M futures and spot.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
and https://github.com/binance/binance-spot-api-docs
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from .candles import Trade
from .journal import Journal
from .market import Change, Market, Spec
from .truth import LEVELS, BookJournal

USD_MARGINED = 1  # `st`, on nearly every futures payload since mid-2026
PERPETUAL_DELIVERY = 4_133_404_800_000  # what a perpetual's deliveryDate says: the year 2100
NA_EVERY, INSURANCE_EVERY = 211, 977  # trades between two prints that are not book trades (futures `@trade` only)
RPI_EVERY = 37  # every n-th fill is from retail price improvement
AGGREGATION_MS = 100  # futures; spot aggregates the fills of one taker order

YEAR_2026 = 1_767_225_600_000
UPDATE_BASE, UPDATES_PER_MS = 11_000_000_000_000, 64
TRADE_BASE, AGGREGATE_BASE, SPOT_UPDATE_BASE = 8_030_000_000, 3_470_000_000, 61_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A row of exchangeInfo. ``contract_type`` is empty on spot."""

    symbol: str
    pair: str
    spec: Spec
    contract_type: str = ""
    status: str = "TRADING"
    delivery_ms: int = PERPETUAL_DELIVERY
    onboard_ms: int = 1_567_965_300_000


class Aggregate(NamedTuple):
    """Fills of one price and taker side, close together in time; ``plain_amount`` is the amount without RPI fills."""

    id: int
    price: int
    amount: int
    plain_amount: int
    first: int  # ledger ids of the first and last trade
    last: int
    time_ms: int  # of the first fill
    taker_side: str


class Aggregates:
    """The aggregated trades of a symbol, numbered densely. Hears every trade: it does not depend on who asks when."""

    def __init__(self, window_ms: int) -> None:
        self.closed: Journal[Aggregate] = Journal(20_000)
        self._window_ms = window_ms
        self._open: Aggregate | None = None

    def hear(self, trade: Trade) -> None:
        plain = 0 if trade.id % RPI_EVERY == 0 else trade.amount
        held = self._open
        if held is not None:
            same_window = held.time_ms // self._window_ms == trade.time_ms // self._window_ms
            if same_window and (held.price, held.taker_side) == (trade.price, trade.taker_side):
                self._open = held._replace(
                    amount=held.amount + trade.amount, plain_amount=held.plain_amount + plain, last=trade.id
                )
                return
            self.closed.append(held)
        number = self.closed.last + 1
        self._open = Aggregate(
            number, trade.price, trade.amount, plain, trade.id, trade.id, trade.time_ms, trade.taker_side
        )

    def settle(self, now_ms: int) -> None:
        """Close the open aggregate if its window is over at ``now_ms``, which no trade can precede any more."""
        held = self._open
        if held is not None and held.time_ms // self._window_ms < (now_ms + 1) // self._window_ms:
            self.closed.append(held)
            self._open = None


class Instrument:
    """A listing, its market, how Binance numbers what happens there, and what it stated of the book."""

    def __init__(self, listing: Listing, market: Market, *, skew_ms: Callable[[], int] = lambda: 0) -> None:
        self.listing = listing
        self.symbol = listing.symbol
        self.market = market
        self.futures = bool(listing.contract_type)
        self.aggregates = Aggregates(AGGREGATION_MS if self.futures else 1)
        market.heard.append(self.aggregates.hear)
        self.price: Callable[[int], str] = market.prices.text
        self.amount: Callable[[int], str] = market.amounts.text
        self.cost: Callable[[int], str] = market.prices.times(market.amounts, None if self.futures else 8).text

        self.stated = BookJournal(market.prices, market.amounts, skew_ms)

    def note(self, stream: str, now_ms: int) -> None:
        """The book as it is now has been stated: futures tell the time of its last change, spot that of the event."""
        if self.stated.recording:
            market = self.market
            at = market.last_change.time_ms if self.futures else now_ms
            self.stated.note(stream, self.last_update_id, at, market.bids.top(LEVELS), market.asks.top(LEVELS))

    def update_id(self, change: Change) -> int:
        """Futures ids are shared by all symbols of the venue, so they follow time and have holes; spot's are dense."""
        if self.futures:
            return UPDATE_BASE + (change.time_ms - YEAR_2026) * UPDATES_PER_MS + change.nth
        return SPOT_UPDATE_BASE + change.sequence

    @property
    def last_update_id(self) -> int:
        return self.update_id(self.market.last_change)

    def trade_id(self, ledger_id: int) -> int:
        """Futures count the prints that are not book trades as well; they lie in the holes that this leaves."""
        if not self.futures:
            return TRADE_BASE + ledger_id
        return TRADE_BASE + ledger_id + (ledger_id - 1) // NA_EVERY + (ledger_id - 1) // INSURANCE_EVERY

    def closed_aggregates(self) -> Journal[Aggregate]:
        """Everything aggregated up to the market's time."""
        self.aggregates.settle(self.market.time_ms)
        return self.aggregates.closed


def levels(instrument: Instrument, side: list[tuple[int, int]]) -> list[list[str]]:
    """``[[price, quantity], ...]`` in the order given."""
    price, amount = instrument.price, instrument.amount
    return [[price(level), amount(total)] for level, total in side]
