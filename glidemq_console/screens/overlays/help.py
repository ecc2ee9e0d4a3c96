"""The `?` overlay: every key of this screen, read from the registry."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from ...actions.base import EVERYWHERE, Action, Context
from ...actions.keys import HELP, MOVES, key_text
from ...widgets.overlay import Overlay
from ...widgets.styled import Parts, Styled, dim, hotkey
from ..registry import in_scope

#: Cells of the keys before what they do.
_KEYS = 20


def help_lines(scope: str, context: Context) -> list[Parts]:
    """Keys and what they do; what is not possible now says why."""
    lines: list[Parts] = [[hotkey("this screen")]]
    lines += _actions(in_scope(scope), context)
    lines += [[], [hotkey("everywhere")]]
    taken = {key for action in in_scope(scope) for key in action.keys}
    lines += _actions(in_scope(EVERYWHERE), context, taken)
    lines += [[], [hotkey("lists")]]
    lines += [[Styled(f"  {keys:<{_KEYS - 2}}", "foreground", "bold"), dim(words)] for keys, words in MOVES]
    return lines


def _actions(actions: list[Action[Any]], context: Context, taken: Collection[str] = ()) -> list[Parts]:
    """A line each; keys that are `taken` do something else on this screen."""
    lines: list[Parts] = []
    for action in actions:
        keys = " ".join(key_text(key) for key in action.keys if key not in taken) or f":{action.command}"
        reason = action.unavailable(context)
        line = [
            Styled(f"  {keys:<{_KEYS - 2}}", "foreground" if reason is None else "dim", "bold"),
            Styled(action.help, "" if reason is None else "dim"),
        ]
        if reason is not None:
            line.append(Styled(f"  ({reason})", "warning"))
        lines.append(line)
    return lines


class HelpScreen(Overlay):
    """Help over the screen it was opened on."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding(",".join(HELP.keys), "close", "close", show=False)]

    def __init__(self, scope: str, context: Context) -> None:
        super().__init__(help_lines(scope, context), hang=_KEYS)
