"""What is made by the clock, and what a person types to change when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from glidemq_core.errors import InvalidOptionError

from ...text.parse import parse_count, parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glidemq_core.schedules.entry import Scheduler, SchedulerEntry

#: Runs that are shown while a schedule is typed, and in its detail.
NEXT_RUNS: Final = 5
_EVERY: Final = re.compile(r"every\s+(.+)", re.IGNORECASE)
_AFTER: Final = re.compile(r"(?:after\s+(.+)|(.+?)\s+after(?:\s.*)?)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulesView:
    """The schedulers of all known queues."""

    schedulers: tuple[Scheduler, ...]
    complete: bool
    at_ms: int

    @property
    def missed(self) -> int:
        """How many have runs that nobody made."""
        return sum(1 for one in self.schedulers if one.missed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """When a scheduler is to run, as it was typed; times are ms."""

    pattern: str | None = None
    every: int | None = None
    repeat_after_complete: int | None = None
    tz: str | None = None
    limit: int | None = None

    def entry(self, kept: SchedulerEntry | None) -> SchedulerEntry:
        """Return the entry that this timing makes, with the dates of the one that it changes."""
        from glidemq_core.schedules.entry import SchedulerEntry

        return SchedulerEntry(
            pattern=self.pattern,
            every=self.every,
            repeat_after_complete=self.repeat_after_complete,
            tz=self.tz,
            limit=self.limit,
            start_date=kept.start_date if kept is not None else None,
            end_date=kept.end_date if kept is not None else None,
            iteration_count=kept.iteration_count if kept is not None else None,
        )


def read_timing(when: str, zone: str, limit: str) -> Timing | str:
    """Read what was typed; return it, or what is wrong.

    Args:
        when: `every 5m`, `5m after each run`, or a cron expression of five fields.
        zone: an IANA time zone for a cron expression; empty for UTC.
        limit: how many jobs to make in all; empty for no end.
    """
    most: int | None = None
    if limit.strip():
        count = parse_count(limit)
        if isinstance(count, str):
            return f"limit: {count}"
        most = count
    plain = when.strip()
    if match := _EVERY.fullmatch(plain):
        return _interval(match[1], "every", zone, most)
    if match := _AFTER.fullmatch(plain):
        return _interval(match[1] or match[2], "repeat_after_complete", zone, most)
    if len(plain.split()) != 5:
        return "write `every 5m`, `5m after each run`, or a cron expression of five fields"
    from glidemq_core.schedules.cron import parse_cron, time_zone

    try:
        parse_cron(plain)
        time_zone(zone.strip() or None)
    except InvalidOptionError as error:
        return error.message
    return Timing(pattern=" ".join(plain.split()), tz=zone.strip() or None, limit=most)


def _interval(words: str, kind: str, zone: str, limit: int | None) -> Timing | str:
    wait_ms = parse_duration(words)
    if isinstance(wait_ms, str):
        return wait_ms
    if wait_ms < 1:
        return "must be longer than 0"
    if zone.strip():
        return "a time zone belongs to a cron expression"
    if kind == "every":
        return Timing(every=wait_ms, limit=limit)
    return Timing(repeat_after_complete=wait_ms, limit=limit)


def timing_text(one: Scheduler) -> str:
    """Write when a scheduler runs as `read_timing` reads it."""
    if one.pattern is not None:
        return one.pattern
    if one.every_ms is not None:
        return f"every {_duration_text(one.every_ms)}"
    return f"{_duration_text(one.repeat_after_complete_ms or 0)} after each run"


def _duration_text(wait_ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if wait_ms and wait_ms % size == 0:
            return f"{wait_ms // size}{unit}"
    return f"{wait_ms}ms"


def upcoming(entry: SchedulerEntry, now_ms: int, count: int = NEXT_RUNS) -> Sequence[int]:
    """Return the next runs of a new timing, epoch ms; of one that waits for its job only the first is known.

    Raises:
        InvalidOptionError: its pattern or its zone is none.
    """
    from glidemq_core.schedules.next_run import first_run, runs_from

    first = first_run(entry, now_ms)
    if entry.limit is not None:
        count = min(count, max(0, entry.limit - (entry.iteration_count or 0)))
    return () if first is None else tuple(islice(runs_from(entry, first), count))
