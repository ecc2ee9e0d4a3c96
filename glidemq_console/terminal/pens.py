"""Looks of cells as the codes that select them (SGR), and the shortest way from one look to another."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from rich.color import ColorSystem
from rich.style import Style
from textual.strip import Strip

#: Attributes that show on a space: underline, reverse, strike, double underline, frames, overline.
_SHOWN_ON_SPACE: Final = frozenset({"4", "7", "9", "21", "51", "52", "53"})
RESET: Final = "\x1b[0m"


class Pen(NamedTuple):
    """The look of a cell. Links are left out: nothing that the console shows is one."""

    attributes: str = ""
    """Codes of bold, dim and so on, joined by semicolons."""
    foreground: str = "39"
    background: str = "49"

    def looks_on_space(self, other: Pen) -> bool:
        """Return whether a space looks the same with both."""
        return self.background == other.background and self._on_space == other._on_space

    @property
    def _on_space(self) -> tuple[str, ...]:
        if not self.attributes:
            return ()
        shown = tuple(code for code in self.attributes.split(";") if code in _SHOWN_ON_SPACE)
        # A line through or below has the colour of the text, a reversed space all of it.
        return (*shown, self.foreground) if shown else ()


#: The look after a reset.
PLAIN: Final = Pen()
_known: dict[Pen, Pen] = {PLAIN: PLAIN}
#: Looks of the cells on all screens of a console; more than this many are not kept.
_MOST: Final = 4_096


@lru_cache(_MOST)
def pen_of(style: Style | None, system: ColorSystem) -> Pen:
    """Return the look of a style in a terminal of so many colours; equal ones are the same object."""
    if style is None:
        return PLAIN
    foreground, background = style.color, style.bgcolor
    pen = Pen(
        Strip.render_ansi(style.without_color, system),
        "39" if foreground is None else ";".join(foreground.downgrade(system).get_ansi_codes()),
        "49" if background is None else ";".join(background.downgrade(system).get_ansi_codes(False)),
    )
    if len(_known) >= _MOST:
        _known.clear()
        _known[PLAIN] = PLAIN
    return _known.setdefault(pen, pen)


def change(old: Pen, new: Pen) -> str:
    """Return the sequence that selects a look while another one is selected."""
    if old == new:
        return ""
    if old.attributes == new.attributes:
        codes = [code for code, was in zip(new[1:], old[1:], strict=True) if code != was]
    elif new == PLAIN:
        return RESET
    else:
        colours = [code for code, default in zip(new[1:], PLAIN[1:], strict=True) if code != default]
        codes = ["0", *([new.attributes] if new.attributes else []), *colours]
    return f"\x1b[{';'.join(codes)}m"
