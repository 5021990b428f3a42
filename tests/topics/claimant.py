"""A feed that remembers what it is told of its lease."""

from typing import Any

from topics.place import Place


def place(number: int = 0) -> Place:
    return Place(*(f"{{feed {number}}}:{name}" for name in Place._fields))


class Feed:
    """Implements ``claim.Claimant``."""

    def __init__(self, where: Place | None = None, *, epoch: int = 0) -> None:
        self.place, self.epoch = where or place(), epoch
        self.said: list[Any] = []  # by the leases
        self.until = self.followed = None

    def owned(self, epoch: int, *, until: float, followed: bool) -> None:
        self.epoch, self.until, self.followed = epoch, until, followed
        self.said.append(epoch)

    def held(self, owner: str) -> None:
        self.epoch = 0
        self.said.append(owner)

    def away(self) -> None:
        self.said.append("away")

    def untold(self) -> None:
        self.said.append("untold")

    @property
    def answers(self) -> list[Any]:
        return [word for word in self.said if word != "untold"]
