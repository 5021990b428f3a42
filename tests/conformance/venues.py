"""Our adapters as the recordings meet them: which parser reads a recording, and which market it is of. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from exchanges.binance import parse as binance
from exchanges.book import BookSync, OrderBook
from exchanges.bybit import parse as bybit
from exchanges.events import BookDelta, BookSnapshot, Event
from exchanges.hyperliquid import parse as hyperliquid
from exchanges.instrument import Instrument
from exchanges.venue import Parsed
from tests.conformance.recordings import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One row of the table below; a venue is added by its row and by its name in ``recordings.VENUES``."""

    exchange: str  # our name of the venue
    spot: str  # our names of its markets
    swap: str
    parse: Callable[[Recording], Parsed]  # a websocket message
    book: Callable[[Any], BookSnapshot]  # a REST depth body
    rows: Callable[[Any], list[Any]] = lambda body: body  # what a REST body of trades holds


def events(recording: Recording) -> list[Event]:
    """What our adapter makes of ``recording``, a message or a REST depth body."""
    adapter = ADAPTERS[recording.venue]
    if recording.is_body:
        return [adapter.book(orjson.loads(recording.raw))]
    return list(adapter.parse(recording)[1])


def take(sync: BookSync, event: Event) -> OrderBook | None:
    """Give ``sync`` what a message of a book said; the book if it changed."""
    if isinstance(event, BookSnapshot):
        return sync.on_snapshot(event)
    assert isinstance(event, BookDelta)
    return sync.on_delta(event)


def instrument(recording: Recording, symbol: str) -> Instrument:
    """A market that is called ``symbol`` and is otherwise as plain as its name allows."""
    adapter = ADAPTERS[recording.venue]
    pair, _, settle = symbol.partition(":")
    base, _, quote = pair.partition("/")
    return Instrument(
        exchange=adapter.exchange,
        market=adapter.swap if settle else adapter.spot,
        symbol=symbol,
        venue_symbol=recording.symbol or base + quote,
        base=base,
        quote=quote,
        settle=settle or None,
        kind="perp" if settle else "spot",
        active=True,
        tick_size=None,
        min_order_size=None,
        contract_size=1.0 if settle else None,
        info={},
    )


def _binance(parser: Callable[[bytes], Parsed]) -> Callable[[Recording], Parsed]:
    """Some recordings were taken off ``/ws``, which sends the data alone; ``/stream`` would have named it."""

    def parse(recording: Recording) -> Parsed:
        message = orjson.loads(recording.raw)
        if "stream" in message:
            return parser(recording.raw)
        kind = BINANCE_STREAMS[message["e"]]
        return parser(
            orjson.dumps({"stream": f"{message['s'].lower()}@{kind}", "data": orjson.Fragment(recording.raw)})
        )

    return parse


def _bybit(recording: Recording) -> Parsed:
    """No message says its category; the names of inverse perpetuals end in USD."""
    inverse = recording.market == "derivatives" and (recording.symbol or "").endswith("USD")
    return (bybit.inverse if inverse else bybit.linear)(recording.raw)


BINANCE_STREAMS = {
    "aggTrade": "aggTrade",
    "trade": "trade",
    "kline": "kline_1m",
    "depthUpdate": "depth@100ms",
    "bookTicker": "bookTicker",
    "24hrTicker": "ticker",
}
ADAPTERS = {
    "binanceusdm": Adapter(
        exchange="binance", spot="spot", swap="linear", parse=_binance(binance.futures), book=binance.book
    ),
    "binance": Adapter(exchange="binance", spot="spot", swap="linear", parse=_binance(binance.spot), book=binance.book),
    "bybit": Adapter(
        exchange="bybit",
        spot="spot",
        swap="linear",
        parse=_bybit,
        book=lambda body: bybit.rest_book(body["result"]),
        rows=lambda body: body["result"]["list"],
    ),
    "hyperliquid": Adapter(
        exchange="hyperliquid",
        spot="spot",
        swap="perp",
        parse=lambda recording: hyperliquid.parse(recording.raw),
        book=hyperliquid.book,
    ),
}
