"""Bybit v5: USDT and USDC contracts, and inverse and spot by ``params.category``. Wire facts: docs/venues/bybit.md.

Reading order: ``symbols.py`` (instruments-info → instruments), ``streams.py`` (topics), ``parse.py`` (messages →
events), ``rest.py`` (requests).

Documentation: https://bybit-exchange.github.io/docs/v5/intro

What surprises people: one socket is one category, and no message says which; an acknowledgement does not name its
topic, so each is asked for in a frame of its own; one bad topic refuses a whole frame; a book frame with ``u == 1`` is
a snapshot whatever its type says; the pong is called ping.
"""

from collections.abc import Mapping
from typing import Any

from exchanges.breaker import Breaker
from exchanges.budget import CLIENT, HEALING, Budget, Patience
from exchanges.bybit import rest, streams, symbols
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher
from exchanges.instrument import Instrument
from exchanges.venue import Capabilities, Channel, Stream

REST_URL = "https://api.bybit.com"
WS_URL = "wss://stream.bybit.com"

CAPABILITIES = Capabilities(
    markets={"linear": "linear", "swap": "linear", "perp": "linear", "inverse": "inverse", "spot": "spot"},
    market_param="category",
    default_market="linear",
    instrument_groups=("linear", "inverse", "spot"),
    timeframes=tuple(streams.INTERVALS),
    levels=(1, 5, 10, 20, 50, 100, 200, 500, 1000),
    markets_differ={"spot": {"max_trades": 60}},
)


class Bybit:
    """Implements ``Venue``."""

    name = "bybit"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        rest_url: str | None = None,
        ws_url: str | None = None,
        spot_rest_url: str | None = None,
        spot_ws_url: str | None = None,
        parts: int = 1,
    ) -> None:
        self.breaker = Breaker(self.name, bans=rest.BANS)
        self._budget = Budget(self.name, "requests", rest.RATE.part(parts))
        self._fetcher = Fetcher(self.name, refusal=rest.refusal, budget=self._budget, breaker=self.breaker)
        bases = dict.fromkeys(("linear", "inverse"), rest_url or REST_URL)
        bases["spot"] = spot_rest_url or rest_url or REST_URL
        self._rest = {market: f"{base}/v5/market" for market, base in bases.items()}
        self._endpoints = streams.endpoints(ws_url or WS_URL, spot_ws_url or ws_url or WS_URL)

    @property
    def budgets(self) -> Mapping[str, Budget]:
        return {self._budget.pool: self._budget}

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        rows = await rest.instruments(self._fetcher, self._rest[group], category=group)
        return symbols.instruments(rows, market=group)

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        async def newest_trade() -> object:
            trades = await self.fetch_trades(instrument, since=None, until=None, limit=1, params={})
            return trades[-1].id if trades else None

        endpoint = self._endpoints[instrument.market]
        return streams.stream(endpoint, channel, instrument, params, newest_trade=newest_trade)

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
        return await rest.trades(
            self._fetcher,
            self._rest[instrument.market],
            instrument,
            since=since,
            until=until,
            limit=limit,
            patience=patience,
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
            self._rest[instrument.market],
            instrument,
            timeframe,
            since=since,
            until=until,
            limit=limit,
            patience=patience,
        )

    async def fetch_book(self, instrument: Instrument, *, levels: int, patience: Patience = CLIENT) -> BookSnapshot:
        base_url = self._rest[instrument.market]
        return await rest.book(self._fetcher, base_url, instrument, levels=levels, patience=patience)

    async def close(self) -> None:
        await self._fetcher.close()
