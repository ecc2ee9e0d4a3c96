"""Wrapped text to read: scrolls, never runs off the side, is as high as its text up to what the layout allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip

from ..text.safe import clean
from ..text.wrap import wrapped
from .drawn import strip
from .scrolling import READING_KEYS, Pane
from .styled import Styled

#: Characters of one text that are drawn; what is longer says so at its end.
LIMIT = 256 * 1024
_NO_GUTTER = Styled("  ")
#: Stands before every line that came from a job, so that nothing in it can look like a line of ours.
QUOTED = Styled("│ ", "hairline")


class Paragraph(NamedTuple):
    """A safe text with what stands in the two cells before each of its lines."""

    text: Styled
    gutter: Styled = _NO_GUTTER


class Prose(Pane, can_focus=True):
    """Foreign text as wrapped lines, each with the colour of its paragraph."""

    DEFAULT_CSS = """
    Prose { height: auto; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *READING_KEYS,
        Binding("G", "scroll_end", "end", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty view."""
        super().__init__(id=id, classes=classes)
        self._paragraphs: list[Paragraph] = []
        self._wrapped: tuple[int, list[tuple[Styled, Styled]]] = (0, [])

    @property
    def text(self) -> str:
        """What is shown, as safe text for copying."""
        return "\n".join(paragraph.text.text for paragraph in self._paragraphs)

    def show(self, text: str, style: str = "") -> None:
        """Show a foreign text."""
        self.show_paragraphs([Styled(clean(text, limit=LIMIT, line_limit=LIMIT, max_lines=LIMIT), style)])

    def show_paragraphs(self, paragraphs: Sequence[Styled | Paragraph]) -> None:
        """Show safe texts below one another, each in its colour."""
        new = [one if isinstance(one, Paragraph) else Paragraph(one) for one in paragraphs]
        if new == self._paragraphs:
            return
        self._paragraphs = new
        self._wrapped = (0, [])
        self.refresh(layout=True)
        self._measure()
        self.scroll_to(y=0, animate=False, force=True)

    def _lines(self, width: int) -> list[tuple[Styled, Styled]]:
        if self._wrapped[0] != width:
            lines = [
                (gutter, text._replace(text=line))
                for text, gutter in self._paragraphs
                for line in wrapped(text.text, width)
            ]
            self._wrapped = (width, lines)
        return self._wrapped[1]

    def _measure(self) -> None:
        self.measured(len(self._lines(self._room(self.size.width))))

    @staticmethod
    def _room(width: int) -> int:
        # Two cells of gutter and the scrollbar, whether it shows or not: lines never move.
        return max(8, width - 3)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(self._room(width)))

    def on_resize(self) -> None:
        self._measure()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        lines = self._lines(self._room(width))
        index = round(self.scroll_y) + y
        if index >= len(lines):
            return Strip.blank(width, base)
        return strip(self.app, lines[index], width, base)
