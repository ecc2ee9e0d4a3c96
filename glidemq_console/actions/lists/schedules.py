"""What can be done with a scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ...text.format import plural
from ...text.safe import clean, short
from .. import keys, shared
from ..base import Actions, Danger, PageContext, Question, Unchanged, on_screen
from ..bulk import in_parts, one_at_a_time, touched
from ..jobs import control as jobs

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.schedules.calls import Change
    from glidemq_core.schedules.entry import Scheduler, SchedulerEntry

    from ...model.lists.schedules import Timing


class SchedulesPage(shared.MarkingPage, shared.SortedPage, Protocol):
    """The list of schedulers, as its actions know it; what a method returns is shown."""

    def toggle_detail(self) -> None: ...

    def toggle_reveal(self) -> str: ...

    def toggle_bare(self) -> str: ...

    async def ask_timing(self, scheduler: Scheduler) -> Timing | None:
        """Ask for another timing; None when the person thought better of it."""


@dataclass(frozen=True, kw_only=True)
class SchedulesContext(PageContext[SchedulesPage]):
    """A key pressed on the list of schedulers."""

    scheduler: Scheduler | None = None

    @property
    def needed(self) -> Scheduler:
        assert self.scheduler is not None
        return self.scheduler

    @property
    def shown_name(self) -> str:
        """Name of the scheduler, safe to draw."""
        return short(self.needed.name, 80)


ACTIONS: Actions[SchedulesContext] = Actions("schedules")


def _needs_one(context: SchedulesContext) -> str | None:
    return None if context.scheduler is not None else "no schedule is selected"


@ACTIONS("schedules.open", keys.OPEN, keys.DETAIL, title="detail", why_not=_needs_one, footer=10)
def _open(context: SchedulesContext) -> None:
    """Show the schedule alone and whole, or the list beside it again."""
    context.page.toggle_detail()


def _needs_single(context: SchedulesContext) -> str | None:
    return one_at_a_time(context, "schedule") or _needs_one(context)


def _marked(context: SchedulesContext) -> tuple[Scheduler, ...]:
    """The marked schedules; a command typed on another screen has none."""
    return context.marked if context.page.SCOPE == "schedules" else ()


def _told_of(context: SchedulesContext) -> str:
    marked = _marked(context)
    return touched([f"{one.queue}:{one.name}" for one in marked], [one.described for one in marked])


def _ask_run(context: SchedulesContext) -> Question:
    if marked := _marked(context):
        return Question(
            title=f"Run {plural(len(marked), 'marked schedule')} now?",
            body=f"{_told_of(context)}\n\nA job of each is added. Next runs and counts stay as they are. "
            "This cannot be undone.",
            yes=f"Run {len(marked):,}",
        )
    return Question(
        title=f"Run {context.shown_name} now?",
        body=f"A job {short(context.needed.job, 80)} is added to {context.shown_queue}. Its next run and its count "
        "stay as they are. This cannot be undone.",
        yes="Run now",
    )


@ACTIONS.changes("schedules.run", keys.RUN, title="run now", why_not=_needs_one, ask=_ask_run, footer=20)
async def _run(context: SchedulesContext) -> str:
    """Add the job of the marked schedules, else of the selected one, now, besides its runs."""
    if marked := _marked(context):
        tally = await in_parts(context, marked, _run_each, {"run"}, queue_of=lambda one: one.queue)
        return tally.message("schedule", "run")
    name = context.needed.name
    job = await context.change(lambda queue, actor: queue.run_job_scheduler(name, actor=actor))
    return f"{context.shown_name} runs now as {short(str(job.ref), 80)}"


@ACTIONS.changes("schedules.edit", keys.EDIT, why_not=_needs_single, prompts=True, footer=30)
async def _edit(context: SchedulesContext) -> str:
    """Change when it runs; the next five runs are shown as you type."""
    scheduler = context.needed
    timing = await context.page.ask_timing(scheduler)
    if timing is None:
        return Unchanged("nothing was changed")

    async def edit(queue: Queue[Any, Any], actor: Actor) -> Change | None:
        from glidemq_core.schedules.calls import set_scheduler
        from glidemq_core.schedules.definition import define

        kept = await queue.get_job_scheduler(scheduler.name)
        if kept is None:
            return None
        where = await queue.context()
        definition = define(
            pattern=timing.pattern,
            every=timing.every,
            repeat_after_complete=timing.repeat_after_complete,
            tz=timing.tz,
            limit=timing.limit,
            start_date=kept.start_date,
            end_date=kept.end_date,
            template=kept.template,
            serializer=where.serializer,
        )
        return await set_scheduler(where, scheduler.name, definition, actor=actor)

    change = await context.change(edit)
    if change is None:
        return Unchanged(f"{context.shown_name} is gone: somebody removed it")
    _note(context, f"edit of {context.shown_name}", [(scheduler.queue, change)])
    return f"{context.shown_name} runs at other times now; z undoes it"


def _ask_remove(context: SchedulesContext) -> Question:
    if marked := _marked(context):
        return Question(
            title=f"Remove {plural(len(marked), 'marked schedule')}?",
            body=f"{_told_of(context)}\n\nThey make no more jobs; those that they made stay. What was edited meanwhile "
            "is skipped. Type how many.",
            yes=f"Remove {len(marked):,}",
            type_this=str(len(marked)),
        )
    return Question(
        title=f"Remove the schedule {context.shown_name} of {context.shown_queue}?",
        body="It makes no more jobs; those that it made stay.",
        yes="Remove",
        type_this=clean(context.needed.name, single_line=True),
    )


@ACTIONS.changes(
    "schedules.remove", keys.REMOVE, why_not=_needs_one, ask=_ask_remove, footer=40, danger=Danger.TYPED
)
async def _remove(context: SchedulesContext) -> str:
    """Remove the marked schedules, else the selected one; its name or their number has to be typed."""
    chosen = _marked(context) or (context.needed,)
    gone: list[tuple[str, Change]] = []

    async def remove(queue: Queue[Any, Any], actor: Actor, part: Sequence[Scheduler]) -> list[str]:
        from glidemq_core.schedules.calls import take_scheduler

        outcomes = []
        for one in part:
            kept = await queue.get_job_scheduler(one.name)
            same = kept is not None and _timing_of(kept) == _timing_shown(one)
            change = await take_scheduler(await queue.context(), one.name, actor=actor) if same else None
            gone.extend([(one.queue, change)] if change is not None else [])
            outcomes.append("removed" if change is not None else "changed")
        return outcomes

    tally = await in_parts(context, chosen, remove, {"removed"}, queue_of=lambda one: one.queue)
    if gone:
        which = short(gone[0][1].name, 40) if len(gone) == 1 else plural(len(gone), "schedule")
        _note(context, f"removal of {which}", gone)
    if _marked(context) or tally.problem:
        return tally.message("schedule", "removed", after="; z undoes it")
    if gone:
        return f"{context.shown_name} removed; z undoes it"
    return Unchanged(f"{context.shown_name} was changed or removed meanwhile: look again")


async def _run_each(queue: Queue[Any, Any], actor: Actor, part: Sequence[Scheduler]) -> list[str]:
    from glidemq_core.errors import SchedulerNotFoundError

    outcomes = []
    for one in part:
        try:
            await queue.run_job_scheduler(one.name, actor=actor)
            outcomes.append("run")
        except SchedulerNotFoundError:
            outcomes.append("gone")
    return outcomes


def _timing_of(entry: SchedulerEntry) -> tuple[object, ...]:
    return entry.pattern, entry.every, entry.repeat_after_complete, entry.tz, entry.limit


def _timing_shown(one: Scheduler) -> tuple[object, ...]:
    return one.pattern, one.every_ms, one.repeat_after_complete_ms, one.tz, one.limit


def _note(context: SchedulesContext, words: str, changes: Sequence[tuple[str, Change]]) -> None:
    take_back = partial(_restore, replace(context, marked=()), changes)
    context.console.undo.note(words, context.console.now_ms(), take_back)


async def _restore(context: SchedulesContext, changes: Sequence[tuple[str, Change]]) -> str:
    """Give schedules back what they were, those that have not run and were not edited since."""

    async def restore(queue: Queue[Any, Any], actor: Actor, part: Sequence[tuple[str, Change]]) -> list[str]:
        from glidemq_core.schedules.calls import restore_scheduler

        where = await queue.context()
        return [str(await restore_scheduler(where, change, actor=actor)) for _, change in part]

    tally = await in_parts(context, changes, restore, {"True"}, queue_of=lambda one: one[0])
    return tally.message("schedule", "as before")


@ACTIONS("schedules.reveal", keys.REVEAL)
def _reveal(context: SchedulesContext) -> str:
    """Show masked secrets of its payload, or mask them again."""
    return context.page.toggle_reveal()


@ACTIONS("schedules.bare", keys.BARE)
def _bare(context: SchedulesContext) -> str:
    """Show its payload as it is stored, or laid out again."""
    return context.page.toggle_bare()


ACTIONS += on_screen("schedules", (*shared.SORTING, *shared.MARKS, jobs.audit, shared.hold))
