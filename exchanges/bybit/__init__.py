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
    ) -> None:
        self._fetcher = Fetcher(self.name, refusal=rest.refusal)
        bases = dict.fromkeys(("linear", "inverse"), rest_url or REST_URL)
        bases["spot"] = spot_rest_url or rest_url or REST_URL
        self._rest = {market: f"{base}/v5/market" for market, base in bases.items()}
        self._endpoints = streams.endpoints(ws_url or WS_URL, spot_ws_url or ws_url or WS_URL)

    async def fetch_instruments(self, group: str) -> list[Instrument]:
        rows = await rest.instruments(self._fetcher, self._rest[group], category=group)
        return symbols.instruments(rows, market=group)

    def stream(self, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
        return streams.stream(self._endpoints[instrument.market], channel, instrument, params)

    async def fetch_trades(
        self, instrument: Instrument, *, since: int | None, until: int | None, limit: int, params: Mapping[str, Any]
    ) -> list[Trade]:
        return await rest.trades(
            self._fetcher, self._rest[instrument.market], instrument, since=since, until=until, limit=limit
        )

    async def fetch_missed(self, instrument: Instrument, *, after: str, params: Mapping[str, Any]) -> list[Trade]:
        limit = CAPABILITIES.limit("max_trades", instrument.market)
        return await self.fetch_trades(instrument, since=None, until=None, limit=limit, params=params)

    async def fetch_candles(
        self, instrument: Instrument, timeframe: str, *, since: int | None, until: int | None, limit: int
    ) -> list[Candle]:
        return await rest.candles(
            self._fetcher, self._rest[instrument.market], instrument, timeframe, since=since, until=until, limit=limit
        )

    async def fetch_book(self, instrument: Instrument, *, levels: int) -> BookSnapshot:
        return await rest.book(self._fetcher, self._rest[instrument.market], instrument, levels=levels)

    async def close(self) -> None:
        await self._fetcher.close()
