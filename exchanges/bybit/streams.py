"""Topics of Bybit's public sockets. Pure.

Source: https://bybit-exchange.github.io/docs/v5/ws/connect
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from exchanges.bybit import parse
from exchanges.instrument import Instrument
from exchanges.venue import Channel, Endpoint, Stream

PING = '{"req_id":"ping","op":"ping"}'
PING_INTERVAL = 8.0  # seconds; the venue asks for 20 at the most, and silence is noticed sooner
IDLE_TIMEOUT = 17.0  # two pongs that did not come; noticed within 20
SUBSCRIBE_INTERVAL = 0.05
BOOK_DEPTHS = (200, 1000)  # 50 comes every 20 ms; 200 every 100 ms serves five times the depth

INTERVALS = {
    "1m": "1",
    "3m": "3",
    "5m": "5",
    "15m": "15",
    "30m": "30",
    "1h": "60",
    "2h": "120",
    "4h": "240",
    "6h": "360",
    "12h": "720",
    "1d": "D",
    "1w": "W",
    "1M": "M",
}


def endpoints(ws_url: str, spot_ws_url: str) -> dict[str, Endpoint]:
    """One socket address for each category."""
    bases = {"linear": ws_url, "inverse": ws_url, "spot": spot_ws_url}
    return {
        category: Endpoint(
            url=f"{base}/v5/public/{category}",
            parse=parse.inverse if category == "inverse" else parse.linear,
            ping=PING,
            ping_interval=PING_INTERVAL,
            idle_timeout=IDLE_TIMEOUT,
            subscribe_interval=SUBSCRIBE_INTERVAL,
            site="public" if base == ws_url else category,  # handshakes are counted by host
        )
        for category, base in bases.items()
    }


def stream(
    endpoint: Endpoint,
    channel: Channel,
    instrument: Instrument,
    params: Mapping[str, Any],
    *,
    newest_trade: Callable[[], Awaitable[object]],
) -> Stream:
    """``req_id`` is the topic itself: an acknowledgement names nothing else."""
    if channel == "trades":
        kind = "publicTrade"
    elif channel == "ohlcv":
        kind = f"kline.{INTERVALS[params['timeframe']]}"
    else:
        kind = f"orderbook.{next(depth for depth in BOOK_DEPTHS if depth >= params['levels'])}"
    topic = f"{kind}.{instrument.venue_symbol}"
    return Stream(
        endpoint=endpoint,
        channel=channel,
        name=topic,
        request=topic,
        subscribe=_command("subscribe", topic, request=topic),
        unsubscribe=_command("unsubscribe", topic, request=f"-{topic}"),
        witness=newest_trade,
        texts=parse.texts if channel == "orderbook" else None,
    )


def _command(op: str, topic: str, *, request: str) -> str:
    return orjson.dumps({"req_id": request, "op": op, "args": [topic]}).decode()
