"""What can be done with a queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from ...model.snapshot import pause_note
from ...text.format import plural
from ...text.safe import clean, short
from .. import keys, shared
from ..base import (
    Action,
    Actions,
    Context,
    Danger,
    Doubtful,
    PageContext,
    Question,
    Unchanged,
    Words,
    on_screen,
)
from ..bulk import Tally, in_parts, one_at_a_time, touched

if TYPE_CHECKING:
    from glidemq_core import Queue
    from glidemq_core.options.job import Actor
    from glidemq_core.records import QueueSnapshot

#: Jobs that one clean removes at most; pressing again removes the next ones.
CLEAN_LIMIT = 1_000


class QueueListPage(shared.MarkingPage, shared.SortedPage, Protocol):
    """A list of queues with the detail of one, as actions know it."""

    def open_selected(self) -> None: ...

    def toggle_detail(self) -> None: ...


class QueuesPage(QueueListPage, Protocol):
    """The overview of queues."""


QueueListContext: TypeAlias = PageContext[QueueListPage]
QueuesContext: TypeAlias = PageContext[QueuesPage]
ACTIONS: Actions[QueuesContext] = Actions("queues")


def selected_queue(context: Context) -> QueueSnapshot | None:
    """The queue that an action works on, as it is known."""
    return context.snapshot.queue(context.queue) if context.queue is not None else None


def needed_queue(context: Context) -> QueueSnapshot:
    """The same; actions check before that there is one."""
    row = selected_queue(context)
    assert row is not None
    return row


def needs_queue(context: Context) -> str | None:
    """Say that no queue is selected."""
    return None if selected_queue(context) is not None else "no queue is selected"


def needs(holds: Callable[[QueueSnapshot], object], words: str) -> Callable[[Context], str | None]:
    """Say `words` (with `{queue}` in it) unless something holds of the selected queue."""

    def why_not(context: Context) -> str | None:
        row = selected_queue(context)
        if row is None:
            return "no queue is selected"
        return None if holds(row) else words.format(queue=context.shown_queue)

    return why_not


_cannot_pause = needs(lambda row: not row.paused, "it is paused already")
_cannot_resume = needs(lambda row: row.paused, "it is not paused")
_selected_cannot_retry = needs(lambda row: row.failed, "nothing has failed in {queue}")
#: A queue is typed after the command.
QUEUE = Words(
    "queue", lambda context: [clean(queue.name, single_line=True) for queue in context.snapshot.queues]
)


@ACTIONS("queue.open", keys.OPEN, title="jobs", why_not=needs_queue, footer=10)
def _open(context: QueuesContext) -> None:
    """Open the jobs of the selected queue."""
    context.page.open_selected()


# --- pause and resume --------------------------------------------------------------------------------------


def marked_queues(context: Context) -> list[QueueSnapshot]:
    """The marked queues, as they are known."""
    if not context.marked:
        return []
    from glidemq_core.records import QueueSnapshot

    return [one for one in context.marked if isinstance(one, QueueSnapshot)]


@ACTIONS.changes("queue.pause-or-resume", keys.PAUSE, title="pause", why_not=needs_queue, footer=20)
async def _pause_or_resume(context: Context) -> str:
    """Pause the marked queues, else the selected one, or resume them when all are paused."""
    if marked := marked_queues(context):
        running = [row.name for row in marked if not row.paused]
        return await _switch(context, running or [row.name for row in marked], paused=bool(running))
    return await (_resumed if needed_queue(context).paused else _paused)(context)


async def _switch(context: Context, names: Sequence[str], *, paused: bool) -> str:
    """Pause or resume queues; what was changed can be undone as a whole."""
    done = "paused" if paused else "resumed"
    tally = await _set_paused(context, names, paused=paused)
    if changed := tally.done:
        which = short(changed[0], 40) if len(changed) == 1 else plural(len(changed), "queue")
        words = f"{'pause' if paused else 'resume'} of {which}"
        take_back = partial(_switch_back, replace(context, marked=()), changed, paused=not paused)
        context.console.undo.note(words, context.console.now_ms(), take_back)
    return tally.message("queue", done, after="; z undoes it")


async def _set_paused(context: Context, names: Sequence[str], *, paused: bool) -> Tally[str]:
    async def change(queue: Queue[Any, Any], actor: Actor, part: Sequence[str]) -> list[str]:
        await (queue.pause if paused else queue.resume)(actor=actor)
        return ["set"] * len(part)

    return await in_parts(context, names, change, {"set"}, queue_of=str)


async def _switch_back(context: Context, names: Sequence[str], *, paused: bool) -> str:
    tally = await _set_paused(context, names, paused=paused)
    return tally.message("queue", "paused again" if paused else "resumed again")


async def _paused(context: Context) -> str:
    message = await _switch(replace(context, marked=()), [context.needed_queue], paused=True)
    if isinstance(message, Doubtful | Unchanged):
        return message
    detail = context.snapshot.detail_of(context.queue)
    note = pause_note((detail.workers if detail is not None else None) or ())
    return f"{context.shown_queue} paused" + (f"; {note}" if note else "; z undoes it")


async def _resumed(context: Context) -> str:
    message = await _switch(replace(context, marked=()), [context.needed_queue], paused=False)
    return (
        message
        if isinstance(message, Doubtful | Unchanged)
        else f"{context.shown_queue} resumed; z undoes it"
    )


@ACTIONS.changes("queue.pause", why_not=_cannot_pause, takes=QUEUE)
async def _pause(context: Context) -> str:
    """Pause a queue: no new job starts there."""
    return await _paused(context)


@ACTIONS.changes("queue.resume", why_not=_cannot_resume, takes=QUEUE)
async def _resume(context: Context) -> str:
    """Resume a paused queue."""
    return await _resumed(context)


# --- many jobs at once -------------------------------------------------------------------------------------


def _with_failed(context: Context) -> list[QueueSnapshot]:
    """The marked queues in which something has failed."""
    return [row for row in marked_queues(context) if row.failed]


def _cannot_retry(context: Context) -> str | None:
    if marked_queues(context):
        return None if _with_failed(context) else "nothing has failed in the marked queues"
    return _selected_cannot_retry(context)


def _ask_retry(context: Context) -> Question:
    if marked := _with_failed(context):
        count = sum(row.failed or 0 for row in marked)
        told = touched([row.name for row in marked])
        return Question(
            title=f"Retry every failed job of {plural(len(marked), 'marked queue')}?",
            body=f"{told}\n\n{plural(count, 'failed job')} will wait again and run once more. This cannot be undone.",
            yes=f"Retry {count:,}",
        )
    failed = needed_queue(context).failed or 0
    return Question(
        title=f"Retry every failed job of {context.shown_queue}?",
        body=f"{plural(failed, 'failed job')} will wait again and run once more. This cannot be undone.",
        yes=f"Retry {failed:,}",
    )


@ACTIONS.changes(
    "queue.retry-failed", keys.RUN, why_not=_cannot_retry, ask=_ask_retry, footer=30, takes=QUEUE
)
async def _retry_failed(context: Context) -> str:
    """Retry every failed job of the marked queues, else of the selected one."""
    if marked := _with_failed(context):
        count = 0

        async def retry(queue: Queue[Any, Any], actor: Actor, part: Sequence[QueueSnapshot]) -> list[str]:
            nonlocal count
            count += await queue.retry_jobs(actor=actor)
            return ["retried"] * len(part)

        tally = await in_parts(context, marked, retry, {"retried"}, queue_of=lambda row: row.name)
        return tally.message("queue", "retried", after=f": {plural(count, 'job')}")
    moved = await context.change(lambda queue, actor: queue.retry_jobs(actor=actor))
    return _result(moved, f"{context.shown_queue}: {plural(moved, 'job')} retried")


def _result(count: int, message: str) -> str:
    return message if count else Unchanged(message)


@ACTIONS("queue.audit", keys.AUDIT, why_not=needs_queue)
async def _audit(context: Context) -> None:
    """Show who changed what about the queue and its jobs."""
    await context.console.show_audit(context.needed_queue)


@ACTIONS("queue.sort", keys.SORT, footer=50)
def _sort(context: QueuesContext) -> str:
    """Sort by the next column."""
    return context.page.sort_next()


@ACTIONS("queue.sort-reverse", keys.REVERSE, title="reverse")
def _sort_reverse(context: QueuesContext) -> str:
    """Turn the order round."""
    return context.page.sort_reverse()


@ACTIONS("queue.detail", keys.DETAIL, why_not=needs_queue, footer=55)
def _detail(context: QueuesContext) -> None:
    """Give the detail of the selected queue the whole screen, or take it back."""
    context.page.toggle_detail()


def _cannot_drain(context: Context) -> str | None:
    row = selected_queue(context)
    if (reason := one_at_a_time(context, "queue")) is not None:
        return reason
    if row is None:
        return "no queue is selected"
    if row.waiting:
        return None
    stay = "; delayed and prioritized jobs stay" if row.delayed else ""
    return f"nothing waits in {context.shown_queue}{stay}"


def _ask_drain(context: Context) -> Question:
    waiting = needed_queue(context).waiting or 0
    return Question(
        title=f"Drain {context.shown_queue}?",
        body=f"{plural(waiting, 'waiting job')} will be removed with everything they hold. "
        "Delayed and prioritized jobs stay, active jobs finish. This cannot be undone.",
        yes=f"Remove {waiting:,}",
        type_this=context.queue,
    )


@ACTIONS.changes(
    "queue.drain",
    keys.DRAIN,
    danger=Danger.TYPED,
    why_not=_cannot_drain,
    ask=_ask_drain,
    footer=60,
    takes=QUEUE,
)
async def _drain(context: Context) -> str:
    """Remove every waiting job of the selected queue; delayed and prioritized ones stay."""
    gone = await context.change(lambda queue, actor: queue.drain(actor=actor))
    return _result(gone, f"{context.shown_queue} drained: {plural(gone, 'job')} removed")


def _clean_action(state: Literal["completed", "failed"], meaning: keys.Meaning) -> Action[Context]:
    def ask(context: Context) -> Question:
        there = getattr(needed_queue(context), state) or 0
        count = min(there, CLEAN_LIMIT)
        rest = " (the oldest; clean again for the next ones)" if there > count else ""
        return Question(
            title=f"Clean {state} jobs of {context.shown_queue}?",
            body=f"{plural(count, f'{state} job')}{rest} will be removed with payload, result and logs. "
            "This cannot be undone.",
            yes=f"Remove {count:,}",
            type_this=context.queue,
        )

    async def run(context: Context) -> str:
        gone = await context.change(
            lambda queue, actor: queue.clean(state, grace=0, limit=CLEAN_LIMIT, actor=actor)
        )
        return _result(
            len(gone), f"{context.shown_queue} cleaned: {plural(len(gone), f'{state} job')} removed"
        )

    has_some = needs(lambda row: getattr(row, state), f"{{queue}} has no {state} jobs")
    return Action(
        id=f"queue.clean-{state}",
        title=f"clean {state}",
        help=f"Remove the {state} jobs of the selected queue, at most {CLEAN_LIMIT:,} at a time.",
        meanings=(meaning,),
        scope="queues",
        danger=Danger.TYPED,
        why_not=lambda context: one_at_a_time(context, "queue") or has_some(context),
        ask=ask,
        run=run,
        command=f"clean-{state}",
        takes=QUEUE,
    )


ACTIONS += (_clean_action("completed", keys.CLEAN_COMPLETED), _clean_action("failed", keys.CLEAN_FAILED))
ACTIONS += on_screen("queues", (*shared.MARKS, shared.hold))
