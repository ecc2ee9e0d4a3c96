"""Three keys that are worth knowing, for who comes to a screen the first time."""

from __future__ import annotations

from ..widgets.styled import Parts, Styled, dim, hotkey

#: Keys and what they do by scope; the third is that of help.
_FIRST = {
    "queues": (("enter", "its jobs"), ("!", "what is wrong")),
    "jobs": (("tab", "next state"), ("enter", "what happened to it")),
    "job": (("tab", "next pane"), ("]", "next job")),
    "streams": (("enter", "one pane"), ("<", "replay")),
    "approvals": (("a", "approve, z takes it back"), ("space", "mark several")),
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


def first_keys(scope: str) -> Parts:
    """What the status line says on the first visit."""
    parts: list[Styled] = []
    for key, words in (*_FIRST.get(scope, ()), ("?", "every key")):
        parts += [hotkey(key), dim(f" {words}   ")]
    return parts
