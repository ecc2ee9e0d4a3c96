"""What can be done with a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from ..model.snapshot import pause_note
from ..text.format import plural
from ..text.safe import clean
from .base import Action, Context, Danger, Question, Unchanged
from .protocols import Page

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot

#: Jobs that one clean removes at most; pressing again removes the next ones.
CLEAN_LIMIT = 1_000


class QueueListPage(Page, Protocol):
    """A list of queues with the detail of one, as actions know it."""

    def open_selected(self) -> None: ...

    def toggle_detail(self) -> None: ...


class QueuesPage(QueueListPage, Protocol):
    """The overview of queues, which can be sorted; what a method returns is shown."""

    def sort_next(self) -> str: ...

    def sort_reverse(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class QueueListContext(Context):
    """A key pressed on a list of queues."""

    page: QueueListPage


@dataclass(frozen=True, kw_only=True)
class QueuesContext(QueueListContext):
    """A key pressed on the overview of queues."""

    page: QueuesPage


def selected_queue(context: Context) -> QueueSnapshot | None:
    """The queue that an action works on, as it is known."""
    return context.snapshot.queue(context.queue) if context.queue is not None else None


def needs_queue(context: Context) -> str | None:
    """Say that no queue is selected."""
    return None if selected_queue(context) is not None else "no queue is selected"


def queue_names(context: Context) -> list[str]:
    """Names of the known queues, to complete what is typed."""
    return [clean(queue.name, single_line=True) for queue in context.snapshot.queues]


# --- pause and resume --------------------------------------------------------------------------------------


async def _pause_or_resume(context: Context) -> str:
    row = selected_queue(context)
    return await (_resume if row is not None and row.paused else _pause)(context)


async def _pause(context: Context) -> str:
    assert context.queue is not None
    await context.change(context.queue, lambda queue, actor: queue.pause(actor=actor))
    detail = context.snapshot.detail_of(context.queue)
    workers = detail.workers if detail is not None else None
    note = pause_note(workers or ())
    return f"{context.shown_queue} paused" + (f"; {note}" if note else "")


async def _resume(context: Context) -> str:
    assert context.queue is not None
    await context.change(context.queue, lambda queue, actor: queue.resume(actor=actor))
    return f"{context.shown_queue} resumed"


def _cannot_pause(context: Context) -> str | None:
    row = selected_queue(context)
    return needs_queue(context) or ("it is paused already" if row is not None and row.paused else None)


def _cannot_resume(context: Context) -> str | None:
    row = selected_queue(context)
    return needs_queue(context) or ("it is not paused" if row is not None and not row.paused else None)


# --- many jobs at once -------------------------------------------------------------------------------------


def _cannot_retry(context: Context) -> str | None:
    row = selected_queue(context)
    if row is None:
        return "no queue is selected"
    return None if row.failed else f"nothing has failed in {context.shown_queue}"


def _ask_retry(context: Context) -> Question | None:
    row = selected_queue(context)
    if row is None:
        return None
    return Question(
        title=f"Retry every failed job of {context.shown_queue}?",
        body=f"{plural(row.failed or 0, 'failed job')} will wait again and run once more.",
        yes=f"Retry {row.failed or 0:,}",
        no="Leave them",
    )


async def _retry_failed(context: Context) -> str:
    assert context.queue is not None
    moved = await context.change(context.queue, lambda queue, actor: queue.retry_jobs(actor=actor))
    told = f"{context.shown_queue}: {plural(moved, 'job')} retried"
    return told if moved else Unchanged(told)


def _cannot_drain(context: Context) -> str | None:
    row = selected_queue(context)
    if row is None:
        return "no queue is selected"
    if row.waiting:
        return None
    stay = "; delayed and prioritized jobs stay" if row.delayed else ""
    return f"nothing waits in {context.shown_queue}{stay}"


def _ask_drain(context: Context) -> Question | None:
    row = selected_queue(context)
    if row is None or context.queue is None:
        return None
    return Question(
        title=f"Drain {context.shown_queue}?",
        body=f"{plural(row.waiting or 0, 'waiting job')} will be removed with everything they hold. "
        "Delayed and prioritized jobs stay, active jobs finish. This cannot be undone.",
        yes=f"Remove {row.waiting or 0:,}",
        type_this=context.queue,
    )


async def _drain(context: Context) -> str:
    assert context.queue is not None
    gone = await context.change(context.queue, lambda queue, actor: queue.drain(actor=actor))
    told = f"{context.shown_queue} drained: {plural(gone, 'job')} removed"
    return told if gone else Unchanged(told)


def _clean_action(state: Literal["completed", "failed"], key: str) -> Action[Context]:
    def why_not(context: Context) -> str | None:
        row = selected_queue(context)
        if row is None:
            return "no queue is selected"
        return None if getattr(row, state) else f"{context.shown_queue} has no {state} jobs"

    def ask(context: Context) -> Question | None:
        row = selected_queue(context)
        if row is None or context.queue is None:
            return None
        count = min(getattr(row, state) or 0, CLEAN_LIMIT)
        rest = " (the oldest; clean again for the next ones)" if (getattr(row, state) or 0) > count else ""
        return Question(
            title=f"Clean {state} jobs of {context.shown_queue}?",
            body=f"{plural(count, f'{state} job')}{rest} will be removed with payload, result and logs. "
            "This cannot be undone.",
            yes=f"Remove {count:,}",
            type_this=context.queue,
        )

    async def run(context: Context) -> str:
        assert context.queue is not None
        gone = await context.change(
            context.queue, lambda queue, actor: queue.clean(state, grace=0, limit=CLEAN_LIMIT, actor=actor)
        )
        told = f"{context.shown_queue} cleaned: {plural(len(gone), f'{state} job')} removed"
        return told if gone else Unchanged(told)

    return Action(
        id=f"queue.clean-{state}",
        title=f"clean {state}",
        help=f"Remove the {state} jobs of the selected queue, at most {CLEAN_LIMIT:,} at a time.",
        keys=(key,),
        scope="queues",
        danger=Danger.TYPED,
        why_not=why_not,
        ask=ask,
        run=run,
        command=f"clean-{state}",
        takes="queue",
        complete=queue_names,
    )


ACTIONS: tuple[Action[QueuesContext], ...] = (
    Action(
        id="queue.open",
        title="jobs",
        help="Open the jobs of the selected queue.",
        keys=("enter",),
        scope="queues",
        why_not=needs_queue,
        run=lambda context: context.page.open_selected(),
        footer=10,
    ),
    Action(
        id="queue.pause-or-resume",
        title="pause",
        help="Pause the selected queue, or resume it when it is paused.",
        keys=("p",),
        scope="queues",
        danger=Danger.CHANGE,
        why_not=needs_queue,
        run=_pause_or_resume,
        footer=20,
    ),
    Action(
        id="queue.pause",
        title="pause",
        help="Pause a queue: no new job starts there.",
        scope="queues",
        danger=Danger.CHANGE,
        why_not=_cannot_pause,
        run=_pause,
        command="pause",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="queue.resume",
        title="resume",
        help="Resume a paused queue.",
        scope="queues",
        danger=Danger.CHANGE,
        why_not=_cannot_resume,
        run=_resume,
        command="resume",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="queue.retry-failed",
        title="retry failed",
        help="Retry every failed job of the selected queue.",
        keys=("R",),
        scope="queues",
        danger=Danger.CONFIRM,
        why_not=_cannot_retry,
        ask=_ask_retry,
        run=_retry_failed,
        footer=30,
        command="retry-failed",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="queue.sort",
        title="sort",
        help="Sort by the next column.",
        keys=("s",),
        scope="queues",
        run=lambda context: context.page.sort_next(),
        footer=50,
    ),
    Action(
        id="queue.sort-reverse",
        title="reverse",
        help="Turn the order round.",
        keys=("S",),
        scope="queues",
        run=lambda context: context.page.sort_reverse(),
    ),
    Action(
        id="queue.detail",
        title="detail",
        help="Give the detail of the selected queue the whole screen, or take it back.",
        keys=("d",),
        scope="queues",
        why_not=needs_queue,
        run=lambda context: context.page.toggle_detail(),
        footer=55,
    ),
    Action(
        id="queue.drain",
        title="drain",
        help="Remove every waiting job of the selected queue; delayed and prioritized ones stay.",
        keys=("D",),
        scope="queues",
        danger=Danger.TYPED,
        why_not=_cannot_drain,
        ask=_ask_drain,
        run=_drain,
        footer=60,
        command="drain",
        takes="queue",
        complete=queue_names,
    ),
    _clean_action("completed", "C"),
    _clean_action("failed", "F"),
)
