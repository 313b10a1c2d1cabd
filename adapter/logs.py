"""Logs: one JSON object a line, of the fields on a list. What is not on the list is left out, never masked.

A record number has no shape by which it could be found and blanked, and libraries log whole URLs. So of our
own records only :data:`FIELDS` are written, and of those of libraries only who logged, how grave it is and
the class of the fault.
"""

from __future__ import annotations

import logging
import sys
from typing import IO, Any

import structlog
from structlog.typing import EventDict, Processor

# Counts, names of our own words, times, hashes. No URL, path as sent, account, reference or text.
FIELDS = frozenset(
    {
        "event", "level", "logger", "timestamp", "fault", "exit_code",
        "method", "route", "status", "milliseconds", "request",
        "action", "step", "state", "study", "site", "as_of", "profile", "version",
        "people", "resources", "issues", "messages", "waiting", "changes", "judged", "unchanged",
        "written", "refused", "alerts", "overdue", "partial", "left_out",
    }
)  # fmt: skip
_OURS = "adapter"


def listed(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Only the fields on the list; ``left_out`` counts the others."""
    kept = {name: value for name, value in event.items() if name in FIELDS}
    missing = len(event) - len(kept)
    return {**kept, "left_out": missing} if missing else kept


def _of_library(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Of a record made by the standard ``logging``: its template if it is ours, never what was filled in."""
    record: logging.LogRecord = event["_record"]
    ours = record.name == _OURS or record.name.startswith(f"{_OURS}.")
    event["event"] = str(record.msg) if ours else "log"
    event["exc_info"] = record.exc_info
    return event


def _fault(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Of an exception its class: its text may quote a line of the hospital's data."""
    exc_info = event.pop("exc_info", None)
    if exc_info is True:
        exc_info = sys.exc_info()
    kind = type(exc_info) if isinstance(exc_info, BaseException) else (exc_info or (None,))[0]
    return {**event, "fault": kind.__name__} if kind is not None else event


_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
# Whoever uses the adapter as a library decides where logs go; what they may hold is decided here.
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED,
        _fault,
        listed,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
)


def configure(stream: IO[str] | None = None, level: int = logging.INFO) -> None:
    """Send every log of this process to ``stream`` (standard error) in this form; replaces other handlers."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, _of_library],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _fault,
                listed,
                structlog.processors.JSONRenderer(sort_keys=True, ensure_ascii=True),
            ],
            use_get_message=False,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in ("httpx", "httpcore", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log() -> structlog.stdlib.BoundLogger:
    """``log().info("screened", people=12)``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(_OURS)
    return logger
