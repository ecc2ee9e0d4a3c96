"""Keys typed in one go with one that opens a dialog: they wait until it is up, and never reach the list."""

from __future__ import annotations

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from textual import events
from textual.timer import Timer
from textual.worker import Worker

from .actions import ACTIONS, EVERYWHERE
from .screens.base import ConsoleScreen

if TYPE_CHECKING:
    from .app import ConsoleApp

#: Between two looks whether the dialog is up, seconds.
LOOK_S: Final = 0.01
#: A dialog that is not up by then is not waited for, seconds; what was typed is dropped.
PATIENCE_S: Final = 2.0


class TypeAhead:
    """Holds what is typed between a key that opens a dialog and the moment its field has the focus."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._held: deque[events.Key | events.Paste] = deque()
        #: The key that has not come back from the widgets yet.
        self._key: events.Key | None = None
        #: What asks, from then on.
        self._asking: Worker[None] | None = None
        self._since = 0.0
        self._timer: Timer | None = None

    def holds(self, event: events.Event) -> bool:
        """Take an event that is new to the app; True when it has to wait and will come again."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded:
            return False
        if self._timer is not None:
            # Leaving is always possible.
            if isinstance(event, events.Key) and event.key.startswith("ctrl+"):
                return False
            self._held.append(event)
            return True
        if isinstance(event, events.Key) and self._may_open(event.key):
            self._key = event
            self._begin()
        return False

    def came_back(self, event: events.Event) -> None:
        """Take note that a key is done with: its action was started, if it has one."""
        if event is self._key:
            self._key = None

    def asks(self, worker: Worker[None]) -> None:
        """Wait for the dialog of an action that has just begun."""
        self._asking = worker
        self._begin()

    def _may_open(self, key: str) -> bool:
        screen = self._app.screen
        if not isinstance(screen, ConsoleScreen) or screen.is_typing:
            return False
        scopes = (screen.SCOPE, EVERYWHERE)
        return any(
            key in action.keys and action.scope in scopes
            for action in ACTIONS.values()
            if action.opens_dialog
        )

    def _begin(self) -> None:
        self._since = monotonic()
        if self._timer is None:
            self._timer = self._app.set_interval(LOOK_S, self._look)

    @property
    def _is_waiting(self) -> bool:
        if self._key is not None:
            return True
        screen = self._app.screen
        if not isinstance(screen, ConsoleScreen):
            return screen.focused is None
        return self._asking is not None and not self._asking.is_finished

    async def _look(self) -> None:
        late = self._is_waiting
        if late and monotonic() - self._since < PATIENCE_S:
            return
        if self._timer is not None:
            self._timer.stop()
        self._key = self._asking = self._timer = None
        if late and self._held:
            self._held.clear()
            self._app.tell("the answer took long; what was typed meanwhile was dropped", "warning")
        for _ in range(len(self._held)):
            # One of them may open the next dialog: those after it are held again, in their order.
            await self._app.on_event(self._held.popleft())
