"""What a worker is told by the process that started it, and how it is watched. Of real ones: ``tests/system``."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from gateway import cli, workers
from gateway.workers import LOOKS, Worker


@pytest.mark.parametrize(
    "worker",
    [
        Worker(1, Path("/tmp/market-gateway-x"), 3, 4),
        Worker(64, Path("/tmp/with spaces:and:colons"), 17, 1023),
    ],
)
def test_a_worker_is_told_all_on_its_command_line(worker: Worker) -> None:
    arguments = cli.parser().parse_args(["serve", "--config", "x.toml", *worker.arguments])

    assert (arguments.worker, arguments.config, arguments.command) == (worker, Path("x.toml"), cli.serve)


def test_a_gateway_that_nobody_started_as_a_worker_is_none() -> None:
    assert cli.parser().parse_args(["serve"]).worker is None


@pytest.mark.parametrize("text", ["", "1:2:3", "one:2:3:/tmp", "1:2:x:/tmp"])
def test_what_is_no_worker_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["serve", "--worker", text])

    assert "invalid parse value" in capsys.readouterr().err


async def test_a_worker_is_told_once_to_end_when_the_process_that_started_it_has(tmp_path: Path) -> None:
    loop, told, heard = asyncio.get_running_loop(), list[float](), asyncio.Event()

    def terminate() -> None:
        told.append(loop.time())
        heard.set()

    alive, started_by = os.pipe()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        Worker(1, tmp_path, 0, alive).watch()
        for _ in range(20):
            await asyncio.sleep(0)
        early = len(told)
        os.close(started_by)
        async with asyncio.timeout(2.0):
            await heard.wait()
        for _ in range(20):
            await asyncio.sleep(0)
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_reader(alive)
        os.close(alive)

    assert (early, len(told)) == (0, 1)


class Scripted:
    """Has the shape of ``Siblings`` and of a process: answers as it is told, and says when it is killed."""

    def __init__(self, *answers: bool) -> None:
        self._answers = list(answers)
        self.asked = list[tuple[int, str]]()
        self.killed = asyncio.Event()

    async def ask_one(self, number: int, question: str) -> bytes:
        self.asked.append((number, question))
        return b"yes" if self._answers and self._answers.pop(0) else b""

    def kill(self) -> None:
        self.killed.set()


@pytest.mark.parametrize(
    ("answers", "looks"),
    [
        ([], LOOKS),
        ([True] * 9, 9 + LOOKS),
        ([False] * (LOOKS - 1) + [True], LOOKS + LOOKS),
        ([True, False] * 5, 9 + LOOKS),
    ],
    ids=["never", "no more", "just in time", "now and then"],
)
async def test_a_worker_is_killed_when_it_does_not_answer_several_times_in_a_row(
    tmp_path: Path, answers: list[bool], looks: int
) -> None:
    scripted: Any = Scripted(*answers)
    async with asyncio.timeout(2.0):
        await workers._look_after(Worker(7, tmp_path, 0, 0), scripted, scripted, every=0.0)

    assert scripted.killed.is_set()
    assert scripted.asked == [(7, "alive")] * looks
