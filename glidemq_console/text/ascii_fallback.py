"""The filter that draws the console in ASCII, for terminals without Unicode and on request."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from .encoding import encoding_without_unicode, to_ascii


class AsciiFilter(LineFilter):
    """Replace glyphs by their ASCII fallback after everything else was drawn."""

    def __init__(self, encoding: str | None = None) -> None:
        """Make the filter for what the terminal can show; None: everything."""
        super().__init__()
        self._encoding = encoding

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or segment.text.isascii()
            else Segment(to_ascii(segment.text, self._encoding), segment.style)
            for segment in segments
        ]


def ascii_filter(wanted: bool) -> AsciiFilter | None:
    """Return the filter when it is wanted or the terminal has no Unicode; else None."""
    encoding = encoding_without_unicode()
    if encoding is not None:
        return AsciiFilter(encoding)
    return AsciiFilter() if wanted else None
