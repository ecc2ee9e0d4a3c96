"""The log of `glidemq worker`: configured only when the application has not done it."""

from __future__ import annotations

import json
import logging
import sys
from enum import StrEnum
from typing import Any

#: Characters of one log record.
_RECORD = 20_000
#: Fields of a failed attempt that are logged beside its message.
_EXTRAS = ("job", "attempt", "duration_ms")


class LogLevel(StrEnum):
    """The least severe records that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a record is written."""

    TEXT = "text"
    JSON = "json"


def configure_logging(level: LogLevel | None, form: LogFormat) -> bool:
    """Write log records to standard error unless the application, imported by now, has configured logging.

    Args:
        level: of the loggers of glidemq in either case; None is `info`, or what the application has set.
    Returns:
        Whether records are written as asked for here.
    """
    logger = logging.getLogger("glidemq")
    if level is not None:
        logger.setLevel(level.value.upper())
    if logger.hasHandlers():
        return False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonFormatter()
        if form is LogFormat.JSON
        else _SafeFormatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    )
    logging.basicConfig(level=(level or LogLevel.INFO).value.upper(), handlers=[handler])
    return True


class _SafeFormatter(logging.Formatter):
    """Errors quote what jobs hold: no log line may control the terminal it is read on."""

    def format(self, record: logging.LogRecord) -> str:
        from glidemq_console.text.safe import clean

        return clean(super().format(record), limit=_RECORD)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _EXTRAS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = self.formatException(record.exc_info)[-_RECORD:]
        return json.dumps(line, default=str)
