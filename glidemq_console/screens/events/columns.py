"""The columns of what happens: one line each."""

from __future__ import annotations

import json
from typing import Any

from ...model.lists.events import EventLine
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Styled, dim

Of = Column[EventLine]
#: States that kinds of events stand for; the others have no sign.
_STATES = {
    "added": "waiting",
    "active": "active",
    "completed": "completed",
    "failed": "failed",
    "retrying": "delayed",
    "retried": "waiting",
    "suspended": "suspended",
    "stalled": "stalled",
    "paused": "paused",
    "waiting-children": "waiting-children",
    "expired": "failed",
}
#: Facts that say most, first.
_FACTS = (
    "failed_reason",
    "reason",
    "signal",
    "error",
    "name",
    "model",
    "delay",
    "total_tokens",
    "total_cost",
    "count",
)
_LOUD = frozenset(("failed", "stalled", "expired", "budget-exceeded"))


def kind(line: EventLine, _now: int) -> Cell:
    look = fmt.state_look(_STATES.get(line.event))
    if line.event not in _STATES:
        return [dim("· "), Styled(short(line.event, 40))]
    return [Styled(f"{look.glyph} ", look.style), Styled(short(line.event, 40), look.style)]


def burst(line: EventLine, _now: int) -> Cell:
    """`× 312`, with a plus where not all were read."""
    if line.count == 1:
        return ""
    return [dim("× "), Styled(f"{line.count:,}{'+' if line.at_least else ''}", "", "bold")]


def job(line: EventLine, _now: int) -> Cell:
    if line.queues > 1:
        return dim(f"in {line.queues} queues")
    latest = dim("latest ") if line.count > 1 else Styled("")
    return [Styled(f"{short(line.queue, 100)} "), latest, dim(short(line.job_id, 100))]


def words(line: EventLine, _now: int) -> Cell:
    """The facts of the event, the most telling first."""
    if line.queues > 1:
        return ""
    told = [name for name in _FACTS if line.data.get(name) not in (None, "")]
    rest = [name for name in line.data if name not in told]
    token = "error" if line.event in _LOUD else "dim"
    parts = [_fact(name, line.data[name]) for name in (*told, *rest)[:6]]
    return Styled("  ".join(part for part in parts if part), token)


def _fact(name: str, value: Any) -> str:
    if name in ("failed_reason", "reason", "error", "model", "name", "signal"):
        return short(str(value), 300)
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and name in ("delay", "timeout"):
        return f"{'in' if name == 'delay' else 'within'} {fmt.took(number)}"
    if number is not None and name == "total_tokens":
        return f"{fmt.full(number)} tok"
    if number is not None and name == "total_cost":
        return fmt.money(number)
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f"{short(name, 40).replace('_', ' ')} {short(shown, 120)}"


def columns(clock: Any) -> tuple[Column[EventLine], ...]:
    """Make the columns; `clock` writes a time of day in the zone of the console."""
    return (
        Of("time", "TIME", 8, lambda line, _: dim(clock(line.at_ms)), leaves=2),
        Of("event", "EVENT", 16, kind),
        Of("burst", "", 7, burst, right=True, leaves=1),
        Of("job", "JOB", 16, job, flexible=2),
        Of("words", "WHAT", 18, words, flexible=5),
    )
