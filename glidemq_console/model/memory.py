"""What the console remembers of one profile from one run to the next: how it was looked at, never what was seen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from ..text.safe import clean
from ..text.secrets import masked_text

#: What a screen keeps: its filter, its order, what of it is open.
Kept: TypeAlias = Mapping[str, str | bool]

#: Commands and characters of one, screens, settings of a screen that are taken from a file.
_LINES, _LONGEST, _SCREENS, _VALUES = 200, 2_000, 50, 20
#: Ids of jobs: numbers, UUIDs, ULIDs and other long words with a digit in them.
_ID: Final = re.compile(r"(?<![\w-])(?:\d+|(?=[\w-]*\d)[\w-]{16,})(?![\w-])")


@dataclass(kw_only=True)
class Memory:
    """What is remembered of one profile."""

    #: The screen that was on top last.
    screen: str | None = None
    #: What each screen keeps, by its scope.
    screens: dict[str, Kept] = field(default_factory=dict)
    #: Scopes of the screens that were visited.
    seen: set[str] = field(default_factory=set)
    #: Commands that were typed, the latest last.
    lines: Sequence[str] = ()

    def keep(self, scope: str, kept: Kept) -> None:
        """Remember what a screen keeps; a filter that could be the id of a job is left out."""
        text = kept.get("filter")
        if isinstance(text, str) and (not text or names_job(text)):
            kept = {name: value for name, value in kept.items() if name != "filter"}
        if self.screens.get(scope) != kept and (kept or scope in self.screens):
            self.screens[scope] = dict(kept)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is written, without secrets and without ids of jobs."""
        lines = [masked_text(line) for line in self.lines if not names_job(line)]
        return {
            "screen": self.screen,
            "screens": {
                scope: {
                    name: masked_text(value) if isinstance(value, str) else value
                    for name, value in kept.items()
                }
                for scope, kept in self.screens.items()
                if kept
            },
            "seen": sorted(self.seen),
            "lines": lines[-_LINES:],
        }

    @classmethod
    def from_json(cls, entry: Any) -> Memory:
        """Read what was written; what does not belong there is left out."""
        if not isinstance(entry, dict):
            return cls()
        screens = entry.get("screens")
        named = screens.items() if isinstance(screens, dict) else ()
        screen = entry.get("screen")
        return cls(
            screen=screen if _is_text(screen) else None,
            screens={scope: _kept(kept) for scope, kept in list(named)[:_SCREENS] if isinstance(kept, dict)},
            seen=set(_texts(entry.get("seen"), _SCREENS)),
            lines=_texts(entry.get("lines"), _LINES),
        )


def names_job(text: str) -> bool:
    """Tell whether a text could name a job: it holds what looks like an id."""
    return _ID.search(text) is not None


def _kept(kept: dict[Any, Any]) -> Kept:
    return {
        name: value
        for name, value in list(kept.items())[:_VALUES]
        if isinstance(value, bool) or _is_text(value)
    }


def _texts(values: Any, most: int) -> list[str]:
    """Return the latest texts of a list that can be shown as they are."""
    return [text for text in values if _is_text(text)][-most:] if isinstance(values, list) else []


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and value == clean(value, single_line=True)
