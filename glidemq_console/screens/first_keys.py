"""Three keys that are worth knowing, for who comes to a screen the first time."""

from __future__ import annotations

from ..actions.base import EVERYWHERE
from ..actions.keymap import Keymap
from ..actions.keys import key_text
from ..text.shown_keys import key_of
from ..widgets.styled import Parts, Styled, dim, hotkey, width_of
from .registry import in_scope

#: Keys and what they do by scope; the third is that of help.
_FIRST = {
    "queues": (("enter", "its jobs"), ("!", "what is wrong")),
    "jobs": (("tab", "next state"), ("enter", "what happened to it")),
    "job": (("tab", "next pane"), ("]", "next job")),
    "streams": (("enter", "one pane"), ("<", "replay")),
    "approvals": (("a", "approve, {undo} takes it back"), ("space", "mark several")),
    "flows": (("enter", "its tree"), ("T", "top up its budget")),
    "flow": (("enter", "one job"), ("←", "fold")),
    "limits": (("e", "set caps"), ("d", "all of it")),
    "workers": (("enter", "its jobs"), ("s", "sort")),
    "failures": (("R", "run again"), ("tab", "dead letters")),
    "deadletters": (("R", "run again"), ("tab", "failures")),
    "schedules": (("e", "edit"), ("R", "run now")),
    "events": ((".", "hold still"), ("enter", "its job")),
    "cost": (("→", "by model, flow, job"), ("enter", "open")),
}
#: Between two of them.
_GAP = "   "


def first_keys(scope: str, keymap: Keymap, width: int) -> Parts:
    """What the status line of so many cells says on the first visit, with the keys as they are mapped.

    What does not fit leaves whole, help last.
    """
    mapped = {
        key_text(action.keys[0]): keymap.texts(action)[0]
        for action in (*in_scope(EVERYWHERE), *in_scope(scope))
        if action.keys
    }
    told: list[list[Styled]] = []
    for key, words in (*_FIRST.get(scope, ()), ("?", "every key")):
        words = words.replace("{undo}", key_of("undo", "z"))
        told.append([hotkey(mapped.get(key, key)), dim(f" {words}{_GAP}")])
    while len(told) > 1 and sum(map(width_of, told)) - len(_GAP) > width:
        del told[-2]
    return [part for parts in told for part in parts]
