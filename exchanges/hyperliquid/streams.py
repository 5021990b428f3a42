"""Subscriptions on Hyperliquid's one kind of socket. Pure.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from exchanges.hyperliquid import parse
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Endpoint, Stream

PING = '{"method":"ping"}'
PING_INTERVAL = 8.0  # seconds; the venue closes after 60 without a message of its own, and the pong is one
IDLE_TIMEOUT = 17.0  # two pongs that did not come; noticed within 20
FAST_LEVELS = 5


def endpoint(ws_url: str) -> Endpoint:
    return Endpoint(
        url=f"{ws_url}/ws",
        parse=parse.parse,
        ping=PING,
        ping_interval=PING_INTERVAL,
        idle_timeout=IDLE_TIMEOUT,
        closes_on_refusal=True,
    )


def stream(
    endpoint: Endpoint,
    channel: Channel,
    instrument: Instrument,
    params: Mapping[str, Any],
    *,
    newest_trade: Callable[[], Awaitable[object]],
) -> Stream:
    """Up to 5 levels come from the fast book, more from the plain one. Books are sent whether they changed or not."""
    subscription: dict[str, Any] = {"type": channel, "coin": instrument.venue_symbol}
    if channel == "ohlcv":
        subscription |= {"type": "candle", "interval": params["timeframe"]}
    elif channel == "orderbook":
        subscription |= {"type": "l2Book", "fast": params["levels"] <= FAST_LEVELS}
    name = parse.stream_name(subscription)
    return Stream(
        endpoint=endpoint,
        channel=channel,
        name=name,
        request=name,
        subscribe=_command("subscribe", subscription),
        unsubscribe=_command("unsubscribe", subscription),
        texts=parse.texts if channel == "orderbook" else None,
        replays=channel == "trades",
        steady=channel == "orderbook",
        marks_closed=False,
        witness=None if channel == "orderbook" else newest_trade,
    )


def _command(method: str, subscription: Mapping[str, Any]) -> str:
    return orjson.dumps({"method": method, "subscription": subscription}).decode()
