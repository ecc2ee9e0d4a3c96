"""What every widget that scrolls shares: how it looks, and the keys that move in it."""

from __future__ import annotations

from typing import Final

from textual.binding import Binding, BindingType
from textual.scroll_view import ScrollView

#: For widgets with a cursor.
CURSOR_KEYS: Final[tuple[BindingType, ...]] = (
    Binding("up,k", "move(-1)", "up", show=False),
    Binding("down,j", "move(1)", "down", show=False),
    Binding("pageup,ctrl+b", "page(-1)", "page up", show=False),
    Binding("pagedown,ctrl+f", "page(1)", "page down", show=False),
    Binding("home,g", "first", "first", show=False),
    Binding("end,G", "last", "last", show=False),
)
#: For widgets one reads, beside the arrows of every ScrollView.
READING_KEYS: Final[tuple[BindingType, ...]] = (
    Binding("k", "scroll_up", "up", show=False),
    Binding("j", "scroll_down", "down", show=False),
    Binding("ctrl+b", "page_up", "page up", show=False),
    Binding("ctrl+f", "page_down", "page down", show=False),
    Binding("g", "scroll_home", "top", show=False),
)


class Scrolled(ScrollView):
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
