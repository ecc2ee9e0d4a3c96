"""What stands on the terminal, and what should: only cells that differ are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.color import ColorSystem
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size
from textual.strip import Strip

from .cells import Cells, Row
from .pens import PLAIN, RESET, Pen, change

_NOWHERE: Final = Size(0, 0)


class ScreenCells:
    """Takes what the compositor renders, and tells what to write so that the terminal shows the latest of it."""

    def __init__(self) -> None:
        self._size = _NOWHERE
        #: What should stand there, and what does.
        self._wanted: list[Row] = []
        self._shown: list[Row] = []
        #: Lines that may differ.
        self._touched: set[int] = set()

    def forget(self) -> None:
        """Take nothing for granted of what stands on the terminal: all that is wanted will be written."""
        self._shown = [Row(self._size.width) for _ in range(self._size.height)]
        self._touched = set(range(self._size.height))

    def take(self, update: CompositorUpdate, size: Size, system: ColorSystem) -> bool:
        """Take what is rendered for a screen of a size; False for a kind of update that is not known here."""
        if size != self._size:
            self._size = size
            self._wanted = [Row(size.width) for _ in range(size.height)]
            self.forget()
        if isinstance(update, LayoutUpdate):
            for y, strips in enumerate(update.strips, update.region.y):
                self._put(y, update.region.x, strips, system)
        elif isinstance(update, ChopsUpdate):
            for y, first, last in update.spans:
                self._put_chops(y, update.chops[y], update.chop_ends[y], (first, last), system)
        else:
            return False
        return True

    def _put(self, y: int, x: int, strips: Iterable[Strip], system: ColorSystem) -> None:
        for strip in strips:
            self._put_strip(y, x, strip, system)
            x += strip.cell_length

    def _put_chops(
        self,
        y: int,
        chops: Mapping[int, Strip | None],
        ends: Sequence[int],
        span: tuple[int, int],
        system: ColorSystem,
    ) -> None:
        first, last = span
        for end, (x, strip) in zip(ends, chops.items(), strict=False):
            if strip is not None and x < last and end > first:
                self._put_strip(y, x, strip, system)

    def _put_strip(self, y: int, x: int, strip: Strip, system: ColorSystem) -> None:
        inside = 0 <= y < self._size.height and 0 <= x < self._size.width
        if inside and self._wanted[y].put(x, Cells.of(strip, system)):
            self._touched.add(y)

    def changes(self) -> str:
        """Return what makes the terminal show what is wanted; from then on it counts as shown."""
        pieces: list[str] = []
        pen = PLAIN
        for y in sorted(self._touched):
            shown, wanted = self._shown[y], self._wanted[y]
            for run in shown.runs_to(wanted):
                pen = _write(pieces, y, run, wanted, pen)
            shown.become(wanted)
        self._touched.clear()
        if pen is not PLAIN:
            pieces.append(RESET)
        return "".join(pieces)


def _write(pieces: list[str], y: int, run: tuple[int, int], row: Row, pen: Pen) -> Pen:
    """Write cells of a line, a look being selected; returns the look that is selected then."""
    is_there = False
    for x in range(*run):
        glyph, wanted = row.glyphs[x], row.pens[x]
        if glyph is None or wanted is None:
            is_there = False
            continue
        if glyph == "":
            continue
        if not is_there:
            pieces.append(_move(x, y))
            is_there = True
        if wanted is not pen and not (glyph == " " and wanted.looks_on_space(pen)):
            pieces.append(change(pen, wanted))
            pen = wanted
        if len(glyph) == 1 and row.glyphs[x + 1 : x + 2] != [""]:
            pieces.append(glyph)
        else:
            width = _width(row.glyphs, x)
            # The terminal may take it for narrower or wider: its cells are cleared, and what follows is placed.
            pieces.append(f"{' ' * width}{_move(x, y)}{glyph}")
            is_there = False
    return pen


def _width(glyphs: Sequence[str | None], x: int) -> int:
    end = x + 1
    while end < len(glyphs) and glyphs[end] == "":
        end += 1
    return end - x


def _move(x: int, y: int) -> str:
    return f"\x1b[{y + 1};{x + 1}H"
