"""One frame of each type as the gateway sends it, for people who read the documents. Rows are few, ``info`` is cut."""

from collections.abc import Mapping
from typing import Any

import orjson

from gateway import frames, shapes
from gateway.state import VERSION
from topics.wire import lagged_json

PERP = {"exchange": "binance", "symbol": "BTC/USDT:USDT", "params": {}}
MINUTES = {**PERP, "params": {"timeframe": "1m"}}
BOOK = {**PERP, "params": {"levels": 5}}
CHANGES = {**PERP, "params": {"levels": 5, "mode": "delta"}}
TS = {"ex": 1795260853877, "rx": 1795260853913, "tx": 1795260853913}
AT = {"timestamp": 1795260853877, "datetime": "2026-11-21T11:34:13.877Z"}
TRADE = {
    "info": {"a": 3470001497, "p": "68407.10", "q": "0.206", "T": 1795260853877, "m": True},
    "id": "3470001497",
    **AT,
    "symbol": "BTC/USDT:USDT",
    "order": None,
    "type": None,
    "side": "sell",
    "takerOrMaker": None,
    "price": 68407.1,
    "amount": 0.206,
    "cost": 14091.8626,
    "fee": None,
    "fees": [],
}
CHANGE = {
    "state": "reconnecting",
    "previous": "live",
    "since": 1795260920432,
    "lastEvent": 1795260920101,
    "reason": "reset",
    "attempt": 2,
    "retryInMs": 740,
}
LOST = {
    "type": "gap",
    "channel": "trades",
    "topic": PERP,
    "from": {"cursor": "1795260849626-16", "time": 1795260852310},
    "to": {"cursor": "1795260849626-18", "time": 1795260855002},
}

