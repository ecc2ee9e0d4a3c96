"""What is filtered or searched for on a screen: typed after `/`, taken away by `esc`, given back by `z`."""

from __future__ import annotations

from ..text.safe import clean
from ..widgets.styled import Parts, Styled
from .blank import BlankScreen
from .typed.command_line import CommandLine


class FilteredScreen(BlankScreen):
    """A screen that may be filtered."""

    def filters(self) -> bool:
        """Tell whether `/` does something here."""
        return self.filter_text is not None

    def open_filter(self) -> None:
        """Open the line at the bottom with the filter that there is."""
        self.query_one(CommandLine).open("/", self.filter_text or "", self.filter_problem)

    def filter_problem(self, text: str) -> str | None:
        """Say why a text is no filter here, and where."""
        return None

    def clear_filter(self) -> bool:
        """Take the filter away; False when there is none."""
        before = self.filter_text
        if not before:
            return False
        self.set_filter("")
        self.console.undo.note("filter", self.console.now_ms(), lambda: self._filter_back(before))
        return True

    def _filter_back(self, text: str) -> str:
        self.set_filter(text)
        return "the filter is back"

    def with_filter(self, parts: Parts) -> Parts:
        """Put the filter before what the status line says of the list."""
        if not self.filter_text:
            return parts
        return [Styled(f"/{clean(self.filter_text, single_line=True)}  ", "focus"), *parts]

    def on_command_line_filter_changed(self, event: CommandLine.FilterChanged) -> None:
        self.filter_typed(event.text)
