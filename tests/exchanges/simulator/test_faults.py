"""The switch by itself: what is allowed, whom a fault is for, and when it ends. Time is a number here."""

from typing import Any

import pytest

from exchanges.simulator.faults import KINDS, MOST_ACTIVE, UNUSED, Fault, Faults, NotAllowed, Place, read_fault
from exchanges.simulator.server import Floor

TRADES, BOOK = Place("BTCUSDT", "trades"), Place("BTCUSDT", "orderbook")


class Monotonic:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def switched_on(clock: Monotonic, *wanted: dict[str, Any]) -> tuple[Faults, list[Fault]]:
    faults = Faults(clock)
    added = [read_fault(each, clock()) for each in wanted]
    for each in added:
        faults.add(each)
    return faults, added


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_ends_by_itself_when_nothing_is_said(name: str) -> None:
    clock = Monotonic()
    faults, (fault,) = switched_on(clock, {"kind": name})
    clock.seconds += UNUSED
    assert (faults.active(), faults.busy) == ([], False)
    assert fault.left is not None or fault.ends < 1000 + UNUSED


def test_a_fault_ends_with_its_count() -> None:
    faults, (fault,) = switched_on(Monotonic(), {"kind": "drop", "count": 2, "seconds": 60})
    faults.spend(fault)
    assert faults.of("message", BOOK) == [fault]
    faults.spend(fault)
    assert faults.of("message", BOOK) == []
    assert (faults.busy, faults.injected) == (False, {"drop": 2})


def test_a_fault_ends_with_its_seconds_however_often_it_struck() -> None:
    clock = Monotonic()
    faults, (fault,) = switched_on(clock, {"kind": "drop", "count": 2, "seconds": 60})
    clock.seconds += 59
    assert faults.of("message", BOOK) == [fault]
    clock.seconds += 1
    assert faults.of("message", BOOK) == []


@pytest.mark.parametrize(
    ("meant", "places"),
    [
        ({}, [TRADES, BOOK, Place("ETHUSDT", "trades"), Place("", "")]),
        ({"symbol": "BTCUSDT"}, [TRADES, BOOK]),
        ({"channel": "trades"}, [TRADES, Place("ETHUSDT", "trades")]),
        ({"symbol": "BTCUSDT", "channel": "orderbook"}, [BOOK]),
    ],
)
def test_a_fault_is_for_its_symbol_and_channel(meant: dict[str, str], places: list[Place]) -> None:
    faults, _ = switched_on(Monotonic(), {"kind": "freeze", **meant})
    everywhere = [TRADES, BOOK, Place("ETHUSDT", "trades"), Place("", "")]
    assert [place for place in everywhere if faults.of("message", place)] == places


def test_removing_one_leaves_the_others() -> None:
    faults, (first, second) = switched_on(Monotonic(), {"kind": "freeze"}, {"kind": "drip"})
    assert faults.remove(first.id) == 1
    assert faults.remove(first.id) == 0
    assert faults.active() == [second]
    assert (faults.remove(), faults.busy) == (1, False)


def test_what_is_held_back_keeps_the_venue_busy() -> None:
    faults, _ = switched_on(Monotonic(), {"kind": "drip"})
    faults.hold(1)
    faults.remove()
    assert faults.busy
    faults.hold(-1)
    assert not faults.busy


def test_skews_add_up_and_end() -> None:
    clock = Monotonic()
    skews: list[dict[str, Any]] = [{"kind": "skew", "ms": 5000, "seconds": 10}, {"kind": "skew", "ms": -2000}]
    faults, _ = switched_on(clock, *skews)
    assert faults.skew_ms == 3000
    clock.seconds += 10
    assert faults.skew_ms == -2000
    clock.seconds += 60
    assert faults.skew_ms == 0


def test_no_more_faults_than_can_be_seen_through() -> None:
    faults, _ = switched_on(Monotonic(), *({"kind": "freeze"} for _ in range(MOST_ACTIVE)))
    with pytest.raises(NotAllowed, match="100 faults"):
        faults.add(read_fault({"kind": "freeze"}, 1000.0))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({}, "kind None is unknown; allowed: hangup, reset"),
        ({"kind": "explode"}, "kind 'explode' is unknown; allowed: hangup"),
        ({"kind": ["drop"]}, "is unknown"),
        ({"kind": "drop", "speed": 1}, "no parameter 'speed'; allowed: count, seconds, symbol, channel"),
        ({"kind": "hangup", "symbol": "BTCUSDT"}, "no parameter 'symbol'; allowed: count, seconds, code"),
        ({"kind": "drop", "channel": "news"}, "channel 'news' is unknown; allowed: trades, orderbook, ohlcv"),
        ({"kind": "drop", "count": 0}, "count of drop cannot be 0"),
        ({"kind": "drop", "count": 1.5}, "count of drop cannot be 1.5"),
        ({"kind": "drop", "count": True}, "count of drop cannot be True"),
        ({"kind": "drop", "seconds": 86_401}, "seconds of drop"),
        ({"kind": "drip", "delay": -1}, "delay of drip"),
        ({"kind": "drip", "delay": "1"}, "delay of drip"),
        ({"kind": "half_open", "new": 1}, "new of half_open"),
        ({"kind": "types", "how": "worse"}, "how of types"),
        ({"kind": "rest_status", "status": 404}, "status of rest_status"),
        ({"kind": "hangup", "code": None}, "code of hangup"),
    ],
)
def test_what_is_not_allowed_is_refused_and_what_is_is_named(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        read_fault(wanted, 0.0)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"venue": "kraken", "kind": "drop"}, "allowed: binance, binance-spot, bybit, hyperliquid"),
        ({"kind": "drop"}, "venue None is unknown"),
        ({"venue": "bybit", "kind": "drop", "symbol": "NOPEUSDT"}, "allowed: BTCUSDT"),
        ({"venue": "bybit", "kind": "drop", "symbol": ["BTCUSDT"]}, "symbol"),
        ({"venue": "bybit", "kind": "stale_snapshot"}, "allowed: binance, binance-spot"),
    ],
)
def test_a_venue_and_its_symbols_must_exist(wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(NotAllowed) as refused:
        Floor(1).faults.inject(**wanted)
    assert told in str(refused.value)
