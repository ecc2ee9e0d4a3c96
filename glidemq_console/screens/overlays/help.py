"""The `?` overlay: every key of this screen and those of all screens, in two columns, with find."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Input

from ...actions.base import EVERYWHERE, Action, Context
from ...actions.keys import DIALOG_KEYS, FILTER, HELP, MOVES, key_text
from ...widgets.overlay import Overlay
from ...widgets.safe_input import Entry
from ...widgets.status_line import PartsView
from ...widgets.styled import Parts, Styled, dim, hotkey
from ..registry import in_scope
from ..table import SCREENS

#: Cells of the keys before what they do.
_KEYS = 18
#: From this width on there are two columns.
TWO_COLUMNS = 118


def help_columns(scope: str, context: Context, sought: str = "") -> tuple[list[Parts], list[Parts]]:
    """Keys and what they do, of this screen and of all; what is not possible now says why.

    Args:
        scope: Scope of the screen's actions.
        context: What they would work on.
        sought: Only lines that have all these words.
    """
    here = in_scope(scope)
    keymap = context.console.keymap
    taken = {key for action in here for key in keymap.keys(action)}
    left = _section("this screen", _actions(here, context), sought)
    tabs = [spec for spec in SCREENS if spec.key.isdigit() and spec.key not in taken]
    to_tabs = [(f"{tabs[0].key}-{tabs[-1].key}", "Go to " + ", ".join(spec.name for spec in tabs) + ".")]
    told = {f"go.{spec.name}" for spec in tabs}
    all_over = [action for action in in_scope(EVERYWHERE) if action.id not in told]
    right = [
        *_section("everywhere", [*_plain(to_tabs), *_actions(all_over, context, taken)], sought),
        *_section("moving", _plain(MOVES), sought),
        *_section("dialogs", _plain(DIALOG_KEYS), sought),
    ]
    return left, right


def _section(title: str, lines: Iterable[Parts], sought: str) -> list[Parts]:
    words = sought.lower().split()
    found = [line for line in lines if all(word in _text(line) for word in words)]
    return [[hotkey(title)], *found, []] if found else []


def _text(line: Parts) -> str:
    return "".join(part.text for part in line).lower()


def _plain(rows: Iterable[tuple[str, str]]) -> list[Parts]:
    return [[Styled(f"{keys:<{_KEYS}}", "foreground", "bold"), dim(words)] for keys, words in rows]


def _actions(actions: list[Action[Any]], context: Context, taken: Collection[str] = ()) -> list[Parts]:
    """A line each; keys that are `taken` do something else on this screen."""
    lines: list[Parts] = []
    keymap = context.console.keymap
    for action in actions:
        keys = (
            " ".join(key_text(key) for key in keymap.keys(action) if key not in taken) or f":{action.command}"
        )
        reason = action.unavailable(context)
        line = [
            Styled(f"{keys + ' ':<{_KEYS}}", "foreground" if reason is None else "dim", "bold"),
            Styled(action.help, "" if reason is None else "dim"),
        ]
        if reason is not None:
            line.append(Styled(f"  ({reason})", "warning"))
        lines.append(line)
    return lines


class HelpScreen(Overlay):
    """Help over the screen it was opened on."""

    AUTO_FOCUS = "VerticalScroll"
    DEFAULT_CSS: ClassVar[str] = """
    HelpScreen #help {
        width: 92; max-width: 96%; height: auto; max-height: 92%; background: $panel; border: round $hairline;
    }
    HelpScreen #help VerticalScroll { width: 1fr; max-width: 100%; border: none; max-height: 100%; }
    HelpScreen #columns { height: auto; layout: vertical; }
    HelpScreen #columns PartsView { width: 1fr; }
    HelpScreen.-two #help { width: 170; }
    HelpScreen.-two #columns { layout: horizontal; }
    HelpScreen.-two #left { padding: 0 3 0 0; }
    HelpScreen #find-row { height: 1; padding: 0 2; margin: 1 0 0 0; }
    HelpScreen #find-hint { width: 1fr; }
    HelpScreen #find { display: none; border: none; height: 1; padding: 0; background: $panel; }
    HelpScreen.-finding #find { display: block; width: 1fr; }
    HelpScreen.-finding #find-hint { width: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(",".join(HELP.keys), "close", "close", show=False),
        Binding(",".join(FILTER.keys), "find", "find", show=False),
    ]

    def __init__(self, scope: str, context: Context) -> None:
        super().__init__(())
        self._scope = scope
        self._works_on = context

    def compose(self) -> ComposeResult:
        left, right = help_columns(self._scope, self._works_on)
        with Vertical(id="help"):
            with Horizontal(id="find-row"):
                yield PartsView(
                    [[hotkey("/"), dim(" finds   "), hotkey("esc"), dim(" closes")]], id="find-hint"
                )
                yield Entry(id="find", compact=True)
            with VerticalScroll(), Horizontal(id="columns"):
                yield PartsView(left, wraps=True, hang=_KEYS, id="left")
                yield PartsView(right, wraps=True, hang=_KEYS, id="right")

    def on_resize(self) -> None:
        self.set_class(self.app.size.width >= TWO_COLUMNS, "-two")

    def action_find(self) -> None:
        """Type words; only lines that have them stay."""
        self.add_class("-finding")
        self.query_one("#find-hint", PartsView).show([[hotkey("/")]])
        self.query_one("#find", Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        left, right = help_columns(self._scope, self._works_on, event.value)
        if not left and not right:
            left = [[dim("No key does that.")]]
        self.query_one("#left", PartsView).show(left)
        self.query_one("#right", PartsView).show(right)
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one(VerticalScroll).focus()
