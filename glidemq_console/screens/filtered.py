"""What is filtered or searched for on a screen: typed after `/`, taken away by `esc`, given back by `z`."""

from __future__ import annotations

from ..text.safe import clean
from ..widgets.styled import Parts, Styled
from .blank import BlankScreen
from .typed.command_line import CommandLine


class FilteredScreen(BlankScreen):
    """A screen that may be filtered."""

    def __init__(self) -> None:
        super().__init__()
        #: The filter that there was when the line for another one was opened; None while it is closed.
        self._filter_before: str | None = None

    def filters(self) -> bool:
        """Tell whether `/` does something here."""
        return self.filter_text is not None

    def open_filter(self) -> None:
        """Open the line at the bottom with the filter that there is."""
        self._filter_before = self.filter_text
        self.query_one(CommandLine).open("/", self.filter_text or "", self.filter_problem)

    def filter_problem(self, text: str) -> str | None:
        """Say why a text is no filter here, and where."""
        return None

    def clear_filter(self) -> bool:
        """Take the filter away; False when there is none."""
        if not self.filter_text:
            return False
        self.change_filter("")
        return True

    def change_filter(self, text: str) -> None:
        """Filter by another text in one step, which undo takes back."""
        before = self.filter_text
        self.set_filter(text)
        self._note_filter(before)

    def _note_filter(self, before: str | None) -> None:
        """Take note that the filter has changed, if it has."""
        if before is not None and before != self.filter_text:
            self.console.undo.note("filter", self.console.now_ms(), lambda: self._filter_back(before))
            # The keys that are shown name what undo takes back.
            self.show_keys()

    def _filter_back(self, text: str) -> str:
        self.set_filter(text)
        return "the filter is back" if text else "no filter any more"

    def with_filter(self, parts: Parts) -> Parts:
        """Put the filter before what the status line says of the list."""
        if not self.filter_text:
            return parts
        return [Styled(f"/{clean(self.filter_text, single_line=True)}  ", "focus"), *parts]

    def on_command_line_filter_changed(self, event: CommandLine.FilterChanged) -> None:
        self.filter_typed(event.text)

    def on_command_line_filter_ended(self) -> None:
        before, self._filter_before = self._filter_before, None
        # What is looked for in a text is no act that undo takes back.
        if self.saved_as is not None:
            self._note_filter(before)
