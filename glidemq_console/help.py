"""The `?` overlay: every key of this screen, read from the registry."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from .actions import EVERYWHERE, Action, Context, in_scope, key_text
from .widgets.ink import Ink, Parts
from .widgets.statusline import PartsView

#: Cells of the keys before what they do.
_KEYS = 20
_MOVES = (
    ("↑ ↓ j k", "move"),
    ("g G home end", "first and last row"),
    ("pgup pgdn ^u ^d", "move by pages"),
    ("mouse", "click rows, titles, tabs and keys"),
)


def help_lines(scope: str, context: Context) -> list[Parts]:
    """Keys and what they do; what is not possible now says why."""
    lines: list[Parts] = [[Ink("this screen", "focus", "bold")]]
    lines += _actions(in_scope(scope), context)
    lines += [[], [Ink("everywhere", "focus", "bold")]]
    taken = {key for action in in_scope(scope) for key in action.keys}
    lines += _actions(in_scope(EVERYWHERE), context, taken)
    lines += [[], [Ink("lists", "focus", "bold")]]
    lines += [
        [Ink(f"  {keys:<{_KEYS - 2}}", "foreground", "bold"), Ink(words, "dim")] for keys, words in _MOVES
    ]
    return lines


def _actions(actions: list[Action], context: Context, taken: Collection[str] = ()) -> list[Parts]:
    """A line each; keys that are `taken` do something else on this screen."""
    lines: list[Parts] = []
    for action in actions:
        keys = " ".join(key_text(key) for key in action.keys if key not in taken) or f":{action.command}"
        reason = action.unavailable(context)
        line = [
            Ink(f"  {keys:<{_KEYS - 2}}", "foreground" if reason is None else "dim", "bold"),
            Ink(action.help),
        ]
        if reason is not None:
            line = [line[0], Ink(action.help, "dim"), Ink(f"  ({reason})", "warning")]
        lines.append(line)
    return lines


class HelpScreen(ModalScreen[None]):
    """Help over the screen it was asked on."""

    DEFAULT_CSS: ClassVar[str] = """
    HelpScreen { align: center middle; background: $background 60%; }
    HelpScreen VerticalScroll {
        width: 92; max-width: 96%; height: auto; max-height: 90%;
        padding: 1 2; background: $panel; border: round $hairline;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1", "dismiss_help", "close", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, scope: str, context: Context) -> None:
        super().__init__()
        self._lines = help_lines(scope, context)

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield PartsView(self._lines, wraps=True, hang=_KEYS)

    def action_dismiss_help(self) -> None:
        self.dismiss(None)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
