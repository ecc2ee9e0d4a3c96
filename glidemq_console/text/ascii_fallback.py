"""The filter that draws the console in ASCII: for terminals that have no Unicode, and for who asks."""

from __future__ import annotations

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from .spelling import missing_unicode, spelt


class AsciiGlyphs(LineFilter):
    """Puts the stand-ins in the place of the glyphs, after everything else was drawn."""

    def __init__(self, encoding: str | None = None) -> None:
        """Make the filter.

        Args:
            encoding: What the terminal can show; None: everything.
        """
        super().__init__()
        self._encoding = encoding

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [
            segment
            if segment.control or segment.text.isascii()
            else Segment(spelt(segment.text, self._encoding), segment.style)
            for segment in segments
        ]


def ascii_glyphs(wanted: bool) -> AsciiGlyphs | None:
    """Return the filter when it is wanted or the terminal cannot do without; else None."""
    encoding = missing_unicode()
    if encoding is not None:
        return AsciiGlyphs(encoding)
    return AsciiGlyphs() if wanted else None
