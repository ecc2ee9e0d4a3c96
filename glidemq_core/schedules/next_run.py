"""When a scheduler runs next: pure functions of its fields and a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from .cron import next_match, parse_cron, time_zone


class Timing(Protocol):
    """What decides when a scheduler runs; times and durations are ms. One of the first three is set."""

    @property
    def pattern(self) -> str | None: ...
    @property
    def every(self) -> int | None: ...
    @property
    def repeat_after_complete(self) -> int | None: ...
    @property
    def tz(self) -> str | None: ...
    @property
    def start_date(self) -> int | None: ...
    @property
    def end_date(self) -> int | None: ...


def first_run(timing: Timing, now_ms: int) -> int | None:
    """Return when a new scheduler runs first; None when that is later than its end.

    Raises:
        InvalidOptionError: its pattern or its zone is none.
    """
    start = timing.start_date
    from_ms = now_ms if start is None else max(now_ms, start)
    if timing.pattern is not None:
        return _bounded(timing, next_match(parse_cron(timing.pattern), time_zone(timing.tz), from_ms))
    if timing.every is None:
        return _bounded(timing, from_ms)
    if start is None:
        return _bounded(timing, now_ms + timing.every)
    passed = max(0, now_ms - start)
    return _bounded(timing, start + -(-passed // timing.every) * timing.every)


def following_run(timing: Timing, run_ms: int, at_ms: int) -> int | None:
    """Return the run after the one that was due at `run_ms` and is made at `at_ms`; None when there is none.

    Runs that were missed in between are left out; an interval keeps its phase. After a scheduler that repeats after
    completion: `at_ms` is the end of its job.

    Raises:
        InvalidOptionError: its pattern or its zone is none.
    """
    if timing.pattern is not None:
        return _bounded(timing, next_match(parse_cron(timing.pattern), time_zone(timing.tz), at_ms + 1))
    if timing.every is None:
        return _bounded(timing, at_ms + (timing.repeat_after_complete or 0))
    if run_ms > at_ms:
        return _bounded(timing, run_ms)
    return _bounded(timing, run_ms + ((at_ms - run_ms) // timing.every + 1) * timing.every)


def runs_from(timing: Timing, run_ms: int) -> Iterator[int]:
    """Yield the run due at `run_ms` and those after it, as far as they are known.

    Raises:
        InvalidOptionError: its pattern or its zone is none.
    """
    due = _bounded(timing, run_ms)
    while due is not None:
        yield due
        if timing.pattern is None and timing.every is None:
            return
        due = following_run(timing, due, due)


def _bounded(timing: Timing, run_ms: int | None) -> int | None:
    if run_ms is None or (timing.end_date is not None and run_ms > timing.end_date):
        return None
    return run_ms
