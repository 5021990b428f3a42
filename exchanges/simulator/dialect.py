"""What faults must know of a venue's wire, told by each venue: where a message belongs, where its numbers are.

Pure: no clock, no socket, no state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .faults import Place

Sides = tuple[list[Any], list[Any]]  # levels of bids and asks inside a message: changing them changes it


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``symbol`` in a place is the control endpoint's: what ``Venue.markets`` calls it."""

    place: Callable[[str], Place]  # of a stream, by name
    request: Callable[[str, Mapping[str, Any]], Place]  # of a REST path below the venue, and its parameters
    sides: Callable[[Any], Sides | None]  # of a book message; None: it is none
    level: Callable[[str, str], Any]  # a level of a book message from price and amount
    numbers: frozenset[str]  # keys without whose number a message is worth nothing
    steady: frozenset[str] = frozenset({"deliveryDate", "onboardDate", "launchTime", "deliveryTime", "tid"})
    busy: bytes  # the body of a 429 or 418
    farewell: Callable[[int], tuple[str, bytes]] | None = None  # the notice before it goes: stream name and payload


def sides_of(body: Any, bids: str, asks: str) -> Sides | None:
    """The lists under two keys of a message, if they are lists."""
    if isinstance(body, dict) and isinstance(body.get(bids), list) and isinstance(body.get(asks), list):
        return body[bids], body[asks]
    return None
