"""What can be done about the limits of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...text.format import plural, window
from ...text.parse import parse_count, parse_rate
from ...text.safe import short
from .. import keys, shared
from ..base import Actions, Context, Question, on_screen
from ..bulk import touched
from ..perform import UNCHANGED, ask_value, optional
from . import caps
from .control import QUEUE, QueueListContext, marked_queues, needed_queue, needs, needs_queue

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot

ACTIONS: Actions[QueueListContext] = Actions("limits")
_ON_A_QUEUE: Actions[Context] = Actions()


@ACTIONS("limits.open", keys.OPEN, title="jobs", why_not=needs_queue, footer=10)
def _open(context: QueueListContext) -> None:
    """Open the jobs of the selected queue."""
    context.page.open_selected()


_no_rpm = needs(
    lambda row: row.rpm.source == "queue" and row.rpm.max,
    "no cap on starts is set for this queue; workers' own caps are theirs",
)
_no_slots = needs(lambda row: row.global_concurrency is not None, "no cap on jobs at once is set here")


def _own_rpm(row: QueueSnapshot) -> str:
    """The queue's own cap on starts as it is typed; empty when there is none."""
    if row.rpm.source != "queue" or not row.rpm.max or not row.rpm.window_ms:
        return ""
    return f"{row.rpm.max:.0f}/{window(row.rpm.window_ms)}"


async def _change_rpm(context: Context, most: tuple[int, int] | None) -> str:
    """Cap the starts to so many in a window of ms, or lift the cap."""
    await caps.set_caps(context, [context.needed_queue], caps.rate_values(most))
    return caps.rate_words(most)


async def _change_slots(context: Context, most: int) -> str:
    """Cap the jobs at once, or lift the cap with 0."""
    await caps.set_caps(context, [context.needed_queue], caps.slot_values(most))
    return caps.slot_words(most)


def _common(values: list[str]) -> str:
    """What is the same in all of them; empty where they differ."""
    return values[0] if len(set(values)) == 1 else ""


@_ON_A_QUEUE.changes("edit", keys.EDIT, title="caps", why_not=needs_queue, prompts=True, footer=40)
async def _edit(context: Context) -> str:
    """Edit the caps of the marked queues, else of the selected one: starts a window, jobs at once; empty lifts."""
    from ...widgets.dialogs.form import Field, FormDialog

    rows = marked_queues(context) or [needed_queue(context)]
    rpm = _common([_own_rpm(row) for row in rows])
    slots = _common([str(row.global_concurrency or "") for row in rows])
    several = len(rows) > 1
    told = f"{touched([row.name for row in rows])}\n\n" if several else ""
    dialog = FormDialog(
        f"Caps of {plural(len(rows), 'marked queue') if several else short(rows[0].name, 80)}",
        f"{told}For all workers together. Starts: 60 is 60 a minute, 60/10s another window. "
        "Jobs over a cap wait, running ones go on. Empty lifts it; z undoes it.",
        (
            Field(label="starts", value=rpm, placeholder="no cap", problem=optional(parse_rate)),
            Field(label="jobs at once", value=slots, placeholder="no cap", problem=optional(parse_count)),
        ),
    )
    answer = await context.console.push_screen_wait(dialog)
    if answer is None:
        return UNCHANGED
    starts, at_once = (text.strip() for text in answer)
    done: list[str] = []
    values: dict[str, str] = {}
    if starts != rpm:
        most = parse_rate(starts) if starts else None
        rate = most if isinstance(most, tuple) else None
        values |= caps.rate_values(rate)
        done.append(caps.rate_words(rate))
    if at_once != slots:
        found = parse_count(at_once) if at_once else 0
        count = found if isinstance(found, int) else 0
        values |= caps.slot_values(count)
        done.append(caps.slot_words(count))
    if not done:
        return UNCHANGED
    tally = await caps.set_caps(context, [row.name for row in rows], values)
    if not several and tally.done:
        return f"{short(rows[0].name, 80)}: {', '.join(done)}"
    return tally.message("queue", "changed", after=f": {', '.join(done)}; z undoes it")


# --- one cap at a time, from the `:` line ------------------------------------------------------------------


@ACTIONS.changes("limits.set-rpm", title="set RPM", why_not=needs_queue, prompts=True, takes=QUEUE)
async def _set_rpm(context: Context) -> str:
    """Cap the starts of all workers of the queue together, as 60 a minute or 60/10s."""
    parsed = await ask_value(
        context,
        f"Cap the starts of {context.shown_queue}",
        "All workers together start at most this many jobs in a window: 60 is 60 a minute, "
        "60/10s another window. Jobs over it wait; running ones go on.",
        _own_rpm(needed_queue(context)),
        parse_rate,
    )
    return UNCHANGED if parsed is None else f"{context.shown_queue}: {await _change_rpm(context, parsed)}"


def _ask_clear_rpm(context: Context) -> Question:
    row = needed_queue(context)
    return Question(
        title=f"Lift the cap on starts of {context.shown_queue}?",
        body=f"{row.rpm.max or 0:,.0f} in {window(row.rpm.window_ms or 60_000)} holds no more: "
        "workers start what waits as fast as their own limits let them.",
        yes="Lift it",
    )


@ACTIONS.changes("limits.clear-rpm", title="clear RPM", why_not=_no_rpm, ask=_ask_clear_rpm, takes=QUEUE)
async def _clear_rpm(context: Context) -> str:
    """Lift the queue's own cap on starts."""
    return f"{context.shown_queue}: {await _change_rpm(context, None)}"


@ACTIONS.changes("limits.set-concurrency", title="set slots", why_not=needs_queue, prompts=True, takes=QUEUE)
async def _set_concurrency(context: Context) -> str:
    """Cap the jobs that all workers of the queue run at once."""
    most = await ask_value(
        context,
        f"Cap the jobs that {context.shown_queue} runs at once",
        "All workers together run at most this many jobs. Those that run already go on.",
        str(needed_queue(context).global_concurrency or ""),
        parse_count,
    )
    return UNCHANGED if most is None else f"{context.shown_queue}: {await _change_slots(context, most)}"


def _ask_clear_slots(context: Context) -> Question:
    row = needed_queue(context)
    return Question(
        title=f"Lift the cap on jobs at once of {context.shown_queue}?",
        body=f"{row.global_concurrency or 0:,} at once holds no more: each worker runs as many as it was told.",
        yes="Lift it",
    )


@ACTIONS.changes(
    "limits.clear-concurrency", title="clear slots", why_not=_no_slots, ask=_ask_clear_slots, takes=QUEUE
)
async def _clear_concurrency(context: Context) -> str:
    """Lift the queue's cap on jobs at once."""
    return f"{context.shown_queue}: {await _change_slots(context, 0)}"


@ACTIONS("limits.detail", keys.DETAIL, why_not=needs_queue, footer=55)
def _detail(context: QueueListContext) -> None:
    """Give the detail of the selected queue the whole screen, or take it back."""
    context.page.toggle_detail()


ACTIONS += on_screen("limits", (*_ON_A_QUEUE, *shared.SORTING, *shared.MARKS, shared.hold))
#: What else can be done on the screen of queues.
ON_QUEUES = on_screen("queues", _ON_A_QUEUE)
