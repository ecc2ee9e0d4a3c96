"""A scheduler's timing in words: `every day at 03:00 Europe/Berlin`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import InvalidOptionError
from ..options.fields import from_epoch_ms
from .cron import Cron, parse_cron
from .next_run import Timing

_UNITS: Final = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000), ("second", 1_000))
_WEEKDAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    *("", "January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
#: Times of a day that are listed one by one.
_MOST_TIMES: Final = 4


def describe(timing: Timing, limit: int | None = None) -> str:
    """Say when a scheduler runs; an expression that no words fit is quoted."""
    words = _mode(timing)
    if limit is not None:
        words += f", at most {_count(limit, 'time')}"
    for word, bound in (("from", timing.start_date), ("until", timing.end_date)):
        moment = None if bound is None else from_epoch_ms(bound)
        if moment is not None:
            words += f", {word} {moment:%Y-%m-%d %H:%M} UTC"
    return words


def _mode(timing: Timing) -> str:
    if timing.pattern is not None:
        return _cron(timing.pattern, timing.tz or "UTC")
    if timing.every is not None:
        return "every " + _duration(timing.every).removeprefix("1 ")
    if timing.repeat_after_complete is not None:
        return f"{_duration(timing.repeat_after_complete)} after each run ends"
    return "never: it has no timing"


def _cron(pattern: str, zone: str) -> str:
    try:
        cron = parse_cron(pattern)
    except InvalidOptionError:
        return f"cron '{pattern}'"
    times, days = _times(cron), _days(cron)
    if times is None:
        return f"cron '{pattern}' {zone}"
    if times.startswith("at "):
        return f"{days or 'every day'} {times} {zone}"
    return f"{times} on {days} {zone}" if days else times


def _times(cron: Cron) -> str | None:
    """Return when within a day: `at 03:00`, `every 5 minutes`; None when it takes too many words."""
    step = _step(cron.minutes, 60)
    if len(cron.hours) == 24:
        if len(cron.minutes) == 1:
            return f"every hour at minute {cron.minutes[0]}" if cron.minutes[0] else "every hour"
        if step is not None and cron.minutes[0] == 0:
            return "every " + _count(step, "minute").removeprefix("1 ")
        return None
    if len(cron.hours) * len(cron.minutes) <= _MOST_TIMES:
        return "at " + _listed([f"{hour:02}:{minute:02}" for hour in cron.hours for minute in cron.minutes])
    step = _step(cron.hours, 24)
    if step is not None and cron.hours[0] == 0 and len(cron.minutes) == 1:
        return f"every {step} hours at minute {cron.minutes[0]}"
    return None


def _days(cron: Cron) -> str:
    """Return on which days: `Monday to Friday`, `day 1 of each month`; empty for every day."""
    weekdays = "" if len(cron.weekdays) == 7 else _spanned(cron.weekdays, _WEEKDAYS)
    months = "" if len(cron.months) == 12 else _spanned(cron.months, _MONTHS)
    if len(cron.days) == 31:
        return f"{weekdays or 'every day'} in {months}" if months else weekdays
    days = ("day " if len(cron.days) == 1 else "days ") + _spanned(cron.days, range(32))
    dated = f"{days} of {months or 'each month'}"
    return f"{weekdays} that is {dated}" if weekdays else dated


def _step(values: Sequence[int], size: int) -> int | None:
    """Return the step of values that divide an hour or a day evenly; None for others."""
    step = size // len(values)
    return step if list(values) == list(range(values[0], size, step)) and size % len(values) == 0 else None


def _spanned(values: Sequence[int], names: Sequence[object]) -> str:
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{names[values[0]]} to {names[values[-1]]}"
    return _listed([str(names[value]) for value in values])


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _duration(ms: int) -> str:
    for name, size in _UNITS:
        if ms % size == 0:
            return _count(ms // size, name)
    return f"{ms} ms"


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"
