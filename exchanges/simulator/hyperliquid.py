"""Hyperliquid, simulated: perpetuals of two dexes and spot pairs, put together here from their parts.

Reading order: ``hyperliquid_listings.py`` (what trades), ``hyperliquid_instrument.py`` and ``hyperliquid_contexts.py``
(what is true in Hyperliquid's words), ``hyperliquid_subscription.py``, ``hyperliquid_streams.py`` and
``hyperliquid_socket.py`` (websocket), ``hyperliquid_info.py`` (REST), ``hyperliquid_limits.py``,
``hyperliquid_dialect.py`` (for tests that break it).

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api
"""

from typing import Any

from . import hyperliquid_contexts as states
from .candles import Trade
from .clock import Clock
from .faults import Faults
from .hyperliquid_dialect import DIALECT
from .hyperliquid_info import info_routes
from .hyperliquid_instrument import Instrument, trade_id
from .hyperliquid_limits import Visitor
from .hyperliquid_listings import DEXES, Listing, meta, pairs, perps, spot_meta
from .hyperliquid_socket import socket_routes
from .hyperliquid_streams import open_stream
from .hyperliquid_subscription import sensible
from .interference import Interference
from .market import Market
from .streams import Streams
from .truth import BookJournal, Print, Tape
from .venue import Markets, Venue

NAME = "hyperliquid"


def hyperliquid(clock: Clock, seed: str) -> Venue:
    """Everything under ``/hyperliquid``: ``POST /info`` and the websocket ``/ws``."""
    exchange = Exchange(seed=seed, clock=clock)
    venue = Venue(
        name=NAME,
        markets=exchange.markets,
        streams=exchange.streams,
        routes=[],
        dialect=DIALECT,
        faults=exchange.faults,
        sequence=exchange.sequence,
        books=exchange.books,
        tapes=exchange.tapes,
        forgive=exchange.forgive,
        usage=exchange.usage,
    )
    venue.routes.extend(info_routes(exchange, venue))
    venue.routes.extend(socket_routes(exchange, venue))
    return venue


class Exchange:
    """The state of the venue: its coins, its streams, its visitors by IP address, its faults."""

    def __init__(self, *, seed: str, clock: Clock) -> None:
        self.clock = clock
        self.listings: dict[str, Listing] = {each.coin: each for each in (*perps(), *pairs())}
        self.metas: dict[str, dict[str, Any]] = {dex: meta(self.listings.values(), dex) for dex in DEXES}
        self.spot_meta: dict[str, Any] = spot_meta(self.listings.values())
        specs = {coin: each.spec for coin, each in self.listings.items() if each.spec is not None}
        self.markets = Markets(specs, seed=f"{seed} {NAME}", clock=clock, opened=self._opened)
        self.faults = Faults()
        self.streams = Streams(
            lambda name, now_ms: open_stream(self, name, now_ms),
            Interference(self.faults, DIALECT, market=self.markets.find, now_ms=clock.now),
        )
        self._instruments: dict[str, Instrument] = {}
        self._visitors: dict[str, Visitor] = {}

    def visitor(self, host: str) -> Visitor:
        return self._visitors.setdefault(host, Visitor())

    def forgive(self) -> None:
        self._visitors.clear()

    def usage(self) -> dict[str, Any]:
        """What each address has used of what it is allowed."""
        return {host: visitor.usage() for host, visitor in self._visitors.items()}

    def instrument(self, coin: str) -> Instrument | None:
        """The instrument, up to date; None for one that is delisted. Names are exact: case and prefix count."""
        if self.listings[coin].spec is None:
            return None
        market = self.markets[coin]
        assert self._instruments[coin].market is market
        return self._instruments[coin]

    def exists(self, subscription: dict[str, Any]) -> bool:
        """Whether a subscription that could be read is to something there is; one to a delisted coin is."""
        if subscription.get("coin", "BTC") not in self.listings or (subscription.get("dex") or "") not in DEXES:
            return False
        return sensible(subscription.get("nSigFigs"), subscription.get("mantissa"))

    def sequence(self, coin: str) -> int:
        """The venue has no numbers for states of a book, only times."""
        return self.markets[coin].last_change.time_ms

    def books(self, coin: str) -> BookJournal:
        return self._trading(coin).stated

    def tapes(self, coin: str) -> dict[str, Tape]:
        """Trades as the channel has them; its ids have no order."""
        one = self._trading(coin)

        def state(trade: Trade) -> Print:
            price, amount = one.price(trade.price), one.amount(trade.amount)
            return Print(trade_id(coin, trade.id), price, amount, trade.taker_side, trade.time_ms)

        return {"trades": Tape(one.market.trades, state)}

    def mids(self, dex: str) -> dict[str, str]:
        """``allMids``: spot pairs are with the main dex."""
        return {each.coin: states.mid(one) for each, one in self.all() if one is not None and each.dex == dex}

    def context(self, coin: str, now_ms: int) -> dict[str, Any]:
        listing, one = self.listings[coin], self.instrument(coin)
        if one is not None and not listing.max_leverage:
            return states.spot_context(one, now_ms)
        return states.context(listing, one, now_ms)

    def contexts(self, dex: str, now_ms: int) -> list[dict[str, Any]]:
        """By the place in the universe of ``dex``."""
        return [states.context(each, one, now_ms) for each, one in self.all() if each.max_leverage and each.dex == dex]

    def spot_contexts(self, now_ms: int) -> list[dict[str, Any]]:
        """One of a pair that is gone among them, so that places do not agree with the universe's."""
        rows = [states.spot_context(one, now_ms) for each, one in self.all() if one and not each.max_leverage]
        return [rows[0], states.removed_spot_context(), *rows[1:]]

    def all(self) -> list[tuple[Listing, Instrument | None]]:
        return [(each, self.instrument(coin)) for coin, each in self.listings.items()]

    def _trading(self, coin: str) -> Instrument:
        one = self.instrument(coin)
        assert one is not None, "the control endpoint has found its market"
        return one

    def _opened(self, coin: str, market: Market) -> None:
        self._instruments[coin] = Instrument(self.listings[coin], market, skew_ms=lambda: self.faults.skew_ms)
