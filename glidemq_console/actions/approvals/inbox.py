"""Going to what waits for a person: here, or on the servers of all profiles."""

from __future__ import annotations

from ...text.safe import short
from ..base import Actions, Context, Unchanged, Words
from ..setup.profiles import NO_FILE

ACTIONS: Actions[Context] = Actions()


@ACTIONS("inbox", takes=Words("text", lambda _: ("all",)))
def _inbox(context: Context) -> str | None:
    """Show what waits for you on this server, or on the servers of all profiles, as in `:inbox all`."""
    console, which = context.console, " ".join(context.words)
    if which not in ("", "all"):
        return Unchanged(
            f"no inbox '{short(which, 40)}'; inbox is this server's, inbox all that of every profile"
        )
    if which and console.config.source is None:
        return Unchanged(NO_FILE)
    console.go("inboxes" if which else "approvals")
    return None
