"""What can be done with a job, in the list and on its page."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

from ...text.safe import clean
from .. import keys, shared
from ..base import Action, Actions, Context, PageContext, Question, Words, on_screen
from ..queues.control import QUEUE
from . import many

#: The state of a job that is not there any more.
GONE = "gone"


class JobListPage(shared.MarkingPage, Protocol):
    """The list of jobs, as its actions know it."""

    def open_selected(self) -> None: ...

    def next_state(self, step: int) -> None: ...

    def sort_next(self) -> str: ...

    def sort_reverse(self) -> str: ...


class JobPage(shared.FindingPage, Protocol):
    """The page of one job, as its actions know it; what a method returns is shown."""

    def toggle_raw(self) -> str: ...

    def toggle_reveal(self) -> str: ...

    @property
    def is_cut(self) -> bool: ...

    async def load_whole(self) -> str: ...


JobListContext: TypeAlias = PageContext[JobListPage]
JobPageContext: TypeAlias = PageContext[JobPage]

#: What changes a job, in the list and on its page.
CHANGES: Actions[Context] = Actions()
#: What leads from a job to what belongs to it; each screen takes those that it has keys for.
LINKS: Actions[Context] = Actions()
_LIST: Actions[JobListContext] = Actions("jobs")
_PAGE: Actions[JobPageContext] = Actions("job")
_OPEN: Actions[Context] = Actions()


def needs_job(context: Context) -> str | None:
    """Say that no job is selected."""
    if context.job is None:
        return context.page.why_not_here() or "no job is selected"
    return "it is gone" if context.job_state == GONE else None


def state_reason(context: Context, done: str, states: tuple[str, ...]) -> str | None:
    """Say that the job is not in one of the states that allow it; a state that is not known is let through."""
    if (reason := needs_job(context)) is not None:
        return reason
    if context.job_state is None or context.job_state in states:
        return None
    *others, last = states
    which = f"{', '.join(others)} or {last}" if others else last
    return f"only {which} jobs can be {done}; this one is {clean(context.job_state, single_line=True)}"


def _cannot_retry(context: Context) -> str | None:
    if many.marked_jobs(context):
        return many.why_not(context, "retried", many.STATES["retry"])
    return state_reason(context, "retried", ("failed",))


def _cannot_promote(context: Context) -> str | None:
    if many.marked_jobs(context):
        return many.why_not(context, "promoted", many.STATES["promote"])
    return state_reason(context, "promoted", ("delayed", "prioritized"))


def _jobs_shown(context: Context) -> list[str]:
    """Names of the jobs that are listed, to complete what is typed."""
    listing = context.snapshot.jobs
    return [] if listing is None else [clean(str(row.ref), single_line=True) for row in listing.rows[:200]]


#: A job is typed after the command.
JOB = Words("job", _jobs_shown)


def _ask_retry(context: Context) -> Question:
    if many.marked_jobs(context):
        return many.ask(context, "retry", "They wait again and run with all their attempts.")
    return Question(
        title=f"Retry {context.shown_job}?",
        body="It waits again and runs with all its attempts. This cannot be undone.",
        yes="Retry",
    )


@CHANGES.changes("retry", keys.RUN, why_not=_cannot_retry, ask=_ask_retry, footer=20, takes=JOB)
async def _retry(context: Context) -> str:
    """Let the marked failed jobs, else the selected one, run again."""
    if many.marked_jobs(context):
        return await many.act_on(context, "retry")
    return await many.act_on_one(context, "retry", "waits again")


def _ask_promote(context: Context) -> Question:
    if many.marked_jobs(context):
        return many.ask(context, "promote", "They may start now, without waiting for their time.")
    return Question(
        title=f"Promote {context.shown_job}?",
        body="It may start now, without waiting for its time. This cannot be undone.",
        yes="Promote",
    )


@CHANGES.changes("promote", keys.PROMOTE, why_not=_cannot_promote, ask=_ask_promote, footer=30, takes=JOB)
async def promote(context: Context) -> str:
    """Let the marked delayed jobs, else the selected one, start now."""
    if many.marked_jobs(context):
        return await many.act_on(context, "promote")
    return await many.act_on_one(context, "promote", "promoted: it may start now")


def _cannot_remove(context: Context) -> str | None:
    return None if many.marked_jobs(context) else needs_job(context)


def _ask_remove(context: Context) -> Question:
    if many.marked_jobs(context):
        return many.ask(
            context,
            "remove",
            "They go with payload, result, logs and tokens; the worker of one that runs finds it gone.",
        )
    running = context.job_state == "active"
    return Question(
        title=f"Remove {context.shown_job}?",
        body=("It is running: its worker will find it gone. " if running else "")
        + "The job goes with its payload, result, logs and tokens. This cannot be undone.",
        yes="Remove",
    )


@CHANGES.changes("remove", keys.REMOVE, why_not=_cannot_remove, ask=_ask_remove, footer=40, takes=JOB)
async def remove(context: Context) -> str:
    """Remove the marked jobs, else the selected one, with everything they hold."""
    if many.marked_jobs(context):
        return await many.act_on(context, "remove")
    return await many.act_on_one(context, "remove", "removed")


@LINKS("tokens", keys.TOKENS, why_not=needs_job, footer=50)
def follow(context: Context) -> None:
    """Follow the job's tokens on the streams screen."""
    context.console.go("streams", context.job)


