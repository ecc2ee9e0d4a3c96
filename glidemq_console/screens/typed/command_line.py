"""The line at the bottom that a person types into: `:` commands with matches and history, and `/` filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from ...actions.base import Context
from ...model.typed import TypedLines
from ...text.safe import cell_fit, cell_pad, short
from ...widgets.safe_input import Entry
from ...widgets.status_line import PartsView
from ...widgets.styled import Styled, dim
from .commands import completions, described

#: Matches that are listed, and cells of each before what it does.
_MATCHES, _NAMES = 6, 22


class _Matches(PartsView):
    """What the line may be completed to; a click takes one."""

    class Chosen(Message):
        """A match was clicked."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Chosen(event.y))


class _Entry(Entry):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", show=False),
        Binding("up", "step(-1)", "before", show=False),
        Binding("down", "step(1)", "next", show=False),
    ]

    def action_complete(self) -> None:
        self._line.complete()

    def action_step(self, step: int) -> None:
        self._line.step(step)

    @property
    def _line(self) -> CommandLine:
        return next(one for one in self.ancestors if isinstance(one, CommandLine))


class CommandLine(Vertical):
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

    class FilterEnded(Message):
        """The line of the filter is closed; what was posted last stays."""

    class Closed(Message):
        """The line is gone, the focus is free."""

    def __init__(self, context: Callable[[], Context], lines: TypedLines, *, id: str | None = None) -> None:
        """Make a closed line.

        Args:
            context: Returns what a command would work on.
            lines: What was typed before, in all lines of the console.
            id: Id of the widget.
        """
        super().__init__(id=id)
        self._command_context = context
        self._lines = lines
        self._mark = ":"
        self._found: list[str] = []
        #: Says what is wrong with a filter, and where; what it said of the line as it reads.
        self._check: Callable[[str], str | None] = lambda _: None
        self._problem: str | None = None
        #: The match that was gone to, and whether the line shows one that was typed before.
        self._at: int | None = None

    def compose(self) -> ComposeResult:
        yield _Matches(id="command-matches")
        with Horizontal(id="command-row"):
            yield Static(":", id="command-mark", markup=False)
            yield _Entry(id="command-entry", compact=True, select_on_focus=False)

    @property
    def is_open(self) -> bool:
        return self.has_class("-open")

    @property
    def _filtering(self) -> bool:
        return self._mark == "/"

    def open(self, mark: str, text: str = "", check: Callable[[str], str | None] = lambda _: None) -> None:
        """Take a command after `:`, or a filter after `/`, of which every key stroke is posted.

        Args:
            mark: `:` or `/`.
            text: What the line reads at first.
            check: Says what is wrong with a filter, and where; such a filter is not posted.
        """
        self._mark, self._check = mark, check
        self._tell(None)
        self._lines.begin(mark)
        self.query_one("#command-mark", Static).update(mark)
        entry = self.query_one(_Entry)
        with self.prevent(Input.Changed):
            entry.value = text
        entry.cursor_position = len(text)
        self._show(True)
        self._list_matches(text)
        # At once: keys that were typed in one go with the one that opened the line come next.
        self.screen.set_focus(entry)

    def _show(self, opened: bool) -> None:
        self.set_class(opened, "-open")
        self.screen.set_class(opened, "-typing")
        if not opened and self._filtering:
            self.post_message(self.FilterEnded())

    def close(self) -> bool:
        """Close without acting, a filter is cleared; False when it was not open."""
        if not self.is_open:
            return False
        if self._filtering:
            self.post_message(self.FilterChanged(""))
        self._show(False)
        self.post_message(self.Closed())
        return True

    def _tell(self, problem: str | None) -> None:
        """Say what is wrong with the filter in the line."""
        self._problem = problem
        self.set_class(problem is not None, "-wrong")

    # --- matches and history -------------------------------------------------------------------------------

    def _list_matches(self, text: str) -> None:
        """List what a command may be completed to."""
        self._at = None
        is_listed = not self._filtering and text.strip() and not self._lines.is_recalled
        self._found = completions(text, self._command_context())[:_MATCHES] if is_listed else []
        self._draw_matches()

    def _draw_matches(self) -> None:
        context, lines = self._command_context(), []
        if self._problem is not None:
            lines.append([Styled(short(self._problem, 400), "error")])
        for index, line in enumerate(self._found):
            chosen = index == self._at
            name = cell_pad(cell_fit(short(line, 200), _NAMES), _NAMES)
            lines.append(
                [
                    Styled("▌ " if chosen else "  ", "focus"),
                    Styled(name, "focus" if chosen else "foreground"),
                    dim(f" {short(described(line, context), 200)}"),
                ]
            )
        self.query_one(_Matches).show(lines)

    def complete(self) -> None:
        """Take the match that was gone to, or the first one."""
        if self._found:
            self._take(self._found[self._at or 0])

    def _take(self, line: str) -> None:
        entry = self.query_one(_Entry)
        entry.value = line
        entry.cursor_position = len(line)

    def step(self, step: int) -> None:
        """Go through the matches, or through what was typed before when none is listed."""
        if self._found:
            last = len(self._found) - 1
            self._at = (0 if step > 0 else last) if self._at is None else max(0, min(last, self._at + step))
            self._draw_matches()
            return
        line = self._lines.recall(step, self.query_one(_Entry).value)
        if line is not None:
            self._take(line)

    # --- events --------------------------------------------------------------------------------------------

    def on__matches_chosen(self, event: _Matches.Chosen) -> None:
        event.stop()
        if event.index < len(self._found):
            self._take(self._found[event.index])
            self.query_one(_Entry).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if not self.is_open:
            return
        self._lines.typed(event.value)
        self._tell(self._check(event.value) if self._filtering else None)
        self._list_matches(event.value)
        if self._filtering and self._problem is None:
            self.post_message(self.FilterChanged(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self._problem is not None:
            return
        text = (self._found[self._at] if self._at is not None else event.value).strip()
        self._lines.keep(text)
        self._show(False)
        if not self._filtering and text:
            self.post_message(self.Submitted(text))
        self.post_message(self.Closed())

    def on_input_blurred(self) -> None:
        # A click elsewhere: a half-typed command would otherwise stand there without the focus.
        if self.is_open and self.screen.focused is not self.query_one(_Entry):
            self._show(False)
