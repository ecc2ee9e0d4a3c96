"""What can be done with a scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ...text.safe import clean, short
from .. import keys, shared
from ..base import Actions, Danger, PageContext, Question, Unchanged, on_screen
from ..jobs import control as jobs

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.schedules.entry import Scheduler

    from ...model.lists.schedules import Timing


class SchedulesPage(shared.MarkingPage, Protocol):
    """The list of schedulers, as its actions know it; what a method returns is shown."""

    def toggle_detail(self) -> None: ...

    def toggle_reveal(self) -> str: ...

    def toggle_bare(self) -> str: ...

    def sort_next(self) -> str: ...

    def sort_reverse(self) -> str: ...

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


def _ask_run(context: SchedulesContext) -> Question:
    return Question(
        title=f"Run {context.shown_name} now?",
        body=f"A job {short(context.needed.job, 80)} is added to {context.shown_queue}. Its next run and its count "
        "stay as they are. This cannot be undone.",
        yes="Run now",
    )


@ACTIONS.changes("schedules.run", keys.RUN, title="run now", why_not=_needs_one, ask=_ask_run, footer=20)
async def _run(context: SchedulesContext) -> str:
    """Add the job of the schedule now, besides its runs."""
    name = context.needed.name
    job = await context.change(lambda queue, actor: queue.run_job_scheduler(name, actor=actor))
    return f"{context.shown_name} runs now as {short(str(job.ref), 80)}"


@ACTIONS.changes("schedules.edit", keys.EDIT, why_not=_needs_one, prompts=True, footer=30)
async def _edit(context: SchedulesContext) -> str:
    """Change when it runs; the next five runs are shown as you type."""
    scheduler = context.needed
    timing = await context.page.ask_timing(scheduler)
    if timing is None:
        return Unchanged("nothing was changed")

    async def change(queue: Queue[Any, Any], actor: Actor) -> bool:
        kept = await queue.get_job_scheduler(scheduler.name)
        if kept is None:
            return False
        await queue.upsert_job_scheduler(
            scheduler.name,
            pattern=timing.pattern,
            every=timing.every,
            repeat_after_complete=timing.repeat_after_complete,
            tz=timing.tz,
            limit=timing.limit,
            start_date=kept.start_date,
            end_date=kept.end_date,
            template=kept.template,
            actor=actor,
        )
        return True

    if not await context.change(change):
        return Unchanged(f"{context.shown_name} is gone: somebody removed it")
    return f"{context.shown_name} runs at other times now"


def _ask_remove(context: SchedulesContext) -> Question:
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
    """Remove the schedule; its name has to be typed."""
    name = context.needed.name
    gone = await context.change(lambda queue, actor: queue.remove_job_scheduler(name, actor=actor))
    return f"{context.shown_name} removed" if gone else Unchanged(f"{context.shown_name} was gone already")


@ACTIONS("schedules.reveal", keys.REVEAL)
def _reveal(context: SchedulesContext) -> str:
    """Show masked secrets of its payload, or mask them again."""
    return context.page.toggle_reveal()


@ACTIONS("schedules.bare", keys.BARE)
def _bare(context: SchedulesContext) -> str:
    """Show its payload as it is stored, or laid out again."""
    return context.page.toggle_bare()


@ACTIONS("schedules.sort", keys.SORT, footer=50)
def _sort(context: SchedulesContext) -> str:
    """Sort by the next column."""
    return context.page.sort_next()


@ACTIONS("schedules.sort-reverse", keys.REVERSE, title="reverse")
def _reverse(context: SchedulesContext) -> str:
    """Turn the order round."""
    return context.page.sort_reverse()


ACTIONS += on_screen("schedules", (*shared.MARKS, jobs.audit, shared.hold))
