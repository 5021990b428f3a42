"""What ``smoke_endpoints.py`` holds against the gateway's answers. Pure: no network, no clock.

A check gives what is worth telling of a good answer and raises ``Wrong`` about any other. Answers are JSON as it came.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

CHANNELS = ("trades", "orderbook", "ohlcv")
BASE_TYPES = {"subscribed", "alreadySubscribed", "unsubscribed", "pong", "warning", "error", *CHANNELS}
TRADE_FIELDS = "info id timestamp datetime symbol order type side takerOrMaker price amount cost fee fees"
BOOK_FIELDS = "symbol bids asks timestamp datetime nonce"
MARKET_FIELDS = (
    "exchange symbol unifiedSymbol base quote settle type active marketId exchangeMarketId minOrderSize tickSize "
    "contractSize info"
)
QUOTES = ("USDT", "USDC", "USD")  # of the BTC perpetual to take where several are listed, best first


class Wrong(Exception):
    """An answer is not as promised; ``str()`` says how."""


def expect(condition: Any, problem: str) -> None:
    if not condition:
        raise Wrong(problem)


# -- shapes ------------------------------------------------------------------------------------------------------------


def markets(content: dict[str, Any], exchange: str) -> str:
    expect(content["exchange"] == exchange, f"exchange is {content['exchange']}")
    expect(type(content["timestamp"]) is int, f"timestamp is {content['timestamp']!r}")
    for row in content["markets"]:
        _has_fields(row, MARKET_FIELDS)
        expect(row["symbol"] == row["unifiedSymbol"], f"{row['symbol']} is also {row['unifiedSymbol']}")
    expect(content["markets"], "no market is listed")
    return f"{len(content['markets'])} markets"


def trades(rows: Sequence[dict[str, Any]], symbol: str, limit: int) -> str:
    """Of a fetch: oldest first. A frame of the stream has them in the order of their arrival."""
    expect(1 <= len(rows) <= limit, f"{len(rows)} rows, {limit} asked for")
    for row in rows:
        trade(row, symbol)
    times = [row["timestamp"] for row in rows]
    expect(times == sorted(times), "not oldest first")
    return f"{len(rows)} rows"


def trade(row: dict[str, Any], symbol: str) -> None:
    _has_fields(row, TRADE_FIELDS)
    expect(isinstance(row["id"], str) and row["id"], f"id is {row['id']!r}")
    expect(row["symbol"] == symbol, f"symbol is {row['symbol']}")
    expect(row["side"] in ("buy", "sell"), f"side is {row['side']!r}")
    expect(min(row["price"], row["amount"], row["cost"]) > 0, "price, amount or cost is not above 0")
    expect(row["info"], "info is empty")
    for name in ("order", "type", "takerOrMaker", "fee"):
        expect(row[name] is None, f"{name} is {row[name]!r} on a public trade")
    expect(row["fees"] == [], f"fees are {row['fees']!r} on a public trade")
    _has_time(row)


def candles(rows: Sequence[Sequence[Any]], limit: int) -> str:
    expect(1 <= len(rows) <= limit, f"{len(rows)} rows, {limit} asked for")
    for row in rows:
        opened, first, high, low, last, volume = row
        expect(type(opened) is int and opened % 60_000 == 0, f"open time is {opened!r}")
        expect(0 < low <= min(first, last) and max(first, last) <= high, f"prices are {first}, {high}, {low}, {last}")
        expect(volume is None or volume >= 0, f"volume is {volume!r}")
    times = [row[0] for row in rows]
    expect(times == sorted(set(times)), "open times do not rise")
    return f"{len(rows)} rows"


def book(content: dict[str, Any], symbol: str, levels: int) -> str:
    _has_fields(content, BOOK_FIELDS)
    expect(content["symbol"] == symbol, f"symbol is {content['symbol']}")
    for side, sign in (("bids", -1), ("asks", 1)):
        prices = [sign * price for price, _ in content[side]]
        expect(1 <= len(prices) <= levels, f"{len(prices)} {side}, {levels} asked for")
        expect(prices == sorted(set(prices)), f"{side} are not best first")
        expect(all(price > 0 and amount > 0 for price, amount in content[side]), f"{side} hold an empty level")
    expect(content["bids"][0][0] < content["asks"][0][0], "the best bid is not below the best ask")
    if content["timestamp"] is not None or content["datetime"] is not None:
        _has_time(content)
    return f"{len(content['bids'])} bids, {len(content['asks'])} asks"


def _has_fields(row: dict[str, Any], names: str) -> None:
    odd = sorted(set(row) ^ set(names.split()))
    expect(not odd, f"missing or unknown: {', '.join(odd)}")


def _has_time(row: dict[str, Any]) -> None:
    timestamp, text = row["timestamp"], row["datetime"]
    expect(type(timestamp) is int, f"timestamp is {timestamp!r}")
    moment = datetime.fromtimestamp(timestamp // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    expect(text == f"{moment}.{timestamp % 1000:03d}Z", f"datetime {text} is not timestamp {timestamp}")


# -- which market ------------------------------------------------------------------------------------------------------


def choose(listed: Sequence[dict[str, Any]], wanted: str | None) -> tuple[str, str]:
    """The symbol to be echoed and the name to ask by: of ``wanted``, else of a BTC perpetual, else of the first."""
    named = [m for m in listed if wanted in (m["symbol"], m["marketId"])] or [
        m for m in listed if wanted == m["exchangeMarketId"]
    ]
    if wanted is not None:
        expect(named, f"{wanted} is not listed; {', '.join(m['symbol'] for m in listed[:3])} are")
    perps = [m for m in listed if m["type"] == "perp" and m["base"] == "BTC" and m["quote"] in QUOTES]
    perps.sort(key=lambda m: (m["quote"] != m["settle"], QUOTES.index(m["quote"])))
    market = [*named, *perps, *listed][0]
    # BASE/QUOTE would mean the perpetual where there is one.
    return market["symbol"], market["marketId"] if market["type"] == "spot" else market["symbol"]


# -- the websocket -----------------------------------------------------------------------------------------------------


@dataclass
class Transcript:
    """Everything received on one connection, in order, with the seconds since the subscriptions were sent."""

    wait: float  # seconds data was waited for
    frames: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    broken: str = ""  # why the connection failed

    def about(self, channel: str) -> list[tuple[float, dict[str, Any]]]:
        return [
            (at, frame)
            for at, frame in self.frames
            if channel in (frame.get("channel"), frame.get("id"), frame["type"])
        ]

    def data(self, channel: str) -> list[dict[str, Any]]:
        return [frame for _, frame in self.frames if frame["type"] == channel]

    def count(self, kind: str) -> int:
        return sum(frame["type"] == kind for _, frame in self.frames)

    def settled(self, channel: str, frames: int) -> bool:
        """Whether so many data frames came, or an error that says why they will not."""
        refused = any(frame["type"] == "error" for _, frame in self.about(channel))
        return refused or self.count(channel) >= frames


def acknowledged(transcript: Transcript, channel: str) -> str:
    heard = transcript.about(channel)
    expect(heard, transcript.broken or "no answer")
    at, first = heard[0]
    expect(first["type"] == "subscribed", f"the first frame is {_told(first)}")
    expect(first["id"] == channel, "the acknowledgement does not echo the id")
    return f"{at:.2f} s"


def first_data(transcript: Transcript, channel: str) -> str:
    _some(transcript, channel)
    return f"{next(at for at, frame in transcript.about(channel) if frame['type'] == channel):.2f} s"


def shape(transcript: Transcript, channel: str, symbol: str) -> str:
    frames = _some(transcript, channel)
    for frame in frames:
        if channel == "orderbook":
            book(frame["data"], symbol, frame["topic"]["params"]["levels"])
        elif channel == "ohlcv":
            candles(frame["data"], len(frame["data"]))
        else:
            expect(frame["data"], "an empty frame")
            for row in frame["data"]:
                trade(row, symbol)
    return f"{len(frames)} frames"


def topic(transcript: Transcript, channel: str, exchange: str, symbol: str) -> str:
    frames = _some(transcript, channel)
    echoed = transcript.about(channel)[0][1]["topic"]
    expect(sorted(echoed) == ["exchange", "params", "symbol"], f"it has {', '.join(echoed)}")
    expect(echoed["exchange"] == exchange, f"exchange is {echoed['exchange']}")
    expect(echoed["symbol"] == symbol, f"symbol is {echoed['symbol']}")
    expect(all(frame["topic"] == echoed for frame in frames), "data and acknowledgement name different topics")
    return ", ".join(f"{name} {value}" for name, value in echoed["params"].items())


def cursor(transcript: Transcript, channel: str) -> str:
    """It rises: by exactly 1 where nothing is left out, so not for books."""
    frames = _some(transcript, channel, 2)
    texts = [frame["cursor"] for frame in frames]
    expect(all(re.fullmatch(r"\d+-\d+", text) for text in texts), f"cursors are {', '.join(texts)}")
    positions = [tuple(map(int, text.split("-"))) for text in texts]
    for before, after in pairwise(positions):
        expect(before[0] == after[0], f"the epoch changed: {', '.join(texts)}")
        step = after[1] - before[1]
        expect(step >= 1 if channel == "orderbook" else step == 1, f"cursors are {', '.join(texts)}")
    return f"{len(texts)} frames up to {texts[-1]}"


def unsubscribed(transcript: Transcript, channel: str) -> str:
    types = [frame["type"] for _, frame in transcript.about(channel)]
    expect("unsubscribed" in types, transcript.broken or "no answer")
    expect(channel not in types[types.index("unsubscribed") :], "data came after it")
    return ""


def pong(transcript: Transcript) -> str:
    expect(transcript.count("pong"), transcript.broken or "no answer")
    return ""


def only_base(transcript: Transcript) -> str:
    expect(transcript.frames, transcript.broken or "no answer")
    others = {frame["type"] for _, frame in transcript.frames} - BASE_TYPES
    expect(not others, f"without a hello came {', '.join(sorted(others))}")
    return f"{len(transcript.frames)} frames"


def _some(transcript: Transcript, channel: str, least: int = 1) -> list[dict[str, Any]]:
    """The data frames of ``channel``, at least so many; what stood in their way is told."""
    frames = transcript.data(channel)
    errors = [_told(frame) for _, frame in transcript.about(channel) if frame["type"] == "error"]
    why = [*errors, *filter(None, [transcript.broken])][:1]
    expect(len(frames) >= least, "; ".join([f"{len(frames)} data frames in {transcript.wait:g} s", *why]))
    return frames


def _told(frame: dict[str, Any]) -> str:
    return f"{frame['code']}: {frame['message']}" if frame["type"] == "error" else str(frame["type"])
