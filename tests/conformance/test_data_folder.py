"""Recordings that nobody offered are skipped; recordings that were promised and are not there are a failure."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.recordings import VARIABLE

Runs = Mapping[str, subprocess.Popen[str]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """What pytest makes of a file beside this one, by the folder that was named."""
    bare = tmp_path_factory.mktemp("bare")
    folders = {"none": None, "nothing": "", "missing": str(bare / "missing"), "bare": str(bare)}
    tested = Path(__file__).with_name("test_ccxt.py")
    plugins = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # the second takes longer to load than the rest
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *plugins, str(tested)]
    with ExitStack() as stack:
        started = {}
        for name, folder in folders.items():
            environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
            environment |= {} if folder is None else {VARIABLE: folder}
            run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            started[name] = stack.enter_context(run)
        yield started


def test_without_the_variable_every_test_is_skipped_for_one_reason(runs: Runs) -> None:
    said, _ = runs["none"].communicate(timeout=60)

    assert runs["none"].returncode == 0, said
    assert " passed" not in said
    assert f"{VARIABLE} names no folder" in said


@pytest.mark.parametrize("named", ["nothing", "missing", "bare"])
def test_a_folder_without_recordings_is_a_failure(named: str, runs: Runs) -> None:
    said, _ = runs[named].communicate(timeout=60)

    assert runs[named].returncode == 1, said
    assert " passed" not in said
    assert "lacks these recordings" in said
