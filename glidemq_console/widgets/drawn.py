"""The base of widgets that draw their own lines: an exception blanks the widget, the console goes on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


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
