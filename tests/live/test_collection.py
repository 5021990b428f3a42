"""The live tests cannot run offline, but must not rot: they are collected, off by default, and turned by settings."""

import re
import sys

import pytest

from exchanges import registry
from exchanges.venue import CHANNELS
from tests.scripts.conftest import Outcome, run
from tests.system import processes

WORDS = {"trades": "test_trades", "orderbook": "test_a_book", "ohlcv": "test_candles", "REST": "test_rest"}


async def pytest_run(*arguments: str, **environment: str) -> Outcome:
    return await run(
        sys.executable, "-m", "pytest", "-q", *arguments, "tests/live/test_live.py", environment=environment
    )


async def test_they_are_off_unless_asked_for() -> None:
    outcome = await pytest_run()
    assert re.search(r"^\d+ deselected", outcome.lines[-1])
    assert outcome.status == pytest.ExitCode.NO_TESTS_COLLECTED


async def test_there_is_one_for_each_channel_and_for_rest_of_each_exchange() -> None:
    outcome = await pytest_run("-m", "live", "--collect-only")
    collected = [line for line in outcome.lines if "::" in line]
    wanted = {(WORDS[what], exchange) for what in (*CHANNELS, "REST") for exchange in registry.VENUES}
    found = {(word, line[line.index("[") + 1 : -1]) for line in collected for word in WORDS.values() if word in line}
    assert found == wanted
    assert len(collected) == len(wanted)


async def test_they_go_where_the_settings_say() -> None:
    with processes.simulator() as url:
        outcome = await pytest_run("-m", "live", "-k", "test_rest", **processes.simulated(url))
    assert outcome.lines[-1].startswith(f"{len(registry.VENUES)} passed"), outcome.lines
