"""What can be done about the limits of a queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..text.format import window
from ..text.parse import parse_count, parse_rate
from .base import Action, Context, Danger, Question, Unchanged
from .perform import ask_value
from .queues import QueueListContext, needs_queue, queue_names, selected_queue

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot


def _has(limit: Callable[[QueueSnapshot], bool], words: str) -> Callable[[Context], str | None]:
    def why_not(context: Context) -> str | None:
        row = selected_queue(context)
        return needs_queue(context) or (None if row is not None and limit(row) else words)

    return why_not


def _own_rpm(row: QueueSnapshot) -> bool:
    return row.rpm.source == "queue" and bool(row.rpm.max)


async def _set_rpm(context: Context) -> str:
    from glidemq_core.options.job import RateLimit

    row = selected_queue(context)
    assert context.queue is not None
    assert row is not None
    now = f"{row.rpm.max:.0f}/{window(row.rpm.window_ms)}" if row.rpm.max and row.rpm.window_ms else ""
    given = await ask_value(
        context,
        f"Cap the starts of {context.shown_queue}",
        "All workers together start at most this many jobs in a window: 60 is 60 a minute, "
        "60/10s another window. Jobs over it wait; running ones go on.",
        now,
        parse_rate,
    )
    if given is None:
        return Unchanged("nothing was changed")
    parsed = parse_rate(given)
    assert not isinstance(parsed, str)
    limit = RateLimit(*parsed)
    await context.change(context.queue, lambda queue, actor: queue.set_global_rate_limit(limit, actor=actor))
    return f"{context.shown_queue}: at most {parsed[0]:,} starts in {window(parsed[1])}"


def _ask_clear_rpm(context: Context) -> Question | None:
    row = selected_queue(context)
    if row is None:
        return None
    return Question(
        title=f"Lift the cap on starts of {context.shown_queue}?",
        body=f"{row.rpm.max or 0:,.0f} in {window(row.rpm.window_ms or 60_000)} holds no more: "
        "workers start what waits as fast as their own limits let them.",
        yes="Lift it",
    )


async def _clear_rpm(context: Context) -> str:
    assert context.queue is not None
    await context.change(context.queue, lambda queue, actor: queue.remove_global_rate_limit(actor=actor))
    return f"{context.shown_queue}: no cap on starts any more"


async def _set_concurrency(context: Context) -> str:
    row = selected_queue(context)
    assert context.queue is not None
    assert row is not None
    value = str(row.global_concurrency) if row.global_concurrency else ""
    given = await ask_value(
        context,
        f"Cap the jobs that {context.shown_queue} runs at once",
        "All workers together run at most this many jobs. Those that run already go on.",
        value,
        parse_count,
    )
    if given is None:
        return Unchanged("nothing was changed")
    most = parse_count(given)
    assert not isinstance(most, str)
    await context.change(context.queue, lambda queue, actor: queue.set_global_concurrency(most, actor=actor))
    return f"{context.shown_queue}: at most {most:,} jobs at once"


def _ask_clear_concurrency(context: Context) -> Question | None:
    row = selected_queue(context)
    if row is None:
        return None
    return Question(
        title=f"Lift the cap on jobs at once of {context.shown_queue}?",
        body=f"{row.global_concurrency or 0:,} at once holds no more: each worker runs as many as it was told.",
        yes="Lift it",
    )


async def _clear_concurrency(context: Context) -> str:
    assert context.queue is not None
    await context.change(context.queue, lambda queue, actor: queue.set_global_concurrency(0, actor=actor))
    return f"{context.shown_queue}: no cap on jobs at once any more"


ACTIONS: tuple[Action[QueueListContext], ...] = (
    Action(
        id="limits.open",
        title="jobs",
        help="Open the jobs of the selected queue.",
        keys=("enter",),
        scope="limits",
        why_not=needs_queue,
        run=lambda context: context.page.open_selected(),
        footer=10,
    ),
    Action(
        id="limits.set-rpm",
        title="set RPM",
        help="Cap the starts of all workers of the queue together, as 60 a minute or 60/10s.",
        keys=("m",),
        scope="limits",
        danger=Danger.CHANGE,
        why_not=needs_queue,
        run=_set_rpm,
        prompts=True,
        footer=20,
        command="set-rpm",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="limits.clear-rpm",
        title="clear",
        help="Lift the queue's own cap on starts.",
        keys=("M",),
        scope="limits",
        danger=Danger.CONFIRM,
        why_not=_has(_own_rpm, "no cap on starts is set for this queue; workers' own caps are theirs"),
        ask=_ask_clear_rpm,
        run=_clear_rpm,
        footer=25,
        command="clear-rpm",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="limits.set-concurrency",
        title="set slots",
        help="Cap the jobs that all workers of the queue run at once.",
        keys=("c",),
        scope="limits",
        danger=Danger.CHANGE,
        why_not=needs_queue,
        run=_set_concurrency,
        prompts=True,
        footer=30,
        command="set-concurrency",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="limits.clear-concurrency",
        title="clear",
        help="Lift the queue's cap on jobs at once.",
        keys=("C",),
        scope="limits",
        danger=Danger.CONFIRM,
        why_not=_has(lambda row: row.global_concurrency is not None, "no cap on jobs at once is set here"),
        ask=_ask_clear_concurrency,
        run=_clear_concurrency,
        footer=35,
        command="clear-concurrency",
        takes="queue",
        complete=queue_names,
    ),
    Action(
        id="limits.detail",
        title="detail",
        help="Give the detail of the selected queue the whole screen, or take it back.",
        keys=("d",),
        scope="limits",
        why_not=needs_queue,
        run=lambda context: context.page.toggle_detail(),
        footer=55,
    ),
)
