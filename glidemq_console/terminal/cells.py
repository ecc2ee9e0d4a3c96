"""Lines as cells: what a terminal shows in each of them, whatever its width."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from rich.cells import get_character_cell_size, split_graphemes
from rich.color import ColorSystem
from textual.strip import Strip

from .pens import Pen, pen_of

#: Cells between two changed ones that are written too: to go there by a sequence takes as many bytes.
GAP: Final = 8


class Cells:
    """A part of a line: a text and a look a cell. The cells behind the first of a wide character have no text."""

    __slots__ = ("glyphs", "pens")

    def __init__(self) -> None:
        self.glyphs: list[str] = []
        self.pens: list[Pen] = []

    @classmethod
    def of(cls, strip: Strip, system: ColorSystem) -> Cells:
        """Return the cells of a strip."""
        cells = cls()
        for text, style, control in strip:
            if control or not text:
                continue
            if _is_one_wide(text):
                cells.glyphs += text
            else:
                cells._add_wide(text)
            cells.pens += [pen_of(style, system)] * (len(cells.glyphs) - len(cells.pens))
        return cells

    def _add_wide(self, text: str) -> None:
        for start, end, width in split_graphemes(text)[0]:
            grapheme = "".join(c for c in text[start:end] if unicodedata.category(c) != "Cc")
            if width:
                self.glyphs += [grapheme, *[""] * (width - 1)]
            elif self.glyphs:
                # What combines belongs to the character before, also where the style changes between them.
                self.glyphs[_base(self.glyphs, len(self.glyphs) - 1)] += grapheme


class Row:
    """A line of the terminal; a cell of which nothing is known has neither text nor look."""

    __slots__ = ("glyphs", "is_simple", "pens")

    def __init__(self, width: int) -> None:
        self.glyphs: list[str | None] = [None] * width
        self.pens: list[Pen | None] = [None] * width
        #: Whether each cell holds a character of its own, one wide.
        self.is_simple = True

    def put(self, x: int, cells: Cells) -> bool:
        """Put cells into the line; returns whether it changed."""
        room = len(self.glyphs) - x
        glyphs, pens = cells.glyphs, cells.pens
        if len(glyphs) > room:
            is_cut = glyphs[room] == ""
            glyphs, pens = glyphs[:room], pens[:room]
            if is_cut:
                base = _base(glyphs, room - 1)
                glyphs[base:] = [" "] * (room - base)
        end = x + len(glyphs)
        if self.glyphs[x:end] == glyphs and self.pens[x:end] == pens:
            return False
        if not self.is_simple:
            self._blank_halves(x, end)
        self.glyphs[x:end] = glyphs
        self.pens[x:end] = pens
        self.is_simple = all(glyph is None or len(glyph) == 1 for glyph in self.glyphs)
        return True

    def _blank_halves(self, x: int, end: int) -> None:
        """What is left of a wide character of which a part goes is blank, as on a terminal."""
        if x < end and self.glyphs[x] == "":
            base = _base(self.glyphs, x)
            self.glyphs[base:x] = [" "] * (x - base)
        while end < len(self.glyphs) and self.glyphs[end] == "":
            self.glyphs[end] = " "
            end += 1

    def become(self, other: Row) -> None:
        """Take over the cells of another line of the same width."""
        self.glyphs[:] = other.glyphs
        self.pens[:] = other.pens
        self.is_simple = other.is_simple

    def runs_to(self, other: Row) -> Sequence[tuple[int, int]]:
        """Return where another line differs: runs of cells from, to (exclusive).

        Terminals do not agree on how wide a character is: where one of the two lines holds anything but
        characters of one cell, it is all of the line.
        """
        if not (self.is_simple and other.is_simple):
            same = self.glyphs == other.glyphs and self.pens == other.pens
            return () if same else [(0, len(other.glyphs))]
        runs: list[tuple[int, int]] = []
        cells = zip(self.glyphs, other.glyphs, self.pens, other.pens, strict=True)
        for at, (old, new, old_pen, new_pen) in enumerate(cells):
            if old == new and (old_pen is new_pen or _look_alike(new, old_pen, new_pen)):
                continue
            if runs and at - runs[-1][1] <= GAP:
                runs[-1] = (runs[-1][0], at + 1)
            else:
                runs.append((at, at + 1))
        return runs


def _look_alike(glyph: str | None, old: Pen | None, new: Pen | None) -> bool:
    if old == new:
        return True
    return glyph == " " and old is not None and new is not None and old.looks_on_space(new)


def _base(glyphs: Sequence[str | None], at: int) -> int:
    """Return the first cell of the character of which a cell is a part."""
    while at and glyphs[at] == "":
        at -= 1
    return at


@lru_cache(8_192)
def _is_one_wide(text: str) -> bool:
    """Return whether each character is one cell wide and stands alone."""
    if text.isascii():
        return text.isprintable()
    return all(get_character_cell_size(character) == 1 for character in text)
