"""The one switch for faults: of every venue, by the control endpoint and from Python alike."""

from collections.abc import Mapping
from typing import Any

from . import connection_faults
from .faults import CHANNELS, COMMON, KINDS, PLACED, Fault, NotAllowed, read_fault
from .venue import Venue


class Switchboard:
    """``inject(venue="binance", kind="drop", symbol="BTCUSDT", channel="trades", count=3)``."""

    def __init__(self, venues: Mapping[str, Venue]) -> None:
        self._venues = venues

    def inject(self, /, **wanted: Any) -> Fault:
        """Switch a fault on; one that happens to connections has happened to those there are when this returns.

        Raises:
            NotAllowed: no such venue, kind, parameter or symbol, or a value outside what is allowed.
        """
        venue = self._venue(wanted.get("venue"))
        fault = read_fault(wanted, venue.faults.now())
        if fault.symbol is not None and fault.symbol not in venue.markets:
            raise NotAllowed(f"symbol {fault.symbol!r} is unknown; allowed: {', '.join(venue.markets)}")
        if fault.kind == "stale_snapshot" and not venue.syncs_by_rest:
            able = [name for name, each in self._venues.items() if each.syncs_by_rest]
            raise NotAllowed(f"books of {venue.name} are not synced by REST; allowed: {', '.join(able)}")
        venue.faults.add(fault)
        if KINDS[fault.kind].stage == "connection":
            connection_faults.strike(venue.faults, fault, venue.connections, venue.announce)
        return fault

    def remove(self, *, identity: int | None = None, venue: str | None = None) -> int:
        """Switch off one fault, those of a venue, or all; how many were on. What has happened has happened."""
        chosen = self._venues.values() if venue is None else [self._venue(venue)]
        return sum(each.faults.remove(identity) for each in chosen)

    def state(self) -> dict[str, Any]:
        """What is on, how often each kind has struck since the start, and which kinds there are."""
        active, injected = [], {}
        for name, venue in self._venues.items():
            active += [_row(name, fault, venue.faults.now()) for fault in venue.faults.active()]
            injected[name] = dict(venue.faults.injected)
        return {"active": active, "injected": injected, "kinds": KINDS_DESCRIBED}

    def _venue(self, name: Any) -> Venue:
        venue = self._venues.get(name) if isinstance(name, str) else None
        if venue is None:
            raise NotAllowed(f"venue {name!r} is unknown; allowed: {', '.join(self._venues)}")
        return venue


def _row(venue: str, fault: Fault, now: float) -> dict[str, Any]:
    row = {"id": fault.id, "venue": venue, "kind": fault.kind, "symbol": fault.symbol, "channel": fault.channel}
    row |= {"count": fault.left, "seconds": round(fault.ends - now, 3), **fault.parameters}
    return row | {"injected": fault.injected}


def _describe(name: str) -> dict[str, Any]:
    kind = KINDS[name]
    parameters: dict[str, Any] = {key: each.describe() for key, each in {**COMMON, **kind.parameters}.items()}
    parameters["count"]["default"], parameters["seconds"]["default"] = kind.count, kind.seconds
    if kind.stage in PLACED:
        parameters |= {"symbol": {"default": None}, "channel": {"default": None, "allowed": list(CHANNELS)}}
    return parameters


KINDS_DESCRIBED = {name: _describe(name) for name in KINDS}
