"""Text to type into: keys take effect in their order, and what is pasted is made safe."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Input

from ..text.safe import clean

#: Characters of one paste that are taken.
PASTE_LIMIT = 8 * 1024
#: Keys that leave the text: they go the usual way, and what is typed after them waits for them.
_LEAVING = ("enter", "escape")


async def act_in_turn(widget: Widget, event: events.Key, of_screen: Sequence[str] = ()) -> None:
    """Do what a key that moves or deletes is bound to when its turn comes.

    Textual would first offer the key to everything around the text and act when it came back, after letters that
    were typed later. Keys `of_screen` are those that work on the text as it was typed so far.
    """
    if event.is_printable or event.key in _LEAVING:
        return
    holder = widget.screen if event.key in of_screen else widget
    for binding in holder._bindings.key_to_bindings.get(event.key, ()):
        event.stop()
        event.prevent_default()
        await widget.app.run_action(binding.action, holder)
        return


class Entry(Input):
    """An `Input` whose cursor does not blink; a paste is made safe, as it may come from anywhere."""

    def on_mount(self) -> None:
        self.cursor_blink = False

    async def _on_key(self, event: events.Key) -> None:
        # A dialog takes what is typed so far, not what comes after.
        is_dialog = isinstance(self.screen, ModalScreen)
        await act_in_turn(self, event, of_screen=("ctrl+s",) if is_dialog else ())

    def _on_paste(self, event: events.Paste) -> None:
        # Textual calls its own handler, which inserts, after this one.
        event.text = clean(event.text, limit=PASTE_LIMIT)
