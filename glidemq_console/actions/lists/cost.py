"""What can be done with what is spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from .. import keys, shared
from ..base import Actions, PageContext, on_screen
from ..jobs import control as jobs

if TYPE_CHECKING:
    from ...model.lists.cost import SpendRow


class CostPage(shared.SortedPage, Protocol):
    """What is spent, as its actions know it; what a method returns is shown."""

    @property
    def opens(self) -> str | None: ...

    def open_selected(self) -> None: ...

    def next_way(self, step: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class CostContext(PageContext[CostPage]):
    """A key pressed on what is spent."""

    spent: SpendRow | None = None


ACTIONS: Actions[CostContext] = Actions("cost")


def _cannot_open(context: CostContext) -> str | None:
    if context.spent is None:
        return "nothing is selected"
    return None if context.page.opens is not None else "a model has nothing to open"


@ACTIONS("cost.open", keys.OPEN, why_not=_cannot_open, footer=10)
def _open(context: CostContext) -> None:
    """Open the jobs of the queue, the flow, or the job."""
    context.page.open_selected()


@ACTIONS("cost.next", keys.NEXT_PART, keys.NEXT, title="by model, flow, job", footer=20)
def _next(context: CostContext) -> None:
    """Add up by the next of queue, model, flow and job."""
    context.page.next_way(1)


@ACTIONS("cost.previous", keys.PREVIOUS_PART, keys.PREVIOUS, title="before")
def _previous(context: CostContext) -> None:
    """Add up by the one before."""
    context.page.next_way(-1)


ACTIONS += on_screen("cost", (*shared.SORTING, jobs.open_page, jobs.open_flow, shared.hold))
