"""Meters of one line: a gauge of what is used of a cap, and a history of values."""

from __future__ import annotations

from collections.abc import Sequence

from ..text.format import gauge_cells, gauge_label, gauge_level, sparkline
from .styled import Styled


def gauge_parts(share: float | None, width: int = 10, detail: str = "") -> list[Styled]:
    """Return a gauge of `width` cells between its marks, the percentage, and a dim detail.

    The share is 1.0 for a full one, None when the cap is unknown; the detail is as `1,360 / 2,000 tok`.
    """
    style = f"gauge-{gauge_level(share)}"
    parts = [
        Styled("▕", "gauge-empty"),
        Styled(gauge_cells(share, width), style),
        Styled("▏", "gauge-empty"),
        Styled(" " + gauge_label(share), style),
    ]
    return [*parts, Styled("  " + detail, "dim")] if detail else parts


def bar_parts(share: float, width: int, style: str) -> list[Styled]:
    """Return a bar of `width` cells between its marks, for a share that is neither good nor bad."""
    return [Styled("▕", "gauge-empty"), Styled(gauge_cells(share, width), style), Styled("▏", "gauge-empty")]


def sparkline_parts(
    values: Sequence[float | None], width: int, *, style: str = "spark", top: float | None = None
) -> list[Styled]:
    """Return the latest values as `width` cells of bars; a history of zeros is dim."""
    quiet = not any(value for value in values[-width:])
    return [Styled(sparkline(values, width, top=top), "dim" if quiet else style)]
