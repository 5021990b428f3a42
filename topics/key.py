"""What a topic is called, and where we are in it. Pure.

A client may describe one topic in many ways (aliases, defaults, another name for the symbol); ``resolve`` gives the one
canonical key, so that all who mean the same share the same bytes.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from exchanges.errors import BadCursor, InvalidTopic, UnsupportedFeature
from exchanges.instrument import Catalogue, Instrument
from exchanges.venue import Capabilities, Channel

THROTTLES_MS = (0, 100, 250, 500, 1000)  # of a book, the default first
MODES = ("full", "delta")  # likewise
ALIASES = {"interval": "timeframe", "depth": "levels", "limit": "levels"}
MARKET_PARAMS = ("type", "category")
BOOK_PARAMS = ("levels", "throttleMs", "mode", "nSigFigs", "mantissa", "group")
KNOWN_PARAMS = (*MARKET_PARAMS, "name", "timeframe", *BOOK_PARAMS, "coin", *ALIASES)


CURSOR = re.compile(r"(\d{1,16})-(\d{1,16})", re.ASCII)


class Cursor(NamedTuple):
    """A position in a feed's stream: ``epoch`` (ms) rises with each owner of the feed, ``seq`` with each event."""

    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ``BadCursor``."""
        found = CURSOR.fullmatch(text)
        if found is None:
            raise BadCursor("a cursor is what a frame or X-Cursor had", field="since", allowed=["<epoch>-<seq>"])
        return cls(int(found[1]), int(found[2]))

    def next(self) -> "Cursor":
        return Cursor(self.epoch, self.seq + 1)

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


class TopicKey(NamedTuple):
    """One topic, canonically. ``params`` are sorted pairs, defaults left out except ``timeframe`` and ``levels``."""

    exchange: str
    channel: Channel
    symbol: str
    params: tuple[tuple[str, Any], ...]

    @property
    def topic(self) -> dict[str, Any]:
        """The public form: exactly exchange, symbol and params."""
        return {"exchange": self.exchange, "symbol": self.symbol, "params": dict(self.params)}


def resolve(
    channel: Channel,
    symbol: str | None,
    params: Mapping[str, Any],
    *,
    exchange: str,
    catalogue: Catalogue,
    capabilities: Capabilities,
) -> tuple[TopicKey, Instrument]:
    """The canonical key of what a client asked for, and the instrument it is about.

    Raises:
        InvalidTopic: a parameter is unknown or has a value it cannot have; ``details`` name the field and what may be.
        BadSymbol: no such symbol.
        UnsupportedFeature: documented, not offered here.
    """
    if channel not in capabilities.channels:
        supported = list(capabilities.channels)
        raise UnsupportedFeature("no such channel on this exchange", field="channel", supported=supported)
    given = _known(params)
    market = _market(given, capabilities)
    text = given.get("coin", symbol)
    if not isinstance(text, str) or not text:
        raise InvalidTopic("a symbol is needed", field="symbol")
    instrument = catalogue.resolve(text, market=market)
    canonical: dict[str, Any] = {}
    if instrument.market != capabilities.default_market:
        canonical[capabilities.market_param] = instrument.market
    if channel == "trades":
        canonical |= _trade_params(given, capabilities)
    elif channel == "ohlcv":
        canonical["timeframe"] = timeframe(given.get("timeframe", "1m"), capabilities)
    else:
        canonical |= _book_params(given, capabilities)
    return TopicKey(exchange, channel, instrument.symbol, tuple(sorted(canonical.items()))), instrument


def timeframe(value: Any, capabilities: Capabilities) -> str:
    """``value`` if the venue has such candles.

    Raises:
        InvalidTopic: it has not.
    """
    if value not in capabilities.timeframes:
        raise InvalidTopic(
            "no such timeframe on this exchange", field="timeframe", allowed=list(capabilities.timeframes)
        )
    return str(value)


def rung(value: Any, capabilities: Capabilities) -> int:
    """The smallest offered depth that holds ``value`` levels.

    Raises:
        InvalidTopic: not a positive integer, or deeper than the venue's book.
    """
    rungs = capabilities.levels
    if type(value) is not int or not 1 <= value <= rungs[-1]:
        raise InvalidTopic(f"levels must be 1 to {rungs[-1]} on this exchange", field="levels", allowed=list(rungs))
    return next(r for r in rungs if r >= value)


def _known(params: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for key, value in params.items():
        name = ALIASES.get(key, key)
        if key not in KNOWN_PARAMS:
            raise InvalidTopic("unknown parameter", field=f"params.{key[:64]}", allowed=sorted(KNOWN_PARAMS))
        if name in given and given[name] != value:
            raise InvalidTopic(f"params.{key} contradicts another name of the same parameter", field=f"params.{key}")
        given[name] = value
    return given


def _market(given: Mapping[str, Any], capabilities: Capabilities) -> str | None:
    """The market the client picked. A value the venue's other parameter would not know is dropped, not refused."""
    picked: dict[str, str] = {}
    for name in MARKET_PARAMS:
        value = given.get(name)
        if isinstance(value, str) and value in capabilities.markets:
            picked[name] = capabilities.markets[value]
        elif value is not None and (name == capabilities.market_param or not isinstance(value, str)):
            allowed = sorted(capabilities.markets)
            raise InvalidTopic("no such market on this exchange", field=f"params.{name}", allowed=allowed)
    if len(set(picked.values())) > 1:
        raise InvalidTopic("params.type and params.category name different markets", field="params.category")
    return next(iter(picked.values()), None)


def _trade_params(given: Mapping[str, Any], capabilities: Capabilities) -> dict[str, Any]:
    name, offered = given.get("name"), capabilities.trade_streams
    if name is None or not offered or name == offered[0]:
        return {}
    if name not in offered:
        raise InvalidTopic("no such trade stream", field="params.name", allowed=list(offered))
    return {"name": name}


def _book_params(given: Mapping[str, Any], capabilities: Capabilities) -> dict[str, Any]:
    throttle_ms, mode = given.get("throttleMs", THROTTLES_MS[0]), given.get("mode", MODES[0])
    if type(throttle_ms) is not int or throttle_ms not in THROTTLES_MS:
        raise InvalidTopic("no such throttle", field="params.throttleMs", allowed=list(THROTTLES_MS))
    if mode not in MODES:
        raise InvalidTopic("no such mode", field="params.mode", allowed=list(MODES))
    if given.get("group") is not None:
        raise UnsupportedFeature("not offered yet", field="params.group", supported=[])
    canonical = {"levels": rung(given.get("levels", capabilities.default_levels), capabilities)}
    if throttle_ms != THROTTLES_MS[0]:
        canonical["throttleMs"] = throttle_ms
    if mode != MODES[0]:
        canonical["mode"] = mode
    return canonical
