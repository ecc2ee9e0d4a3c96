"""Lines of parts in which a text can be found, inside something that scrolls."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ...text.wrap import line_starts
from ..drawn import strip
from ..status_line import PartsView
from ..styled import Parts, wrap
from .places import Found, Place, places_in


class StoryView(PartsView):
    """Wrapped lines of parts whose words can be searched; a line is a text of its own."""

    def __init__(self, *, hang: int | None = None, id: str | None = None, classes: str | None = None) -> None:
        """Make an empty view; lines that are wrapped go on `hang` cells from the left."""
        super().__init__(wraps=True, hang=hang, id=id, classes=classes)
        self._edition = 0
        self._found: Found | None = None
        #: Per line as it is drawn: number of the line it shows, and its first character there.
        self._origins: tuple[int, list[tuple[int, int]]] = (0, [])

    def show(self, lines: Sequence[Parts]) -> None:
        before = self.text
        super().show(lines)
        self._origins = (0, [])
        if self.text != before:
            self._edition += 1

    # --- what a search asks ---

    @property
    def edition(self) -> int:
        return self._edition

    @property
    def is_shown(self) -> bool:
        return bool(self.lines)

    def places(self, pattern: re.Pattern[str]) -> Iterator[Place | None]:
        texts = ("".join(part.text for part in line) for line in self.lines)
        return chain.from_iterable(places_in(text, number, pattern) for number, text in enumerate(texts))

    def light(self, found: Found | None) -> None:
        self._found = found
        self.refresh()

    def go_to(self, place: Place) -> None:
        number, around = place.text, self.reader
        assert isinstance(number, int)
        rows = [row for row, at in enumerate(self._placed()) if at <= (number, place.start)]
        if around is not None and rows:
            # Its neighbours are to be seen, too.
            region = Region(0, max(0, self.virtual_region.y + rows[-1] - 1), 1, 3)
            around.scroll_to_region(region, animate=False, force=True)

    @property
    def reader(self) -> Widget | None:
        return self.parent if isinstance(self.parent, Widget) else None

    # --- drawing ---

    def _placed(self) -> list[tuple[int, int]]:
        width = self.size.width
        if self._origins[0] != width:
            placed: list[tuple[int, int]] = []
            for number, line in enumerate(self.lines):
                # Every further line begins with the cells that it hangs by.
                first, *rest = wrap(line, width, self._hang)
                texts = [
                    "".join(part.text for part in piece) for piece in (first, *(one[1:] for one in rest))
                ]
                starts = line_starts("".join(part.text for part in line), texts)
                placed += [(number, start) for start in starts]
            self._origins = (width, placed)
        return self._origins[1]

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        lines = self._drawn(width)
        if self._found is None or y >= len(lines):
            return super().render_line(y)
        placed = self._placed()
        number, offset = placed[y]
        hangs = 1 if y and placed[y - 1][0] == number else 0
        parts = lines[y][:hangs]
        for part in lines[y][hangs:]:
            parts += self._found.lit(part, number, offset)
            offset += len(part.text)
        return strip(self.app, parts, width, base)
