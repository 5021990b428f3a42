"""A bounded log whose entries are numbered densely, so that any number of readers keep their own place in it."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Journal(Generic[T]):
    """The newest entries of a log; the first entry ever has number 1.

    Keeps between ``capacity`` and twice ``capacity`` entries: trimming in blocks keeps ``append`` cheap.
    """

    __slots__ = ("_capacity", "_entries", "_forgotten")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: list[T] = []
        self._forgotten = 0

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 while there is none."""
        return self._forgotten + len(self._entries)

    @property
    def first(self) -> int:
        """The number of the oldest entry that is not forgotten."""
        return self._forgotten + 1

    def append(self, entry: T) -> None:
        self._entries.append(entry)
        if len(self._entries) >= 2 * self._capacity:
            del self._entries[: self._capacity]
            self._forgotten += self._capacity

    def since(self, number: int) -> list[T]:
        """The entries after ``number``, oldest first; silently fewer where they are forgotten."""
        return self._entries[max(0, number - self._forgotten) :]

    def newest(self, count: int) -> list[T]:
        """The last ``count`` entries, oldest first."""
        return self._entries[-count:] if count > 0 else []

    def between(self, low: int, high: int, *, key: Callable[[T], int]) -> list[T]:
        """The entries with low <= key <= high; ``key`` must never fall from one entry to the next."""
        start = bisect_left(self._entries, low, key=key)
        return self._entries[start : bisect_right(self._entries, high, lo=start, key=key)]
