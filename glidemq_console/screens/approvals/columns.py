"""The columns of the list of jobs that wait for a person: one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from rich.cells import cell_len

from ...model.decisions import Pending
from ...model.snapshot import epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import GAP, GUTTER, Column, columns_for
from ...widgets.styled import Cell, Styled, dim
from . import text as say

if TYPE_CHECKING:
    from glidemq_core.records import Approval

#: Stands behind every deadline.
_NEVER = 1 << 62
#: Cells of the column of reasons at least.
_WHY = 12


class ApprovalLine(NamedTuple):
    """A row of the list: what waits, and the decision on it that is held back or being sent."""

    one: Approval
    pending: Pending | None
    is_sending: bool
    #: Its server, where jobs of several are listed.
    server: str = ""
    is_prod: bool = False


Of = Column[ApprovalLine]


def left(line: ApprovalLine, now: int) -> Cell:
    """Time to the deadline, or to the sending of the decision."""
    if line.pending is None:
        return say.left_parts(line.one, now)
    return say.held_parts(line.pending, now, sending=line.is_sending)


def job(line: ApprovalLine, _now: int) -> Cell:
    token = "" if line.pending is None else "dim"
    return [Styled(f"{short(line.one.queue)} ", token), dim(short(line.one.id))]


def server(line: ApprovalLine, _now: int) -> Cell:
    """The server; one on which nothing is to go wrong stands out."""
    token = "dim" if line.pending is not None else "error" if line.is_prod else "foreground"
    return Styled(line.server, token, "bold" if line.is_prod else "")


def what(line: ApprovalLine, _now: int) -> Cell:
    return Styled(short(line.one.name), "foreground" if line.pending is None else "dim")


def spent(line: ApprovalLine) -> float | None:
    return line.one.usage.total_cost if line.one.usage is not None else None


def cost(line: ApprovalLine, _now: int) -> Cell:
    return Styled(fmt.money(spent(line)), "foreground" if spent(line) else "dim")


def waited(line: ApprovalLine, now: int) -> Cell:
    return dim(fmt.age(epoch_ms(line.one.suspended_at), now))


def reason(line: ApprovalLine) -> str:
    return short(line.one.reason) or "waits for a signal"


def why(line: ApprovalLine, _now: int) -> Cell:
    return Styled(reason(line), "foreground" if line.pending is None else "dim")


def bar(line: ApprovalLine, now: int) -> Cell:
    """What is left of the time to decide, where nothing is decided yet."""
    return say.deadline_bar(line.one, now) if line.pending is None else []


COLUMNS = (
    Of("why", "WHY", _WHY, why, reason, flexible=3, rises=True, gives_way="equal"),
    Of("job", "JOB", 16, job, flexible=2),
    Of("in", "IN", 8, left, lambda line: epoch_ms(line.one.deadline_at) or _NEVER, rises=True),
    Of("bar", "", 8, bar, leaves=2),
    Of("what", "WHAT", 12, what, lambda line: line.one.name, flexible=1, leaves=3, rises=True,
       gives_way="equal"),
    Of("waits", "WAITS", 7, waited, lambda line: line.one.suspended_at, rises=True, right=True, leaves=4),
    Of("cost", "COST", 7, cost, lambda line: spent(line) or 0.0, right=True, leaves=1, gives_way="equal"),
)  # fmt: skip
#: The column that sorts at first.
FIRST = next(column for column in COLUMNS if column.key == "in")
#: The same where jobs of several servers are listed.
COLUMNS_EVERYWHERE = (COLUMNS[0], Of("server", "SERVER", 10, server), *COLUMNS[1:])
#: Stands in the place of the job where its queue says nothing, or the card beside the list has to say it.
_ID = Of("job", "JOB", 8, lambda line, _: Styled(short(line.one.id), "" if line.pending is None else "dim"),
         flexible=1)  # fmt: skip
#: Cells of a list below which the queue is left to the card.
_NARROW = 55
#: Columns that sort: what the head calls the order, and what is said of it.
SORTS = {
    "in": ("deadline", "soonest deadline first"),
    "waits": ("waiting", "longest wait first"),
    "cost": ("cost", "dearest first"),
    "why": ("reason", "by reason"),
    "what": ("name", "by name"),
}


def saved(columns: Sequence[Of]) -> tuple[Of, ...]:
    """Return what a file takes of the columns."""
    return tuple(column for column in columns if column.key != "bar")


def columns_of(columns: Sequence[Of], lines: Sequence[ApprovalLine], width: int) -> tuple[Of, ...]:
    """Return the columns that tell what waits apart, in a list of so many cells: reasons are whole where they fit."""
    chosen = columns_for(columns, lines)
    if width < _NARROW or (len(lines) > 1 and len({line.one.queue for line in lines}) == 1):
        chosen = tuple(_ID if column.key == "job" else column for column in chosen)
    stays = sum(column.width + GAP for column in chosen if not column.leaves and column.key != "why")
    longest = max((cell_len(reason(line)) for line in lines), default=0)
    room = max(_WHY, min(longest, width - GUTTER - GAP - stays))
    return tuple(replace(column, width=room) if column.key == "why" else column for column in chosen)
