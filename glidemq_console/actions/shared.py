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
