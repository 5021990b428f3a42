"""What can go wrong at a venue, as the long run and the tests cause it: faults of the simulator, joined to be felt.

A fault of handshakes is felt only by who connects, one of snapshots only by who needs one: those come with the fault
that causes it.

What by its nature nobody can notice is not here: ``corrupt`` with ``how:"quantity"`` (our venues have no checksums), or
a lost message of trades where their ids say nothing and the stream goes on (Bybit, Hyperliquid).
"""

from dataclasses import dataclass
from typing import Any, Literal

from tests.system.follower import Wanted
from tests.system.ledger import Market

PERP = "binance"
SPOT = "binance-spot"

MARKETS = (
    Market("binance", "BTC/USDT:USDT", (), PERP, "BTCUSDT"),
    Market("binance", "ETH/USDT:USDT", (), PERP, "ETHUSDT"),
    Market("binance", "BTC/USDT", (("type", "spot"),), SPOT, "BTCUSDT"),
    Market("bybit", "BTC/USDT:USDT", (), "bybit", "BTCUSDT"),
    Market("bybit", "ETH/USDT:USDT", (), "bybit", "ETHUSDT"),
    Market("bybit", "BTC/USDT", (("category", "spot"),), "bybit", "spot/BTCUSDT"),
    Market("hyperliquid", "BTC/USDC:USDC", (), "hyperliquid", "BTC"),
    Market("hyperliquid", "ETH/USDC:USDC", (), "hyperliquid", "ETH"),
)
DEEP = {"binance": 100, "bybit": 500, "hyperliquid": 20}


def topics_of(market: Market) -> list[Wanted]:
    """Every channel of a market: trades, candles, and its book whole, deep, throttled and in deltas."""

    def book(**params: Any) -> Wanted:
        return Wanted("orderbook", market.exchange, market.symbol, (*market.params, *params.items()))

    shallow = 5 if market.exchange == "hyperliquid" else 20
    return [
        Wanted("trades", market.exchange, market.symbol, market.params),
        Wanted("ohlcv", market.exchange, market.symbol, (*market.params, ("timeframe", "1m"))),
        book(levels=shallow),
        book(levels=DEEP[market.exchange]),
        book(levels=shallow, throttleMs=250),
        book(levels=20, mode="delta"),
    ]


UNCOUNTED = ("bybit", "hyperliquid")  # venues whose trade ids say nothing
ALL = ("trades", "orderbook", "ohlcv")
BOOK = ("orderbook",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``faults`` are switched on together. ``scope``: the whole venue, or one stream of one symbol.

    ``detects``: the kind by which the time to its detection is reported; "": it need not show in a status.
    """

    name: str
    faults: tuple[tuple[str, dict[str, Any]], ...]
    scope: Literal["venue", "stream"] = "venue"
    channels: tuple[str, ...] = ALL
    venues: tuple[str, ...] = ("binance", "binance-spot", "bybit", "hyperliquid")
    detects: str = ""
    outage: bool = False  # no handshake succeeds for a while
    loses: bool = False  # a message goes without a trace

    def channels_at(self, venue: str) -> list[str]:
        """The channels of a venue that it may strike; see above for what is left out."""
        traceless = self.loses and venue in UNCOUNTED
        return [channel for channel in self.channels if not (traceless and channel == "trades")]


RESET: tuple[str, dict[str, Any]] = ("reset", {})


def venue(name: str, *faults: tuple[str, dict[str, Any]], **how: Any) -> Scenario:
    return Scenario(name=name, faults=faults, **how)


def stream(
    name: str, kind: str, *, channels: tuple[str, ...] = ALL, detects: str = "", loses: bool = False, **how: Any
) -> Scenario:
    faults = ((kind, how),)
    return Scenario(name=name, faults=faults, scope="stream", channels=channels, detects=detects, loses=loses)


def snapshot(name: str, kind: str, **how: Any) -> Scenario:
    """A fault of REST, and a lost book message for which a snapshot must be asked."""
    return Scenario(
        name=name, faults=((kind, how), ("drop", {})), scope="stream", channels=BOOK,
        venues=("binance", "binance-spot"),
    )  # fmt: skip


def backfill(name: str, kind: str, **how: Any) -> Scenario:
    """A fault of REST, and a reset after which missed trades and candles are asked for."""
    return Scenario(name=name, faults=((kind, how), RESET))


FOR_GOOD = Scenario(
    name="trades lost for good",
    faults=(("rest_status", {"status": 503, "seconds": 8}), ("drop", {"count": 2})),
    scope="stream",
    channels=("trades",),
    venues=("binance", "binance-spot"),
)
SCENARIOS = (
    FOR_GOOD,
    venue("hangup", ("hangup", {})),
    venue("reset", RESET, detects="reset"),
    venue("half_open", ("half_open", {}), detects="half_open"),
    venue("maintenance", ("maintenance", {})),
    venue("cut", ("cut", {})),
    venue("refuse_handshake 503", ("refuse_handshake", {"status": 503, "count": 3}), RESET),
    venue("refuse_handshake 429", ("refuse_handshake", {"status": 429, "retry_after": 3}), RESET),
    venue("refuse_handshake 418", ("refuse_handshake", {"status": 418, "retry_after": 4}), RESET),
    venue("slow_handshake", ("slow_handshake", {"delay": 3, "count": 2}), RESET),
    venue("outage", ("refuse_handshake", {"status": 503, "seconds": 60}), RESET, outage=True),
    venue("ignore_subscribe", ("ignore_subscribe", {}), RESET),
    stream("freeze", "freeze", channels=("trades", "orderbook"), detects="freeze", seconds=35),
    stream("drip", "drip", delay=2.0, seconds=5),
    stream("garbage", "garbage"),
    stream("garbage burst", "garbage", count=15),
    stream("garbage beside", "garbage", beside=True, count=3),
    stream("truncate", "truncate"),
    stream("types", "types", count=5),
    stream("binary", "binary", count=2),
    stream("huge", "huge"),
    stream("drop", "drop", loses=True),
    stream("drop burst", "drop", loses=True, count=8),
    stream("duplicate", "duplicate", count=5),
    stream("reorder", "reorder", count=3),
    stream("corrupt", "corrupt", channels=BOOK),
    snapshot("stale_snapshot", "stale_snapshot", count=2),
    snapshot("rest_status 503 snapshot", "rest_status", status=503, count=2),
    snapshot("rest_status 429 snapshot", "rest_status", status=429, retry_after=3),
    snapshot("rest_slow snapshot", "rest_slow", delay=3),
    snapshot("rest_garbage snapshot", "rest_garbage"),
    backfill("rest_status 503 backfill", "rest_status", status=503, count=3),
    backfill("rest_status 429 backfill", "rest_status", status=429, retry_after=3),
    backfill("rest_slow backfill", "rest_slow", delay=3, count=3),
    backfill("rest_garbage backfill", "rest_garbage", count=2),
)  # fmt: skip
