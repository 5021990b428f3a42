"""Counters that cost an addition: what Prometheus is told of them."""

from collections.abc import Iterator
from itertools import count

import pytest
from prometheus_client import REGISTRY, generate_latest

from topics.tally import Tallies

names = (f"gateway_test_tally_{number}" for number in count())


@pytest.fixture
def name() -> str:
    return next(names)


@pytest.fixture
def tallies(name: str) -> Iterator[Tallies]:
    tallies = Tallies(name, "Words", ["exchange", "channel"])
    yield tallies
    REGISTRY.unregister(tallies)


def test_what_was_added_is_told_by_its_labels(tallies: Tallies, name: str) -> None:
    tallies.labels("binance", "trades").count += 3
    tallies.labels("bybit", "ohlcv").count += 1

    told = generate_latest().decode()

    assert f'{name}_total{{channel="trades",exchange="binance"}} 3.0' in told
    assert f'{name}_total{{channel="ohlcv",exchange="bybit"}} 1.0' in told
    assert f"# HELP {name}_total Words" in told


def test_a_series_is_told_from_when_it_is_asked_for_and_only_rises(tallies: Tallies, name: str) -> None:
    labels = {"exchange": "binance", "channel": "trades"}
    before = REGISTRY.get_sample_value(f"{name}_total", labels)

    tally = tallies.labels("binance", "trades")
    told = [REGISTRY.get_sample_value(f"{name}_total", labels)]
    tally.count += 2
    told.append(REGISTRY.get_sample_value(f"{name}_total", labels))

    assert (before, told) == (None, [0.0, 2.0])


def test_the_same_labels_are_the_same_series(tallies: Tallies) -> None:
    assert tallies.labels("binance", "trades") is tallies.labels("binance", "trades")


def test_a_name_is_given_once(tallies: Tallies, name: str) -> None:
    with pytest.raises(ValueError, match="Duplicated"):
        Tallies(name, "Other words")
