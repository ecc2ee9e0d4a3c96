"""What can be done on every screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.decisions import taken_back_words
from ..model.snapshot import LinkState
from .base import Action, Context, Run, on_screen

if TYPE_CHECKING:
    from collections.abc import Sequence


def _go(screen: str) -> Run:
    async def run(context: Context) -> None:
        context.app.go(screen)

    return run


async def _quit(context: Context) -> None:
    if await context.app.may_leave():
        context.app.exit(0)


async def _help(context: Context) -> None:
    context.app.show_help()


async def _command_line(context: Context) -> None:
    context.screen.open_command_line()


async def _palette(context: Context) -> None:
    context.app.action_command_palette()


async def _refresh(context: Context) -> str:
    context.app.feed.refresh_now()
    return "trying again" if context.snapshot.link.state is LinkState.LOST else "reading again"


async def _theme(context: Context) -> str:
    return context.app.choose_theme(context.words[0] if context.words else None)


def _cannot_undo(context: Context) -> str | None:
    return None if context.app.outbox.pending else "no decision is held back"


async def _undo(context: Context) -> str | None:
    taken = context.app.outbox.take_back(context.screen.undoes())
    if not taken:
        return None
    context.screen.taken_back(taken[0].ref)
    return taken_back_words(taken)


def _cannot_filter(context: Context) -> str | None:
    return None if context.screen.filters() else "nothing to filter on this screen"


def _themes(context: Context) -> Sequence[str]:
    return context.app.theme_names


ACTIONS = (
    *(
        Action(
            id=f"go.{name}",
            title=name,
            help=f"Go to {name}.",
            keys=(key,),
            run=_go(name),
            command=name,
        )
        for key, name in (
            ("1", "queues"),
            ("2", "jobs"),
            ("3", "streams"),
            ("4", "approvals"),
            ("5", "flows"),
            ("6", "limits"),
        )
    ),
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
        run=on_screen("open_filter"),
        footer=70,
    ),
    Action(
        id="command",
        title="command",
        help="Type a command; tab completes it.",
        keys=("colon",),
        run=_command_line,
        footer=80,
    ),
    Action(
        id="help",
        title="help",
        help="Show every key of this screen.",
        keys=("question_mark", "f1"),
        run=_help,
        footer=90,
        command="help",
    ),
    Action(
        id="palette",
        title="palette",
        help="Search everything that can be done here.",
        keys=("ctrl+p",),
        run=_palette,
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
        run=on_screen("step_back"),
        footer=65,
    ),
    Action(
        id="theme",
        title="theme",
        help="Change the theme; without a name, take the next one.",
        keys=("ctrl+t",),
        run=_theme,
        command="theme",
        takes="text",
        complete=_themes,
    ),
    Action(
        id="quit",
        title="quit",
        help="Leave the console; nothing on the server depends on it.",
        keys=("q", "ctrl+q"),
        run=_quit,
        prompts=True,
        command="quit",
    ),
)
