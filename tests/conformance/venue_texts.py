"""A venue's book in its own decimals, read out of the raw recordings: dicts of texts that know nothing of our code."""

from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from tests.conformance.recordings import Recording

Row = tuple[str, str]


class Said(NamedTuple):
    """What one recording says of a book."""

    whole: bool
    place: int  # the venue's sequence; its time where it has none
    bids: list[Row]
    asks: list[Row]


def said(recording: Recording) -> Said:
    message = orjson.loads(recording.raw)
    if recording.venue == "hyperliquid":
        data = message.get("data", message)
        bids, asks = ([(level["px"], level["sz"]) for level in side] for side in data["levels"])
        return Said(True, data["time"], bids, asks)
    if recording.venue == "bybit":
        data = message["data"]
        return Said(message["type"] == "snapshot" or data["u"] == 1, data["u"], rows(data["b"]), rows(data["a"]))
    if recording.is_body:
        return Said(True, message["lastUpdateId"], rows(message["bids"]), rows(message["asks"]))
    data = message.get("data", message)
    return Said(False, data["u"], rows(data["b"]), rows(data["a"]))


def rows(levels: list[list[str]]) -> list[Row]:
    return [(price, amount) for price, amount in levels]


class VenueTexts:
    """The book at every place it was at. Changes before the first whole book are kept for it."""

    def __init__(self) -> None:
        self.at: dict[int, tuple[dict[str, str], dict[str, str]]] = {}
        self.place: int | None = None
        self._kept: list[Said] = []

    def hear(self, one: Said) -> None:
        if one.whole:
            self.place = one.place
            self.at[one.place] = dict(one.bids), dict(one.asks)
            kept, self._kept = self._kept, []
            for change in kept:
                self.hear(change)
        elif self.place is None:
            self._kept.append(one)
        elif one.place > self.place:
            sides = tuple(dict(side) for side in self.at[self.place])
            for side, changed in zip(sides, (one.bids, one.asks), strict=True):
                for price, amount in changed:
                    side[price] = amount
                    if Decimal(amount) == 0:
                        del side[price]
            self.place, self.at[one.place] = one.place, (sides[0], sides[1])

    def top(self, place: int, count: int) -> tuple[list[Row], list[Row]]:
        """The best ``count`` levels of each side there, best first."""
        bids, asks = (sorted(side.items(), key=_price) for side in self.at[place])
        return bids[::-1][:count], asks[:count]

    def whole(self) -> tuple[list[Row], list[Row]]:
        assert self.place is not None
        return self.top(self.place, len(self.at[self.place][0]) + len(self.at[self.place][1]))


def _price(row: Row) -> Decimal:
    return Decimal(row[0])


def whole_message(venue: str, place: int, bids: list[Row], asks: list[Row]) -> Any:
    """A whole book as ``venue`` would give it for a sync: REST's answer (decoded), or a message of the stream."""
    if venue == "bybit":
        data = {"s": "X", "b": bids, "a": asks, "u": place}
        return orjson.dumps({"topic": "orderbook.200.X", "type": "snapshot", "ts": 1, "data": data})
    return orjson.loads(orjson.dumps({"lastUpdateId": place, "bids": bids, "asks": asks}))
