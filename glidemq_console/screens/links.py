"""Where each word of the line of trouble leads."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.trouble import Kind, Trouble

#: The screen that shows a kind of trouble.
_SCREENS: dict[Kind, str] = {
    "failed": "failures",
    "stalled": "workers",
    "unserved": "workers",
    "asked": "approvals",
    "parked": "flows",
    "missed": "schedules",
    "letters": "letters",
}


def destination(trouble: Trouble) -> str:
    """Return the screen that shows a kind of trouble."""
    return _SCREENS[trouble.kind]


def following(found: Sequence[Trouble], last: str | None) -> Trouble | None:
    """Return the word after the one gone to last that still counts something, or the first such word."""
    kinds = [one.kind for one in found]
    at = kinds.index(last) + 1 if last in kinds else 0
    return next((one for one in (*found[at:], *found[:at]) if one.count), None)
