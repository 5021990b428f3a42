"""Log lines do not depend on what else happens to be installed."""

import logging
from collections.abc import Iterator

import pytest

from gateway import logs


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, left as it was."""
    logger = logging.getLogger()
    before = logger.handlers, logger.level
    yield logger
    logger.handlers, logger.level = before


def test_a_traceback_on_the_console_is_drawn_in_no_boxes(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("console", "error")
    try:
        raise RuntimeError("out of paper")
    except RuntimeError:
        root.exception("failed")
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "RuntimeError: out of paper"
