"""Every key means one thing: the table of keys, the actions that take keys from it, and the keys of widgets."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.keys import Keys

import glidemq_console.widgets
from glidemq_console.actions import keys
from glidemq_console.actions.base import EVERYWHERE, Danger
from glidemq_console.screens.registry import ACTIONS

#: Capitals that look, and change nothing.
LOOKING_CAPITALS = ("G", "N", "S", "Y")
#: What keys of widgets do, by the name of the action they are bound to in Textual.
WIDGET_MEANINGS = {
    keys.OPEN: ("choose", "toggle_fold"),
    keys.MARK: ("mark",),
    keys.MARK_RANGE: ("mark_range",),
    keys.MARK_ALL: ("mark_all",),
    keys.NEXT: ("fold",),
    keys.PREVIOUS: ("fold",),
}
#: Keys that move in every list and text; nothing else may have them.
MOVING = (
    *("up", "down", "j", "k", "g", "G", "home", "end", "pageup", "pagedown"),
    *("ctrl+u", "ctrl+d", "ctrl+b", "ctrl+f", "shift+up", "shift+down"),
)


def _of_widgets() -> list[tuple[str, Binding]]:
    """The bindings of our own widgets, dialogs and overlays apart, which have scopes of their own."""
    found = []
    for module in pkgutil.walk_packages(glidemq_console.widgets.__path__, "glidemq_console.widgets."):
        if ".dialogs" in module.name or module.name.endswith(("overlay", "safe_input")):
            continue
        for thing in vars(importlib.import_module(module.name)).values():
            if isinstance(thing, type) and issubclass(thing, DOMNode) and thing.__module__ == module.name:
                bindings: list[BindingType] = thing.__dict__.get("BINDINGS", [])
                found += [(thing.__name__, one) for one in bindings if isinstance(one, Binding)]
    return [(name, Binding(key.strip(), one.action)) for name, one in found for key in one.key.split(",")]


def test_no_key_stands_in_two_rows_of_the_table() -> None:
    tabs = [m for action in ACTIONS.values() if action.id.startswith("go.") for m in action.meanings]

    names = [key for meaning in (*tabs, *keys.TABLE) for key in meaning.keys]

    assert sorted(names) == sorted(set(names))
    assert not set(names) & set(MOVING)


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.id)
def test_an_action_has_its_keys_where_the_table_says(action: object) -> None:
    letters = {scope: letter for letter, scope in keys.SCREEN_LETTERS.items()} | {EVERYWHERE: ""}
    found = ACTIONS[getattr(action, "id")]  # noqa: B009

    for meaning in found.meanings:
        assert letters[found.scope] in meaning.where
        assert found.id.startswith("go.") or meaning in keys.TABLE


def test_one_screen_has_one_action_a_key() -> None:
    for scope in keys.SCREEN_LETTERS.values():
        names = [key for one in ACTIONS.values() if one.scope in (scope, EVERYWHERE) for key in one.keys]
        assert sorted(names) == sorted(set(names)), scope


def test_capitals_change_for_good_and_ask_first() -> None:
    for action in ACTIONS.values():
        capitals = [key for key in action.keys if len(key) == 1 and key.isupper()]
        if capitals and not set(capitals) & set(LOOKING_CAPITALS):
            assert action.danger is not Danger.NONE, action.id
            assert action.opens_dialog, action.id
        if action.ask is not None and action.keys:
            assert capitals, action.id


def test_keys_of_widgets_mean_what_the_table_says() -> None:
    table = {key: meaning for meaning in keys.TABLE for key in meaning.keys}
    bindings = _of_widgets()

    assert bindings
    for name, binding in bindings:
        if binding.key not in MOVING:
            action = binding.action.partition("(")[0]
            assert action in WIDGET_MEANINGS[table[binding.key]], (name, binding)


def test_every_key_has_a_name_that_people_write() -> None:
    for meaning in keys.TABLE:
        for key in meaning.keys:
            assert "_" not in keys.key_text(key), key

    assert keys.key_text(keys.MARK_RANGE.keys[0]) == "^space"
    assert [keys.key_text(key) for key in ("number_sign", "equals_sign", "full_stop")] == ["#", "=", "."]
    assert Keys.ControlAt.value == keys.MARK_RANGE.keys[0]
