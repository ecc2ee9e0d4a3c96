"""What people type: durations, instants, JSON, names of jobs."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import typer

from .errors import UsageProblem

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
#: An epoch time in ms has this many digits from 2001 to 2286; shorter numbers are seconds ago.
_EPOCH_MS_DIGITS = 13
_LONGEST_MS = 100 * 365 * 86_400_000
#: Amounts and counts beyond this are no longer exact on the wire.
_MOST = 2**53 - 1
_LONGEST_COUNT = 15


def duration(text: str) -> int:
    """Read `500ms 30s 5m 2h 1d`, or a plain number of seconds, as milliseconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"'{text}' is not a duration: write 500ms, 30s, 5m, 2h, 1d or seconds")
    amount = float(match[1]) * _UNITS_MS[match[2] or "s"]
    if not math.isfinite(amount) or amount > _LONGEST_MS:
        raise typer.BadParameter(f"'{text}' is longer than 100 years")
    return round(amount)


def positive_duration(text: str) -> int:
    """Read a duration that must not be zero."""
    milliseconds = duration(text)
    if milliseconds <= 0:
        raise typer.BadParameter(f"'{text}' must be longer than 0")
    return milliseconds


def some_text(text: str) -> str:
    """Refuse what is empty: a variable that was not set must not choose another server."""
    if not text.strip():
        raise typer.BadParameter("it is empty")
    return text


def some_path(text: str) -> Path:
    """Read a path; an empty one would be the current folder."""
    return Path(some_text(text))


def amount(text: str) -> float:
    """Read a number of tokens or an amount of money: finite, not negative."""
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not 0 <= number <= _MOST:
        raise typer.BadParameter(f"'{text}' is not an amount: write a number from 0 upwards, as 5000 or 0.25")
    return number


def amount_for(text: str) -> tuple[str, float]:
    """Split `CATEGORY=N`."""
    category, equals, number = text.rpartition("=")
    if not equals or not category or not category.isprintable():
        raise typer.BadParameter(f"'{text}' should be CATEGORY=N, for example output=5000")
    return category, amount(number)


def rate(text: str) -> tuple[int, int]:
    """Read `60/1m`, so many starts in so long, as (starts, ms); without a duration it is a minute."""
    starts, slash, window = text.partition("/")
    if not (starts.isascii() and starts.isdigit() and len(starts) <= _LONGEST_COUNT and int(starts)):
        raise typer.BadParameter(f"'{text}' is not a rate: write N/DUR, for example 60/1m, N at least 1")
    return int(starts), positive_duration(window) if slash else _UNITS_MS["m"]


def instant(text: str) -> int:
    """Read ISO 8601, epoch ms, or a duration meaning "ago", as epoch ms; a time without zone is local."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) >= _EPOCH_MS_DIGITS:
        return int(text)
    if _DURATION.fullmatch(text):
        return time.time_ns() // 1_000_000 - duration(text)
    try:
        moment = datetime.fromisoformat(text)
        return int(moment.astimezone(UTC).timestamp() * 1_000)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"'{text}' is not a time: write ISO 8601 (2026-01-31T12:00:00Z), epoch ms, or how long ago (5m)"
        ) from None


def json_argument(text: str, option: str) -> Any:
    """Read the JSON of an option from the text itself, from `@file`, or from standard input (`-`).

    Raises UsageProblem.
    """
    source = option
    if text == "-":
        source, text = f"{option} (standard input)", standard_input()
    elif text.startswith("@"):
        source, text = f"{option} ({text[1:]})", _file(text[1:])
    return parse_json(text, source)


def json_object(text: str, option: str) -> dict[str, Any]:
    """Read a JSON object as `json_argument` does."""
    value = json_argument(text, option)
    if not isinstance(value, dict):
        raise UsageProblem(f"{option} must be a JSON object")
    return value


def parse_json(text: str, source: str) -> Any:
    """Parse strict JSON (no NaN, no infinities); `source` is named when it is not. Raises UsageProblem."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno} " if "\n" in text else ""
        raise UsageProblem(f"{source}: not valid JSON: {error.msg} at {line}column {error.colno}") from None
    except RecursionError:
        raise UsageProblem(f"{source}: not usable JSON: nested too deeply") from None
    except ValueError as error:
        raise UsageProblem(f"{source}: not valid JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def standard_input() -> str:
    """Read what is piped in. Raises UsageProblem when nothing is."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageProblem("'-' reads standard input, but nothing is piped into it")
    return decoded(sys.stdin.buffer.read(), "standard input")


def _file(name: str) -> str:
    try:
        return decoded(Path(name).read_bytes(), name)
    except (OSError, ValueError) as error:
        raise UsageProblem(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from None


def decoded(content: bytes, source: str) -> str:
    """Read bytes as UTF-8 text. Raises UsageProblem."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageProblem(f"{source} is not UTF-8 text") from None


def where_clause(text: str) -> tuple[str, Any]:
    """Split `KEY=JSON`; a value that is not JSON is taken as text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"'{text}' should be KEY=JSON, for example user=42 or tier='\"gold\"'")
    try:
        return key, json.loads(value, parse_constant=_refuse_constant)
    except ValueError:
        return key, value
