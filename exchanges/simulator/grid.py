"""Exact decimals without ``Decimal`` in the hot path: whole numbers of steps, written as text only at the edge."""

from decimal import Decimal


class Grid:
    """The values a venue allows for a price, an amount or a cost: whole multiples of ``step``.

    ``decimals`` is how many a venue writes; futures write as many as the step has ("68405.10"), Binance spot always 8.
    """

    __slots__ = ("_scale", "_unit", "decimals", "step")

    def __init__(self, step: str, decimals: int | None = None) -> None:
        own = -int(Decimal(step).as_tuple().exponent)
        self.step = step
        self.decimals = max(own, 0) if decimals is None else decimals
        self._scale = 10**self.decimals
        unit = Decimal(step) * self._scale
        assert unit == int(unit), f"{step} cannot be written with {decimals} decimals"
        self._unit = int(unit)

    def text(self, count: int) -> str:
        """``count`` steps as the venue writes it; exact."""
        if self.decimals == 0:
            return str(count * self._unit)
        if count < 0:
            return f"-{self.text(-count)}"
        whole, part = divmod(count * self._unit, self._scale)
        return f"{whole}.{part:0{self.decimals}d}"

    def count(self, text: str) -> int:
        """How many steps ``text`` is; the inverse of ``text()``, rounded to the grid."""
        return int((Decimal(text) / Decimal(self.step)).to_integral_value())

    def times(self, other: "Grid", decimals: int | None = None) -> "Grid":
        """The grid of products, so that a cost (price steps times amount steps) is exact as well."""
        product = Decimal(self.step) * Decimal(other.step)
        return Grid(f"{product:f}", self.decimals + other.decimals if decimals is None else decimals)
