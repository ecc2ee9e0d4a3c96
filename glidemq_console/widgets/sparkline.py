"""A history in one line, newest right, with what it is worth now."""

from __future__ import annotations

from collections.abc import Sequence

from ..format import sparkline
from .ink import Ink
from .statusline import PartsView


def sparkline_parts(
    values: Sequence[float | None], width: int, *, token: str = "spark", top: float | None = None
) -> list[Ink]:
    """Return the latest values as `width` cells of bars; a history of zeros is dim."""
    quiet = not any(value for value in values[-width:])
    return [Ink(sparkline(values, width, top=top), "dim" if quiet else token)]


class Sparkline(PartsView):
    """Bars over the whole width, with a label and the current figure."""

    def __init__(self, label: str = "", *, id: str | None = None) -> None:
        """Make a sparkline without history."""
        super().__init__([[]], id=id)
        self._label = label
        self._values: tuple[float | None, ...] = ()
        self._figure = ""

    def set(self, values: Sequence[float | None], figure: str = "") -> None:
        """Show a history, oldest first, and the figure beside it."""
        self._values, self._figure = tuple(values), figure
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        label = f"{self._label} " if self._label else ""
        figure = f" {self._figure}" if self._figure else ""
        room = self.size.width - len(label) - len(figure)
        bars = sparkline_parts(self._values, min(room, 240)) if room > 0 else []
        self.show([[Ink(label, "dim"), *bars, Ink(figure)]])
