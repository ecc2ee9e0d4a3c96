"""Columns of a list: what stands in them, how they sort, and which leave in a given order when space is short."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from ..styled import Cell, Parts

T = TypeVar("T")

#: Cells between two columns.
GAP = 2
#: Cells left of the first column: mark, cursor, space.
GUTTER = 3


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a list. Its width never follows the values, so that nothing jumps."""

    key: str
    title: str
    width: int
    """Cells; the least for a flexible column."""
    cell: Callable[[T, int], Cell]
    """What stands in it for an item, at a time in epoch ms."""
    sort_key: Callable[[T], Any] | None = None
    """What it sorts by; unknown (None) stands last in both directions. A column without it does not sort."""
    _: KW_ONLY
    rises: bool = False
    """It is sorted lowest first unless turned round, as names are; figures begin with the highest."""
    right: bool = False
    """Align to the right, as numbers are."""
    flexible: int = 0
    """Its share of the cells that are left."""
    leaves: int = 0
    """Order of leaving when space is short: the highest goes first, 0 stays."""
    gives_way: Literal["", "empty", "equal"] = ""
    """It leaves where it is empty in every row, or the same in all of several rows; as its sort key says."""


class Heading(NamedTuple):
    """The key of a row that is the title of those below it: it is not marked, and opening it folds them."""

    name: str


@dataclass(frozen=True)
class Row:
    """One row: what it is about, and its cells by the key of the column."""

    key: Hashable
    cells: dict[str, Cell]
    words: Parts = ()
    """What stands across the row instead of cells."""
    ground: str = ""
    """Theme variable of its background where it has one of its own."""
    filled: float | None = None
    """The share of the row that has that background, from the left, under the cursor too; None for all of it."""


def row_of(columns: Iterable[Column[T]], key: Hashable, item: T, now_ms: int) -> Row:
    """Return the row of an item."""
    return Row(key, {column.key: column.cell(item, now_ms) for column in columns})


def columns_for(columns: Sequence[Column[T]], items: Sequence[T]) -> tuple[Column[T], ...]:
    """Return the columns without those that give way to the others where they say nothing about these items."""
    return tuple(column for column in columns if not column.gives_way or not _says_nothing(column, items))


def _says_nothing(column: Column[T], items: Sequence[T]) -> bool:
    assert column.sort_key is not None
    values = [column.sort_key(item) for item in items]
    if column.gives_way == "equal":
        return len(values) > 1 and all(value == values[0] for value in values)
    return bool(values) and not any(values)


def sort_items(items: Iterable[T], column: Column[T], *, descending: bool) -> list[T]:
    """Sort by a column that sorts; what is equal keeps its order, what is unknown stands last in both directions."""
    key = column.sort_key
    assert key is not None
    valued = [(key(item), item) for item in items]
    known = [pair for pair in valued if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=descending)
    return [item for _, item in known] + [item for value, item in valued if value is None]


def sortable(columns: Iterable[Column[Any]]) -> list[str]:
    """Return the keys of the columns that sort."""
    return [column.key for column in columns if column.sort_key is not None]


def arrange(columns: Sequence[Column[Any]], width: int) -> list[tuple[Column[Any], int]]:
    """Return the columns that fit into `width` cells, with their widths."""
    kept = list(columns)
    while _needed(kept) > width:
        leaving = max(kept, key=lambda column: column.leaves, default=None)
        if leaving is None or leaving.leaves <= 0:
            break
        kept.remove(leaving)
    spare = max(0, width - _needed(kept))
    shares = sum(column.flexible for column in kept)
    widths: list[tuple[Column[Any], int]] = []
    for column in kept:
        # What the shares before took is not shared again, so that nothing is left over.
        extra = spare * column.flexible // shares if column.flexible else 0
        spare, shares = spare - extra, shares - column.flexible
        widths.append((column, column.width + extra))
    return widths


def column_at(layout: Sequence[tuple[Column[Any], int]], x: int) -> Column[Any] | None:
    """Return the column under a cell of the line, None left or right of all."""
    left = GUTTER
    for column, width in layout:
        if left <= x < left + width + GAP:
            return column
        left += width + GAP
    return None


def _needed(columns: Sequence[Column[Any]]) -> int:
    return GUTTER + sum(column.width + GAP for column in columns)
