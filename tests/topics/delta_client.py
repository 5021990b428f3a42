"""A client of a book in delta mode, written from docs/protocol.md alone: texts in dicts, and its own checksum."""

from decimal import Decimal
from typing import Any
from zlib import crc32

Row = tuple[str, str]


class DeltaClient:
    """Holds one view's book and checks every frame against what it holds."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.cursor: str | None = None
        self.sides: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
        self.kinds: list[str] = []  # "delta", or a snapshot's reason
        self.checksums = 0  # frames that had one

    def take(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["kind"] == "snapshot":
            self.kinds.append(message["reason"])
            self.sides = {"bids": {}, "asks": {}}
            assert "checksum" in message
        else:
            assert message["kind"] == "delta"
            self.kinds.append("delta")
            assert message["prev"] == self.cursor, "the chain is broken"
            assert data["bids"] or data["asks"], "a delta that says nothing"
        self.cursor = message["cursor"]
        for name, side in self.sides.items():
            for price, amount in data[name]:
                if Decimal(amount) == 0:
                    side.pop(price, None)
                else:
                    side[price] = amount
            for price, _ in self.rows(name)[self.levels :]:
                del side[price]
        if "checksum" in message:
            self.checksums += 1
            assert message["checksum"] == self._checksum()

    def rows(self, side: str) -> list[Row]:
        """Best first."""
        return sorted(self.sides[side].items(), key=lambda row: Decimal(row[0]), reverse=side == "bids")

    @property
    def book(self) -> tuple[list[Row], list[Row]]:
        return self.rows("bids"), self.rows("asks")

    def _checksum(self) -> int:
        """Over the ten best levels, bid and ask in turn, one that is not there skipped."""
        text = []
        bids, asks = self.book
        for level in range(min(10, self.levels)):
            text += [":".join(rows[level]) for rows in (bids, asks) if level < len(rows)]
        return crc32(":".join(text).encode())
