"""How a list draws its header and one row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip

from ...theme.style import theme_style
from ..drawn import on_cursor, segments, strip
from ..styled import Cell, Styled, fit, parts_of
from .columns import GAP, GUTTER, Column, Row

Layout = Sequence[tuple[Column[Any], int]]


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is special about a row now."""

    is_cursor: bool
    is_marked: bool
    focused: bool
    """The list has the focus."""
    stale: bool
    """The data is older than it should be: all is dim."""


def header_strip(
    app: App[Any], layout: Layout, sort: tuple[str, bool] | None, width: int, base: Style, *, focused: bool
) -> Strip:
    """Return the titles; `sort` is the column that sorts and whether it descends."""
    style = "focus" if focused else "dim"
    parts = [Styled(" " * GUTTER)]
    for column, cells in layout:
        sorted_by = sort is not None and sort[0] == column.key
        title = Styled(column.title, style if sorted_by else "dim", "bold" if sorted_by else "")
        marker = Styled("▾" if sort and sort[1] else "▴", style) if sorted_by else Styled(" ")
        if not column.right and cell_len(column.title) + 2 <= cells:
            # Beside its title, not at the other end of a wide column.
            parts += [*fit([title, Styled(" "), marker], cells), Styled(" " * GAP)]
        else:
            parts += [*fit([title], cells, right=column.right), marker, Styled(" " * (GAP - 1))]
    return strip(app, parts, width, base)


def totals_strip(app: App[Any], layout: Layout, totals: Mapping[str, Cell], width: int, base: Style) -> Strip:
    """Return what the rows add up to, under the titles of their columns."""
    return strip(app, [Styled(" " * GUTTER), *_cells(layout, totals)], width, base)


def _cells(layout: Layout, cells: Mapping[str, Cell]) -> list[Styled]:
    parts: list[Styled] = []
    for column, room in layout:
        parts += fit(parts_of(cells.get(column.key, "")), room, right=column.right)
        parts.append(Styled(" " * GAP))
    return parts


def row_strip(app: App[Any], layout: Layout, row: Row | None, look: Look, width: int, base: Style) -> Strip:
    """Return one row; an ellipsis stands for one that is not known yet."""
    ground = None if row is None or row.filled is not None or not row.ground else row.ground
    if look.is_cursor:
        ground = "cursor-background" if look.focused else "cursor-blurred-background"
    if ground is not None:
        base += theme_style(app, "foreground", on=ground)
    parts = [
        Styled("•" if look.is_marked else " ", "focus", "bold"),
        Styled("▌" if look.is_cursor else " ", "focus" if look.focused else "dim"),
        Styled(" "),
    ]
    if row is None:
        parts.append(Styled("…", "dim"))
    else:
        parts += row.words or _cells(layout, row.cells)
    drawn = segments(app, fit(parts, width), base)
    if row is not None and row.filled is not None:
        drawn = _filled(drawn, round(row.filled * width), theme_style(app, "foreground", on=row.ground))
    if look.stale:
        drawn = [Segment(text, (style or base) + theme_style(app, "dim")) for text, style, _ in drawn]
    if look.is_cursor:
        drawn = on_cursor(app, drawn, base)
    return Strip(drawn, width)


def _filled(drawn: list[Segment], cells: int, ground: Style) -> list[Segment]:
    """Return a row whose first cells have another background."""
    head, rest = (
        Strip(drawn).divide([cells, Strip(drawn).cell_length]) if cells else (Strip([]), Strip(drawn))
    )
    on = Style(bgcolor=ground.bgcolor)
    return [*(Segment(text, (style or Style()) + on) for text, style, _ in head), *rest]
