"""What can be done on the list of workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .. import keys, shared
from ..base import Actions, PageContext, on_screen
from ..jobs import control as jobs


class WorkersPage(shared.MarkingPage, shared.SortedPage, Protocol):
    """The list of workers; what a method returns is shown."""

    def open_selected(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class WorkersContext(PageContext[WorkersPage]):
    """A key pressed on the list of workers."""


ACTIONS: Actions[WorkersContext] = Actions("workers")


def _needs_row(context: WorkersContext) -> str | None:
    return None if context.queue is not None else "no worker is selected"


@ACTIONS("workers.open", keys.OPEN, title="jobs", why_not=_needs_row, footer=10)
def _open(context: WorkersContext) -> None:
    """List the running, stalled or waiting jobs that the selected row tells of."""
    context.page.open_selected()


@ACTIONS("workers.sort", keys.SORT, footer=50)
def _sort(context: WorkersContext) -> str:
    """Sort by the next column; what is wrong stays on top."""
    return context.page.sort_next()


ACTIONS += on_screen(
    "workers", (shared.reverse, jobs.open_page, jobs.follow, jobs.open_flow, *shared.MARKS, shared.hold)
)
