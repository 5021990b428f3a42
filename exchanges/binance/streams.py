"""Which route of which socket carries what, and how it is asked for. Pure.

Source: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams and
https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md
"""

from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any
from zlib import crc32

import orjson

from exchanges.binance import parse
from exchanges.events import BookSnapshot
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Endpoint, Stream

PING_INTERVAL = 9.0  # seconds, and as many for the pong: a dead connection is noticed within 20
LIFETIME = 24 * 3600.0  # seconds, then the venue cuts
ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def endpoints(ws_url: str, spot_ws_url: str) -> dict[str, Endpoint]:
    """Sockets by route. The venue takes 10 frames a second on futures; spot closed at 4 and held at 2."""

    def endpoint(url: str, parser: Any, subscribe_interval: float, site: str) -> Endpoint:
        return Endpoint(
            url=url,
            parse=parser,
            ping=None,
            ping_interval=PING_INTERVAL,
            idle_timeout=inf,
            subscribe_interval=subscribe_interval,
            site=site,
            lifetime=LIFETIME,
        )

    return {
        "public": endpoint(f"{ws_url}/public/stream", parse.futures, 0.2, "futures"),
        "market": endpoint(f"{ws_url}/market/stream", parse.futures, 0.2, "futures"),
        "spot": endpoint(f"{spot_ws_url}/stream", parse.spot, 0.5, "spot"),
    }


# The route of each futures stream. ``trade`` is undocumented; four independent measurements found it on /public.
ROUTES = {"aggTrade": "market", "trade": "public", "depth@100ms": "public"}


def stream(
    endpoints: Mapping[str, Endpoint],
    channel: Channel,
    instrument: Instrument,
    params: Mapping[str, Any],
    *,
    snapshot: Callable[[], Awaitable[BookSnapshot]],
    newest_trade: Callable[[], Awaitable[object]],
) -> Stream:
    """One book stream serves every depth; ``/stream`` is used because ``/ws`` frames do not name theirs."""
    kind = {
        "trades": params.get("name", "aggTrade"),
        "ohlcv": f"kline_{params.get('timeframe', '1m')}",
        "orderbook": "depth@100ms",
    }[channel]
    # Letters outside ASCII keep their case: the name is matched exactly.
    name = f"{instrument.venue_symbol.translate(ASCII_LOWER)}@{kind}"
    request = crc32(name.encode())  # ids must be unsigned integers
    return Stream(
        endpoint=endpoints["spot" if instrument.market == "spot" else ROUTES.get(kind, "market")],
        channel=channel,
        name=name,
        request=str(request),
        subscribe=_command("SUBSCRIBE", name, request),
        unsubscribe=_command("UNSUBSCRIBE", name, request ^ 1),  # its answer must not pass for the other's
        snapshot=snapshot if channel == "orderbook" else None,
        texts=parse.texts if channel == "orderbook" else None,
        dense=channel == "trades",
        witness=newest_trade,
    )


def _command(method: str, name: str, request: int) -> str:
    return orjson.dumps({"method": method, "params": [name], "id": request}).decode()
