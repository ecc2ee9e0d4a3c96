"""What can be done with what happens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from .. import keys, shared
from ..base import Actions, PageContext, on_screen
from ..jobs import control as jobs

if TYPE_CHECKING:
    from ...model.lists.events import EventLine


class EventsPage(shared.FindingPage, Protocol):
    """The events, as their actions know them."""

    def open_selected(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class EventsContext(PageContext[EventsPage]):
    """A key pressed on the events."""

    line: EventLine | None = None


ACTIONS: Actions[EventsContext] = Actions("events")


def _cannot_open(context: EventsContext) -> str | None:
    if context.line is None:
        return "no event is selected"
    return None if context.line.queues == 1 else "it tells of several queues"


@ACTIONS("events.open", keys.OPEN, title="job", why_not=_cannot_open, footer=10)
def _open(context: EventsContext) -> None:
    """Open the job of the event; of a burst, the jobs of its queue."""
    context.page.open_selected()


_HOLD = replace(shared.hold, footer=20)
ACTIONS += on_screen("events", (_HOLD, jobs.open_page, jobs.follow, jobs.open_flow, *shared.FINDS))
