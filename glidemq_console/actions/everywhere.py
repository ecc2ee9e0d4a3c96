"""What can be done on every screen."""

from __future__ import annotations

from ..model.decisions import taken_back_words
from ..model.snapshot import LinkState
from .base import Action, Actions, Context, Words

ACTIONS: Actions[Context] = Actions()
_THEME = Words("text", lambda context: context.console.theme_names)


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


def _cannot_undo(context: Context) -> str | None:
    return None if context.console.outbox.pending else "no decision is held back"


@ACTIONS("undo", "z", why_not=_cannot_undo, footer=47, command="undo")
def _undo(context: Context) -> str | None:
    """Take back what was decided last, as a whole, while it is still held back."""
    taken = context.console.outbox.take_back(context.page.undoes())
    if not taken:
        return None
    context.page.taken_back(taken[0].ref)
    return taken_back_words(taken)


def _cannot_filter(context: Context) -> str | None:
    return None if context.page.filters() else "nothing to filter on this screen"


@ACTIONS("filter", "slash", why_not=_cannot_filter, footer=70)
def _filter(context: Context) -> None:
    """Keep only the rows whose name contains what you type, jobs also by id, model and error."""
    context.page.open_filter()


@ACTIONS("command", "colon", footer=80)
def _command(context: Context) -> None:
    """Type a command; tab completes it."""
    context.page.open_command_line()


@ACTIONS("help", "question_mark", "f1", footer=90, command="help")
def _help(context: Context) -> None:
    """Show every key of this screen."""
    context.console.show_help()


@ACTIONS("palette", "ctrl+p", prompts=True)
def _palette(context: Context) -> None:
    """Search everything that can be done here."""
    context.console.action_command_palette()


@ACTIONS("refresh", "r", "ctrl+r", command="refresh")
def _refresh(context: Context) -> str:
    """Read again now; while the connection is lost, try again now."""
    context.console.feed.refresh_now()
    return "trying again" if context.snapshot.link.state is LinkState.LOST else "reading again"


@ACTIONS("back", "escape", footer=65)
def _back(context: Context) -> None:
    """Step back: close what is open, clear the filter, return to where you came from."""
    context.page.step_back()


@ACTIONS("theme", "ctrl+t", takes=_THEME)
def _theme(context: Context) -> str:
    """Change the theme; without a name, take the next one."""
    return context.console.choose_theme(context.words[0] if context.words else None)


@ACTIONS("quit", "q", "ctrl+q", prompts=True, command="quit")
async def _quit(context: Context) -> None:
    """Leave the console; nothing on the server depends on it."""
    await context.console.leave()
