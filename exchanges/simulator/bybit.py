"""Bybit v5, simulated: linear, inverse and spot as one venue, put together here from its parts.

Reading order: ``bybit_listings.py`` (what trades), ``bybit_instrument.py`` (Bybit's ids for what happens),
``bybit_book.py`` and ``bybit_streams.py`` (topics), ``bybit_socket.py`` (sessions), ``bybit_endpoints.py`` and
``bybit_rest.py`` (REST), ``bybit_dialect.py`` (for tests that break it).

In the control endpoint spot's symbols and topics begin with ``spot/``: BTCUSDT is a contract and a spot symbol.

Source: https://bybit-exchange.github.io/docs/v5/intro
"""

from .bybit_dialect import DIALECT
from .bybit_endpoints import endpoints
from .bybit_instrument import Instrument, seq
from .bybit_listings import key_of, listings
from .bybit_rest import rest_routes
from .bybit_socket import socket_routes
from .bybit_streams import FUTURES_TOPICS, TOPICS
from .clock import Clock
from .faults import Faults
from .interference import Interference
from .market import Market
from .streams import Stream, Streams
from .venue import Counters, Markets, Venue


def bybit(clock: Clock, seed: str) -> Venue:
    """The venue, under ``/bybit``."""
    return Exchange(clock, seed).venue()


class Exchange:
    """The state of Bybit: its instruments by key, its streams, its faults."""

    def __init__(self, clock: Clock, seed: str) -> None:
        self._clock = clock
        self._all = listings(clock.now())
        self._listings = {each.key: each for each in self._all if each.status == "Trading"}
        self._instruments: dict[str, Instrument] = {}
        self._faults = Faults()
        self._counters = Counters()
        specs = {key: each.spec for key, each in self._listings.items()}
        self._markets = Markets(specs, seed=f"{seed} bybit", clock=clock, opened=self._opened)
        self._streams = Streams(
            self._open_stream,
            Interference(self._faults, DIALECT, market=self._markets.find, now_ms=clock.now),
        )

    def venue(self) -> Venue:
        venue = Venue(
            name="bybit",
            markets=self._markets,
            streams=self._streams,
            routes=rest_routes(
                endpoints(self._all, self._category, self._listened),
                find=self._find,
                counters=self._counters,
                clock=self._clock,
            ),
            dialect=DIALECT,
            faults=self._faults,
            sequence=lambda key: seq(self._instrument(key).market.last_change.time_ms),
            books=lambda key: self._instrument(key).stated,
            tapes=lambda key: self._instrument(key).tapes(),
            reset=lambda key: self._instrument(key).restart(),
            counters=self._counters,
        )
        venue.routes.extend(socket_routes(venue, self._clock, self._serves))
        return venue

    def _instrument(self, key: str) -> Instrument:
        """The instrument, up to date."""
        market = self._markets[key]
        instrument = self._instruments[key]
        assert instrument.market is market
        return instrument

    def _find(self, category: str, symbol: str) -> Instrument | None:
        listing = self._listings.get(key_of(category, symbol))
        return self._instrument(listing.key) if listing is not None and listing.category == category else None

    def _category(self, category: str) -> list[Instrument]:
        return [self._instrument(key) for key, each in self._listings.items() if each.category == category]

    def _listened(self, one: Instrument, kind: str) -> bool:
        return self._counters.subscriptions[key_of(one.category, f"{kind}.{one.symbol}")] > 0

    def _serves(self, category: str, topic: str) -> bool:
        kind, _, symbol = topic.rpartition(".")
        listing = self._listings.get(key_of(category, symbol))
        if listing is None or listing.category != category:
            return False
        return kind in TOPICS or (kind in FUTURES_TOPICS and category != "spot")

    def _opened(self, key: str, market: Market) -> None:
        self._instruments[key] = Instrument(self._listings[key], market, skew_ms=lambda: self._faults.skew_ms)

    def _open_stream(self, name: str, now_ms: int) -> Stream | None:
        """``name`` is a topic that is served, on spot with "spot/" before it."""
        path, _, symbol = name.rpartition(".")
        kind = path.removeprefix("spot/")
        key = symbol if kind == path else f"spot/{symbol}"
        make = TOPICS.get(kind) or FUTURES_TOPICS[kind]
        return make(self._instrument(key), now_ms)
