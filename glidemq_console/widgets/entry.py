"""A line to type into that takes in pasted text made safe: what is on a clipboard may come from anywhere."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from ..safe import clean

#: Characters of one paste that are taken.
PASTE_LIMIT = 8 * 1024


class Entry(Input):
    """An `Input` whose cursor does not blink."""

    def on_mount(self) -> None:
        self.cursor_blink = False

    def _on_paste(self, event: events.Paste) -> None:
        # Textual calls its own handler, which inserts, after this one.
        event.text = clean(event.text, limit=PASTE_LIMIT)
