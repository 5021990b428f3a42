"""Binance: USD-M futures, and spot by ``params.type: "spot"``. Wire facts: docs/venues/binance.md.

Reading order: ``symbols.py`` (exchangeInfo → instruments), ``streams.py`` (which route carries what), ``parse.py``
(messages → events), ``rest.py`` (requests).

Documentation: https://developers.binance.com/docs/derivatives/usds-margined-futures and
https://github.com/binance/binance-spot-api-docs

What surprises people: futures sockets have two routes, and a stream asked for on the wrong one is acknowledged and
silent for ever; every subscription is acknowledged, sensible or not; futures update ids are shared by all symbols, so
only ``pu`` proves that a book is continuous; the ``trade`` stream is undocumented, so ``aggTrade`` is the default.
"""

from collections.abc import Mapping
from typing import Any

from exchanges.binance import rest, streams, symbols
from exchanges.breaker import Breaker
from exchanges.budget import CLIENT, HEALING, WITNESS, Budget, Patience
from exchanges.events import BookSnapshot, Candle, Trade
from exchanges.fetch import Fetcher
from exchanges.instrument import Instrument
from exchanges.venue import TIMEFRAMES_MS, Capabilities, Channel, Stream

REST_URL = "https://fapi.binance.com"
WS_URL = "wss://fstream.binance.com"
SPOT_REST_URL = "https://api.binance.com"
SPOT_WS_URL = "wss://stream.binance.com:9443"

CAPABILITIES = Capabilities(
    markets={"spot": "spot", "swap": "linear", "perp": "linear", "future": "linear", "linear": "linear"},
    market_param="type",
    default_market="linear",
    instrument_groups=("linear", "spot"),
    timeframes=tuple(TIMEFRAMES_MS),
    levels=(1, 5, 10, 20, 50, 100, 200, 500, 1000),
    trade_streams=("aggTrade", "trade"),
    max_candles=1500,
    markets_differ={"spot": {"max_candles": 1000}},
    trades_backfill="by-id",
)


class Binance:
    """Implements ``Venue``."""

    name = "binance"
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
        self._rest = {
            "linear": rest.futures((rest_url or REST_URL) + "/fapi/v1"),
            "spot": rest.spot((spot_rest_url or SPOT_REST_URL) + "/api/v3"),
        }
        pools = {"linear": "futures requests", "spot": "spot requests"}
        self._budgets = {m: Budget(self.name, pools[m], product.rate.part(parts)) for m, product in self._rest.items()}
        self._fetchers = {
            market: Fetcher(self.name, refusal=rest.refusal, budget=budget, breaker=self.breaker)
            for market, budget in self._budgets.items()
        }
        self._endpoints = streams.endpoints(ws_url or WS_URL, spot_ws_url or SPOT_WS_URL)

    @property
    def budgets(self) -> Mapping[str, Budget]:
        return {budget.pool: budget for budget in self._budgets.values()}

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        url, weight = f"{self._rest[group].base_url}/exchangeInfo", self._rest[group].listing_weight
        answer = await self._fetchers[group].get(url, weight=weight, patience=HEALING)
        return symbols.instruments(answer, market=group)

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        async def snapshot() -> BookSnapshot:
            return await self.fetch_book(instrument, levels=1000, patience=HEALING)

        cheapest = {"name": "aggTrade" if instrument.market == "spot" else "trade"}  # by request weight

        async def newest_trade() -> object:
            trades = await self.fetch_trades(
                instrument, since=None, until=None, limit=1, params=cheapest, patience=WITNESS
            )
            return trades[-1].id if trades else None

        return streams.stream(
            self._endpoints, channel, instrument, params, snapshot=snapshot, newest_trade=newest_trade
        )

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
        aggregated = params.get("name", "aggTrade") == "aggTrade"
        request = rest.agg_trades if aggregated else rest.recent_trades
        fetcher, product = self._fetchers[instrument.market], self._rest[instrument.market]
        return await request(
            fetcher, product, instrument.venue_symbol, since=since, until=until, limit=limit, patience=patience
        )

    async def fetch_missed(self, instrument: Instrument, *, after: str, params: Mapping[str, Any]) -> list[Trade]:
        if params.get("name", "aggTrade") == "aggTrade":
            fetcher, product = self._fetchers[instrument.market], self._rest[instrument.market]
            return await rest.agg_trades_after(fetcher, product, instrument.venue_symbol, after=after)
        return await self.fetch_trades(
            instrument, since=None, until=None, limit=rest.MAX_TRADES, params=params, patience=HEALING
        )

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
            self._fetchers[instrument.market],
            self._rest[instrument.market],
            instrument.venue_symbol,
            timeframe,
            since=since,
            until=until,
            limit=limit,
            patience=patience,
        )

    async def fetch_book(self, instrument: Instrument, *, levels: int, patience: Patience = CLIENT) -> BookSnapshot:
        fetcher, product = self._fetchers[instrument.market], self._rest[instrument.market]
        return await rest.book(fetcher, product, instrument.venue_symbol, levels=levels, patience=patience)

    async def close(self) -> None:
        for fetcher in self._fetchers.values():
            await fetcher.close()
