"""Leaving the console: what becomes of decisions that are not sent yet is asked first."""

from __future__ import annotations

from ..model.decisions import name_of
from ..text.format import plural
from ..widgets.dialog import ConfirmDialog
from .outbox import DecisionOutbox
from .protocols import Console

#: Decisions that the question names.
_NAMED = 10


async def may_leave(console: Console, outbox: DecisionOutbox) -> bool:
    """Send what is held back, if that is wanted; return whether nothing is left that is not sent."""
    held = outbox.unsent
    if not held:
        return True
    names = "\n".join(f"{pending.verb} {name_of(pending.ref)}" for pending in held[:_NAMED])
    more = f"\nand {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    dialog = ConfirmDialog(
        f"{plural(len(held), 'decision')} not sent yet",
        f"{names}{more}\n\nTo drop them, stay and press z.",
        yes="Send and leave",
        no="Stay",
        danger=False,
    )
    if not await console.push_screen_wait(dialog):
        return False
    # What became of a decision that does not count is shown, so the console stays.
    return await outbox.send_all() and not outbox.unsent
