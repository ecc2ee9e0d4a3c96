"""What can be done with a job, in the list and on its page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from ...text.safe import clean
from ..base import Action, Context, Danger, Question, Unchanged
from ..protocols import Page
from ..queues import queue_names

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


@dataclass(frozen=True, kw_only=True)
class CopyContext(Context):
    """A key pressed where a job can be copied."""

    page: CopyPage


@dataclass(frozen=True, kw_only=True)
class JobListContext(CopyContext):
    """A key pressed on the list of jobs."""

    page: JobListPage


@dataclass(frozen=True, kw_only=True)
class JobPageContext(CopyContext):
    """A key pressed on the page of a job."""

    page: JobPage


def needs_job(context: Context) -> str | None:
    """Say that no job is selected."""
    if context.job is None:
        return "no job is selected"
    return "it is gone" if context.job_state == GONE else None


def _cannot_retry(context: Context) -> str | None:
    return state_reason(context, "retried", ("failed",))


def _cannot_promote(context: Context) -> str | None:
    return state_reason(context, "promoted", ("delayed", "prioritized"))


def state_reason(context: Context, done: str, states: tuple[str, ...]) -> str | None:
    """Say that the job is not in one of the states that allow it; a state that is not known is let through."""
    if (reason := needs_job(context)) is not None:
        return reason
    if context.job_state is None or context.job_state in states:
        return None
    *others, last = states
    which = f"{', '.join(others)} or {last}" if others else last
    return f"only {which} jobs can be {done}; this one is {clean(context.job_state, single_line=True)}"


async def _retry(context: Context) -> str:
    job = context.job
    assert job is not None
    await context.change(job.queue, lambda queue, actor: queue.retry_job(job.id, actor=actor))
    return f"{context.shown_job} waits again"


async def _promote(context: Context) -> str:
    job = context.job
    assert job is not None
    await context.change(job.queue, lambda queue, actor: queue.promote_job(job.id, actor=actor))
    return f"{context.shown_job} promoted: it may start now"


def _ask_remove(context: Context) -> Question | None:
    if context.job is None:
        return None
    running = context.job_state == "active"
    return Question(
        title=f"Remove {context.shown_job}?",
        body=("It is running: its worker will find it gone. " if running else "")
        + "The job goes with its payload, result, logs and tokens. This cannot be undone.",
        yes="Remove",
    )


async def _remove(context: Context) -> str:
    job = context.job
    assert job is not None
    force = context.job_state == "active"
    gone = await context.change(
        job.queue, lambda queue, actor: queue.remove_job(job.id, force=force, actor=actor)
    )
    return f"{context.shown_job} removed" if gone else Unchanged(f"{context.shown_job} was gone already")


def jobs_shown(context: Context) -> list[str]:
    """Names of the jobs that are listed, to complete what is typed."""
    listing = context.snapshot.jobs
    return [] if listing is None else [clean(str(row.ref), single_line=True) for row in listing.rows[:200]]


#: What can be done with a job, in the list, on its page and in its flow.
ON_A_JOB: tuple[Action[CopyContext], ...] = (
    Action(
        id="retry",
        title="retry",
        help="Let a failed job run again.",
        keys=("R",),
        danger=Danger.CHANGE,
        why_not=_cannot_retry,
        run=_retry,
        footer=20,
        command="retry",
        takes="job",
        complete=jobs_shown,
    ),
    Action(
        id="promote",
        title="promote",
        help="Let a delayed job start now.",
        keys=("P",),
        danger=Danger.CHANGE,
        why_not=_cannot_promote,
        run=_promote,
        footer=30,
        command="promote",
        takes="job",
        complete=jobs_shown,
    ),
    Action(
        id="remove",
        title="remove",
        help="Remove the job with everything it holds.",
        keys=("x", "delete"),
        danger=Danger.CONFIRM,
        why_not=needs_job,
        ask=_ask_remove,
        run=_remove,
        footer=40,
        command="remove",
        takes="job",
        complete=jobs_shown,
    ),
    Action(
        id="tokens",
        title="tokens",
        help="Follow the job's tokens on the streams screen.",
        keys=("t",),
        why_not=needs_job,
        run=lambda context: context.console.go("streams", context.job),
        footer=50,
    ),
    Action(
        id="copy",
        title="copy",
        help="Copy the job's id (in the list) or its payload (on its page) to the clipboard.",
        keys=("y",),
        why_not=needs_job,
        run=lambda context: context.page.copy(),
        footer=60,
    ),
)


def _both(scope: str) -> tuple[Action[CopyContext], ...]:
    # The `:` line knows each command once: the list's.
    return tuple(
        replace(
            action,
            id=f"{scope}.{action.id}",
            scope=scope,
            command=action.command if scope == "jobs" else None,
        )
        for action in ON_A_JOB
    )


_LIST: tuple[Action[JobListContext], ...] = (
    Action(
        id="jobs.open",
        title="open",
        help="Open the page of the selected job.",
        keys=("enter",),
        scope="jobs",
        why_not=needs_job,
        run=lambda context: context.page.open_selected(),
        footer=10,
    ),
    *_both("jobs"),
    Action(
        id="jobs.next-state",
        title="state",
        help="Show the jobs of the next state.",
        keys=("tab", "right", "l"),
        scope="jobs",
        run=lambda context: context.page.next_state(1),
        footer=15,
    ),
    Action(
        id="jobs.previous-state",
        title="previous state",
        help="Show the jobs of the state before.",
        keys=("shift+tab", "left", "h"),
        scope="jobs",
        run=lambda context: context.page.next_state(-1),
    ),
    Action(
        id="jobs.order",
        title="order",
        help="Turn the order round: newest or oldest first.",
        keys=("o",),
        scope="jobs",
        run=lambda context: context.page.turn_order(),
        footer=65,
    ),
    Action(
        id="jobs.next-queue",
        title="next queue",
        help="Show the jobs of the next queue.",
        keys=("right_square_bracket",),
        scope="jobs",
        run=lambda context: context.page.next_queue(1),
    ),
    Action(
        id="jobs.previous-queue",
        title="previous queue",
        help="Show the jobs of the queue before.",
        keys=("left_square_bracket",),
        scope="jobs",
        run=lambda context: context.page.next_queue(-1),
    ),
)

_PAGE: tuple[Action[JobPageContext], ...] = (
    *_both("job"),
    Action(
        id="job.raw",
        title="raw",
        help="Show the payload as it is stored, or laid out again.",
        keys=("e",),
        scope="job",
        run=lambda context: context.page.toggle_raw(),
        footer=55,
    ),
    Action(
        id="job.reveal",
        title="reveal",
        help="Show masked secrets until the page is left, or mask them again.",
        keys=("v",),
        scope="job",
        run=lambda context: context.page.toggle_reveal(),
        footer=57,
    ),
    Action(
        id="job.more",
        title="more",
        help="Read the whole payload of a job whose payload was cut.",
        keys=("m",),
        scope="job",
        run=lambda context: context.page.load_whole(),
    ),
)

_OPEN: tuple[Action[Context], ...] = (
    Action(
        id="open-job",
        title="job",
        help="Open a job by its name, as in `:job inference:42`.",
        why_not=needs_job,
        run=lambda context: context.console.go("jobs", context.job),
        command="job",
        takes="job",
        complete=jobs_shown,
    ),
    Action(
        id="open-queue",
        title="queue",
        help="Open the jobs of a queue, as in `:queue inference`.",
        run=lambda context: context.console.go("jobs", context.queue),
        command="queue",
        takes="queue",
        complete=queue_names,
    ),
)

ACTIONS: tuple[Action[Any], ...] = (*_LIST, *_PAGE, *_OPEN)
