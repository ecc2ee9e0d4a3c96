"""Saved filters: what may stand in `[filters.SCREEN]` of the config file, and how one is named in a command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

#: Saved filters by screen and name.
SavedFilters = Mapping[str, Mapping[str, str]]

#: Screens whose filters can be saved, as `--screen` names them.
SCREENS: Final = (
    *("queues", "jobs", "approvals", "flows", "limits", "workers"),
    *("failures", "letters", "schedules", "events", "cost"),
)
#: What `:filter` takes as its first word beside a name.
SAVE, REMOVE, LIST = VERBS = ("save", "remove", "list")
#: Characters of a filter at most, as the language has it.
_LONGEST: Final = 1_000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def name_problem(name: str) -> str | None:
    """Say why a filter cannot have a name, or None."""
    if name in VERBS:
        return f"no filter can be called {name}: that is what :filter {name} does"
    if _NAME.fullmatch(name) is None:
        return (
            "the name of a filter has letters, digits, - and _ alone, a letter or a digit first, 40 at most"
        )
    return None


def filters_problem(filters: Any) -> tuple[str, str] | None:
    """Say what is wrong with the tables of saved filters: the key and the problem; None if nothing is."""
    if not isinstance(filters, dict):
        return "filters", "must be tables like [filters.jobs]"
    for screen, saved in filters.items():
        key = f"filters.{screen}"
        if screen not in SCREENS:
            near = get_close_matches(screen, SCREENS, 1)
            advice = f"did you mean 'filters.{near[0]}'?" if near else f"there are {', '.join(SCREENS)}"
            return key, f"no screen with filters has that name; {advice}"
        if not isinstance(saved, dict):
            return key, 'must be a table of filters, as stuck = "state:failed"'
        for name, text in saved.items():
            if (problem := name_problem(name)) is not None:
                return f"{key}.{name}", problem
            if not isinstance(text, str) or not text.strip() or len(text) > _LONGEST:
                return f"{key}.{name}", f"must be a filter in quotes, of {_LONGEST:,} characters at most"
    return None


def unknown_filter(filters: SavedFilters, screen: str, name: str) -> str:
    """Say that no filter of a screen has a name, and which there are."""
    saved = filters.get(screen, {})
    if not saved:
        return f"no filter is saved for {screen}"
    near = get_close_matches(name, saved, 1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(saved)}"
    return f"no filter of {screen} is called '{name}'; {advice}"
