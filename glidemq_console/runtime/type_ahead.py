"""Hold keys until the screen or dialog opened by the previous key is ready."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Final

from textual import events
from textual.timer import Timer
from textual.worker import Worker

from ..screens.frame import ConsoleScreen
from ..widgets.dialogs.dialog import ConfirmDialog, Dialog
from .resilient_app import ResilientApp

#: Between two looks whether what is waited for is there, seconds.
LOOK_S: Final = 0.01
#: A key that did not come back by then went away with its widget, seconds.
LOST_S: Final = 0.5
#: A dialog or screen that is not up by then is not waited for, seconds; what was typed is dropped.
PATIENCE_S: Final = 2.0
#: Keys that leave are never held.
_LEAVING: Final = ("ctrl+q", "ctrl+c")
#: Keys that close the line at the bottom.
_ENDS_LINE: Final = ("enter", "escape")


class TypeAhead:
    """Holds what is typed while a key before it is on its way, or the dialog that it opens is not on screen."""

    def __init__(self, app: ResilientApp) -> None:
        self._app = app
        self._held: deque[events.Key | events.Paste] = deque()
        #: A key that works on a list and has not come back from the widgets yet.
        self._key: events.Key | None = None
        #: The action whose dialog is awaited.
        self._asking: Worker[None] | None = None
        #: The line at the bottom is about to close.
        self._leaves_line = False
        #: When any of these began (monotonic s), moved on by the time in which this process got no turn.
        self._since = 0.0
        #: When the latest look was (monotonic s).
        self._looked_at = 0.0
        self._timer: Timer | None = None
        #: What waited and goes its way now.
        self._released: events.Event | None = None

    def holds(self, event: events.Event) -> bool:
        """Take an event that is new to the app; True when it has to wait and will come again."""
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded or not self._app.is_running:
            return False
        if event is not self._released and (self._held or self._is_waiting):
            if isinstance(event, events.Key) and event.key in _LEAVING:
                return False
            self._held.append(event)
            self._keep_looking()
            return True
        screen = self._app.screen
        if isinstance(event, events.Key) and isinstance(screen, ConsoleScreen):
            self._leaves_line = screen.is_typing and event.key in _ENDS_LINE
            if self._leaves_line or not screen.is_typing:
                self._key, self._since = event, monotonic()
        return False

    async def came_back(self, event: events.Event) -> None:
        """Take note that a key is done with: its action was started, if it has one."""
        if event is self._key:
            self._key = None
            await self._release()

    def asks(self, worker: Worker[None]) -> None:
        """Wait for the dialog of an action that has just begun."""
        self._asking, self._since = worker, monotonic()
        self._keep_looking()

    @property
    def _is_waiting(self) -> bool:
        if self._key is not None:
            return monotonic() - self._since < LOST_S
        screen = self._app.screen
        if self._app.is_going:
            return True
        if isinstance(screen, ConsoleScreen):
            if not screen.is_up:
                return True
            if self._leaves_line and screen.line_has_focus:
                return monotonic() - self._since < LOST_S
            return self._asking is not None and not self._asking.is_finished
        return self._asking is not None and (
            screen.focused is None or (isinstance(screen, Dialog) and not screen.is_seen)
        )

    def _keep_looking(self) -> None:
        if self._timer is None:
            self._looked_at = monotonic()
            self._timer = self._app.set_interval(LOOK_S, self._look)

    def _look(self) -> None:
        now = monotonic()
        # On a busy machine a key is not lost, nor a screen late, while nothing here could run.
        self._since += max(0.0, now - self._looked_at - 2 * LOOK_S)
        self._looked_at = now
        late = self._app.is_running and self._is_waiting
        if late and monotonic() - self._since < PATIENCE_S:
            return
        if self._timer is not None:
            self._timer.stop()
        self._key = self._asking = self._timer = None
        self._leaves_line = False
        if late and self._held:
            self._held.clear()
            self._app.show_message("the answer took long; what was typed meanwhile was dropped", "warning")
        # Not here: this runs in the task of the timer that was just stopped.
        self._app.call_later(self._release)

    async def _release(self) -> None:
        if self._held:
            # One turn of the loop: the action of a key takes its first step, which may lead to another screen.
            await asyncio.sleep(0)
        while self._held and self._app.is_running and not self._is_waiting:
            event = self._held.popleft()
            if _answers_unseen(self._app.screen, event):
                continue
            self._released = event
            await self._app.on_event(event)
        if self._held and self._app.is_running:
            self._keep_looking()


def _answers_unseen(screen: object, event: events.Key | events.Paste) -> bool:
    """Whether this would answer a question that was not on screen yet when it was typed; a no is taken all the same."""
    if not isinstance(screen, ConfirmDialog) or screen.is_typed:
        return False
    return not (isinstance(event, events.Key) and event.key in ("escape", "n"))
