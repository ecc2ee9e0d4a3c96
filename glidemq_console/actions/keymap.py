"""The keys of actions as a person maps them: `[keys]` in the config file, an action's id and its keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from textual.keys import Keys, _character_to_key

from ..text.safe import short
from .base import EVERYWHERE, Action
from .keys import key_of, key_text

#: Keys of answers: given to another action, they would be pressed by habit where it changes something.
_ANSWERS: Final = ("a", "r", "y", "n", "escape")
#: Keys that lists, texts and trees have, whatever is mapped, and those that always leave.
_MOVES: Final = "up down left right j k h l g G home end pageup pagedown ctrl+b ctrl+f ctrl+u ctrl+d"
_MARKS: Final = "space ctrl+@ asterisk shift+up shift+down"
_FIXED: Final = frozenset(f"{_MOVES} {_MARKS} enter tab shift+tab escape ctrl+c ctrl+q".split())
_NAMED: Final = frozenset(key.value for key in Keys)
_MODIFIED: Final = re.compile(r"(?:(?:ctrl|shift|alt)\+)+")


class Keymap:
    """Which keys each action has: those that were mapped to it, else its own."""

    def __init__(self, actions: Iterable[Action[Any]], mapped: Mapping[str, str] | None = None) -> None:
        """Read a mapping; what cannot be taken keeps its own keys and is told of in `problems`.

        Args:
            actions: All actions.
            mapped: Keys, divided by spaces, by the id of their action.
        """
        self._actions = {action.id: action for action in actions}
        self._mapped: dict[str, tuple[str, ...]] = {}
        #: Ids of actions whose mapping was not taken, and why.
        self.problems: list[tuple[str, str]] = []
        for name, text in (mapped or {}).items():
            found = self._read(name, text)
            if isinstance(found, str):
                self.problems.append((name, found))
            else:
                self._mapped[name] = found
        self._settle()

    def keys(self, action: Action[Any]) -> tuple[str, ...]:
        """Return the Textual names of an action's keys, the one that is shown first."""
        mapped = self._mapped.get(action.id)
        if mapped is None:
            return action.keys
        return (*mapped, *(key for key in action.keys if key in _FIXED and key not in mapped))

    def texts(self, action: Action[Any]) -> list[str]:
        """Return an action's keys as people write them."""
        return [key_text(key) for key in self.keys(action)]

    def shown(self) -> dict[str, str]:
        """Return the key of each action that is shown, by its id."""
        return {name: self.texts(action)[0] for name, action in self._actions.items() if action.keys}

    def bindings(self) -> dict[str, str]:
        """Return what was mapped as Textual takes it, by id."""
        return {name: ",".join(self.keys(self._actions[name])) for name in self._mapped}

    # --- reading -------------------------------------------------------------------------------------------

    def _read(self, name: str, text: str) -> tuple[str, ...] | str:
        """Read the keys of one action, or say why it cannot have them."""
        action = self._actions.get(name)
        if action is None:
            near = get_close_matches(name, self._actions, 1)
            return f"no action '{short(name, 40)}'" + (f", did you mean {near[0]}?" if near else "")
        if not action.keys:
            return f"{name} has no key, it is typed as :{action.command}"
        words = text.split()
        if not words:
            return f"{name} would have no key"
        keys = [read_key(word) for word in words]
        for word, key in zip(words, keys, strict=True):
            if key is None:
                return f"no key '{short(word, 20)}'"
            if key not in action.keys and (key in _ANSWERS or key in _FIXED):
                return f"{key_text(key)} cannot be given to {name}: it {_why_kept(key)}"
        return tuple(dict.fromkeys(key for key in keys if key is not None))

    # --- conflicts -----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Give both actions of a conflict their own keys back, until there is none."""
        while conflict := self._conflict():
            key, name, other = conflict
            for one, another in ((name, other), (other, name)):
                if self._mapped.pop(one, None) is not None:
                    self.problems.append(
                        (one, f"{key_text(key)} is given to {one} and to {another}; both keep their own keys")
                    )

    def _conflict(self) -> tuple[str, str, str] | None:
        """Return a key that means two things where one of them was mapped, and the ids of both."""
        for name in self._mapped:
            action = self._actions[name]
            for other in self._actions.values():
                if other.id == name or not _meet(action.scope, other.scope):
                    continue
                for key in self.keys(action):
                    if key in self.keys(other) and not (key in action.keys and key in other.keys):
                        return key, name, other.id
        return None


def read_key(text: str) -> str | None:
    """Return the Textual name of a key as people write it: `K`, `^k`, `ctrl+k`, `f6`, `[`; None if there is none."""
    if (known := key_of(text)) is not None:
        return known
    if text.startswith("^") and len(text) > 1:
        text = f"ctrl+{text[1:]}"
    lead = match[0] if (match := _MODIFIED.match(text)) is not None else ""
    last = text[len(lead) :]
    if len(last) == 1 and last.isprintable():
        return lead + _character_to_key(last.lower() if lead else last)
    return text if text in _NAMED or (last in _NAMED and last) else None


def _meet(scope: str, other: str) -> bool:
    """Tell whether actions of both scopes can be meant at once."""
    return scope == other or EVERYWHERE in (scope, other)


def _why_kept(key: str) -> str:
    return "answers questions" if key in _ANSWERS else "moves, opens or leaves everywhere"


def told(problems: Sequence[tuple[str, str]], lines: Mapping[str, int]) -> list[str]:
    """Say what is wrong with the mapping, with the line of each."""
    return [
        (f"config line {lines[name]}: " if name in lines else "config, [keys]: ") + why
        for name, why in problems
    ]
