"""Counters for what happens with every message: an addition where Prometheus's own take a lock and four calls.

A fifth of the calls on the way of a message were theirs (``scripts/bench_choices.py``). Only the loop's thread counts;
whoever asks for metrics reads.
"""

from collections.abc import Iterator, Sequence

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Tally:
    """One series. Its owner adds to ``count``."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Tallies(Collector):
    """A counter by labels, for whoever asks for metrics."""

    def __init__(self, name: str, words: str, labels: Sequence[str] = ()) -> None:
        self._name, self._words, self._labels = name, words, labels
        self._tallies: dict[tuple[str, ...], Tally] = {}
        REGISTRY.register(self)

    def labels(self, *values: str) -> Tally:
        """The series of these values, the same one each time."""
        return self._tallies.setdefault(values, Tally())

    def describe(self) -> list[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._words, labels=self._labels)]

    def collect(self) -> Iterator[CounterMetricFamily]:
        (family,) = self.describe()
        for values, tally in list(self._tallies.items()):
            family.add_metric(values, tally.count)
        yield family
