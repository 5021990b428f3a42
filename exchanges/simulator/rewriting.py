"""Messages made wrong, or told by a wrong clock. Pure: JSON in, JSON out."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import orjson

from .dialect import Dialect
from .market import Market

NEAR_MS = 1_600 * 86_400_000  # how far from now a number of milliseconds still is a time; candles go back that far
LEVEL_KEYS = ("px", "sz")  # of levels that are objects
SECONDS_KEYS, NANO_KEYS = ("timeSecond",), ("timeNano",)
Leaf = tuple[Any, Any]  # what holds a number, and its key or place there


def skewed(payload: bytes, dialect: Dialect, *, ms: int, now_ms: int) -> bytes:
    """Every time in a JSON text shifted by ``ms``; what is not JSON stays as it is.

    A time is a whole number of milliseconds near ``now_ms``, as a number or as a text of digits. The venues' ids,
    prices and amounts are not; when something was listed or will be delivered does not depend on a clock.
    """
    try:
        message = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return payload

    def shift(value: Any, key: Any) -> Any:
        if isinstance(value, dict):
            return {name: shift(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [shift(inner, key) for inner in value]
        if isinstance(value, bool) or not isinstance(value, int | str) or key in dialect.steady:
            return value
        if isinstance(value, str):
            return _shifted_text(value, key, ms, now_ms)
        return value + ms if abs(value - now_ms) < NEAR_MS else value

    return orjson.dumps(shift(message, None))


def _shifted_text(text: str, key: Any, ms: int, now_ms: int) -> str:
    if key in SECONDS_KEYS:
        return str(int(text) + ms // 1000)
    if key in NANO_KEYS:
        return str(int(text) + ms * 1_000_000)
    near = len(text) == 13 and text.isdecimal() and abs(int(text) - now_ms) < NEAR_MS
    return str(int(text) + ms) if near else text


def crossed(payload: bytes, dialect: Dialect, market: Market | None) -> bytes | None:
    """A book message with one more bid, above the best asks; None: it is no book message, or of nothing that trades."""
    message = orjson.loads(payload)
    sides = dialect.sides(message)
    if sides is None or market is None:
        return None
    price = market.prices.text(market.asks.nth(min(2, len(market.asks) - 1)))
    sides[0].insert(0, dialect.level(price, market.amounts.text(market.touch.ask_amount)))
    return orjson.dumps(message)


def enlarged(payload: bytes, dialect: Dialect) -> bytes | None:
    """A book message in which one level has ten times its amount; None: there is no level to change."""
    message = orjson.loads(payload)
    for amounts, key in _leaves(message, dialect, levels_only=True):
        if key in (1, "sz") and _is_positive_decimal(amounts[key]):
            amounts[key] = str(Decimal(amounts[key]) * 10)
            return orjson.dumps(message)
    return None


def _drop(holder: Any, key: Any) -> None:
    del holder[key]


def _put(value: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    def put(holder: Any, key: Any) -> None:
        holder[key] = value(holder[key])

    return put


WRONGS: Mapping[str, Callable[[Any, Any], None]] = {
    "null": _put(lambda _old: None),
    "word": _put(lambda _old: "twelve"),
    "missing": _drop,
    "negative": _put(lambda old: f"-{old}"),
    "nan": _put(lambda _old: "NaN"),
}
OF_DECIMALS = ("negative", "nan")  # what makes sense only where a positive decimal was


def mistyped(payload: bytes, dialect: Dialect, *, how: str, nth: int) -> bytes | None:
    """A message in which one number is none; which number, and how with "any", goes round with ``nth``.

    None: there is no number that could be changed like this.
    """
    message = orjson.loads(payload)
    chosen = list(WRONGS)[nth % len(WRONGS)] if how == "any" else how
    leaves = _leaves(message, dialect)
    if chosen in OF_DECIMALS:
        leaves = [leaf for leaf in leaves if _is_positive_decimal(leaf[0][leaf[1]])]
    if not leaves:
        return None
    holder, key = leaves[nth // len(WRONGS) % len(leaves) if how == "any" else nth % len(leaves)]
    WRONGS[chosen](holder, key)
    return orjson.dumps(message)


def _is_positive_decimal(value: Any) -> bool:
    try:
        return isinstance(value, str) and float(value) > 0
    except ValueError:  # another fault was here before
        return False


def _leaves(message: Any, dialect: Dialect, *, levels_only: bool = False) -> list[Leaf]:
    """The numbers that a reader cannot do without, those of book levels among them."""
    leaves: list[Leaf] = []
    for side in dialect.sides(message) or ():
        for level in side:
            keys = range(min(2, len(level))) if isinstance(level, list) else [key for key in LEVEL_KEYS if key in level]
            leaves.extend((level, key) for key in keys)
    return leaves if levels_only else [*leaves, *_named(message, dialect.numbers)]


def _named(value: Any, names: frozenset[str]) -> list[Leaf]:
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _named(inner, names)]
    if not isinstance(value, dict):
        return []
    own = [(value, key) for key, inner in value.items() if key in names and isinstance(inner, int | str)]
    return own + [leaf for inner in value.values() for leaf in _named(inner, names)]
