"""Binance, simulated: USD-M futures and spot, each a venue of its own, put together here from their parts.

Reading order: ``binance_listings.py`` (what trades), ``binance_instrument.py`` (Binance's ids for what happens),
``binance_streams.py``, ``binance_book.py`` and ``binance_socket.py`` (websocket), ``binance_endpoints.py`` and
``binance_rest.py`` (REST), ``binance_dialect.py`` and ``binance_tapes.py`` (for tests that break and check).

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures
and https://github.com/binance/binance-spot-api-docs
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from .binance_dialect import dialect
from .binance_endpoints import futures_endpoints, spot_endpoints
from .binance_instrument import Instrument, Listing
from .binance_listings import futures_listings, spot_listings
from .binance_rest import Endpoint, Weights, rest_routes
from .binance_socket import FUTURES_MANNERS, SPOT_MANNERS, Manners, socket_routes
from .binance_streams import FUTURES_MARKET, FUTURES_PUBLIC, SPOT, Make
from .binance_tapes import tapes
from .clock import Clock
from .faults import Faults
from .interference import Interference
from .market import Market
from .streams import Stream, Streams
from .venue import Counters, Heartbeat, Markets, Venue


def futures(clock: Clock, seed: str) -> Venue:
    """USD-M futures, under ``/binance``.

    Websockets are split over two routes. A stream asked for on the other one is acknowledged and stays silent, and so
    does everything but the public class on the paths from before the split.
    """
    now = clock.now()
    listings = futures_listings(datetime.fromtimestamp(now / 1000, UTC).date())
    exchange = Exchange("binance", listings, seed=seed, clock=clock, kinds=FUTURES_PUBLIC | FUTURES_MARKET)
    return exchange.venue(
        prefix="/fapi",
        endpoints=futures_endpoints(listings, exchange.all, now, exchange.faults.staleness),
        weight_limit=2400,
        manners=FUTURES_MANNERS,
        routes={"/public": FUTURES_PUBLIC, "/market": FUTURES_MARKET, "": FUTURES_PUBLIC},
        heartbeat=Heartbeat(every=180, pong_within=600),
    )


def spot(clock: Clock, seed: str) -> Venue:
    """Spot, under ``/binance-spot``."""
    listings = spot_listings()
    exchange = Exchange("binance-spot", listings, seed=seed, clock=clock, kinds=SPOT)
    return exchange.venue(
        prefix="/api/v3",
        endpoints=spot_endpoints(listings, exchange.all, exchange.faults.staleness),
        weight_limit=6000,
        manners=SPOT_MANNERS,
        routes={"": SPOT},
        heartbeat=Heartbeat(every=20, pong_within=60),
    )


class Exchange:
    """The state of one Binance market: its instruments, its streams, its faults."""

    def __init__(
        self, name: str, listings: list[Listing], *, seed: str, clock: Clock, kinds: Mapping[str, Make]
    ) -> None:
        self._name = name
        self._clock = clock
        self._kinds = kinds
        self._instruments: dict[str, Instrument] = {}
        self.faults = Faults()
        self._listings = {each.symbol: each for each in listings if each.status == "TRADING"}
        # Stream names lower ASCII letters only; there are symbols in other scripts.
        self._lower = {"".join(c.lower() if c.isascii() else c for c in symbol): symbol for symbol in self._listings}
        specs = {symbol: each.spec for symbol, each in self._listings.items()}
        self._markets = Markets(specs, seed=f"{seed} {name}", clock=clock, opened=self._opened)
        self._dialect = dialect(self._lower, farewell=kinds is SPOT)
        self._streams = Streams(
            self._open_stream,
            Interference(self.faults, self._dialect, market=self._markets.find, now_ms=clock.now),
        )

    def venue(
        self,
        *,
        prefix: str,
        endpoints: Mapping[str, Endpoint],
        weight_limit: int,
        manners: Manners,
        routes: Mapping[str, Mapping[str, Make]],
        heartbeat: Heartbeat,
    ) -> Venue:
        """What the server serves; ``routes`` says which kinds of stream each websocket path delivers."""
        counters = Counters()
        weights = Weights(weight_limit, counters)
        venue = Venue(
            name=self._name,
            markets=self._markets,
            streams=self._streams,
            routes=rest_routes(
                prefix, endpoints, find=self.find, weights=weights, counters=counters, clock=self._clock
            ),
            dialect=self._dialect,
            faults=self.faults,
            sequence=lambda symbol: self.instrument(symbol).last_update_id,
            books=lambda symbol: self.instrument(symbol).stated,
            tapes=lambda symbol: tapes(self.instrument(symbol)),
            syncs_by_rest=True,
            forgive=weights.forgive,
            heartbeat=heartbeat,
            counters=counters,
        )
        for path, kinds in routes.items():
            venue.routes.extend(socket_routes(path, venue, self._clock, manners, _names_of(kinds)))
        return venue

    def instrument(self, symbol: str) -> Instrument:
        """The instrument, up to date."""
        market = self._markets[symbol]
        instrument = self._instruments[symbol]
        assert instrument.market is market
        return instrument

    def find(self, symbol: str) -> Instrument | None:
        """As ``instrument``; None for what is not trading."""
        return self.instrument(symbol) if symbol in self._markets else None

    def all(self) -> list[Instrument]:
        return [self.instrument(symbol) for symbol in self._markets]

    def _opened(self, symbol: str, market: Market) -> None:
        self._instruments[symbol] = Instrument(self._listings[symbol], market, skew_ms=lambda: self.faults.skew_ms)

    def _open_stream(self, name: str, now_ms: int) -> Stream | None:
        lower, _, kind = name.partition("@")
        symbol, make = self._lower.get(lower), self._kinds.get(kind)
        if symbol is None or make is None:
            return None
        return make(self.instrument(symbol), now_ms)


def _names_of(kinds: Mapping[str, Make]) -> Callable[[str], bool]:
    return lambda name: name.partition("@")[2] in kinds
