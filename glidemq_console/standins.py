"""ASCII stand-ins for what the console draws: for terminals that have no Unicode, and for who asks."""

from __future__ import annotations

import sys
from typing import Final

from rich.cells import cell_len, get_character_cell_size, set_cell_size
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from .format import STATES

_LINES: Final = {chr(code): "+" for code in range(0x2500, 0x2580)}
_BLOCKS: Final = {chr(code): "#" for code in range(0x2580, 0x25A0)}
#: Dots of curves: bits 0, 1, 3 and 4 of the code are the upper half of the cell, the others the lower one.
_DOTS: Final = {chr(0x2800 + dots): " '.:"[bool(dots & 0x1B) + 2 * bool(dots & 0xE4)] for dots in range(256)}
#: What is drawn -> what stands for it, one cell each. The states bring their own (`format.STATES`).
STAND_INS: Final[dict[str, str]] = {
    **_LINES,
    **_BLOCKS,
    **_DOTS,
    **dict(zip("─━═┄┈╌▔▁▂▃▄▅▆▇█", "------__.:-=+*#", strict=True)),
    **dict(zip("│┃║┆┊╎▏▎▍▌▋▊▉▕▐░▒", "|||||||||>=##||::", strict=True)),
    **dict(zip("…·•–—→←↑↓▸▾▴»«“”„‘’", '~.*--><^v>v^><"""\'\'', strict=True)),
    **dict(zip("¤⇄¶◌↵⇥", "????/>", strict=True)),
    **{look.glyph: look.ascii for look in STATES.values()},
}
_TABLE: Final = str.maketrans(STAND_INS)


class AsciiGlyphs(LineFilter):
    """Puts the stand-ins in the place of the glyphs, after everything else was drawn."""

    def __init__(self, encoding: str | None = None) -> None:
        """Make the filter.

        Args:
            encoding: What the terminal can show; what it cannot, and has no stand-in, becomes question marks.
                None: everything.
        """
        super().__init__()
        self._encoding = encoding

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or segment.text.isascii()
            else Segment(self.spelt(segment.text), segment.style)
            for segment in segments
        ]

    def spelt(self, text: str) -> str:
        """Return a text of the same width in what the terminal can show."""
        spelt = text.translate(_TABLE)
        if self._encoding is None or spelt.isascii():
            return spelt
        return set_cell_size("".join(map(self._shown, spelt)), cell_len(text))

    def _shown(self, character: str) -> str:
        try:
            character.encode(self._encoding or "ascii")
        except UnicodeEncodeError:
            return "?" * get_character_cell_size(character)
        return character


def ascii_glyphs(wanted: bool) -> AsciiGlyphs | None:
    """Return the filter when it is wanted or the terminal cannot do without; else None."""
    encoding = terminal_encoding()
    if not encoding.startswith("utf"):
        return AsciiGlyphs(encoding)
    return AsciiGlyphs() if wanted else None


def terminal_encoding() -> str:
    """Return the encoding in which the screen is written (Textual writes to standard error), in small letters."""
    return (getattr(sys.__stderr__, "encoding", None) or "utf-8").lower()
