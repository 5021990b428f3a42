"""How late the loop is, and what is written down of what held it up."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from gateway.lag import EVERY, JUMP, LoopWatch

SHORT = 0.05  # seconds a loop may be held up here


@asynccontextmanager
async def watched(watch: LoopWatch) -> AsyncIterator[None]:
    """Until the watch has looked once, and while the test goes on."""
    before = looks()
    task = asyncio.create_task(watch.run())
    await until_looked(before)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until_looked(before: float) -> None:
    async with asyncio.timeout(5.0):
        while looks() == before:  # noqa: ASYNC110  # a metric has no event
            await asyncio.sleep(0.01)


def looks() -> float:
    return REGISTRY.get_sample_value("gateway_loop_lag_seconds_count") or 0.0


def looks_within(seconds: str) -> float:
    return REGISTRY.get_sample_value("gateway_loop_lag_seconds_bucket", {"le": seconds}) or 0.0


def hold_the_loop_up(seconds: float) -> None:
    time.sleep(seconds)


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "gateway.lag"]


async def test_what_holds_the_loop_up_is_named_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with watched(LoopWatch(too_long=SHORT)):
        before, late = looks(), looks() - looks_within("0.25")
        hold_the_loop_up(EVERY + 0.5)
        await until_looked(before)
        counted = looks() - looks_within("0.25") - late

    (record,) = said(caplog)
    assert (record.message, record.levelname, counted) == ("loop_held_up", "WARNING", 1)
    assert "hold_the_loop_up" in record.at  # type: ignore[attr-defined]


async def test_of_a_loop_that_comes_back_in_time_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    async with watched(LoopWatch(too_long=5.0)):
        before = looks()
        hold_the_loop_up(EVERY + 0.1)
        await until_looked(before)

    assert said(caplog) == []


@pytest.mark.parametrize(
    ("jump", "counted"), [(0.0, 0), (JUMP / 2, 0), (3600.0, 1), (-3600.0, 1)], ids=["none", "small", "on", "back"]
)
async def test_a_wall_clock_that_is_set_is_counted(caplog: pytest.LogCaptureFixture, jump: float, counted: int) -> None:
    before = REGISTRY.get_sample_value("gateway_clock_jumps_total") or 0.0
    shift = [0.0]
    async with watched(LoopWatch(too_long=5.0, wall=lambda: time.time() + shift[0])):
        shift[0] = jump
        await until_looked(looks())

    assert (REGISTRY.get_sample_value("gateway_clock_jumps_total") or 0.0) - before == counted
    assert [record.message for record in said(caplog)] == ["clock_jumped"] * counted


async def test_the_thread_ends_with_the_watch() -> None:
    async with watched(LoopWatch()):
        during = [one for one in threading.enumerate() if one.name == "loop watch"]
    after = [one for one in threading.enumerate() if one.name == "loop watch"]

    assert (len(during), after) == (1, [])
