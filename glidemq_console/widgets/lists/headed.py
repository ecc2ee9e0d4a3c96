"""The header of a list: which columns there are, which of them sorts, and what the rows add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from textual.geometry import Region, Size
from textual.strip import Strip

from ..styled import Cell
from .columns import Column, arrange
from .marks import Markable
from .row_strips import header_strip, totals_strip


class Headed(Markable):
    """A list under a header of one line, or of two where it has totals."""

    header_lines = 1

    def __init__(
        self, columns: Sequence[Column[Any]], *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._layout: list[tuple[Column[Any], int]] = []
        self._sort: tuple[str, bool] | None = None
        self._totals: Mapping[str, Cell] | None = None

    def shows(self, column: str) -> bool:
        """Return whether there is room for a column."""
        return any(shown.key == column for shown, _ in self._layout)

    def set_columns(self, columns: Sequence[Column[Any]]) -> None:
        """Show these columns from now on, as where something else is listed."""
        if tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self.lay_out()
            self.refresh()

    def set_totals(self, totals: Mapping[str, Cell] | None) -> None:
        """Show what the rows add up to in a second line of the header, by the key of the column; None for no line."""
        if totals == self._totals:
            return
        self._totals = totals
        lines, self.header_lines = self.header_lines, 1 if totals is None else 2
        if lines == self.header_lines:
            self._refresh_rows([-1])
        else:
            self.lay_out()
            self.refresh()

    def set_sort(self, column: str | None, *, descending: bool = False) -> None:
        """Show by which column the owner sorted."""
        sort = None if column is None else (column, descending)
        if sort != self._sort:
            self._sort = sort
            self._refresh_rows([-1])

    def lay_out(self) -> None:
        """Give the columns their places anew."""
        self._layout = arrange(self._columns, self.size.width)
        self._measure()

    def _measure(self) -> None:
        self.virtual_size = Size(self.size.width, self.line_count + self.header_lines)

    def _refresh_rows(self, indexes: Iterable[int]) -> None:
        """Repaint the visible ones of these rows; -1 is the header."""
        top = round(self.scroll_y)
        for index in indexes:
            y, height = (0, self.header_lines) if index < 0 else (index - top + self.header_lines, 1)
            if 0 <= y < self.size.height:
                self.refresh(Region(0, y, self.size.width, height))

    def _header(self, y: int) -> Strip:
        """Draw a line of the header."""
        width, base = self.size.width, self.rich_style
        if y:
            return totals_strip(self.app, self._layout, self._totals or {}, width, base)
        return header_strip(self.app, self._layout, self._sort, width, base, focused=self.has_focus)
