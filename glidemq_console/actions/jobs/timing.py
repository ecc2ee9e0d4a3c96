"""When a job that has not started is to start, and the retry of every failed job that is listed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from ...text.format import plural
from ...text.parse import parse_priority, parse_wait
from ...text.safe import short
from ...text.shown_keys import key_of
from .. import keys
from ..base import Actions, Context, Question, Unchanged, on_screen
from ..perform import UNCHANGED, ask_value, optional
from . import many, retiming
from .control import JOB, state_reason

if TYPE_CHECKING:
    from collections.abc import Iterable

    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.records import JobRow

ACTIONS: Actions[Context] = Actions("jobs")
_ON_A_JOB: Actions[Context] = Actions()
_NOT_STARTED = ("waiting", "prioritized", "delayed")
#: Errors that the question about a retry names.
_ERRORS_NAMED = 3


def _name(context: Context) -> str:
    """The job or how many, safe to draw."""
    return (
        plural(len(retiming.targets(context)), "marked job")
        if many.marked_jobs(context)
        else context.shown_job
    )


def _cannot_change(context: Context) -> str | None:
    if many.marked_jobs(context):
        return many.why_not(context, "changed", _NOT_STARTED)
    if context.row is not None and context.row.parked:
        return (
            f"its flow's budget has parked it; {key_of(f'{context.page.SCOPE}.flow', 'f')} shows the flow, "
            f"{key_of('flow.top-up', 'T')} tops up there"
        )
    return state_reason(context, "changed", _NOT_STARTED)


@ACTIONS.changes("delay", why_not=_cannot_change, prompts=True, command="set-delay", takes=JOB)
async def _delay(context: Context) -> str:
    """Let a job that has not started wait for some time, or start now."""
    wait_ms = await ask_value(
        context,
        f"Let {_name(context)} wait",
        "How long from now, as 30s, 5m, 2h or 1d; 0 makes it ready at once.",
        "",
        parse_wait,
    )
    if wait_ms is None:
        return UNCHANGED
    return await retiming.retime(context, priority=None, wait_ms=wait_ms)


@ACTIONS.changes("priority", why_not=_cannot_change, prompts=True, command="set-priority", takes=JOB)
async def _priority(context: Context) -> str:
    """Let a job that has not started go before others, or take its priority away."""
    row = context.row
    priority = await ask_value(
        context,
        f"Priority of {_name(context)}",
        "1 starts first, 2048 last of those with a priority; 0 takes the priority away.",
        str(row.priority) if row is not None and row.priority else "",
        parse_priority,
    )
    if priority is None:
        return UNCHANGED
    return await retiming.retime(context, priority=priority, wait_ms=None)


@_ON_A_JOB.changes("edit", keys.EDIT, why_not=_cannot_change, prompts=True)
async def edit(context: Context) -> str:
    """Edit delay and priority of the marked jobs, else of the selected one, that have not started."""
    from ...widgets.dialogs.form import Field, FormDialog

    row, several = context.row, bool(many.marked_jobs(context))
    before = str(row.priority) if row is not None and row.priority and not several else ""
    told = f"{many.told_of(context, _NOT_STARTED, 'changed')}\n\n" if several else ""
    rest = "Empty leaves it. " if several else ""
    dialog = FormDialog(
        f"Edit {_name(context)}",
        f"{told}Wait from now, as 30s, 5m, 2h or 1d; 0 makes it ready at once. "
        f"Priority 1 starts first, 2048 last of those with one. {rest}z undoes it within a minute.",
        (
            Field(label="wait", placeholder="as it is", problem=optional(parse_wait)),
            Field(
                label="priority",
                value=before,
                placeholder="as it is" if several else "none",
                problem=optional(parse_priority),
            ),
        ),
    )
    answer = await context.console.push_screen_wait(dialog)
    if answer is None:
        return UNCHANGED
    wait_ms = parse_wait(answer[0]) if answer[0].strip() else None
    priority = parse_priority(answer[1]) if answer[1].strip() else None if several else 0
    if not several and priority == int(before or 0):
        priority = None
    wanted = priority if isinstance(priority, int) else None
    wait = wait_ms if isinstance(wait_ms, int) else None
    return (
        UNCHANGED if wanted is wait is None else await retiming.retime(context, priority=wanted, wait_ms=wait)
    )


def _failed_listed(context: Context) -> list[JobRow]:
    """The failed jobs of the list that was on screen when the key was pressed."""
    listing = context.snapshot.jobs
    if listing is None or listing.query.queue != context.queue:
        return []
    return [row for row in listing.rows if row.state == "failed"]


def _cannot_retry_listed(context: Context) -> str | None:
    return None if _failed_listed(context) else "no failed job is listed"


def _ask_retry_listed(context: Context) -> Question:
    rows, listing = _failed_listed(context), context.snapshot.jobs
    assert listing is not None
    sought = listing.query.find
    about = f" that have “{short(sought, 40)}”" if sought else ""
    more = " More are there than are loaded; only these are retried." if listing.has_more else ""
    return Question(
        title=f"Retry {plural(len(rows), 'failed job')} of {context.shown_queue}{about}?",
        body=f"{_reasons(rows)}\nThey wait again and run with all their attempts. This cannot be undone.{more}",
        yes=f"Retry {len(rows):,}",
    )


def _reasons(rows: Iterable[JobRow]) -> str:
    """The most frequent errors, a line each."""
    often = Counter(short(row.failed_reason or "no reason", 50) for row in rows).most_common()
    lines = [f"{count:>4}  {reason}" for reason, count in often[:_ERRORS_NAMED]]
    if len(often) > _ERRORS_NAMED:
        lines.append(f"      and {plural(len(often) - _ERRORS_NAMED, 'other error')}")
    return "\n".join(lines)


@ACTIONS.changes(
    "jobs.retry-listed", why_not=_cannot_retry_listed, ask=_ask_retry_listed, command="retry-listed"
)
async def _retry_listed(context: Context) -> str:
    """Retry every failed job that is listed: filter (/) by an error first, and only those are."""
    from glidemq_core.jobs.control import retry_some

    ids = [row.id for row in _failed_listed(context)]

    async def retry(queue: Queue[Any, Any], actor: Actor) -> list[str]:
        return await retry_some(await queue.context(), ids, actor=actor)

    outcomes = await context.change(retry)
    moved = sum(outcome == "retried" for outcome in outcomes)
    rest = f"; {plural(len(ids) - moved, 'job')} had moved on" if moved < len(ids) else ""
    message = f"{context.shown_queue}: {plural(moved, 'job')} retried{rest}"
    return message if moved else Unchanged(message)


ACTIONS += (*on_screen("jobs", _ON_A_JOB), *on_screen("job", _ON_A_JOB))
