"""The registry of everything that can be done: keys, footer, help, palette, `:` line and docs all read it."""

from __future__ import annotations

from typing import Any

from textual.binding import Binding, BindingType

from ..actions import everywhere
from ..actions.approvals import inbox
from ..actions.base import Action, on_screen
from ..actions.keys import SCREEN_LETTERS, WHY
from ..actions.lists import export
from ..actions.setup import filters, profiles, settings
from ..actions.shared import why
from .table import SCREENS

#: Screens whose list, job or flow is saved; a stream saves its text.
_SAVING = [scope for scope in SCREEN_LETTERS.values() if scope != "streams"]
ACTIONS: dict[str, Action[Any]] = {
    action.id: action
    for action in (
        *(everywhere.go_action(spec.name, spec.key) for spec in SCREENS),
        *everywhere.ACTIONS,
        *settings.ACTIONS,
        *filters.ACTIONS,
        *export.ACTIONS,
        *profiles.ACTIONS,
        *inbox.ACTIONS,
        *(action for spec in SCREENS for action in spec.actions),
        *(action for scope in _SAVING for action in on_screen(scope, (export.save_to_file,))),
        *(action for letter in WHY.where for action in on_screen(SCREEN_LETTERS[letter], (why,))),
    )
}


def in_scope(scope: str) -> list[Action[Any]]:
    """Actions of one scope, in the order of the registry."""
    return [action for action in ACTIONS.values() if action.scope == scope]


def commands() -> dict[str, Action[Any]]:
    """Actions by their name on the `:` line."""
    return {action.command: action for action in ACTIONS.values() if action.command is not None}


def bindings(scope: str) -> list[BindingType]:
    """Textual bindings of one scope; every one ends in `app.act(id)`."""
    return [
        Binding(",".join(action.keys), f"app.act('{action.id}')", action.title, show=False, id=action.id)
        for action in in_scope(scope)
        if action.keys
    ]
