"""Faults of a venue, switched on and off at run time: which there are, which are on, for whom, and for how long.

What a fault does is elsewhere: to messages ``interference.py``, to handshakes and requests ``gate.py``, to connections
``connection_faults.py``, to subscriptions and snapshots the venues themselves. Knows no venue, opens nothing.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count as counting
from typing import Any, Literal, NamedTuple

CHANNELS = ("trades", "orderbook", "ohlcv")
LONGEST = 86_400.0  # seconds
UNUSED = 300.0  # seconds after which a fault that was only given a count ends all the same
MOST_ACTIVE = 100  # faults of one venue at a time

Stage = Literal["connection", "message", "subscribe", "handshake", "request", "snapshot", "clock"]
PLACED: frozenset[Stage] = frozenset({"message", "subscribe", "request", "snapshot"})  # may be for a symbol or channel


class NotAllowed(Exception):
    """A fault that there is not; ``str()`` names what is allowed."""


class Place(NamedTuple):
    """What a message, subscription or request is about; empty where it is about no one symbol, no public channel."""

    symbol: str
    channel: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """``options`` for one of a few, else a number within [low, high]; a default of bool is a flag, None may be left."""

    default: Any
    low: float = 0
    high: float = LONGEST
    options: tuple[Any, ...] = ()

    def accepts(self, value: Any) -> bool:
        if self.options:
            return any(value is option or (value == option and type(value) is type(option)) for option in self.options)
        if value is None:
            return self.default is None
        if isinstance(self.default, bool):
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        whole = not isinstance(self.default, float)
        return self.low <= value <= self.high and not (whole and value != int(value))

    def describe(self) -> dict[str, Any]:
        if self.options:
            return {"default": self.default, "allowed": list(self.options)}
        if isinstance(self.default, bool):
            return {"default": self.default, "allowed": [False, True]}
        return {"default": self.default, "from": self.low, "to": self.high}


@dataclass(frozen=True, slots=True)
class Kind:
    """``count`` and ``seconds`` hold where neither is given; 0 seconds: it happens once, to what is there."""

    stage: Stage
    count: int | None = None
    seconds: float | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


_RETRY_AFTER = Parameter(None, 0, 86_400)
_CODE = Parameter(1001, 1000, 4999)
_HOW_TYPES = ("any", "null", "word", "missing", "negative", "nan")
KINDS: Mapping[str, Kind] = {
    "hangup": Kind("connection", seconds=0, parameters={"code": _CODE}),
    "reset": Kind("connection", seconds=0),
    "half_open": Kind("connection", seconds=0, parameters={"new": Parameter(False)}),
    "maintenance": Kind(
        "connection", seconds=0, parameters={"code": Parameter(1012, 1000, 4999), "notice": Parameter(1.0, 0, 600)}
    ),
    "cut": Kind("connection", seconds=0, parameters={"age": Parameter(0.0), "code": _CODE}),
    "freeze": Kind("message", seconds=10),
    "drip": Kind("message", seconds=10, parameters={"delay": Parameter(1.0, 0, 600)}),
    "garbage": Kind("message", count=1, parameters={"beside": Parameter(False)}),
    "truncate": Kind("message", count=1),
    "types": Kind("message", count=1, parameters={"how": Parameter("any", options=_HOW_TYPES)}),
    "drop": Kind("message", count=1),
    "duplicate": Kind("message", count=1),
    "reorder": Kind("message", count=1),
    "corrupt": Kind("message", count=1, parameters={"how": Parameter("crossed", options=("crossed", "quantity"))}),
    "huge": Kind("message", count=1, parameters={"bytes": Parameter(20 * 1024 * 1024, 1, 64 * 1024 * 1024)}),
    "binary": Kind("message", count=1),
    "refuse_subscribe": Kind("subscribe", count=1),
    "ignore_subscribe": Kind("subscribe", count=1),
    "refuse_handshake": Kind(
        "handshake",
        count=1,
        parameters={"status": Parameter(503, options=(429, 418, 403, 503)), "retry_after": _RETRY_AFTER},
    ),
    "slow_handshake": Kind("handshake", count=1, parameters={"delay": Parameter(5.0, 0, 600)}),
    "rest_status": Kind(
        "request",
        count=1,
        parameters={
            "status": Parameter(503, options=(429, 418, 403, 500, 502, 503)),
            "retry_after": _RETRY_AFTER,
        },
    ),
    "rest_slow": Kind("request", count=1, parameters={"delay": Parameter(5.0, 0, 600)}),
    "rest_garbage": Kind("request", count=1),
    "stale_snapshot": Kind("snapshot", count=1, parameters={"age": Parameter(5.0, 0, 600)}),
    "skew": Kind("clock", seconds=60, parameters={"ms": Parameter(3_600_000, -86_400_000, 86_400_000)}),
}
COMMON = {"count": Parameter(None, 1, 1_000_000), "seconds": Parameter(None, 0.001, LONGEST)}


@dataclass(slots=True)
class Fault:
    """One fault that is on. ``left`` is how often it may still strike, None: until ``ends`` (monotonic seconds)."""

    id: int
    kind: str
    symbol: str | None
    channel: str | None
    left: int | None
    ends: float
    parameters: dict[str, Any]
    injected: int = 0

    def is_for(self, place: Place) -> bool:
        return self.symbol in (None, place.symbol) and self.channel in (None, place.channel)


class Faults:
    """The faults of one venue. ``busy`` is the one thing to ask while there are none."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.busy = False  # a fault is on, or messages are held back by one that was
        self.injected: Counter[str] = Counter()
        self.now = monotonic
        self._active: list[Fault] = []
        self._held = 0

    def add(self, fault: Fault) -> None:
        """Raises NotAllowed when too many are on."""
        if len(self.active()) >= MOST_ACTIVE:
            raise NotAllowed(f"{MOST_ACTIVE} faults of this venue are on; remove some first")
        self._active.append(fault)
        self.busy = True

    def active(self) -> list[Fault]:
        """Those that are on now, oldest first."""
        now = self.now()
        self._active = [each for each in self._active if each.ends > now and each.left != 0]
        self.busy = bool(self._active) or self._held > 0
        return self._active

    def remove(self, identity: int | None = None) -> int:
        """Switch one off, or all; how many were on."""
        before = self.active()
        self._active = [each for each in before if identity not in (None, each.id)]
        removed = len(before) - len(self._active)
        self.active()
        return removed

    def of(self, stage: Stage, place: Place | None = None) -> list[Fault]:
        """The faults of a stage that are on and for this place, oldest first."""
        return [
            each for each in self.active() if KINDS[each.kind].stage == stage and (place is None or each.is_for(place))
        ]

    def spend(self, fault: Fault) -> None:
        """It struck once."""
        fault.injected += 1
        self.injected[fault.kind] += 1
        if fault.left is not None:
            fault.left -= 1
            self.active()

    def hold(self, messages: int) -> None:
        """So many more (or fewer) messages are held back and must still be released."""
        self._held += messages
        self.busy = bool(self._active) or self._held > 0

    @property
    def skew_ms(self) -> int:
        """How far ahead of market time the venue's clock pretends to be."""
        return sum(int(each.parameters["ms"]) for each in self.of("clock")) if self.busy else 0

    def subscribing(self, places: Sequence[Place]) -> str:
        """What becomes of a subscribe command: ``refuse_subscribe``, ``ignore_subscribe``, or nothing special."""
        if self.busy:
            for fault in self.of("subscribe"):
                if any(fault.is_for(place) for place in places):
                    self.spend(fault)
                    return fault.kind
        return ""

    def staleness(self, symbol: str) -> float:
        """The age in seconds of the book to answer a snapshot request with; 0: the present one."""
        if self.busy:
            for fault in self.of("snapshot", Place(symbol, "orderbook")):
                self.spend(fault)
                return float(fault.parameters["age"])
        return 0.0


