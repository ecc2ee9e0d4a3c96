"""What every widget that scrolls shares: how it looks, and the keys that move in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView

from .drawn import Drawn

#: For widgets with a cursor.
CURSOR_KEYS: Final[tuple[BindingType, ...]] = (
    Binding("up,k", "move(-1)", "up", show=False),
    Binding("down,j", "move(1)", "down", show=False),
    Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
    Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
    Binding("ctrl+u", "page(-0.5)", "half a page up", show=False),
    Binding("ctrl+d", "page(0.5)", "half a page down", show=False),
    Binding("home,g", "first", "first", show=False),
    Binding("end,G", "last", "last", show=False),
)
#: For widgets one reads, beside the arrows of every ScrollView.
READING_KEYS: Final[tuple[BindingType, ...]] = (
    Binding("k", "scroll_up", "up", show=False),
    Binding("j", "scroll_down", "down", show=False),
    Binding("ctrl+b", "page_up", "page up", show=False),
    Binding("ctrl+f", "page_down", "page down", show=False),
    Binding("ctrl+u", "half_page(-1)", "half a page up", show=False),
    Binding("ctrl+d", "half_page(1)", "half a page down", show=False),
    Binding("g", "scroll_home", "top", show=False),
)


class Scrolled(Drawn, ScrollView):
    """Scrolls up and down, never sideways."""

    DEFAULT_CSS = """
    Scrolled {
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        background: $background;
        color: $foreground;
    }
    """

    def action_half_page(self, step: int) -> None:
        """Scroll by half of what is visible."""
        self.scroll_relative(y=step * max(1, self.size.height // 2), animate=False)


class CursorScrolled(Scrolled):
    """Scrolls with a cursor on one of its lines; the actions of `CURSOR_KEYS` move it."""

    #: Lines above the first one that do not scroll.
    header_lines: int = 0
    _cursor = 0

    @property
    def line_count(self) -> int:
        """How many lines the cursor can be on."""
        raise NotImplementedError

    def move_to(self, index: int) -> None:
        """Put the cursor on a line, the nearest there is, and scroll it into view."""
        raise NotImplementedError

    def _nearest(self, index: int) -> int:
        return max(0, min(index, self.line_count - 1))

    def _reveal(self) -> None:
        height, top = max(1, self.size.height - self.header_lines), round(self.scroll_y)
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, force=True)
        elif self._cursor >= top + height:
            self.scroll_to(y=self._cursor - height + 1, animate=False, force=True)

    def action_move(self, lines: int) -> None:
        self.move_to(self._cursor + lines)

    def action_page(self, pages: float) -> None:
        self.move_to(self._cursor + round(pages * max(1, self.size.height - self.header_lines - 1)))

    def action_first(self) -> None:
        self.move_to(0)

    def action_last(self) -> None:
        self.move_to(self.line_count - 1)


class Pane(Scrolled):
    """Lines to read, whose owner can say which of them are visible."""

    @dataclass
    class Moved(Message):
        """Other lines are visible now, or there are more or fewer of them."""

        pane: Pane

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Pane.Moved) and message.pane is self.pane

    @property
    def position(self) -> tuple[int, int]:
        """Number of the last line that is visible, and how many there are."""
        total = self.virtual_size.height
        return min(total, round(self.scroll_y) + self.size.height), total

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Moved(self))

    def measured(self, lines: int) -> None:
        """Take note of how many lines there are."""
        self.virtual_size = Size(self.size.width, lines)
        self.post_message(self.Moved(self))
