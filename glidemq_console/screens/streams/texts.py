"""What is done with the texts of the wall: found in, copied, saved."""

from __future__ import annotations

from ...saving import files as saving
from ...text import format as fmt
from ...text.shown_keys import key_of
from ..frame import ConsoleScreen
from .pane import Slot


class WallTexts(ConsoleScreen):
    """A screen with panes of text."""

    def __init__(self) -> None:
        super().__init__()
        self._slots: list[Slot] = []
        self._search = ""

    @property
    def slot(self) -> Slot | None:
        """The pane that keys work on."""
        raise NotImplementedError

    @property
    def filter_text(self) -> str:
        return self._search

    def set_filter(self, text: str) -> None:
        self._search = text
        found = sum(slot.pane.tokens.search(text) for slot in self._slots)
        if text:
            following, before = key_of("streams.find-next", "n"), key_of("streams.find-previous", "N")
            words = f"found {fmt.plural(found, 'time')}; {following} next, {before} before"
            self.show_message(words if found else "not found")

    def next_match(self, step: int) -> str | None:
        if not self._search:
            return f"nothing is searched for; {key_of('filter', '/')} starts"
        if self.slot is None or not self.slot.pane.tokens.next_match(step):
            return "not found in this pane"
        return None

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        slot = self.slot
        if slot is None:
            return None
        return (str(slot.ref), "its name") if other else (slot.pane.tokens.text, "text")

    async def save(self) -> str | None:
        from ...widgets.dialogs.dialog import PromptDialog

        slot = self.slot
        if slot is None:
            return None
        text = slot.pane.tokens.text
        dialog = PromptDialog(
            "Save the text of this pane",
            f"{fmt.byte_size(len(text.encode('utf-8', 'replace')))}, as it is shown.",
            label="file",
            value=saving.suggested(str(slot.ref)),
            yes="Save",
            validate=saving.why_not_save,
        )
        answer = await self.app.push_screen_wait(dialog)
        if answer is None:
            return None
        return saving.save(answer, slot.pane.tokens.text)
