"""The line at the bottom that a person types into: `:` commands with completion, and `/` filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.suggester import Suggester
from textual.widgets import Input, Static

from ..actions.base import Context
from ..widgets.safe_input import Entry
from .commands import completions


class _Completer(Suggester):
    def __init__(self, context: Callable[[], Context]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._context = context

    async def get_suggestion(self, value: str) -> str | None:
        found = completions(value, self._context()) if value.strip() else []
        return next((line for line in found if line.startswith(value)), None)


class _Entry(Entry):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "cursor_right", "complete", show=False)]


class CommandLine(Horizontal):
    """Hidden until opened; posts what is typed, never acts itself."""

    class Typed(Message):
        """What the line reads."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Submitted(Typed):
        """A command was entered."""

    class FilterChanged(Typed):
        """The filter reads like this now; empty: no filter."""

    class Closed(Message):
        """The line is gone, the focus is free."""

    def __init__(self, context: Callable[[], Context], *, id: str | None = None) -> None:
        """Make a closed line; `context` returns what a command would work on."""
        super().__init__(id=id)
        self._command_context = context
        self._filtering = False

    def compose(self) -> ComposeResult:
        yield Static(":", id="command-mark", markup=False)
        yield _Entry(id="command-entry", compact=True, select_on_focus=False)

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    def open(self, mark: str, text: str = "") -> None:
        """Take a command after `:`, or a filter after `/`, of which every key stroke is posted."""
        self._filtering = mark == "/"
        self.query_one("#command-mark", Static).update(mark)
        entry = self.query_one(_Entry)
        entry.suggester = None if self._filtering else _Completer(self._command_context)
        with self.prevent(Input.Changed):
            entry.value = text
        entry.cursor_position = len(text)
        self._show(True)
        # At once: keys that were typed in one go with the one that opened the line come next.
        self.screen.set_focus(entry)

    def _show(self, opened: bool) -> None:
        self.set_class(opened, "-open")
        self.screen.set_class(opened, "-typing")

    def close(self) -> bool:
        """Close without acting, a filter is cleared; False when it was not open."""
        if not self.is_open:
            return False
        self._show(False)
        if self._filtering:
            self.post_message(self.FilterChanged(""))
        self.post_message(self.Closed())
        return True

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.is_open and self._filtering:
            self.post_message(self.FilterChanged(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        self._show(False)
        if not self._filtering and text:
            self.post_message(self.Submitted(text))
        self.post_message(self.Closed())

    def on_input_blurred(self) -> None:
        # A click elsewhere: a half-typed command would otherwise stand there without the focus.
        if self.is_open and self.screen.focused is not self.query_one(_Entry):
            self._show(False)
