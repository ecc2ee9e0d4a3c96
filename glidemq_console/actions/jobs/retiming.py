"""Changing when jobs start, the marked ones or one, and taking that back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ...text.format import duration, plural
from ..base import Context
from ..bulk import in_parts
from . import many

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.jobs.bulk.shown import Retimed
    from glidemq_core.options.job import Actor
    from glidemq_core.records import JobRow

NOT_STARTED = ("waiting", "prioritized", "delayed")


class One(NamedTuple):
    """A job that is not marked, with the state that was shown; empty where none was."""

    queue: str
    id: str
    state: str


class Changed(NamedTuple):
    """A job with another time to start."""

    queue: str
    timing: Retimed


def targets(context: Context) -> Sequence[JobRow | One]:
    """The marked jobs that have not started, else the selected job."""
    rows = [row for row in many.fit(context, NOT_STARTED) if not row.parked]
    if rows or context.job is None:
        return rows
    return [One(context.job.queue, context.job.id, context.job_state or "")]


async def retime(context: Context, *, priority: int | None, wait_ms: int | None) -> str:
    """Change priority and wait (None: as it is) of what is marked or selected; return what to show."""
    from glidemq_core.jobs.bulk import shown

    chosen, changed = targets(context), list[Changed]()

    async def change(queue: Queue[Any, Any], actor: Actor, part: Sequence[JobRow | One]) -> list[str]:
        rows = [shown.Shown(one.id, one.state) for one in part]
        answers = await shown.retime(
            await queue.context(), rows, priority=priority, delay=wait_ms, actor=actor
        )
        changed.extend(Changed(part[0].queue, one) for one in answers if one.outcome == "set")
        return [one.outcome for one in answers]

    tally = await in_parts(
        context,
        chosen,
        change,
        {"set", "unchanged"},
        queue_of=lambda one: one.queue,
        doing="changing in parts",
    )
    if changed:
        name = context.shown_job if not context.marked else plural(len(changed), "job")
        take_back = partial(_set_back, context, changed)
        context.console.undo.note(f"times of {name}", context.console.now_ms(), take_back)
    if not context.marked and tally.done:
        return f"{context.shown_job} {_words(priority, wait_ms)}"
    return tally.message("job", "changed", after="; z undoes it" if changed else "")


def _words(priority: int | None, wait_ms: int | None) -> str:
    done = []
    if priority is not None:
        done.append(f"has priority {priority:,}" if priority else "has no priority any more")
    if wait_ms is not None:
        done.append(f"starts in {duration(wait_ms)}" if wait_ms else "may start now")
    return " and ".join(done)


async def _set_back(context: Context, changed: Sequence[Changed]) -> str:
    """Give jobs their times back, those that have not begun and were not changed since."""
    from glidemq_core.jobs.bulk import shown

    async def back(queue: Queue[Any, Any], actor: Actor, part: Sequence[Changed]) -> list[str]:
        return await shown.retime_back(await queue.context(), [one.timing for one in part], actor=actor)

    alone = replace(context, marked=())
    tally = await in_parts(alone, changed, back, {"set_back"}, queue_of=lambda one: one.queue)
    return tally.message("job", "set back")
