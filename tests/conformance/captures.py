"""Recorded book streams with their known outcome: what an independent implementation and ccxt made of each symbol."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import pytest

from tests.conformance.recordings import Recording, all_recordings, data_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One symbol's messages and REST snapshots, in the order of arrival."""

    name: str  # as in the files of outcomes: "XRPUSDT", or "XRPUSDT@linear" where a symbol is in two markets
    folder: str
    venue: str
    symbol: str
    messages: tuple[Recording, ...]
    expected: dict[str, Any]
    peer: dict[str, Any]  # ccxt's final book


def captures(*venues: str, having: str | None = None) -> list[Any]:
    """One test case for each capture of ``venues``; a venue without any gets a case that fails.

    Args:
        having: only those whose outcome tells this too; the shortest lack some.
    """
    found: list[Any] = []
    for venue in venues:
        fitting = [c for c in _all_captures() if c.venue == venue and (having is None or c.expected.get(having))]
        found += [pytest.param(capture, id=f"{capture.folder}:{capture.name}") for capture in fitting] or [
            pytest.param(None, id=f"no-capture-of-{venue}")
        ]
    return found


@cache
def _all_captures() -> tuple[Capture, ...]:
    books = [r for r in all_recordings() if r.channel == "orderbook"]
    found = []
    for folder in dict.fromkeys(recording.folder for recording in books):
        outcomes = data_file(folder, "books.expected.json")
        if outcomes is None:
            continue  # single messages
        peers = orjson.loads(data_file(folder, "ccxt.books.json") or b"")["books"]
        for name, expected in orjson.loads(outcomes)["books"].items():
            symbol, _, market = name.partition("@")
            messages = [r for r in books if r.folder == folder and r.symbol == symbol and market in ("", r.market)]
            peer = peers.get(name) or peers[f"{symbol}@{messages[0].market}"]
            found.append(
                Capture(
                    name=name,
                    folder=folder,
                    venue=messages[0].venue,
                    symbol=symbol,
                    messages=tuple(messages),
                    expected=expected,
                    peer=peer,
                )
            )
    return tuple(found)
