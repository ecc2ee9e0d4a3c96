"""What the terminal can show, and the ASCII fallback of our glyphs where it has no Unicode."""

from __future__ import annotations

import os
import sys
from typing import Final

from rich.cells import cell_len, get_character_cell_size, set_cell_size

from .format import STATES

_LINES: Final = {chr(code): "+" for code in range(0x2500, 0x2580)}
_BLOCKS: Final = {chr(code): "#" for code in range(0x2580, 0x25A0)}
#: Dots of curves: bits 0, 1, 3 and 4 of the code are the upper half of the cell, the others the lower one.
_DOTS: Final = {chr(0x2800 + dots): " '.:"[bool(dots & 0x1B) + 2 * bool(dots & 0xE4)] for dots in range(256)}
#: Glyph -> the ASCII character drawn in its place, one cell each. The states bring their own (`format.STATES`).
ASCII_FALLBACK: Final[dict[str, str]] = {
    **_LINES,
    **_BLOCKS,
    **_DOTS,
    **dict(zip("─━═┄┈╌▔▁▂▃▄▅▆▇█", "-==---__.:-=+*#", strict=True)),
    **dict(zip("│┃║┆┊╎▏▎▍▌▋▊▉▕▐░▒", "|||||||||>=##||::", strict=True)),
    **dict(zip("…·•–—→←↑↓▸▾▴»«“”„‘’", '~.*--><^v>v^><"""\'\'', strict=True)),
    **dict(zip("¤⇄¶◌↵⇥∅⊟◔▣›×", "????/>0bmD>x", strict=True)),
    **{look.glyph: look.ascii for look in STATES.values()},
}
_TABLE: Final = str.maketrans(ASCII_FALLBACK)


def to_ascii(text: str, encoding: str | None = None) -> str:
    """Return a text of the same width with the ASCII fallback of our glyphs.

    Args:
        text: What is drawn.
        encoding: What the terminal can show; what it cannot, and has no fallback, becomes question marks.
            None: everything.
    """
    if text.isascii():
        return text
    drawn = text.translate(_TABLE)
    if encoding is None or drawn.isascii():
        return drawn
    shown = (one if _can_show(one, encoding) else "?" * get_character_cell_size(one) for one in drawn)
    return set_cell_size("".join(shown), cell_len(text))


def _can_show(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def terminal_encoding() -> str:
    """Return the encoding in which the screen is written (Textual writes to standard error), in small letters.

    Python writes UTF-8 where `LC_ALL` says C or POSIX; who sets that, and not UTF-8 for Python, asks for ASCII.
    """
    is_plain = os.environ.get("LC_ALL") in ("C", "POSIX")
    if is_plain and not os.environ.get("PYTHONIOENCODING") and os.environ.get("PYTHONUTF8") != "1":
        return "ascii"
    return (getattr(sys.__stderr__, "encoding", None) or "utf-8").lower()


def encoding_without_unicode() -> str | None:
    """Return the encoding of a terminal that has no Unicode, None for one that has."""
    encoding = terminal_encoding()
    return None if encoding.startswith("utf") else encoding
