"""The base of the console app: a defect is shown and logged and the app goes on, or it ends in order."""

from __future__ import annotations

from typing import Final

from rich.text import Text
from textual.widget import Widget
from textual.worker import Worker, WorkerFailed, WorkerState, get_current_worker

from ..actions.approvals.outbox import DecisionOutbox
from ..screens.frame import ConsoleScreen
from ..text.format import plural
from ..text.shown_keys import key_of
from .defects import DefectLog
from .notifying_app import NotifyingApp

#: Exit code of the console when a defect ended it.
DEFECT_CODE: Final = 70
#: Screens on which decisions are made.
_DECIDING: Final = ("approvals", "inboxes")


class ResilientApp(NotifyingApp):
    """An app that a defect in a screen, a widget or an action does not end."""

    outbox: DecisionOutbox
    _defects: DefectLog

    def show_message(self, text: str, token: str = "foreground") -> None:
        """Say something in the status line of the screen on top."""
        raise NotImplementedError

    @property
    def is_going(self) -> bool:
        """Whether a screen is on top that does not show yet what it was opened for."""
        raise NotImplementedError

    @property
    def is_acting(self) -> bool:
        here = get_current_worker()
        return any(
            worker.group in ("actions", "decisions", "exports")
            and not worker.is_finished
            and worker is not here
            for worker in self.workers
        )

    def show_held(self, left: str) -> None:
        """Say on another screen what is still to be sent; `left` is the one that was left."""
        held = len(self.outbox.pending)
        if held and left in _DECIDING and self.current_mode not in _DECIDING:
            words = f"{plural(held, 'decision')} still held back; {key_of('undo', 'z')} takes back"
            self.show_message(words, "warning")

    def report_defect(self, error: BaseException, doing: str) -> None:
        self.show_message(self._defects.record(error, doing), "error")

    def drawing_failed(self, widget: Widget, error: Exception) -> None:
        """See `KeepsGoing`: nothing is decided on a screen of which a part is not drawn."""
        if isinstance(widget.screen, ConsoleScreen):
            widget.screen.widget_is_drawn(widget, False)
        self.call_later(self.report_defect, error, f"drawing {widget.id or type(widget).__name__}")

    def drawing_went_well(self, widget: Widget) -> None:
        """See `KeepsGoing`."""
        if isinstance(widget.screen, ConsoleScreen):
            widget.screen.widget_is_drawn(widget, True)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Show a defect in an action: the console stays, and the action is not taken for done."""
        worker = event.worker
        if event.state is WorkerState.ERROR and worker.group != "feed" and worker.error is not None:
            self.report_defect(worker.error, f"doing {worker.name}")

    def _handle_exception(self, error: Exception) -> None:
        """End in order: nothing that is held back is sent, and no report prints what variables held."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        self.outbox.give_up()
        self._return_code = DEFECT_CODE
        if self._exception is None:
            # What tests of an app wait for.
            self._exception = error
            self._exception_event.set()
        message = self._defects.record(cause, f"running screen {self.current_mode}")
        self.panic(Text(f"glidemq console ended: {message}"))
