"""Scheduler entries: the record of one, read tolerantly from the JSON in which it is stored."""

from __future__ import annotations

from datetime import datetime
from itertools import islice, takewhile
from typing import Any

from ..errors import InvalidOptionError
from ..options.fields import from_epoch_ms, whole
from ..options.job import JobOptions, JobTemplate
from ..options.worker import WorkerOptions
from ..records.base import answer, python_only
from ..wire.replies import as_text, pairs
from ..wire.strict_json import compact_json, parse_json
from .cron import parse_cron, time_zone
from .next_run import runs_from
from .words import describe

#: A run that is late by more than this (ms) was not made by the promotion tick that should have made it.
LATE_MS = WorkerOptions().promotion_interval + 10_000
#: Missed runs that are counted at most.
_MOST_MISSED = 100
_NUMBERS = {
    "every": "every",
    "repeatAfterComplete": "repeat_after_complete",
    "startDate": "start_date",
    "endDate": "end_date",
    "limit": "limit",
    "iterationCount": "iteration_count",
    "lastRun": "last_run",
    "nextRun": "next_run",
}


@answer
class SchedulerEntry:
    """A scheduler; times are epoch ms, `next_run` 0 waits for the current job.

    `missed`: runs that are overdue by more than 15 s because nobody makes them, at most 100.
    """

    pattern: str | None = None
    every: int | None = None
    repeat_after_complete: int | None = None
    tz: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    limit: int | None = None
    iteration_count: int | None = None
    template: JobTemplate | None = None
    last_run: int | None = None
    next_run: int | None = None
    missed: int = 0

    @property
    def described(self) -> str:
        """When it runs, in words."""
        return describe(self, self.limit)

    def next_runs(self, count: int) -> tuple[int, ...]:
        """Return the next `count` runs, epoch ms; fewer where its end or its limit comes first.

        Of a scheduler that repeats after completion only the next one is known, and none while its job runs.

        Raises:
            InvalidOptionError: `count` is negative, or the stored pattern or time zone is none.
        """
        whole(0)(count, "count")
        if not self.next_run:
            return ()
        if self.limit is not None:
            count = min(count, max(0, self.limit - (self.iteration_count or 0)))
        return tuple(islice(runs_from(self, self.next_run), count))


@answer
class Scheduler:
    """A scheduler as consoles show it; `next_at` is None while it waits for its current job."""

    queue: str
    name: str
    pattern: str | None = None
    every_ms: int | None = None
    repeat_after_complete_ms: int | None = None
    tz: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    limit: int | None = None
    iteration_count: int = 0
    next_at: datetime | None = None
    last_at: datetime | None = None
    missed: int = 0
    job: str
    data: Any = None
    options: JobOptions
    described: str
    #: Why it cannot be run, for a stored timing that is none.
    problem: str | None = python_only(None)


def decode_scheduler(stored: bytes | str, now_ms: int | None = None) -> SchedulerEntry | None:
    """Read one entry of `P:schedulers`; None for what is not a JSON object.

    Args:
        now_ms: time by which missed runs are counted; None counts none.
    """
    try:
        raw = parse_json(stored)
    except ValueError:
        return None
    return entry_of(raw, now_ms) if isinstance(raw, dict) else None


def decode_schedulers(reply: Any, now_ms: int) -> dict[str, SchedulerEntry]:
    """Read all entries of a queue by name, in the order of the names; what is none is left out."""
    found = {as_text(name): decode_scheduler(stored, now_ms) for name, stored in pairs(reply)}
    return {name: entry for name, entry in sorted(found.items()) if entry is not None}


def entry_of(raw: dict[str, Any], now_ms: int | None = None) -> SchedulerEntry:
    """Return the record of a decoded entry; what is of a wrong type reads as absent."""
    numbers = {
        name: int(raw[wire])
        for wire, name in _NUMBERS.items()
        if isinstance(raw.get(wire), (int, float)) and not isinstance(raw[wire], bool)
    }
    for mode in ("every", "repeat_after_complete"):
        if numbers.get(mode, 1) < 1:
            del numbers[mode]
    fields: dict[str, Any] = {
        "pattern": _words(raw.get("pattern")),
        "tz": _words(raw.get("tz")),
        "template": _template(raw.get("template")),
        **numbers,
    }
    entry = SchedulerEntry(**fields)
    return entry if now_ms is None else SchedulerEntry(**fields, missed=_missed(entry, now_ms))


def shown_scheduler(queue: str, name: str, entry: SchedulerEntry) -> Scheduler:
    """Return an entry as consoles show it."""
    template = entry.template or JobTemplate()
    return Scheduler(
        queue=queue,
        name=name,
        pattern=entry.pattern,
        every_ms=entry.every,
        repeat_after_complete_ms=entry.repeat_after_complete,
        tz=entry.tz,
        start_at=_moment(entry.start_date),
        end_at=_moment(entry.end_date),
        limit=entry.limit,
        iteration_count=entry.iteration_count or 0,
        next_at=_moment(entry.next_run),
        last_at=_moment(entry.last_run),
        missed=entry.missed,
        job=template.name or name,
        data=template.data,
        options=template.options or JobOptions(),
        described=entry.described,
        problem=_problem(entry),
    )


def _missed(entry: SchedulerEntry, now_ms: int) -> int:
    try:
        overdue = takewhile(lambda run: run < now_ms - LATE_MS, entry.next_runs(_MOST_MISSED))
        return sum(1 for _ in overdue)
    except InvalidOptionError:
        return 0


def _problem(entry: SchedulerEntry) -> str | None:
    try:
        if entry.pattern is not None:
            parse_cron(entry.pattern)
            time_zone(entry.tz)
    except InvalidOptionError as error:
        return error.message
    return None


def _moment(ms: int | None) -> datetime | None:
    return from_epoch_ms(ms) if ms else None


def _template(raw: Any) -> JobTemplate | None:
    if not isinstance(raw, dict):
        return None
    options = raw.get("opts")
    return JobTemplate(
        name=_words(raw.get("name")),
        data=raw.get("data"),
        options=JobOptions.from_wire(compact_json(options)) if isinstance(options, dict) else None,
    )


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) else None
