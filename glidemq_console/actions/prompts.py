"""Asking for one value before an action is done."""

from __future__ import annotations

from collections.abc import Callable

from .base import Context


async def ask_value(
    context: Context, title: str, body: str, value: str, check: Callable[[str], object]
) -> str | None:
    """Ask for a line of text that `check` does not answer with what is wrong; None when nothing is to change."""
    from ..widgets.dialog import PromptDialog

    def problem(text: str) -> str | None:
        found = check(text)
        return found if isinstance(found, str) else None

    dialog = PromptDialog(title, body, value=value, yes="Set", no="Keep", validate=problem, max_length=40)
    return await context.console.push_screen_wait(dialog)
