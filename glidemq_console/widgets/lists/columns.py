"""Columns of a list: fixed widths that leave in a given order when space is short."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ..styled import Cell

#: Cells between two columns.
GAP = 2
#: Cells left of the first column: mark, cursor, space.
GUTTER = 3


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a list. Its width never follows the values, so that nothing jumps."""

    key: str
    title: str
    width: int
    """Cells; the least for a flexible column."""
    right: bool = False
    """Align to the right, as numbers are."""
    flexible: int = 0
    """Its share of the cells that are left."""
    leaves: int = 0
    """Order of leaving when space is short: the highest goes first, 0 stays."""
    sortable: bool = True


@dataclass(frozen=True)
class Row:
    """One row: what it is about, and its cells by the key of the column."""

    key: Hashable
    cells: dict[str, Cell]


def arrange(columns: Sequence[Column], width: int) -> list[tuple[Column, int]]:
    """Return the columns that fit into `width` cells, with their widths."""
    kept = list(columns)
    while _needed(kept) > width:
        leaving = max(kept, key=lambda column: column.leaves, default=None)
        if leaving is None or leaving.leaves <= 0:
            break
        kept.remove(leaving)
    spare = max(0, width - _needed(kept))
    shares = sum(column.flexible for column in kept)
    widths: list[tuple[Column, int]] = []
    for column in kept:
        # What the shares before took is not shared again, so that nothing is left over.
        extra = spare * column.flexible // shares if column.flexible else 0
        spare, shares = spare - extra, shares - column.flexible
        widths.append((column, column.width + extra))
    return widths


def column_at(layout: Sequence[tuple[Column, int]], x: int) -> Column | None:
    """Return the column under a cell of the line, None left or right of all."""
    left = GUTTER
    for column, width in layout:
        if left <= x < left + width + GAP:
            return column
        left += width + GAP
    return None


def _needed(columns: Sequence[Column]) -> int:
    return GUTTER + sum(column.width + GAP for column in columns)
