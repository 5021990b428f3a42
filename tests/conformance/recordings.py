"""Recorded exchange traffic: one JSON object a line, one file for each venue and channel. Reads, judges nothing.

The folder is not part of the project; an environment variable names it. A recording carries the exact text that was
received, and what a peer made of it: ``peer`` is ccxt's row, ``expected`` is tardis's list of events.
"""

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest

VARIABLE = "GATEWAY_CONFORMANCE_DATA"
VENUES = ("binanceusdm", "binance", "bybit", "hyperliquid")  # as ccxt calls them


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One message or REST body."""

    file: str  # "tardis/bybit.trades"
    line: int  # from 1
    venue: str
    market: str  # "" where the recorder did not say
    channel: str
    symbol: str | None  # the venue's own
    raw: bytes
    is_body: bool  # of a REST answer
    url: str | None
    sequence: str | None  # which of tardis's sequences it belongs to
    expected: list[dict[str, Any]] | None
    peer: dict[str, Any] | None  # None where ccxt was not asked, or failed

    @property
    def folder(self) -> str:
        return self.file.partition("/")[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@cache
def all_recordings() -> tuple[Recording, ...]:
    """Those of our venues, by file and line."""
    named = os.environ.get(VARIABLE)
    if not named:
        return ()
    patterns = [f"*/{venue}.*.jsonl*" for venue in VENUES]
    paths = [path for pattern in patterns for path in Path(named).glob(pattern) if ".ccxt." not in path.name]
    return tuple(recording for path in sorted(paths) for recording in _read(path))


def cases(
    *channels: str, venues: Iterable[str] = VENUES, where: Callable[[Recording], bool] = lambda _: True
) -> list[Any]:
    """One test case for each recording of ``channels`` that fits; a venue without any gets a case that fails."""
    found: list[Any] = []
    for venue in venues:
        fitting = [r for r in all_recordings() if r.venue == venue and r.channel in channels and where(r)]
        found += [pytest.param(r, id=str(r)) for r in fitting] or [pytest.param(None, id=f"no-recording-of-{venue}")]
    return found


def named(*names: str) -> list[Any]:
    """One test case for each of the recordings called ``names``; one that is not there fails."""
    found = {str(recording): recording for recording in all_recordings()}
    return [pytest.param(found.get(name), id=name) for name in names]


def known_to_ccxt(recording: Recording) -> bool:
    return recording.peer is not None


def data_file(folder: str, name: str) -> bytes | None:
    """The content of a file beside the recordings of ``folder``, if it is there."""
    path = Path(os.environ[VARIABLE], folder, name)
    return path.read_bytes() if path.exists() else None


def _read(path: Path) -> Iterator[Recording]:
    stem = path.name.partition(".jsonl")[0]
    peers = {row.get("i", row.get("line")): row for row in _rows(path.with_name(f"{stem}.ccxt.jsonl"))}
    for index, row in enumerate(_rows(path)):
        peer = peers.pop(row["i"] if "t" in row else index, None)
        yield Recording(
            file=f"{path.parent.name}/{stem}",
            line=index + 1,
            venue=row["venue"],
            market=row["market"],
            channel=row["channel"],
            symbol=row["symbol"],
            raw=row["raw"].encode(),
            is_body=row.get("dir") == "http" or row["channel"].startswith("rest."),
            url=row.get("url"),
            sequence=row.get("sequence"),
            expected=row["expected"],
            peer=None if peer is None or "error" in peer else peer,
        )
    if peers:
        raise ValueError(f"{path}: ccxt's rows {sorted(peers)} belong to no recording")


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of ``path``, or of its compressed twin; none if there is no such file."""
    packed = path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    if packed.exists():
        content = gzip.decompress(packed.read_bytes())
    elif path.exists():
        content = path.read_bytes()
    else:
        return []
    return [orjson.loads(line) for line in content.splitlines()]
