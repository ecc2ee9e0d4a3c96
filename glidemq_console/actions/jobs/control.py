"""What can be done with a job, in the list and on its page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol, TypeAlias

from ...text.safe import clean
from ..base import Action, Actions, C, Context, PageContext, Question, Unchanged, Words
from ..protocols import Page
from ..queues.control import QUEUE

#: The state of a job that is not there any more.
GONE = "gone"


class CopyPage(Page, Protocol):
    """A screen on which a job can be copied; what a method returns is shown."""

    def copy(self) -> str | None: ...


class JobListPage(CopyPage, Protocol):
    """The list of jobs, as its actions know it."""

    def open_selected(self) -> None: ...

    def next_state(self, step: int) -> None: ...

    def next_queue(self, step: int) -> None: ...

    def turn_order(self) -> str | None: ...


class JobPage(CopyPage, Protocol):
    """The page of one job, as its actions know it."""

    def toggle_raw(self) -> str: ...

    def toggle_reveal(self) -> str: ...

    async def load_whole(self) -> str: ...


CopyContext: TypeAlias = PageContext[CopyPage]
JobListContext: TypeAlias = PageContext[JobListPage]
JobPageContext: TypeAlias = PageContext[JobPage]

#: What can be done with a job, in the list, on its page and in its flow.
ON_A_JOB: Actions[CopyContext] = Actions()
_LIST: Actions[JobListContext] = Actions("jobs")
_PAGE: Actions[JobPageContext] = Actions("job")
_OPEN: Actions[Context] = Actions()


def needs_job(context: Context) -> str | None:
    """Say that no job is selected."""
    if context.job is None:
        return "no job is selected"
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
    return state_reason(context, "retried", ("failed",))


def _cannot_promote(context: Context) -> str | None:
    return state_reason(context, "promoted", ("delayed", "prioritized"))


def _jobs_shown(context: Context) -> list[str]:
    """Names of the jobs that are listed, to complete what is typed."""
    listing = context.snapshot.jobs
    return [] if listing is None else [clean(str(row.ref), single_line=True) for row in listing.rows[:200]]


#: A job is typed after the command.
JOB = Words("job", _jobs_shown)


def on_screen(scope: str, actions: Actions[C]) -> list[Action[C]]:
    """Give actions on a job to a screen. The `:` line knows each command once: the list's."""
    return [
        replace(
            action,
            id=f"{scope}.{action.id}",
            scope=scope,
            command=action.command if scope == "jobs" else None,
        )
        for action in actions
    ]


@ON_A_JOB.changes("retry", "R", why_not=_cannot_retry, footer=20, takes=JOB)
async def _retry(context: Context) -> str:
    """Let a failed job run again."""
    job = context.needed_job
    await context.change(lambda queue, actor: queue.retry_job(job.id, actor=actor))
    return f"{context.shown_job} waits again"


@ON_A_JOB.changes("promote", "P", why_not=_cannot_promote, footer=30, takes=JOB)
async def _promote(context: Context) -> str:
    """Let a delayed job start now."""
    job = context.needed_job
    await context.change(lambda queue, actor: queue.promote_job(job.id, actor=actor))
    return f"{context.shown_job} promoted: it may start now"


def _ask_remove(context: Context) -> Question:
    running = context.job_state == "active"
    return Question(
        title=f"Remove {context.shown_job}?",
        body=("It is running: its worker will find it gone. " if running else "")
        + "The job goes with its payload, result, logs and tokens. This cannot be undone.",
        yes="Remove",
    )


@ON_A_JOB.changes("remove", "x", "delete", why_not=needs_job, ask=_ask_remove, footer=40, takes=JOB)
async def remove(context: Context) -> str:
    """Remove the job with everything it holds."""
    job, force = context.needed_job, context.job_state == "active"
    gone = await context.change(lambda queue, actor: queue.remove_job(job.id, force=force, actor=actor))
    return f"{context.shown_job} removed" if gone else Unchanged(f"{context.shown_job} was gone already")


@ON_A_JOB("tokens", "t", why_not=needs_job, footer=50)
def follow(context: Context) -> None:
    """Follow the job's tokens on the streams screen."""
    context.console.go("streams", context.job)


@ON_A_JOB("copy", "y", why_not=needs_job, footer=60)
def copy(context: CopyContext) -> str | None:
    """Copy the job's id (in the list) or its payload (on its page) to the clipboard."""
    return context.page.copy()


# --- the list ----------------------------------------------------------------------------------------------


@_LIST("jobs.open", "enter", why_not=needs_job, footer=10)
def _open(context: JobListContext) -> None:
    """Open the page of the selected job."""
    context.page.open_selected()


_LIST += on_screen("jobs", ON_A_JOB)


@_LIST("jobs.next-state", "tab", "right", "l", title="state", footer=15)
def _next_state(context: JobListContext) -> None:
    """Show the jobs of the next state."""
    context.page.next_state(1)


@_LIST("jobs.previous-state", "shift+tab", "left", "h")
def _previous_state(context: JobListContext) -> None:
    """Show the jobs of the state before."""
    context.page.next_state(-1)


@_LIST("jobs.order", "o", footer=65)
def _order(context: JobListContext) -> str | None:
    """Turn the order round: newest or oldest first."""
    return context.page.turn_order()


@_LIST("jobs.next-queue", "right_square_bracket")
def _next_queue(context: JobListContext) -> None:
    """Show the jobs of the next queue."""
    context.page.next_queue(1)


@_LIST("jobs.previous-queue", "left_square_bracket")
def _previous_queue(context: JobListContext) -> None:
    """Show the jobs of the queue before."""
    context.page.next_queue(-1)


# --- the page of one job, and what leads to it -------------------------------------------------------------

_PAGE += on_screen("job", ON_A_JOB)


@_PAGE("job.raw", "e", footer=55)
def _raw(context: JobPageContext) -> str:
    """Show the payload as it is stored, or laid out again."""
    return context.page.toggle_raw()


@_PAGE("job.reveal", "v", footer=57)
def _reveal(context: JobPageContext) -> str:
    """Show masked secrets until the page is left, or mask them again."""
    return context.page.toggle_reveal()


@_PAGE("job.more", "m")
async def _more(context: JobPageContext) -> str:
    """Read the whole payload of a job whose payload was cut."""
    return await context.page.load_whole()


@_OPEN("open-job", title="job", why_not=needs_job, command="job", takes=JOB)
def _open_job(context: Context) -> None:
    """Open a job by its name, as in `:job inference:42`."""
    context.console.go("jobs", context.job)


@_OPEN("open-queue", title="queue", command="queue", takes=QUEUE)
def _open_queue(context: Context) -> None:
    """Open the jobs of a queue, as in `:queue inference`."""
    context.console.go("jobs", context.queue)


ACTIONS: tuple[Action[Any], ...] = (*_LIST, *_PAGE, *_OPEN)
