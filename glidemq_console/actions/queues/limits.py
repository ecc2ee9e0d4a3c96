"""What can be done about the limits of a queue."""

from __future__ import annotations

from ...text.format import window
from ...text.parse import parse_count, parse_rate
from ..base import Actions, Context, Question
from ..perform import UNCHANGED, ask_value
from .control import QUEUE, QueueListContext, needed_queue, needs, needs_queue

ACTIONS: Actions[QueueListContext] = Actions("limits")


@ACTIONS("limits.open", "enter", title="jobs", why_not=needs_queue, footer=10)
def _open(context: QueueListContext) -> None:
    """Open the jobs of the selected queue."""
    context.page.open_selected()


_no_rpm = needs(
    lambda row: row.rpm.source == "queue" and row.rpm.max,
    "no cap on starts is set for this queue; workers' own caps are theirs",
)
_no_slots = needs(lambda row: row.global_concurrency is not None, "no cap on jobs at once is set here")


@ACTIONS.changes(
    "limits.set-rpm", "m", title="set RPM", why_not=needs_queue, prompts=True, footer=20, takes=QUEUE
)
async def _set_rpm(context: Context) -> str:
    """Cap the starts of all workers of the queue together, as 60 a minute or 60/10s."""
    from glidemq_core.options.job import RateLimit

    row = needed_queue(context)
    now = f"{row.rpm.max:.0f}/{window(row.rpm.window_ms)}" if row.rpm.max and row.rpm.window_ms else ""
    parsed = await ask_value(
        context,
        f"Cap the starts of {context.shown_queue}",
        "All workers together start at most this many jobs in a window: 60 is 60 a minute, "
        "60/10s another window. Jobs over it wait; running ones go on.",
        now,
        parse_rate,
    )
    if parsed is None:
        return UNCHANGED
    limit = RateLimit(*parsed)
    await context.change(lambda queue, actor: queue.set_global_rate_limit(limit, actor=actor))
    return f"{context.shown_queue}: at most {parsed[0]:,} starts in {window(parsed[1])}"


def _ask_clear_rpm(context: Context) -> Question:
    row = needed_queue(context)
    return Question(
        title=f"Lift the cap on starts of {context.shown_queue}?",
        body=f"{row.rpm.max or 0:,.0f} in {window(row.rpm.window_ms or 60_000)} holds no more: "
        "workers start what waits as fast as their own limits let them.",
        yes="Lift it",
    )


@ACTIONS.changes(
    "limits.clear-rpm", "M", title="clear", why_not=_no_rpm, ask=_ask_clear_rpm, footer=25, takes=QUEUE
)
async def _clear_rpm(context: Context) -> str:
    """Lift the queue's own cap on starts."""
    await context.change(lambda queue, actor: queue.remove_global_rate_limit(actor=actor))
    return f"{context.shown_queue}: no cap on starts any more"


@ACTIONS.changes(
    "limits.set-concurrency",
    "c",
    title="set slots",
    why_not=needs_queue,
    prompts=True,
    footer=30,
    takes=QUEUE,
)
async def _set_concurrency(context: Context) -> str:
    """Cap the jobs that all workers of the queue run at once."""
    row = needed_queue(context)
    most = await ask_value(
        context,
        f"Cap the jobs that {context.shown_queue} runs at once",
        "All workers together run at most this many jobs. Those that run already go on.",
        str(row.global_concurrency or ""),
        parse_count,
    )
    if most is None:
        return UNCHANGED
    await context.change(lambda queue, actor: queue.set_global_concurrency(most, actor=actor))
    return f"{context.shown_queue}: at most {most:,} jobs at once"


def _ask_clear_slots(context: Context) -> Question:
    row = needed_queue(context)
    return Question(
        title=f"Lift the cap on jobs at once of {context.shown_queue}?",
        body=f"{row.global_concurrency or 0:,} at once holds no more: each worker runs as many as it was told.",
        yes="Lift it",
    )


@ACTIONS.changes(
    "limits.clear-concurrency",
    "C",
    title="clear",
    why_not=_no_slots,
    ask=_ask_clear_slots,
    footer=35,
    takes=QUEUE,
)
async def _clear_concurrency(context: Context) -> str:
    """Lift the queue's cap on jobs at once."""
    await context.change(lambda queue, actor: queue.set_global_concurrency(0, actor=actor))
    return f"{context.shown_queue}: no cap on jobs at once any more"


@ACTIONS("limits.detail", "d", why_not=needs_queue, footer=55)
def _detail(context: QueueListContext) -> None:
    """Give the detail of the selected queue the whole screen, or take it back."""
    context.page.toggle_detail()
