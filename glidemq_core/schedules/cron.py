"""Cron expressions in the dialect of glide-mq, matched against wall clocks of any time zone.

Five fields: minute, hour, day of month, month, weekday (0 is Sunday). A field is a list of `*`, `n`, `a-b`, `*/s` and
`a-b/s`. Unlike classic cron, day of month and weekday must both match; 7 is no weekday and names are not known.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NoReturn

from ..options.fields import EPOCH, refuse

#: How far ahead a match is looked for.
HORIZON: Final = timedelta(days=3653)
#: Longer than any change of the clocks takes to show in the offset of the wall clock.
_CHANGE: Final = timedelta(hours=26)
_MINUTE_MS: Final = 60_000
_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 6),
)
_PART: Final = re.compile(r"(?:(\*)|(\d{1,4})(?:-(\d{1,4}))?)(?:/(\d{1,4}))?", re.ASCII)
#: Names that zone data folders hold beside the time zones that every peer knows.
_NO_ZONES: Final = ("localtime", "posixrules", "Factory", "posix/", "right/")


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression: the values of each field that match, in ascending order."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def walls(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Yield the matching wall clock times from `start` (a whole minute) to `end`, both naive."""
        day = start.replace(hour=0, minute=0)
        while day <= end:
            if day.month not in self.months:
                day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
                continue
            if day.day in self.days and day.isoweekday() % 7 in self.weekdays:
                yield from self._times(day, start)
            day += timedelta(days=1)

    def _times(self, day: datetime, start: datetime) -> Iterator[datetime]:
        is_first = day.date() == start.date()
        for hour in self.hours[bisect_left(self.hours, start.hour) if is_first else 0 :]:
            skipped = bisect_left(self.minutes, start.minute) if is_first and hour == start.hour else 0
            for minute in self.minutes[skipped:]:
                yield day.replace(hour=hour, minute=minute)


@lru_cache(1_024)
def parse_cron(pattern: str) -> Cron:
    """Parse an expression.

    Raises:
        InvalidOptionError: not of the dialect; the message names the field.
    """
    fields = pattern.split()
    if len(fields) != len(_FIELDS):
        _refuse(pattern, f"it has {len(fields)} fields, not five (minute hour day month weekday)")
    return Cron(*(_values(pattern, field, *kind) for field, kind in zip(fields, _FIELDS, strict=True)))


def _values(pattern: str, field: str, name: str, low: int, high: int) -> tuple[int, ...]:
    found: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            _refuse(pattern, f"{name} '{part}' is none of *, n, a-b, */s, a-b/s")
        star, first, last, step = match.groups()
        if step is not None and star is None and last is None:
            _refuse(pattern, f"{name} '{part}' has a step without a range: {first}-{high}/{step}")
        begin, end = (low, high) if star else (int(first), int(last or first))
        for value in (begin, end):
            if not low <= value <= high:
                sunday = "; Sunday is 0" if name == "weekday" and value == 7 else ""
                _refuse(pattern, f"{name} {value} is not within {low}-{high}{sunday}")
        if begin > end:
            _refuse(pattern, f"{name} '{part}' ends before it begins")
        if step is not None and int(step) < 1:
            _refuse(pattern, f"{name} '{part}' has the step 0")
        found.update(range(begin, end + 1, int(step or 1)))
    return tuple(sorted(found))


def _refuse(pattern: str, why: str) -> NoReturn:
    refuse("pattern", pattern, "five cron fields", f"pattern {pattern!r}: {why}")


def time_zone(name: str | None) -> tzinfo:
    """Return a time zone by its IANA name; None is UTC.

    Raises:
        InvalidOptionError: there is none of that name.
    """
    found = UTC if name is None else _known_zone(name)
    if found is None:
        refuse("tz", name, "an IANA time zone such as Europe/Berlin", f"tz {name!r} is no known time zone")
    return found


@lru_cache(256)
def _known_zone(name: str) -> tzinfo | None:
    # Loaded here: programs without schedulers do not pay for it.
    import zoneinfo

    def load(key: str) -> tzinfo | None:
        try:
            return zoneinfo.ZoneInfo(key)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            return None

    if not name or name.startswith(_NO_ZONES):
        return None
    found = load(name)
    if found is None:  # peers do not mind the case
        same = next((key for key in zoneinfo.available_timezones() if key.lower() == name.lower()), None)
        found = load(same) if same else None
    return found


def next_match(cron: Cron, zone: tzinfo, from_ms: int) -> int | None:
    """Return the first match at or after `from_ms`, epoch ms; None when there is none within ten years.

    A wall clock time that is skipped when clocks go forward is no match. One that comes twice when they go back matches
    once: the first time west of Greenwich, the second time east of it.
    """
    at_ms = -(-from_ms // _MINUTE_MS) * _MINUTE_MS
    try:
        at = EPOCH + timedelta(milliseconds=at_ms)
        # No wall clock time before this one comes at or after `at`, also when clocks go back meanwhile.
        start = (at + min(_offset(zone, at), _offset(zone, at + _CHANGE))).replace(tzinfo=None)
        end = start + HORIZON
    except OverflowError:  # beyond any calendar
        return None
    # Zones keep whole minutes since 1972.
    for wall in cron.walls(start.replace(second=0, microsecond=0), end):
        moment = _moment(wall, zone)
        if moment is not None and moment >= at:
            return (moment - EPOCH) // timedelta(milliseconds=1)
    return None


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta()


def _moment(wall: datetime, zone: tzinfo) -> datetime | None:
    """Return when a wall clock shows `wall`; None if that time is skipped."""
    before = wall.replace(tzinfo=zone).utcoffset() or timedelta()
    after = wall.replace(tzinfo=zone, fold=1).utcoffset() or timedelta()
    reading = wall.replace(tzinfo=UTC)
    if before < after:
        return None
    if before > after:  # it comes twice
        before = before if _offset(zone, reading) == before else after
    return reading - before
