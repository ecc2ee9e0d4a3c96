"""What can be done on every screen."""

from __future__ import annotations

from ..model.decisions import taken_back_words
from ..model.snapshot import LinkState
from .base import Action, Context


def go_action(name: str, key: str) -> Action[Context]:
    """Make the action that goes to a screen."""
    return Action(
        id=f"go.{name}",
        title=name,
        help=f"Go to {name}.",
        keys=(key,),
        run=lambda context: context.console.go(name),
        command=name,
    )


def _refresh(context: Context) -> str:
    context.console.feed.refresh_now()
    return "trying again" if context.snapshot.link.state is LinkState.LOST else "reading again"


def _cannot_undo(context: Context) -> str | None:
    return None if context.console.outbox.pending else "no decision is held back"


def _undo(context: Context) -> str | None:
    taken = context.console.outbox.take_back(context.page.undoes())
    if not taken:
        return None
    context.page.taken_back(taken[0].ref)
    return taken_back_words(taken)


def _cannot_filter(context: Context) -> str | None:
    return None if context.page.filters() else "nothing to filter on this screen"


ACTIONS: tuple[Action[Context], ...] = (
    Action(
        id="undo",
        title="undo",
        help="Take back what was decided last, as a whole, while it is still held back.",
        keys=("z",),
        why_not=_cannot_undo,
        run=_undo,
        footer=47,
        command="undo",
    ),
    Action(
        id="filter",
        title="filter",
        help="Keep only the rows whose name contains what you type, jobs also by id, model and error.",
        keys=("slash",),
        why_not=_cannot_filter,
        run=lambda context: context.page.open_filter(),
        footer=70,
    ),
    Action(
        id="command",
        title="command",
        help="Type a command; tab completes it.",
        keys=("colon",),
        run=lambda context: context.page.open_command_line(),
        footer=80,
    ),
    Action(
        id="help",
        title="help",
        help="Show every key of this screen.",
        keys=("question_mark", "f1"),
        run=lambda context: context.console.show_help(),
        footer=90,
        command="help",
    ),
    Action(
        id="palette",
        title="palette",
        help="Search everything that can be done here.",
        keys=("ctrl+p",),
        run=lambda context: context.console.action_command_palette(),
        prompts=True,
    ),
    Action(
        id="refresh",
        title="refresh",
        help="Read again now; while the connection is lost, try again now.",
        keys=("r", "ctrl+r"),
        run=_refresh,
        command="refresh",
    ),
    Action(
        id="back",
        title="back",
        help="Step back: close what is open, clear the filter, return to where you came from.",
        keys=("escape",),
        run=lambda context: context.page.step_back(),
        footer=65,
    ),
    Action(
        id="theme",
        title="theme",
        help="Change the theme; without a name, take the next one.",
        keys=("ctrl+t",),
        run=lambda context: context.console.choose_theme(context.words[0] if context.words else None),
        command="theme",
        takes="text",
        complete=lambda context: context.console.theme_names,
    ),
    Action(
        id="quit",
        title="quit",
        help="Leave the console; nothing on the server depends on it.",
        keys=("q", "ctrl+q"),
        run=lambda context: context.console.leave(),
        prompts=True,
        command="quit",
    ),
)
