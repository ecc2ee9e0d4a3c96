"""What several screens share and not all have: each takes those that it has keys for."""

from __future__ import annotations

from . import keys
from .base import Actions, Context

_ON_LISTS: Actions[Context] = Actions()
#: To the thing before and after the one that is shown.
SIBLINGS: Actions[Context] = Actions()


@_ON_LISTS("hold", keys.HOLD, title="hold still")
def hold(context: Context) -> str:
    """Hold the list still while it is read, or let it go on."""
    return context.page.hold_still()


@SIBLINGS("previous", keys.PREVIOUS_SIBLING)
def _previous(context: Context) -> str | None:
    """Go to the one before: queue, job, card or flow, whichever is shown."""
    return context.page.next_sibling(-1)


@SIBLINGS("next", keys.NEXT_SIBLING)
def _next(context: Context) -> str | None:
    """Go to the next one: queue, job, card or flow, whichever is shown."""
    return context.page.next_sibling(1)


def _cannot_say_why(context: Context) -> str | None:
    if context.job is None and context.queue is None:
        return "nothing is selected"
    return "it is gone" if context.job_state == "gone" else None


@Actions[Context]()("why", keys.WHY, why_not=_cannot_say_why, footer=55)
async def why(context: Context) -> None:
    """Show why the selected job is not running, or what holds the queue back, and the key that mends it."""
    if context.job is not None:
        await context.console.show_why(context.job.queue, context.job.id)
    else:
        await context.console.show_why(context.needed_queue)
