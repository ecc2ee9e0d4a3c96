"""How a list draws its header and one row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.strip import Strip

from ...theme.style import theme_style
from ..drawn import segments, strip
from ..styled import Styled, fit, parts_of
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


def row_strip(app: App[Any], layout: Layout, row: Row | None, look: Look, width: int, base: Style) -> Strip:
    """Return one row; an ellipsis stands for one that is not known yet."""
    if look.is_cursor:
        background = "cursor-background" if look.focused else "cursor-blurred-background"
        base += theme_style(app, "foreground", on=background)
    parts = [
        Styled("•" if look.is_marked else " ", "focus", "bold"),
        Styled("▌" if look.is_cursor else " ", "focus" if look.focused else "dim"),
        Styled(" "),
    ]
    if row is None:
        parts.append(Styled("…", "dim"))
    else:
        for column, cells in layout:
            parts += fit(parts_of(row.cells.get(column.key, "")), cells, right=column.right)
            parts.append(Styled(" " * GAP))
    drawn = segments(app, fit(parts, width), base)
    if look.stale:
        drawn = [Segment(text, (style or base) + theme_style(app, "dim")) for text, style, _ in drawn]
    if look.is_cursor:
        drawn = [Segment(text, _seen(style or base, app)) for text, style, _ in drawn]
    return Strip(drawn, width)


def _seen(style: Style, app: App[Any]) -> Style:
    """Return a look that can be read: with sixteen colours, what stands back may have that of the cursor."""
    if style.color is None or style.color != style.bgcolor:
        return style
    return style + Style(color=theme_style(app, "foreground").color)
