"""What the schedules screen says, as parts: pure functions of records and time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import TYPE_CHECKING

from glidemq_core.errors import InvalidOptionError

from ...model.lists.schedules import NEXT_RUNS, SchedulesView, Timing, upcoming
from ...model.snapshot import epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...widgets.styled import Parts, Styled, dim, label
from ..lists.values import size_of, value_lines
from .columns import MISSED

if TYPE_CHECKING:
    from glidemq_core.schedules.entry import Scheduler, SchedulerEntry


def summary(view: SchedulesView, shown: int) -> Parts:
    """For the status line: how many there are and how many are behind."""
    words = fmt.plural(shown, "schedule") + ("" if view.complete else " · still searching queues")
    parts = [dim(words)]
    if view.missed:
        verb = "has" if view.missed == 1 else "have"
        parts = [Styled(f"{MISSED} {view.missed} {verb} missed runs", "warning", "bold"), dim(" · "), *parts]
    return parts


def entry_of(one: Scheduler) -> SchedulerEntry:
    """Return the stored entry that a shown scheduler stands for, as far as its timing goes."""
    from glidemq_core.schedules.entry import SchedulerEntry

    return SchedulerEntry(
        pattern=one.pattern,
        every=one.every_ms,
        repeat_after_complete=one.repeat_after_complete_ms,
        tz=one.tz,
        start_date=epoch_ms(one.start_at),
        end_date=epoch_ms(one.end_at),
        limit=one.limit,
        iteration_count=one.iteration_count,
        next_run=epoch_ms(one.next_at),
    )


def detail(one: Scheduler, now: int, zone: tzinfo | None, *, reveal: bool, bare: bool) -> list[Parts]:
    """When it runs in words, the next runs, what it makes."""
    lines: list[Parts] = [[Styled(short(one.described, 300), "", "bold")]]
    if one.problem is not None:
        lines.append([Styled(short(one.problem, 300), "error")])
    if one.missed:
        lines.append([Styled(f"{MISSED} {_missed_words(one)}", "warning"), dim("; the next run is made late, "
                      "the others are left out")])  # fmt: skip
    try:
        runs: Sequence[int] = entry_of(one).next_runs(NEXT_RUNS)
    except InvalidOptionError:
        runs = ()
    lines += [[], [label("next")], *run_lines(runs, now, zone)]
    if not runs and one.problem is None:
        waits = one.repeat_after_complete_ms is not None
        lines[-1] = [label("next   "), dim("when its job has ended" if waits else "none: its end has come")]
    made = f"{one.iteration_count:,} made" + (f" of {one.limit:,}" if one.limit is not None else "")
    last = f", the last {fmt.moment(epoch_ms(one.last_at), now, zone)}" if one.last_at is not None else ""
    lines += [
        [],
        [label("runs   "), Styled(made), dim(last)],
        [label("job    "), Styled(short(one.job, 100))],
    ]
    given = one.options.to_json()
    if given:
        words = "  ".join(f"{short(name, 40)} {short(str(value), 60)}" for name, value in given.items())
        lines.append([label("with   "), dim(words)])
    if one.data is not None:
        lines += [[], *value_lines(one.data, size_of(one.data), reveal, bare=bare)]
    return lines


def _missed_words(one: Scheduler) -> str:
    many = (
        "100 runs or more were"
        if one.missed >= 100
        else f"{fmt.plural(one.missed, 'run')} " + ("was" if one.missed == 1 else "were")
    )
    return f"{many} due and not made: no Python worker serves the queue"


def run_lines(runs: Sequence[int], now: int, zone: tzinfo | None) -> list[Parts]:
    """A line a run: the moment, and how long until then or how late it is."""
    lines: list[Parts] = []
    for run in runs:
        when = dim(f"   in {fmt.countdown(run, now)}")
        if run <= now:
            late = fmt.rough(now - run)
            when = Styled(f"   {late} late", "warning") if now - run >= 1_000 else dim("   now")
        lines.append([Styled(f"  {fmt.moment(run, now, zone)}"), when])
    return lines


def preview(timing: Timing | str, kept: SchedulerEntry, now: int, zone: tzinfo | None) -> list[Parts]:
    """What a schedule would do as it is typed: in words, and its next runs; or what is wrong."""
    if isinstance(timing, str):
        return [[Styled(short(timing, 200), "warning")]]
    entry = timing.entry(kept)
    try:
        runs = upcoming(entry, now)
    except InvalidOptionError as error:
        return [[Styled(short(error.message, 200), "warning")]]
    words: list[Parts] = [[Styled(short(entry.described, 200), "success")]]
    if not runs:
        return [*words, [Styled("it would never run: its end or its limit comes first", "warning")]]
    if timing.repeat_after_complete is not None:
        return [*words, *run_lines(runs[:1], now, zone), [dim("  then each time its job has ended")]]
    return [*words, *run_lines(runs, now, zone)]
