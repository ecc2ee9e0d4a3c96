"""The one registry of everything that can be done; add a module's actions with one line here."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from . import approvals, everywhere, flows, job_timing, jobs, limits, queues, streams
from .base import EVERYWHERE, Action, Context, Danger, Question

__all__ = [
    "ACTIONS",
    "EVERYWHERE",
    "Action",
    "Context",
    "Danger",
    "Question",
    "bindings",
    "in_scope",
    "key_text",
]

ACTIONS: dict[str, Action] = {
    action.id: action
    for action in (
        *everywhere.ACTIONS,
        *queues.ACTIONS,
        *jobs.ACTIONS,
        *job_timing.ACTIONS,
        *streams.ACTIONS,
        *approvals.ACTIONS,
        *flows.ACTIONS,
        *limits.ACTIONS,
    )
}

_KEY_TEXT = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "space": "space",
    "escape": "esc",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left": "←",
    "right": "→",
    "up": "↑",
    "down": "↓",
}


def in_scope(scope: str) -> list[Action]:
    """Actions of one scope, in the order of the registry."""
    return [action for action in ACTIONS.values() if action.scope == scope]


def bindings(scope: str) -> list[BindingType]:
    """Textual bindings of one scope; every one ends in `app.act(id)`."""
    return [
        Binding(",".join(action.keys), f"app.act('{action.id}')", action.title, show=False, id=action.id)
        for action in in_scope(scope)
        if action.keys
    ]


def key_text(key: str) -> str:
    """A key as people write it: `^p`, `shift+tab`, `[`."""
    head, _, last = key.rpartition("+")
    text = _KEY_TEXT.get(last, last)
    if not head:
        return text
    return f"^{text}" if head == "ctrl" else f"{head}+{text}"
