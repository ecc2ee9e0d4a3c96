"""What people type: durations, instants, JSON, names of jobs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from ..text.parse import LONGEST_MS, parse_amount, parse_duration, parse_rate
from .errors import UsageProblem

T = TypeVar("T")

#: An option that has parts, in its JSON form on the wire.
Parsed = dict[str, Any]

#: An epoch time in ms has this many digits from 2001 to 2286; shorter numbers are seconds ago.
_EPOCH_MS_DIGITS = 13


def _typed(text: str, value: T | str) -> T:
    """Return what was read from a text. Raises BadParameter with what is wrong with it."""
    if isinstance(value, str):
        raise typer.BadParameter(f"'{text}': {value}")
    return value


def duration(text: str) -> int:
    """Read `500ms 30s 5m 2h 1d`, or a plain number of seconds, as milliseconds."""
    return _typed(text, parse_duration(text))


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
    return _typed(text, parse_amount(some_text(text)))


def amount_for(text: str) -> tuple[str, float]:
    """Split `CATEGORY=N`."""
    category, equals, number = text.rpartition("=")
    if not equals or not category or not category.isprintable():
        raise typer.BadParameter(f"'{text}' should be CATEGORY=N, for example output=5000")
    return category, amount(number)


def rate(text: str) -> tuple[int, int]:
    """Read `60/1m`, so many starts in so long, as (starts, ms); without a duration it is a minute."""
    return _typed(text, parse_rate(text, LONGEST_MS))


def backoff_option(text: str) -> Parsed:
    """Read `DUR`, a fixed wait, or `TYPE:DUR[:JITTER]`."""
    kind, *parts = text.split(":") if ":" in text else ["fixed", text]
    if not kind or not 1 <= len(parts) <= 2:
        raise typer.BadParameter(f"'{text}' should be [TYPE:]DUR[:JITTER], for example exponential:1s:0.2")
    jitter = {"jitter": amount(parts[1])} if len(parts) == 2 else {}
    return {"type": kind, "delay": duration(parts[0]), **jitter}


def deduplication_option(text: str) -> Parsed:
    """Read `ID[,ttl=DUR][,mode=MODE]`; an id may hold colons and commas."""
    return _with_parts(text, "id", {"ttl": duration, "mode": _mode})


def ordering_option(text: str) -> Parsed:
    """Read `KEY[,concurrency=N][,rate=N/DUR]`; a key may hold colons and commas."""
    found = _with_parts(text, "key", {"concurrency": _whole, "rate": rate})
    if "rate" in found:
        starts, window_ms = found.pop("rate")
        found["rateLimit"] = {"max": starts, "duration": window_ms}
    return found


def _with_parts(text: str, first: str, readers: dict[str, Callable[[str], Any]]) -> Parsed:
    """Read a text and what is said about it behind commas, from the end on."""
    found: Parsed = {}
    while True:
        rest, comma, part = text.rpartition(",")
        name, equals, value = part.partition("=")
        if not comma or not equals or not name.isidentifier():
            break
        if name not in readers:
            raise typer.BadParameter(f"unknown part ',{name}='; there are {', '.join(readers)}")
        if name in found:
            raise typer.BadParameter(f"{name} is given twice")
        found[name] = readers[name](value)
        text = rest
    return {first: some_text(text), **found}


def _mode(text: str) -> str:
    if text not in ("simple", "throttle", "debounce"):
        raise typer.BadParameter(f"'{text}' should be simple, throttle or debounce")
    return text


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise typer.BadParameter(f"'{text}' should be a whole number")
    return int(text)


def instant(text: str) -> int:
    """Read ISO 8601, epoch ms, or a duration meaning "ago", as epoch ms; a time without zone is local."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) >= _EPOCH_MS_DIGITS:
        return int(text)
    if isinstance(ago_ms := parse_duration(text), int):
        return time.time_ns() // 1_000_000 - ago_ms
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


def job_filter(text: str) -> str:
    """Check a filter of jobs, or find a saved one. Raises BadParameter that says where it is wrong."""
    return _checked(text, "jobs")


def failure_filter(text: str) -> str:
    """Check a filter of failures, or find a saved one. Raises BadParameter that says where it is wrong."""
    return _checked(text, "failures")


def letter_filter(text: str) -> str:
    """Check a filter of dead letters, or find a saved one. Raises BadParameter that says where it is wrong."""
    return _checked(text, "letters")


def flow_filter(text: str) -> str:
    """Check a filter of flows, or find a saved one. Raises BadParameter that says where it is wrong."""
    return _checked(text, "flows")


def _checked(text: str, screen: str) -> str:
    """Check a filter; `@NAME` is the one that is saved for a screen under a name."""
    from ..model.lists.filters import problem_of

    is_saved = text.startswith("@")
    found = _saved_filter(text, screen) if is_saved else text
    if (problem := problem_of(screen, found)) is not None:
        raise typer.BadParameter(f"saved filter '{text}', {problem}" if is_saved else problem)
    return found


def _saved_filter(text: str, screen: str) -> str:
    """Return the filter that `@NAME` stands for. Raises BadParameter."""
    from ..config import file, filters

    name = text.removeprefix("@")
    saved: dict[str, dict[str, str]] = file.load(file.config_path()).get("filters", {})
    if name in (known := saved.get(screen, {})):
        return known[name]
    problem = filters.name_problem(name) or filters.unknown_filter(saved, screen, name)
    raise typer.BadParameter(f"@NAME is a saved filter: {problem}; in quotes, '\"@…\"', it is a text")
