"""A meter: eighth blocks with the number beside them, hatched when the cap is unknown."""

from __future__ import annotations

from ..text.format import gauge_cells, gauge_label, gauge_level
from .styled import Styled


def gauge_parts(share: float | None, width: int = 10, detail: str = "") -> list[Styled]:
    """Return a gauge of `width` cells between its marks, the percentage, and a dim detail.

    Args:
        share: 1.0 is full; None when the cap is unknown.
        width: Cells inside the marks.
        detail: What was used of what, such as `1,360 / 2,000 tok`.
    """
    token = f"gauge-{gauge_level(share)}"
    parts = [
        Styled("▕", "gauge-empty"),
        Styled(gauge_cells(share, width), token),
        Styled("▏", "gauge-empty"),
        Styled(" " + gauge_label(share), token),
    ]
    return [*parts, Styled("  " + detail, "dim")] if detail else parts
