"""Reading what a client wants to subscribe to, the way Hyperliquid does. Pure.

Two ways to be wrong, with very different ends: what cannot be read is answered with an error; what can be read and
does not exist makes the server drop the whole connection.

Source: https://hyperliquid.gitbook.io/hyperliquid-docs/for-developers/api/websocket/subscriptions
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .hyperliquid_instrument import INTERVALS


class Unreadable(Exception):
    """Not a request that the server can parse."""


class Field(NamedTuple):
    """``default`` is filled in where the client leaves the field out; ``...`` where it may not."""

    valid: Callable[[Any], bool]
    default: Any = ...


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number_or_null(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


COIN = Field(_text)
DEX = Field(lambda value: value is None or isinstance(value, str), None)
FIGURES = {"nSigFigs": Field(_number_or_null, None), "mantissa": Field(_number_or_null, None)}
FIELDS: Mapping[str, Mapping[str, Field]] = {
    "l2Book": {"coin": COIN, **FIGURES, "fast": Field(lambda value: isinstance(value, bool), False)},
    "bbo": {"coin": COIN},
    "trades": {"coin": COIN},
    "candle": {"coin": COIN, "interval": Field(lambda value: value in INTERVALS)},
    "activeAssetCtx": {"coin": COIN},
    "allMids": {"dex": DEX},
    "assetCtxs": {"dex": DEX},
    "allDexsAssetCtxs": {},
    "spotAssetCtxs": {},
    "fastAssetCtxs": {},
}


def fill(wanted: Any) -> dict[str, Any]:
    """The subscription with its defaults, as the server repeats it.

    Raises:
        Unreadable: no such type, or a field is missing or of another type.
    """
    if not isinstance(wanted, dict) or not isinstance(wanted.get("type"), str) or wanted["type"] not in FIELDS:
        raise Unreadable
    return {"type": wanted["type"], **read(wanted, FIELDS[wanted["type"]])}


def read(body: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The fields of ``body``, those left out filled in and unknown ones left out."""
    filled = {name: body.get(name, field.default) for name, field in fields.items()}
    for name, field in fields.items():
        if filled[name] is ... or not field.valid(filled[name]):
            raise Unreadable(name)
    return filled


def sensible(figures: int | None, mantissa: int | None) -> bool:
    """Whether a book can be aggregated like this; a mantissa needs five figures."""
    if mantissa is not None and (figures != 5 or mantissa not in (1, 2, 5)):
        return False
    return figures is None or 2 <= figures <= 5
