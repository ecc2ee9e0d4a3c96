"""A history in one line, newest right."""

from __future__ import annotations

from collections.abc import Sequence

from ..text.format import sparkline
from .styled import Styled


def sparkline_parts(
    values: Sequence[float | None], width: int, *, token: str = "spark", top: float | None = None
) -> list[Styled]:
    """Return the latest values as `width` cells of bars; a history of zeros is dim."""
    quiet = not any(value for value in values[-width:])
    return [Styled(sparkline(values, width, top=top), "dim" if quiet else token)]
