"""Subscriptions on Hyperliquid's one kind of socket. Pure.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Mapping
from typing import Any

import orjson

from exchanges.hyperliquid import parse
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Endpoint, Stream

PING = '{"method":"ping"}'
PING_INTERVAL = 10.0  # seconds; the venue closes after 60 without a message of its own, and the pong is one
IDLE_TIMEOUT = 20.0
SUBSCRIBE_INTERVAL = 0.035  # 2,000 messages a minute over all sockets
FAST_LEVELS = 5


def endpoint(ws_url: str) -> Endpoint:
    return Endpoint(
        url=f"{ws_url}/ws",
        parse=parse.parse,
        ping=PING,
        ping_interval=PING_INTERVAL,
        idle_timeout=IDLE_TIMEOUT,
        subscribe_interval=SUBSCRIBE_INTERVAL,
        closes_on_refusal=True,
    )


def stream(endpoint: Endpoint, channel: Channel, instrument: Instrument, params: Mapping[str, Any]) -> Stream:
    """Up to 5 levels come from the fast book, more from the plain one."""
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
        replays=channel == "trades",
        steady=channel == "orderbook",
        marks_closed=False,
    )


def _command(method: str, subscription: Mapping[str, Any]) -> str:
    return orjson.dumps({"method": method, "subscription": subscription}).decode()
