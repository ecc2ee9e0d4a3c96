"""The base of widgets that draw their own lines, and how they draw parts as segments and strips.

An exception in drawing blanks the widget, the console goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from ..text.safe import stand_in_spans
from ..theme.style import theme_style
from .styled import Parts, Styled, fit

_DIM = Style(dim=True)


@runtime_checkable
class KeepsGoing(Protocol):
    """An app that goes on when a widget cannot be drawn."""

    def drawing_failed(self, widget: Widget, error: Exception) -> None:
        """Take note that a widget shows nothing, and why."""

    def drawing_went_well(self, widget: Widget) -> None:
        """Take note that a widget that could not be drawn is drawn again."""


class Drawn(Widget):
    """Base of widgets with a `render_line` of their own."""

    _is_broken = False

    def render_lines(self, crop: Region) -> list[Strip]:
        app = self.app
        if not isinstance(app, KeepsGoing):
            return super().render_lines(crop)
        try:
            lines = super().render_lines(crop)
        except Exception as error:  # noqa: BLE001  # whatever it is, the console goes on and tells it
            self._is_broken = True
            app.drawing_failed(self, error)
            return [Strip.blank(crop.width, self.rich_style)] * crop.height
        if self._is_broken:
            self._is_broken = False
            app.drawing_went_well(self)
        return lines


class Bar(Drawn):
    """Base of widgets of one line across."""

    DEFAULT_CSS = """
    Bar { height: 1; width: 1fr; background: $background; color: $foreground; }
    """


def part_style(app: App[Any], part: Styled, base: Style) -> Style:
    """Return the Rich style of a part on a base style."""
    if part.style:
        return base + theme_style(app, part.style, part.attributes, on=part.on)
    return base + Style.parse(part.attributes) if part.attributes else base


def segments(app: App[Any], parts: Iterable[Styled], base: Style) -> list[Segment]:
    """Return the parts as segments on a base style; stand-ins of unsafe characters are dim."""
    drawn: list[Segment] = []
    for part in parts:
        if not part.text:
            continue
        style = part_style(app, part, base)
        position = 0
        for start, end in stand_in_spans(part.text):
            if start > position:
                drawn.append(Segment(part.text[position:start], style))
            drawn.append(Segment(part.text[start:end], style + _DIM))
            position = end
        if position < len(part.text):
            drawn.append(Segment(part.text[position:], style))
    return drawn


def strip(app: App[Any], parts: Parts, width: int, base: Style) -> Strip:
    """Return the parts as one line of exactly `width` cells."""
    return Strip(segments(app, fit(parts, width), base), width)


def on_cursor(app: App[Any], drawn: Iterable[Segment], base: Style) -> list[Segment]:
    """Return a line on the background of the cursor so that it can be read.

    With sixteen colours nobody knows how any of them looks on another: words are as plain text is there, gauges keep
    their colours. What stands back may have the very colour of the cursor.
    """
    ground = base.bgcolor
    if ground is None or ground.type is not ColorType.STANDARD:
        return list(drawn)
    plain = Style(color=theme_style(app, "foreground").color)
    readable: list[Segment] = []
    for text, style, _ in drawn:
        look = style or base
        is_unseen = look.color == ground or any(map(str.isalnum, text))
        readable.append(Segment(text, look + plain if is_unseen else look))
    return readable
