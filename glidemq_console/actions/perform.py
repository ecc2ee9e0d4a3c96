"""Do an action: confirm it, run it, show its result; and confirm leaving while decisions are held back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from glidemq_core.errors import GlideMQError

from ..model.decisions import name_of
from ..text.format import plural
from ..text.safe import short
from .approvals.outbox import DecisionOutbox
from .base import Action, Context, Danger, Doubtful, Question, Unchanged
from .protocols import Console

if TYPE_CHECKING:
    from ..widgets.dialogs.dialog import ConfirmDialog


T = TypeVar("T", int, tuple[int, int])
#: What is shown when a dialog was left without a new value.
UNCHANGED = Unchanged("nothing was changed")
#: Decisions that the question before leaving names.
_NAMED = 10


async def perform(action: Action[Any], context: Context) -> None:
    """Do an action on what was on screen; an error of the engine becomes a message."""
    console = context.console
    noted = console.undo.count
    try:
        question = question_of(action, context)
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
        token = "warning" if isinstance(message, Doubtful) else "success" if changed else "foreground"
        console.show_message(message, token)
        if changed and action.danger >= Danger.CONFIRM and console.undo.count == noted:
            console.undo.bar(f"“{action.title}”")
    elif action.danger is not Danger.NONE:
        console.clear_message()


def question_of(action: Action[Any], context: Context) -> Question | None:
    """Return what is asked before an action, if anything is: on a PROD server before every capital that changes."""
    config = context.console.config
    asked = action.ask(context) if action.ask is not None else None
    if not config.is_prod:
        return asked
    server = f"{short(config.label or config.shown_url, 60)}, a PROD server"
    if asked is not None:
        return replace(
            asked, body=f"{asked.body}\n\nThis is {server}." if asked.body else f"This is {server}."
        )
    # An action that asks for values has a dialog of its own, which can be left.
    if action.danger is Danger.NONE or action.prompts or not is_capital(action):
        return None
    what = context.shown_job or context.shown_queue
    return Question(
        title=f"{action.title.capitalize()} {what}".rstrip() + "?",
        body=f"{action.help}\n\nThis is {server}.",
        yes=action.title.capitalize(),
    )


def is_capital(action: Action[Any]) -> bool:
    """Tell whether the usual key of an action is a capital: it changes something for good."""
    return any(len(key) == 1 and key.isupper() for key in action.keys)


def _dialog(question: Question) -> ConfirmDialog:
    # Dialogs are loaded when the first one is opened: what is on screen first must not wait for them.
    from ..widgets.dialogs.dialog import ConfirmDialog

    title, body = question.title, question.body
    return ConfirmDialog(title, body, yes=question.yes, no=question.no, type_this=question.type_this)


async def ask_value(
    context: Context, title: str, body: str, value: str, parse: Callable[[str], T | str]
) -> T | None:
    """Ask for a value that `parse` reads from a line, or says what is wrong; None when nothing is to change."""
    from ..widgets.dialogs.dialog import PromptDialog

    def problem(text: str) -> str | None:
        found = parse(text)
        return found if isinstance(found, str) else None

    dialog = PromptDialog(title, body, value=value, yes="Set", no="Keep", validate=problem, max_length=40)
    answer = await context.console.push_screen_wait(dialog)
    found = "" if answer is None else parse(answer)
    return None if isinstance(found, str) else found


def optional(parse: Callable[[str], object]) -> Callable[[str], str | None]:
    """Make the check of a field that may stay empty: what `parse` says is wrong with its text, or None."""

    def problem(text: str) -> str | None:
        found = parse(text) if text.strip() else None
        return found if isinstance(found, str) else None

    return problem


async def may_leave(console: Console, outbox: DecisionOutbox) -> bool:
    """Send what is held back, if that is wanted; return whether nothing is left that is not sent."""
    held = outbox.unsent
    if not held:
        return True
    names = "\n".join(f"{pending.verb} {name_of(pending.ref)}" for pending in held[:_NAMED])
    more = f"\nand {len(held) - _NAMED} more" if len(held) > _NAMED else ""
    from ..widgets.dialogs.dialog import ConfirmDialog

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
