"""Where each word of the line of trouble leads."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.snapshot import JobsQuery
from ..model.trouble import Trouble
from .table import SCREENS

#: The screens that show a kind of trouble, best first.
_SCREENS = {
    "failed": ("failures", "jobs"),
    "stalled": ("workers",),
    "unserved": ("workers",),
    "asked": ("approvals",),
    "parked": ("flows",),
    "missed": ("schedules", "queues"),
    "letters": ("failures", "jobs"),
}


def destination(trouble: Trouble) -> tuple[str, object]:
    """Return the screen that shows a kind of trouble, and what to open there."""
    names = {spec.name for spec in SCREENS}
    name = next(name for name in _SCREENS[trouble.kind] if name in names)
    if name == "failures":
        return name, "dead letters" if trouble.kind == "letters" else "failures"
    if name == "jobs" and trouble.worst is not None:
        state = "failed" if trouble.kind == "failed" else "waiting"
        return name, JobsQuery(queue=trouble.worst, state=state)
    return name, trouble.worst if name == "queues" else None


def following(found: Sequence[Trouble], last: str | None) -> Trouble | None:
    """Return the word after the one gone to last that still counts something, or the first such word."""
    kinds = [one.kind for one in found]
    at = kinds.index(last) + 1 if last in kinds else 0
    return next((one for one in (*found[at:], *found[:at]) if one.count), None)
