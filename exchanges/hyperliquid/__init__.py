"""Hyperliquid: perpetuals of every dex, and spot by ``params.type: "spot"``. Wire facts: docs/venues/hyperliquid.md.

Reading order: ``symbols.py`` (meta → instruments), ``streams.py`` (subscriptions), ``parse.py`` (messages → events),
``rest.py`` (``POST /info``).

Documentation: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api

What surprises people: an address has ten sockets; an unknown coin closes the whole socket without a word, so only coins
of the catalogue are ever asked for; the plain book is five seconds old, and only ``fast`` (5 levels) comes twice a
second; the first trades after a subscription are a replay, unmarked; candles are never marked closed.
"""

from collections.abc import Mapping
from typing import Any

from exchanges.breaker import Breaker
from exchanges.budget import CLIENT, HEALING, Budget, Patience
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher
from exchanges.hyperliquid import rest, streams, symbols
from exchanges.instrument import Instrument
from exchanges.venue import TIMEFRAMES_MS, Capabilities, Channel, Rate, Stream

REST_URL = "https://api.hyperliquid.xyz"
WS_URL = "wss://api.hyperliquid.xyz"

CAPABILITIES = Capabilities(
    markets={"perp": "perp", "swap": "perp", "linear": "perp", "spot": "spot"},
    market_param="type",
    default_market="perp",
    instrument_groups=("perp", "spot"),
    timeframes=tuple(timeframe for timeframe in TIMEFRAMES_MS if timeframe != "6h"),
    levels=(1, 5, 10, 20),
    default_levels=5,
    max_candles=5000,
    max_sockets=10,
    share_from=5,  # a full set of new sockets fits beside dead ones that the venue still counts
    max_streams_per_socket=100,  # 1,000 over all sockets
    connects=Rate(30, 60.0),
    messages=Rate(2000, 60.0),
)


class Hyperliquid:
    """Implements ``Venue``."""

    name = "hyperliquid"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        rest_url: str | None = None,
        ws_url: str | None = None,
        spot_rest_url: str | None = None,  # one API serves both markets
        spot_ws_url: str | None = None,
        parts: int = 1,
    ) -> None:
        self.breaker = Breaker(self.name)
        self._budget = Budget(self.name, "requests", rest.RATE.part(parts))
        self._fetcher = Fetcher(self.name, refusal=rest.refusal, budget=self._budget, breaker=self.breaker)
        self._info = f"{rest_url or spot_rest_url or REST_URL}/info"
        self._endpoint = streams.endpoint(ws_url or spot_ws_url or WS_URL)

    @property
    def budgets(self) -> Mapping[str, Budget]:
        return {self._budget.pool: self._budget}

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        weight = rest.USUAL_WEIGHT
        spot_meta = await self._fetcher.post(self._info, {"type": "spotMeta"}, weight=weight, patience=HEALING)
        if group == "spot":
            return symbols.spot_instruments(spot_meta)
        metas = await self._fetcher.post(self._info, {"type": "allPerpMetas"}, weight=weight, patience=HEALING)
        return symbols.perp_instruments(metas, spot_meta)

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        async def newest_trade() -> object:
            trades = await self.fetch_trades(instrument, since=None, until=None, limit=1, params={})
            return trades[-1].id if trades else None

        return streams.stream(self._endpoint, channel, instrument, params, newest_trade=newest_trade)

    async def fetch_trades(
        self,
        instrument: Instrument,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        params: Mapping[str, Any],
        patience: Patience = CLIENT,
    ) -> list[Trade]:
        coin = instrument.venue_symbol
        return await rest.trades(
            self._fetcher, self._info, coin, since=since, until=until, limit=limit, patience=patience
        )

    async def fetch_missed(self, instrument: Instrument, *, after: str, params: Mapping[str, Any]) -> list[Trade]:
        limit = CAPABILITIES.limit("max_trades", instrument.market)
        return await self.fetch_trades(instrument, since=None, until=None, limit=limit, params=params, patience=HEALING)

    async def fetch_candles(
        self,
        instrument: Instrument,
        timeframe: str,
        *,
        since: int | None,
        until: int | None,
        limit: int,
        patience: Patience = CLIENT,
    ) -> list[Candle]:
        return await rest.candles(
            self._fetcher,
            self._info,
            instrument.venue_symbol,
            timeframe,
            since=since,
            until=until,
            limit=limit,
            patience=patience,
        )

    async def fetch_book(self, instrument: Instrument, *, levels: int, patience: Patience = CLIENT) -> BookSnapshot:
        return await rest.book(self._fetcher, self._info, instrument.venue_symbol, patience=patience)

    async def close(self) -> None:
        await self._fetcher.close()
