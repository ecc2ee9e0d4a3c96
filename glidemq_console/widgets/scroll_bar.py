"""A scroll bar of one column that is part of the lines it stands beside: it costs what it changes, and no layout."""

from __future__ import annotations

from .styled import Styled

_THUMB, _BLANK = Styled("▐", "dim"), Styled(" ")


def thumb(height: int, lines: int, top: int) -> range:
    """Return the rows of a bar of some height that stand for what is visible of so many lines; none if all are."""
    if height <= 0 or lines <= height:
        return range(0)
    size = max(1, height * height // lines)
    first = round(top / (lines - height) * (height - size))
    return range(first, first + size)


def top_at(row: int, height: int, lines: int) -> int:
    """Return the first visible line for which a row of the bar is the middle of its thumb."""
    size = len(thumb(height, lines, 0))
    if not size or height == size:
        return 0
    share = (row - size // 2) / (height - size)
    return round(max(0.0, min(1.0, share)) * (lines - height))


def bar_cell(row: int, rows: range) -> Styled:
    """Return the cell of the bar in a row."""
    return _THUMB if row in rows else _BLANK
