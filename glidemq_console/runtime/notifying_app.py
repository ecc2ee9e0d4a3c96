"""The base of apps that tell a person who looks elsewhere that something has happened."""

from __future__ import annotations

import os
from time import monotonic
from typing import Any, Final, cast

from ..terminal.notices import CHOICES, Kind, kind_of, notice
from .drawing_app import DrawingApp

#: Between two notices, s; what happens meanwhile is told by the next one.
EVERY_S: Final = 10.0
#: Whoever has typed nothing for so long looks elsewhere, where the terminal does not tell, s.
AWAY_S: Final = 60.0


class NotifyingApp(DrawingApp):
    """An app that notifies while its terminal has not got the focus."""

    #: When a key or the mouse was used last (monotonic s): what moves by itself gives way.
    last_input: float

    def __init__(self, *, notify: str = "auto", bell: bool = False, **options: Any) -> None:
        """Make an app that notifies in one of the `CHOICES`, and rings the bell with each notice or not."""
        super().__init__(**options)
        self._notify, self._bell = notify, bell
        self._began = monotonic()
        #: Whether this terminal tells when it gets or loses the focus.
        self._tells_focus = False
        self._notified_at: float | None = None
        self._untold = ""

    def set_notify(self, choice: str, *, bell: bool = False) -> None:
        """Notify in another way, and ring the bell with it or not."""
        assert choice in CHOICES
        self._notify, self._bell = choice, bell

    @property
    def notify_words(self) -> str:
        """Say how it notifies."""
        choice, shown = self._notify, self._notify_kind
        return f"notices: {choice}" if choice == shown else f"notices: {shown}, as this terminal has it"

    @property
    def _notify_kind(self) -> Kind:
        return kind_of(os.environ) if self._notify == "auto" else cast(Kind, self._notify)

    @property
    def is_looked_at(self) -> bool:
        """Whether somebody seems to look at the console."""
        if self._tells_focus:
            return self.app_focus
        return monotonic() - max(self._began, self.last_input) < AWAY_S

    def tell_away(self, text: str) -> None:
        """Notify whoever looks elsewhere; the text holds nothing of a payload."""
        if not self.is_looked_at:
            self._untold = text
            self.notify_when_due()

    def notify_when_due(self) -> None:
        """Send the notice that waits, if there is one; call this about once a second."""
        now = monotonic()
        if not self._untold or (self._notified_at is not None and now - self._notified_at < EVERY_S):
            return
        text, self._untold = self._untold, ""
        if self.is_looked_at:
            return
        self._notified_at = now
        sequence = notice(text, self._notify_kind, in_tmux="TMUX" in os.environ, bell=self._bell)
        if sequence and self._is_drawing and self._driver is not None:
            self._driver.write(sequence)

    def on_app_focus(self) -> None:
        self._tells_focus, self._untold = True, ""

    def on_app_blur(self) -> None:
        self._tells_focus = True
