"""The list of jobs that wait: which columns it has, how its rows look, by what it is sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from ...widgets.lists.columns import Row, row_of
from ...widgets.lists.row_list import RowList
from .columns import COLUMNS, SORTS, ApprovalLine, Of, columns_of
from .deciding import DecidingScreen


class ListingScreen(DecidingScreen):
    """A screen with that list; subclasses say when its columns are chosen anew."""

    #: All that there are, of which those are shown that tell the jobs apart.
    ALL: ClassVar[Sequence[Of]] = COLUMNS

    def __init__(self) -> None:
        super().__init__()
        self._columns: Sequence[Of] = self.ALL
        #: Cells of the list for which they were chosen.
        self._chosen_for: int | None = None

    def forget_columns(self) -> None:
        """Choose the columns anew when the list is drawn next: something else is listed, or in another width."""
        self._chosen_for = None

    @property
    def _width(self) -> int:
        """Cells of the list as it will be laid out, which it may not be yet."""
        width = self.app.size.width
        return width // 2 if self.has_class("-wide") else width

    def choose_columns(self) -> None:
        """Choose the columns when there is something to list; a refresh changes none of them."""
        width = self._width
        if self.listed and width != self._chosen_for:
            self._chosen_for = width
            self._columns = columns_of(self.ALL, self.listed, width)
            self.lines.set_columns(self._columns)

    def row_for(self, item: ApprovalLine, now_ms: int) -> Row:
        row = row_of(self._columns, self.key_of(item), item, now_ms)
        if (held := item.pending) is None:
            return row
        ground = "success-background" if held.verb == "approve" else "error-background"
        return replace(row, ground=ground, filled=1.0 if item.is_sending else held.left(now_ms))

    # --- order ---

    @property
    def is_descending(self) -> bool:
        """Whether the highest stands first."""
        return self._sorted_by.rises is self._is_turned

    def on_row_list_sort_asked(self, event: RowList.SortAsked) -> None:
        if event.column == self._sorted_by.key:
            self.sort_reverse()
        else:
            self._sort_by(event.column)

    def sort_reverse(self) -> str:
        """Turn the order round; return what to show."""
        self._is_turned = not self._is_turned
        self.show(self.snapshot)
        return (
            f"{SORTS[self._sorted_by.key][1]}, turned round"
            if self._is_turned
            else SORTS[self._sorted_by.key][1]
        )

    def sort_next(self) -> str:
        ways = list(SORTS)
        return self._sort_by(ways[(ways.index(self._sorted_by.key) + 1) % len(ways)])

    def _sort_by(self, key: str) -> str:
        self._sorted_by = next(column for column in COLUMNS if column.key == key)
        self._is_turned = False
        self.show(self.snapshot)
        return SORTS[key][1]
