"""What can be done on every screen."""

from __future__ import annotations

from collections.abc import Awaitable

from ..model.decisions import taken_back_words
from ..model.snapshot import LinkState
from . import keys
from .base import Action, Actions, Context, Words

ACTIONS: Actions[Context] = Actions()
_THEME = Words("text", lambda context: context.console.theme_names)


def go_action(name: str, key: str) -> Action[Context]:
    """Make the action that goes to a screen; without a key it is a command alone."""
    return Action(
        id=f"go.{name}",
        title=name,
        help=f"Go to {name}.",
        meanings=(keys.go_to(key, name),) if key else (),
        run=lambda context: context.console.go(name),
        command=name,
    )


@ACTIONS("trouble", keys.TROUBLE, command="trouble")
def _trouble(context: Context) -> str | None:
    """Go where the next word of the line of trouble leads, most harmful first."""
    return context.console.go_to_trouble()


def _cannot_undo(context: Context) -> str | None:
    console = context.console
    return None if console.outbox.pending else console.undo.why_not(console.now_ms())


@ACTIONS("undo", keys.UNDO, why_not=_cannot_undo, footer=47, command="undo")
async def _undo(context: Context) -> str | None:
    """Undo the last act as a whole: a decision that is held back, else within a minute what has an exact inverse."""
    console = context.console
    taken = console.outbox.take_back(context.page.undoes())
    if taken:
        context.page.taken_back(taken[0].ref)
        return taken_back_words(taken)
    done = console.undo.take(console.now_ms())
    if done is None:
        return None
    answer = done.take_back()
    return await answer if isinstance(answer, Awaitable) else answer


def _cannot_filter(context: Context) -> str | None:
    return None if context.page.filters() else "nothing to filter on this screen"


@ACTIONS("filter", keys.FILTER, why_not=_cannot_filter, footer=70)
def _filter(context: Context) -> None:
    """Keep only the rows that a filter takes, `error:timeout age>1h !spam`; where one reads, find in the text."""
    context.page.open_filter()


@ACTIONS("command", keys.COMMAND, footer=80)
def _command(context: Context) -> None:
    """Type a command; tab completes it."""
    context.page.open_command_line()


@ACTIONS("help", keys.HELP, footer=90, command="help")
def _help(context: Context) -> None:
    """Show every key of this screen."""
    context.console.show_help()


@ACTIONS("palette", keys.PALETTE, prompts=True)
def _palette(context: Context) -> None:
    """Search everything that can be done here."""
    context.console.action_command_palette()


@ACTIONS("refresh", keys.REFRESH, command="refresh")
def _refresh(context: Context) -> str:
    """Read again now; while the connection is lost, try again now."""
    context.console.feed.refresh_now()
    return "trying again" if context.snapshot.link.state is LinkState.LOST else "reading again"


@ACTIONS("redraw", keys.REDRAW, command="redraw")
def _redraw(context: Context) -> None:
    """Draw the whole terminal again, when something else has written on it."""
    context.console.redraw()


@ACTIONS("close", keys.CLOSE, title="back", footer=65)
def _close(context: Context) -> None:
    """Close the innermost that is open: line, zoom, marks, filter; else go back."""
    context.page.step_back()


@ACTIONS("back", keys.BACK, command="back")
def _back(context: Context) -> None:
    """Go back where you came from."""
    context.page.go_back()


@ACTIONS("messages", keys.MESSAGES, command="messages")
def _messages(context: Context) -> None:
    """Show what the status line said in this session."""
    context.console.show_messages()


# --- copies ------------------------------------------------------------------------------------------------


def _copied(context: Context, *, other: bool) -> str:
    found = context.page.copies(other=other)
    if found is None:
        return "it has no other form" if other and context.page.copies(other=False) else "nothing to copy"
    return context.console.copy_text(*found)


@ACTIONS("copy", keys.COPY, footer=72)
def _copy(context: Context) -> str:
    """Copy what is selected to the clipboard: its name, or the text that is read."""
    return _copied(context, other=False)


@ACTIONS("copy-other", keys.COPY_OTHER, title="copy other")
def _copy_other(context: Context) -> str:
    """Copy the other form of what is selected: JSON, a path in a payload, the name of a text's job."""
    return _copied(context, other=True)


@ACTIONS("theme", keys.THEME, takes=_THEME)
def _theme(context: Context) -> str:
    """Change the theme; without a name, take the next one."""
    return context.console.choose_theme(context.words[0] if context.words else None)


@ACTIONS("quit", keys.QUIT, prompts=True, command="quit")
async def _quit(context: Context) -> None:
    """Leave the console; nothing on the server depends on it."""
    await context.console.leave()
