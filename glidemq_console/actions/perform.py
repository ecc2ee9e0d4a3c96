"""Doing an action: ask its question, run it, show what came of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from glidemq_core.errors import GlideMQError

from ..told import Unchanged
from .base import Action, Context, Danger, Question

if TYPE_CHECKING:
    from ..widgets.dialog import ConfirmDialog


async def perform(action: Action[Any], context: Context) -> None:
    """Do an action on what was on screen; an error of the engine becomes a message."""
    console = context.console
    try:
        question = action.ask(context) if action.ask is not None else None
        if question is not None and not await console.push_screen_wait(_dialog(question)):
            return
        answer = action.run(context)
        message = await answer if isinstance(answer, Awaitable) else answer
    except GlideMQError as error:
        hint = f"; {error.hint}" if error.hint else ""
        console.show_message(f"{action.title}: {error.message}{hint}", "error")
        return
    if message:
        changed = action.danger is not Danger.NONE and not isinstance(message, Unchanged)
        console.show_message(message, "success" if changed else "foreground")
    elif action.danger is not Danger.NONE:
        console.clear_message()


def _dialog(question: Question) -> ConfirmDialog:
    # Dialogs are loaded when the first one is asked for: what is on screen first must not wait for them.
    from ..widgets.dialog import ConfirmDialog

    return ConfirmDialog(
        question.title, question.body, yes=question.yes, no=question.no, type_this=question.type_this
    )
