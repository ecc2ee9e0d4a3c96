"""The log of `glidemq worker`: configured only when the application has not done it."""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from .errors import Report

#: Characters of one log record.
_RECORD = 20_000
#: Integers from here on are written as text: what they mean to a parser is its own affair.
_LARGE = 2**63
#: What every record has; the rest are extras, such as `job`, `attempt` and `duration_ms` of a failed attempt.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}


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


def narrator(form: LogFormat, note: Callable[[str], None]) -> Callable[[str], None]:
    """Return what tells how the command goes: as a line for people, or as a record among the others."""
    return logging.getLogger("glidemq.worker").info if form is LogFormat.JSON else note


def error_record(shown: Report, error: BaseException | None) -> str:
    """Return what ended the command as one record among the others, with the trace of `error` if there is one."""
    attributes = {
        "name": "glidemq.worker",
        "levelname": "ERROR",
        "msg": shown.message,
        "exc_info": error and (type(error), error, error.__traceback__),
        "error": shown.type,
        "exit_code": int(shown.exit_code),
    }
    return _JsonFormatter().format(logging.makeLogRecord(attributes))


class _SafeFormatter(logging.Formatter):
    """Errors quote what jobs hold: no log line may control the terminal it is read on."""

    def format(self, record: logging.LogRecord) -> str:
        from glidemq_console.text.safe import clean

        return clean(super().format(record), limit=_RECORD)


class _JsonFormatter(logging.Formatter):
    """One JSON object a line, whatever a record holds: time, level, logger, message, and its extras."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at_ms": int(record.created * 1000),
            "level": _text(str(record.levelname).lower()),
            "logger": _text(str(record.name)),
            "message": _text(_message(record)),
        }
        extras = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
        for name, value in (_span() | extras).items():
            line.setdefault(_text(name), _plain(value))
        if record.exc_info and record.exc_info[0] is not None:
            line["trace"] = _text(self.formatException(record.exc_info)[-_RECORD:])
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record; if its arguments do not fit its text, the text."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - whatever the arguments raise, the line is written
        return f"{record.msg} ({type(error).__name__} in its arguments)"


def _plain(value: Any) -> Any:
    """Return an extra as JSON can carry it: numbers and words as they are, everything else as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGE else hex(value)[:_RECORD]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    try:
        return _text(str(value))
    except Exception as error:  # noqa: BLE001 - an object that cannot name itself
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _text(text: str) -> str:
    """Return a text of bounded length; half a pair of surrogates, which strict parsers refuse, becomes a mark."""
    return text[:_RECORD].encode("utf-8", "replace").decode("utf-8")


def _span() -> dict[str, str]:
    """Return trace and span of OpenTelemetry, if the application uses it and one is current."""
    tracing = sys.modules.get("opentelemetry.trace")
    context = tracing.get_current_span().get_span_context() if tracing is not None else None
    if context is None or not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
