"""The parts that our own lines are made of: a text, the theme variable of its colour, and its attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from rich.cells import cell_len

from ..text.safe import cell_fit, clean

_WORDS = re.compile(" +|[^ ]+")
#: Parts up to this many cells are never broken.
_WHOLE = 16


class Styled(NamedTuple):
    """A run of text of one look."""

    text: str
    style: str = ""
    """Theme variable of the colour, without the dollar sign; empty for the widget's own colour."""
    attributes: str = ""
    """Rich attributes, such as `bold`."""
    on: str | None = None
    """Theme variable of the background; None leaves that of the line."""


def dim(text: str) -> Styled:
    """Return text that stands back."""
    return Styled(text, "dim")


def label(text: str) -> Styled:
    """Return the name of what follows it."""
    return Styled(text, "label")


def hotkey(text: str) -> Styled:
    """Return a key to press."""
    return Styled(text, "focus", "bold")


Parts: TypeAlias = Sequence[Styled]
Cell: TypeAlias = "str | Styled | Parts"


def parts_of(cell: Cell) -> list[Styled]:
    """Return a cell as a list of parts."""
    if isinstance(cell, str):
        return [Styled(cell)]
    if isinstance(cell, Styled):
        return [cell]
    return list(cell)


def width_of(parts: Iterable[Styled]) -> int:
    """Return how many cells the parts take."""
    return sum(cell_len(part.text) for part in parts)


def entry_at(entries: Iterable[tuple[str, Parts]], x: int, gap: int) -> str | None:
    """Return the key of the entry under a cell of a line: entries stand `gap` cells apart, the first at cell 1."""
    left = 1
    for key, parts in entries:
        right = left + width_of(parts)
        if left <= x < right:
            return key
        left = right + gap
    return None


def fit(parts: Parts, width: int, *, right: bool = False) -> list[Styled]:
    """Return the parts cut (with an ellipsis) or padded to exactly `width` cells, each on one safe line."""
    if width <= 0:
        return []
    parts = [part._replace(text=clean(part.text, single_line=True, limit=8 * width)) for part in parts]
    missing = width - width_of(parts)
    if missing == 0:
        return list(parts)
    if missing > 0:
        padding = Styled(" " * missing)
        return [padding, *parts] if right else [*parts, padding]
    kept: list[Styled] = []
    room = width
    for index, part in enumerate(parts):
        size = cell_len(part.text)
        more_follows = any(rest.text for rest in parts[index + 1 :])
        if size < room or (size == room and not more_follows):
            kept.append(part)
            room -= size
            continue
        cut = cell_fit(part.text + "  " if size <= room else part.text, room)
        kept.append(part._replace(text=cut))
        room -= cell_len(cut)
        break
    if room > 0:
        # A wide character did not fit into the last cell.
        kept.append(Styled(" " * room))
    return kept


def wrap(parts: Parts, width: int, hang: int | None = None) -> list[list[Styled]]:
    """Return the parts as lines of at most `width` cells, long parts broken at spaces.

    Further lines are indented by `hang` cells, by default two more than the line's own.
    """
    if width_of(parts) <= width or width <= 0:
        return [list(parts)]
    text = "".join(part.text for part in parts)
    indent = min(width // 2, len(text) - len(text.lstrip(" ")) + 2 if hang is None else hang)
    lines: list[list[Styled]] = [[]]
    used = start = 0
    for part in parts:
        whole = cell_len(part.text) <= min(_WHOLE, width // 2)
        for word in [part.text] if whole else _WORDS.findall(part.text):
            if used + cell_len(word) > width and used > start:
                lines.append([Styled(" " * indent)])
                used = start = indent
                word = word.lstrip(" ")
            while word:
                head = cell_fit(word, width - used, ellipsis="") or word[:1]
                lines[-1].append(part._replace(text=head))
                used, word = used + cell_len(head), word[len(head) :]
                if word:
                    lines.append([Styled(" " * indent)])
                    used = start = indent
    return lines
