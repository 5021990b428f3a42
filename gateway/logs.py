"""Log lines: the event's name first, facts beside it; JSON for machines, aligned text for people."""

import logging
from typing import Any, Literal

import structlog


def configure(form: Literal["json", "console"], level: str) -> None:
    """Send every logger's lines to standard error in one form."""
    steps: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    last: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if form == "json"
        # Plain tracebacks: by default structlog draws them in boxes where rich happens to be installed.
        else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn.error").addFilter(is_ours)
    for chatty in ("httpx2", "httpcore2", "websockets", "uvicorn.error"):
        logging.getLogger(chatty).setLevel("WARNING")


def is_ours(record: logging.LogRecord) -> bool:
    """uvicorn calls what any client or web page can make it do an error of the application: not ours."""
    message = record.getMessage()
    return "without completing handshake" not in message and "Invalid UTF-8 sequence" not in message
