"""A meter: eighth blocks with the number beside them, hatched when the cap is unknown."""

from __future__ import annotations

from ..format import gauge_cells, gauge_label, gauge_level
from .ink import Ink
from .statusline import PartsView


def gauge_parts(share: float | None, width: int = 10, detail: str = "") -> list[Ink]:
    """Return a gauge of `width` cells between its marks, the percentage, and a dim detail.

    Args:
        share: 1.0 is full; None when the cap is unknown.
        width: Cells inside the marks.
        detail: What was used of what, such as `1,360 / 2,000 tok`.
    """
    token = f"gauge-{gauge_level(share)}"
    parts = [
        Ink("▕", "gauge-empty"),
        Ink(gauge_cells(share, width), token),
        Ink("▏", "gauge-empty"),
        Ink(" " + gauge_label(share), token),
    ]
    return [*parts, Ink("  " + detail, "dim")] if detail else parts


class Gauge(PartsView):
    """One gauge on a line, with a label before it."""

    def __init__(self, label: str = "", *, cells: int = 10, id: str | None = None) -> None:
        """Make a gauge of `cells` cells that knows no cap yet."""
        super().__init__(id=id)
        self._label = label
        self._cells = cells
        self.set(None)

    def set(self, share: float | None, detail: str = "") -> None:
        """Show a share (1.0 is full, None: cap unknown) and what it is made of."""
        label = [Ink(self._label + " ", "dim")] if self._label else []
        self.show([[*label, *gauge_parts(share, self._cells, detail)]])
