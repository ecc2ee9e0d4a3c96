"""The columns of the list of jobs that wait for a person: one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...model.decisions import Pending
from ...model.snapshot import epoch_ms
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Styled, dim
from . import text as say

if TYPE_CHECKING:
    from glidemq_core.records import Approval

#: Stands behind every deadline.
_NEVER = 1 << 62


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


COLUMNS = (
    Of("in", "IN", 8, left, lambda line: epoch_ms(line.one.deadline_at) or _NEVER, rises=True),
    Of("job", "JOB", 16, job, flexible=2),
    Of("why", "WHY", 12, lambda line, _: dim(short(line.one.reason) or "waits for a signal"), flexible=3),
    Of("what", "WHAT", 12, what, flexible=1, leaves=2),
    Of("waits", "WAITS", 7, waited, lambda line: line.one.suspended_at, rises=True, right=True, leaves=3),
    Of("cost", "COST", 7, cost, lambda line: spent(line) or 0.0, right=True, leaves=1),
)
#: The same where jobs of several servers are listed.
COLUMNS_EVERYWHERE = (COLUMNS[0], Of("server", "SERVER", 10, server), *COLUMNS[1:])
#: Columns that sort: what the head calls the order, and what is said of it.
SORTS = {
    "in": ("deadline", "soonest deadline first"),
    "waits": ("waiting", "longest wait first"),
    "cost": ("cost", "dearest first"),
}
