"""Instruments, their names, and the catalogue that turns what a client typed into one of them. Pure.

A client may write the unified symbol, ``BASE/QUOTE`` where that is unambiguous, the venue's native id, or our
``market_id``. Only what the catalogue holds ever goes further: client text never reaches a URL, a key or a log.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from exchanges.errors import BadSymbol

Kind = Literal["spot", "perp", "future", "option"]
MAX_SUGGESTIONS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One market of one venue."""

    exchange: str
    market: str  # the venue's product line, as in ``Capabilities.markets``: "linear", "spot", "inverse"
    symbol: str  # unified: BTC/USDT, BTC/USDT:USDT, BTC/USDT:USDT-261225
    venue_symbol: str  # what the venue calls it on the wire
    base: str
    quote: str
    settle: str | None  # None for spot
    kind: Kind
    active: bool
    tick_size: float | None  # None where the venue has no fixed tick
    min_order_size: float | None
    contract_size: float | None  # None for spot
    info: Mapping[str, Any]

    @property
    def market_id(self) -> str:
        return f"{self.exchange}:{self.kind}:{self.venue_symbol}"

    @property
    def pair(self) -> str:
        return f"{self.base}/{self.quote}"


def unified_symbol(base: str, quote: str, *, settle: str | None = None, expiry: str | None = None) -> str:
    """CCXT's unified symbol; ``expiry`` is ``YYMMDD`` for dated futures only."""
    symbol = f"{base}/{quote}"
    if settle is not None:
        symbol += f":{settle}"
    return f"{symbol}-{expiry}" if expiry else symbol


class Catalogue:
    """All instruments of one venue, by every name they answer to. Never changes: a refresh builds a new one."""

    def __init__(self, instruments: Iterable[Instrument], *, default_market: str) -> None:
        self.by_symbol: Mapping[str, Instrument] = MappingProxyType({i.symbol: i for i in instruments})
        self._default_market = default_market
        self._by_name: dict[str, list[Instrument]] = defaultdict(list)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        for instrument in self.by_symbol.values():
            # BASE/QUOTE never means a dated future: with the perpetual gone it would silently become one.
            pair = () if instrument.kind in ("future", "option") else (instrument.pair,)
            names = {instrument.symbol, instrument.venue_symbol, instrument.market_id, *pair}
            for name in names:
                self._by_name[name].append(instrument)
            self._by_base[instrument.base.casefold()].append(instrument.symbol)

    def __len__(self) -> int:
        return len(self.by_symbol)

    def resolve(self, text: str, *, market: str | None = None) -> Instrument:
        """The active instrument that ``text`` names, in ``market`` where one is given.

        Raises:
            BadSymbol: nothing by that name, or several; ``details`` has ``suggestions``.
        """
        named = [i for i in self._by_name.get(text, ()) if market is None or i.market == market]
        found = [i for i in named if i.active]
        if len(found) > 1:
            found = [i for i in found if i.market == self._default_market] or found
        if len(found) == 1:
            return found[0]
        if found:
            names = sorted(i.symbol for i in found)
            raise BadSymbol("the symbol names several markets", field="symbol", suggestions=names[:MAX_SUGGESTIONS])
        if named:
            raise BadSymbol(f"{named[0].symbol} is not trading", field="symbol", suggestions=[])
        raise BadSymbol("no such symbol", field="symbol", suggestions=self._suggest(text, market))

    def _suggest(self, text: str, market: str | None) -> list[str]:
        """Symbols that share the base asset with what was typed, letter case aside."""
        folded = text.casefold()
        base = folded.split("/")[0].split("-")[0]
        if base not in self._by_base:  # a native id such as "btcusdt": the longest base it starts with
            base = max((b for b in self._by_base if folded.startswith(b)), key=len, default="")
        symbols = (self.by_symbol[s] for s in self._by_base.get(base, ()))
        fitting = [i.symbol for i in symbols if i.active and (market is None or i.market == market)]
        return sorted(fitting, key=lambda s: (len(s), s))[:MAX_SUGGESTIONS]
