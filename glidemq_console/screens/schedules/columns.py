"""The columns of the list of schedulers: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model.snapshot import age_ms, epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Styled, dim

if TYPE_CHECKING:
    from glidemq_core.schedules.entry import Scheduler

Of = Column["Scheduler"]
#: Stands for runs that nobody made.
MISSED = "◔"


def name(one: Scheduler, _now: int) -> Cell:
    shown = Styled(short(one.name, 256))
    if one.problem is not None:
        return [Styled("✗ ", "error"), shown]
    return [Styled(f"{MISSED} ", "warning"), shown] if one.missed else [Styled("  "), shown]


def due(one: Scheduler, now: int) -> Cell:
    """`in 6h 02m`, `missed 12`, or what it waits for."""
    if one.problem is not None:
        return Styled("never", "error")
    if one.missed:
        return Styled(f"missed {one.missed}{'+' if one.missed >= 100 else ''}", "warning", "bold")
    if one.next_at is None:
        return dim("its job runs" if one.repeat_after_complete_ms is not None else "ended")
    return [dim("in "), Styled(fmt.countdown(epoch_ms(one.next_at), now))]


def last(one: Scheduler, now: int) -> Cell:
    return dim(fmt.UNKNOWN if one.last_at is None else f"{fmt.rough(age_ms(one.last_at, now))} ago")


def runs(one: Scheduler, _now: int) -> Cell:
    made = Styled(fmt.count(one.iteration_count), "" if one.iteration_count else "dim")
    return made if one.limit is None else [made, dim(f" / {one.limit:,}")]


def note(one: Scheduler, _now: int) -> Cell:
    if one.problem is not None:
        return Styled(short(one.problem, 200), "error")
    return Styled("nobody ticks it" if one.missed else "", "warning")


COLUMNS = (
    Of("name", "NAME", 16, name, lambda one: one.name, rises=True, flexible=1),
    Of("queue", "QUEUE", 10, lambda one, _: Styled(short(one.queue, 256)), lambda one: one.queue, rises=True,
       flexible=1, leaves=1),
    Of("when", "WHEN", 20, lambda one, _: Styled(short(one.described, 200)), flexible=3),
    Of("next", "NEXT", 12, due, lambda one: (not one.missed, epoch_ms(one.next_at) or 1 << 62), rises=True),
    Of("last", "LAST", 8, last, lambda one: -(epoch_ms(one.last_at) or 0), rises=True, right=True, leaves=3),
    Of("runs", "RUNS", 7, runs, lambda one: one.iteration_count, right=True, leaves=2),
    Of("job", "JOB", 10, lambda one, _: Styled(short(one.job, 100)), lambda one: one.job, rises=True, leaves=5,
       flexible=1),
    Of("note", "", 15, note, leaves=4),
)  # fmt: skip