_ids = counting(1)


def read_fault(wanted: Mapping[str, Any], now: float) -> Fault:
    """A fault as the control endpoint is asked for it, without its venue.

    Raises:
        NotAllowed: no such kind or parameter, or a value outside what is allowed.
    """
    name = wanted.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if not isinstance(name, str) or kind is None:
        raise NotAllowed(f"kind {name!r} is unknown; allowed: {', '.join(KINDS)}")
    allowed = [*COMMON, *(("symbol", "channel") if kind.stage in PLACED else ()), *kind.parameters]
    for key in wanted:
        if key not in ("venue", "kind", *allowed):
            if key in ("symbol", "channel") and wanted[key] is None:
                continue
            raise NotAllowed(f"{name} has no parameter {key!r}; allowed: {', '.join(allowed)}")
    values = {}
    for key, parameter in {**COMMON, **kind.parameters}.items():
        values[key] = wanted.get(key, parameter.default)
        if not parameter.accepts(values[key]):
            raise NotAllowed(f"{key} of {name} cannot be {values[key]!r}; allowed: {parameter.describe()}")
    symbol, channel = wanted.get("symbol"), wanted.get("channel")
    if not isinstance(symbol, str | None):
        raise NotAllowed(f"symbol cannot be {symbol!r}; allowed: a text or null")
    if channel not in (None, *CHANNELS):
        raise NotAllowed(f"channel {channel!r} is unknown; allowed: {', '.join(CHANNELS)}")
    count, seconds = values.pop("count"), values.pop("seconds")
    if count is None and seconds is None:
        count, seconds = kind.count, 30.0 if values.get("new") else kind.seconds
    ends = now + (UNUSED if seconds is None else seconds)
    return Fault(next(_ids), name, symbol, channel, count, ends, values)