FRAMES: Mapping[type[shapes.Shape], Mapping[str, Any]] = {
    frames.Welcome: {
        "type": "hello",
        "id": 1,
        "protocol": 1,
        "server": f"market-gateway/{VERSION}",
        "node": "gateway-1",
        "connection": "c_6eef44e69348",
        "time": 1795260849226,
        "heartbeatMs": 15000,
        "limits": {"subscriptions": 200, "topicsPerBatch": 100, "commandsPerSecond": 20.0},
        "channels": ["trades", "orderbook", "ohlcv"],
        "exchanges": ["binance", "bybit", "hyperliquid"],
    },
    frames.Subscribed: {
        "type": "subscribed",
        "id": "a",
        "channel": "trades",
        "topic": PERP,
        "state": "live",
        "resume": {"status": "recovered", "from": "1795260849626-16", "to": "1795260849626-58", "count": 42},
    },
    frames.AlreadySubscribed: {"type": "alreadySubscribed", "channel": "trades", "topic": PERP, "state": "live"},
    frames.Unsubscribed: {"type": "unsubscribed", "channel": "trades", "topic": PERP},
    frames.Subscriptions: {
        "type": "subscriptions",
        "id": 3,
        "topics": [{"channel": "ohlcv", "topic": MINUTES, "state": "live", "cursor": "1795260858641-13"}],
    },
    frames.BatchDone: {"type": "batch", "id": "b", "ok": 4, "failed": 1},
    frames.TradesFrame: {
        "type": "trades",
        "channel": "trades",
        "topic": PERP,
        "cursor": "1795260849626-2",
        "ts": TS,
        "data": [TRADE],
    },
    frames.OrderBookFrame: {
        "type": "orderbook",
        "channel": "orderbook",
        "topic": BOOK,
        "cursor": "1795260853736-1",
        "ts": TS,
        "data": {
            "symbol": "BTC/USDT:USDT",
            "bids": [[68408.4, 0.1], [68408.1, 0.498]],
            "asks": [[68408.6, 0.17], [68408.7, 0.305]],
            **AT,
            "nonce": 12794256248130,
        },
    },
    frames.BookSnapshotFrame: {
        "type": "orderbook",
        "channel": "orderbook",
        "topic": CHANGES,
        "cursor": "1795260853736-1",
        "ts": TS,
        "kind": "snapshot",
        "reason": "join",
        "checksum": 3159042563,
        "data": {
            "symbol": "BTC/USDT:USDT",
            "bids": [["68408.40", "0.100"], ["68408.10", "0.498"]],
            "asks": [["68408.60", "0.170"], ["68408.70", "0.305"]],
            **AT,
            "nonce": 12794256248130,
        },
    },
    frames.BookDeltaFrame: {
        "type": "orderbook",
        "channel": "orderbook",
        "topic": CHANGES,
        "cursor": "1795260853736-3",
        "ts": TS,
        "kind": "delta",
        "prev": "1795260853736-1",
        "data": {
            "symbol": "BTC/USDT:USDT",
            "bids": [["68408.10", "0"]],
            "asks": [["68408.60", "0.240"]],
            **AT,
            "nonce": 12794256248171,
        },
    },
    frames.OhlcvFrame: {
        "type": "ohlcv",
        "channel": "ohlcv",
        "topic": MINUTES,
        "cursor": "1795260858641-2",
        "ts": {**TS, "ex": None},
        "meta": [{"closed": False, "complete": True, "source": "venue"}],
        "data": [[1795260840000, 68405.1, 68411.6, 68405.0, 68410.6, 46.99]],
    },
    frames.CaughtUp: {"type": "caughtUp", "channel": "trades", "topic": PERP, "cursor": "1795260849626-58"},
    frames.TopicStatus: {"type": "status", "scope": "topic", "channel": "trades", "topic": PERP, **CHANGE},
    frames.ExchangeStatus: {"type": "status", "scope": "exchange", "exchange": "binance", **CHANGE},
    frames.FeedGap: {
        **LOST,
        "cursor": "1795260849626-17",
        "reason": "UPSTREAM_RECONNECT",
        "missing": 0,
        "backfilled": True,
        "rows": 41,
    },
    frames.ClientGap: {
        **LOST,
        "reason": "CLIENT_SLOW",
        "from": {"cursor": "1795260849626-16", "time": None},
        "to": {"cursor": "1795260849626-58", "time": None},
        "missing": 63,
        "backfilled": False,
        "rows": 0,
        "events": 41,
        "summary": {
            "count": 63,
            "buyAmount": 4.1,
            "sellAmount": 2.75,
            "high": 68408.6,
            "low": 68401.2,
            "last": 68402.9,
        },
    },
    frames.Lagged: orjson.loads(
        lagged_json(
            [
                {
                    "channel": "trades",
                    "topic": PERP,
                    "from": "1795260849626-16",
                    "to": "1795260849626-58",
                    "missing": 63,
                    "events": 41,
                }
            ]
        )
    ),
    frames.ErrorFrame: {
        "type": "error",
        "code": "BAD_SYMBOL",
        "message": "no such symbol",
        "retryable": False,
        "details": {"field": "symbol", "suggestions": []},
        "id": "b",
        "op": "subscribe",
        "index": 1,
        "channel": "orderbook",
        "topic": {"exchange": "hyperliquid", "symbol": "NOPE"},
    },
    frames.Paused: {"type": "paused", "id": 4, "topics": [{"channel": "trades", "topic": PERP}]},
    frames.Resumed: {"type": "resumed", "id": 5, "topics": [{"channel": "trades", "topic": PERP}]},
    frames.Pong: {"type": "pong"},
    frames.TimedPong: {
        "type": "pong",
        "id": 7,
        "t": 1795260800000,
        "rx": 1795260848824,
        "tx": 1795260848824,
    },
    frames.Heartbeat: {"type": "heartbeat", "time": 1795260864226},
    frames.GoAway: {"type": "goaway", "reason": "DEPLOY", "graceMs": 10000, "delayMs": 3127},
}
