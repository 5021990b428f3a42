"""One side of an order book, in ticks and steps."""

from bisect import bisect_left, insort


class Levels:
    """Amounts by price, and the prices in order.

    Keys are ordered so that the best price is last for both sides (asks by their negative): the touch changes most,
    and the end of a list is its cheap end.
    """

    __slots__ = ("_keys", "_sign", "amounts")

    def __init__(self, *, highest_is_best: bool) -> None:
        self.amounts: dict[int, int] = {}
        self._keys: list[int] = []
        self._sign = 1 if highest_is_best else -1

    def __len__(self) -> int:
        return len(self._keys)

    def set(self, price: int, amount: int) -> None:
        """Make ``amount`` the total at ``price``; 0 removes the level, if it is there."""
        key = price * self._sign
        if amount == 0:
            if self.amounts.pop(price, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
            return
        if price not in self.amounts:
            insort(self._keys, key)
        self.amounts[price] = amount

    @property
    def best(self) -> int:
        return self._keys[-1] * self._sign

    @property
    def worst(self) -> int:
        return self._keys[0] * self._sign

    def nth(self, index: int) -> int:
        """The price of the level ``index`` places behind the best."""
        return self._keys[-1 - index] * self._sign

    def top(self, count: int | None = None) -> list[tuple[int, int]]:
        """The best ``count`` levels (None: all) as (price, amount), best first."""
        keys = self._keys if count is None else self._keys[-count:]
        return [(key * self._sign, self.amounts[key * self._sign]) for key in reversed(keys)]
