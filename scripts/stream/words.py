"""How numbers, times, losses and refusals are written. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

MAX_DECIMALS = 12
REASONS = {
    "UPSTREAM_RECONNECT": "the gateway lost the exchange",
    "VENUE_LOST": "the connection to the exchange was lost",
    "VENUE_SKIP": "the exchange left some out",
    "EPOCH_CHANGED": "the gateway began the stream anew",
    "RING_TRIMMED": "away for too long",
    "CLIENT_SLOW": "this terminal was too slow",
    "PAUSED": "paused",
}


def decimals(numbers: Iterable[float]) -> int:
    """As many as it takes to write the finest of ``numbers`` exactly."""
    exponents = (Decimal(repr(number)).normalize().as_tuple().exponent for number in numbers)
    return min(MAX_DECIMALS, max((-e for e in exponents if isinstance(e, int)), default=0))


def fixed(number: float | None, places: int) -> str:
    return "–" if number is None else f"{number:,.{max(0, places)}f}"


def clock(time_ms: int) -> str:
    """``01:28:56.006``, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S.") + f"{time_ms % 1000:03}"


def stamp(time_ms: int) -> str:
    """``2026-11-27T01:28:56.006Z``."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_ms % 1000:03}Z"


def span(ms: float) -> str:
    """A duration: ``31 ms``, ``4.2 s``, ``3 min``."""
    if abs(ms) < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if abs(ms) < 60_000 else f"{ms / 60_000:.0f} min"


def signed(number: float, places: int) -> str:
    return f"{number:+,.{max(0, places)}f}"


def topic(about: Mapping[str, Any]) -> str:
    """``binance BTC/USDT:USDT levels=20``."""
    params = [f"{name}={value}" for name, value in about["params"].items()]
    return " ".join([about["exchange"], about["symbol"], *params])


def gap(frame: Mapping[str, Any]) -> str:
    """What a ``gap`` frame says, in a line."""
    reason = REASONS.get(frame["reason"], frame["reason"])
    missing, rows, events = frame.get("missing"), frame.get("rows") or 0, frame.get("events")
    if frame.get("backfilled"):
        lost = "nothing is missing"
    elif missing is None:
        lost = "nobody can know what is missing" if events is None else f"{events} frames are missing"
    else:
        lost = f"{missing} missing"
    fetched = [f"{rows} fetched afterwards"] if rows else []
    return "; ".join([f"gap: {reason}", lost, *fetched, *summary(frame.get("summary"))])


def summary(missed: Mapping[str, Any] | None) -> list[str]:
    """The trades that a slow client was not sent, in a few numbers."""
    if not missed:
        return []
    return [
        f"bought {missed['buyAmount']:g}, sold {missed['sellAmount']:g}, "
        f"between {missed['low']:g} and {missed['high']:g}"
    ]


def refusal(code: str, message: str, details: Mapping[str, Any] | None) -> str:
    """An error with what may be asked for in its place."""
    details = details or {}
    advice: Sequence[str] = ()
    for field, before in (("suggestions", "did you mean"), ("allowed", "allowed:"), ("supported", "offered:")):
        if details.get(field):
            advice = [f"{before} {', '.join(map(str, details[field]))}"]
            break
    else:
        if "suggestions" in details:
            advice = ["fetchMarkets lists the symbols there are"]
    return "; ".join([f"{code}: {message}", *advice])