@LINKS("page", keys.JOB_PAGE, title="job", why_not=needs_job)
def open_page(context: Context) -> None:
    """Open the page of the job."""
    context.console.open_page("job", context.needed_job)


@LINKS("flow", keys.FLOW, why_not=needs_job, footer=52)
def open_flow(context: Context) -> None:
    """Open the flow that the job belongs to."""
    context.console.open_page("flow", context.needed_job)


@LINKS("audit", keys.AUDIT, why_not=needs_job)
async def audit(context: Context) -> None:
    """Show who changed what about the job."""
    job = context.needed_job
    await context.console.show_audit(job.queue, job.id)


# --- the list ----------------------------------------------------------------------------------------------


@_LIST("jobs.open", keys.OPEN, why_not=needs_job, footer=10)
def _open(context: JobListContext) -> None:
    """Open the page of the selected job."""
    context.page.open_selected()


_LIST += on_screen("jobs", CHANGES)


@_LIST("jobs.next-state", keys.NEXT_PART, keys.NEXT, title="state", footer=15)
def _next_state(context: JobListContext) -> None:
    """Show the jobs of the next state."""
    context.page.next_state(1)


@_LIST("jobs.previous-state", keys.PREVIOUS_PART, keys.PREVIOUS)
def _previous_state(context: JobListContext) -> None:
    """Show the jobs of the state before."""
    context.page.next_state(-1)


@_LIST("jobs.sort", keys.SORT, footer=65)
def _sort(context: JobListContext) -> str:
    """Sort by the next column; after the last one as the queue has them."""
    return context.page.sort_next()


@_LIST("jobs.order", keys.REVERSE, title="reverse", footer=66)
def _order(context: JobListContext) -> str:
    """Turn the order round: newest or oldest first, or the other end of the sorted column."""
    return context.page.sort_reverse()


_LIST += on_screen("jobs", (*LINKS, *shared.MARKS, shared.hold, *shared.SIBLINGS))


# --- the page of one job, and what leads to it -------------------------------------------------------------

_PAGE += on_screen("job", (*CHANGES, follow, open_flow, audit, *shared.SIBLINGS))


def _cannot_open_whole(context: JobPageContext) -> str | None:
    return None if context.page.is_cut else "the payload is all here"


@_PAGE("job.bare", keys.BARE, footer=55)
def _bare(context: JobPageContext) -> str:
    """Show the payload as it is stored, or laid out again."""
    return context.page.toggle_raw()


@_PAGE("job.reveal", keys.REVEAL, footer=57)
def _reveal(context: JobPageContext) -> str:
    """Show masked secrets until the page is left, or mask them again."""
    return context.page.toggle_reveal()


@_PAGE("job.open", keys.OPEN, title="whole payload", why_not=_cannot_open_whole)
async def _open_whole(context: JobPageContext) -> str:
    """Read the whole payload of a job whose payload was cut."""
    return await context.page.load_whole()


_PAGE += on_screen("job", shared.FINDS)


@_OPEN("open-job", title="job", why_not=needs_job, command="job", takes=JOB)
def _open_job(context: Context) -> None:
    """Open a job by its name, as in `:job inference:42`."""
    context.console.go("jobs", context.job)


@_OPEN("open-queue", title="queue", command="queue", takes=QUEUE)
def _open_queue(context: Context) -> None:
    """Open the jobs of a queue, as in `:queue inference`."""
    context.console.go("jobs", context.queue)


ACTIONS: tuple[Action[Any], ...] = (*_LIST, *_PAGE, *_OPEN)
