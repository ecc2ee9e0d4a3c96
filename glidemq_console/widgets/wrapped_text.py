"""Wrapped text to read: scrolls, never runs off the side, is as high as its text up to what the layout allows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip

from ..text.safe import clean
from ..text.wrap import line_starts, untabbed, wrapped
from .drawn import strip
from .finding.places import Found, Place, places_in
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


class _Line(NamedTuple):
    """A line as it is drawn: a piece of a paragraph from one of its characters on."""

    gutter: Styled
    text: Styled
    number: int
    start: int


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
        self._wrapped: tuple[int, list[_Line]] = (0, [])
        self._edition = 0
        self._found: Found | None = None

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
        self._edition += 1
        self._wrapped = (0, [])
        self.refresh(layout=True)
        self._measure()
        self.scroll_to(y=0, animate=False, force=True)

    # --- what a search asks ---

    @property
    def edition(self) -> int:
        return self._edition

    @property
    def is_shown(self) -> bool:
        return bool(self._paragraphs)

    def places(self, pattern: re.Pattern[str]) -> Iterator[Place | None]:
        for number, paragraph in enumerate(self._paragraphs):
            yield from places_in(untabbed(paragraph.text.text), number, pattern)

    def light(self, found: Found | None) -> None:
        self._found = found
        self.refresh()

    def go_to(self, place: Place) -> None:
        lines = self._lines(self._room(self.size.width))
        number = place.text
        assert isinstance(number, int)
        rows = [row for row, line in enumerate(lines) if (line.number, line.start) <= (number, place.start)]
        self.scroll_visible(animate=False)
        if rows:
            self.scroll_to(y=max(0, rows[-1] - self.size.height // 2), animate=False, force=True)

    @property
    def reader(self) -> Prose:
        return self

    # --- drawing ---

    def _lines(self, width: int) -> list[_Line]:
        if self._wrapped[0] != width:
            lines: list[_Line] = []
            for number, (text, gutter) in enumerate(self._paragraphs):
                shown = untabbed(text.text)
                pieces = wrapped(shown, width)
                starts = line_starts(shown, pieces)
                lines += [
                    _Line(gutter, text._replace(text=piece), number, start)
                    for piece, start in zip(pieces, starts, strict=True)
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
        line = lines[index]
        shown = [line.text] if self._found is None else self._found.lit(line.text, line.number, line.start)
        return strip(self.app, [line.gutter, *shown], width, base)
