"""What can be done with the jobs that are marked, or with the selected one, as they were shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ...text.format import plural
from ...text.safe import short
from ..base import Context, Question, Unchanged
from ..bulk import in_parts, touched

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.records import JobRow

Act = Literal["retry", "promote", "remove"]
#: The states in which an act is possible; None for every one.
STATES: dict[Act, tuple[str, ...] | None] = {
    "retry": ("failed",),
    "promote": ("delayed", "prioritized"),
    "remove": None,
}
#: What was done, which is the outcome that the engine tells too.
DONE: dict[Act, str] = {"retry": "retried", "promote": "promoted", "remove": "removed"}


def marked_jobs(context: Context) -> list[JobRow]:
    """The marked jobs, as they were shown."""
    if not context.marked:
        return []
    from glidemq_core.records import JobRow

    return [one for one in context.marked if isinstance(one, JobRow)]


def fit(context: Context, states: Sequence[str] | None) -> list[JobRow]:
    """Those of the marked jobs that are in one of these states."""
    return [row for row in marked_jobs(context) if states is None or row.state in states]


def why_not(context: Context, done: str, states: Sequence[str] | None) -> str | None:
    """Say that none of the marked jobs is in a state that allows it."""
    if fit(context, states):
        return None
    which = " or ".join(states or ())
    return f"only {which} jobs can be {done}; none of the {len(marked_jobs(context)):,} marked is"


def told_of(context: Context, states: Sequence[str] | None, done: str) -> str:
    """What an act on the marked jobs will touch."""
    rows = fit(context, states)
    rest = len(marked_jobs(context)) - len(rows)
    left = (
        f"{rest:,} of the marked cannot be {done} and {'is' if rest == 1 else 'are'} left out."
        if rest
        else ""
    )
    return touched([str(row.ref) for row in rows], [row.state for row in rows], left)


def ask(context: Context, act: Act, body: str) -> Question:
    """The question before an act on the marked jobs."""
    rows = fit(context, STATES[act])
    verb = act.capitalize()
    return Question(
        title=f"{verb} {plural(len(rows), 'marked job')}?",
        body=f"{told_of(context, STATES[act], DONE[act])}\n\n{body} What has changed meanwhile is skipped. "
        "This cannot be undone.",
        yes=f"{verb} {len(rows):,}",
    )


async def act_on(context: Context, act: Act) -> str:
    """Do it with exactly the jobs that were shown, in the states that were shown."""
    rows = fit(context, STATES[act])

    async def change(queue: Queue[Any, Any], actor: Actor, part: Sequence[JobRow]) -> list[str]:
        from glidemq_core.jobs.bulk.shown import Shown, act_on_shown

        shown = [Shown(row.id, row.state) for row in part]
        return await act_on_shown(await queue.context(), act, shown, actor=actor)

    tally = await in_parts(
        context, rows, change, {DONE[act]}, queue_of=lambda row: row.queue, doing=f"{act} in parts"
    )
    return tally.message("job", DONE[act])


async def act_on_one(context: Context, act: Act, done: str, *, name: str | None = None) -> str:
    """Do it with the selected job in the state that was shown, else say what it is now.

    Args:
        done: What is said of the job when it was done.
        name: What the job is called in that, safe to draw.
    """
    name = name or context.shown_job
    job, shown_state = context.needed_job, context.job_state

    async def change(queue: Queue[Any, Any], actor: Actor) -> str:
        from glidemq_core.jobs.bulk.shown import Shown, act_on_shown

        if shown_state is None:
            # A job that was named in a command and is not listed.
            return await _act_unseen(queue, act, job.id, actor)
        shown = [Shown(job.id, shown_state)]
        return (await act_on_shown(await queue.context(), act, shown, actor=actor))[0]

    outcome = await context.change(change, job.queue)
    if outcome == DONE[act]:
        return f"{name} {done}"
    if outcome == "refused":
        return Unchanged(f"{name} skipped: a record of it is something else (see glidemq doctor)")
    now = await context.console.feed.job(job, payload_limit=0)
    if now is None:
        return Unchanged(f"{name} was gone already")
    what = f"it is now {short(now.state, 30)}" if now.state != shown_state else "it changed meanwhile"
    return Unchanged(f"{name} skipped: {what}")


async def _act_unseen(queue: Queue[Any, Any], act: Act, job_id: str, actor: Actor) -> str:
    """Do it with a job of which nothing was shown; the engine refuses what its state does not allow."""
    if act == "retry":
        await queue.retry_job(job_id, actor=actor)
    elif act == "promote":
        await queue.promote_job(job_id, actor=actor)
    elif not await queue.remove_job(job_id, actor=actor):
        return "not_found"
    return DONE[act]
