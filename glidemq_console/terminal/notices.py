"""What makes a terminal tell its user something while they look elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

Kind = Literal["off", "bell", "osc9", "osc777"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
#: What a person may choose: a kind, or that of the terminal.
CHOICES: Final = ("auto", *KINDS)

_BELL: Final = "\a"
_TITLE: Final = "glidemq"
#: Characters of a notice.
_LENGTH: Final = 120
#: Terminals that show notices, by what they say of themselves in the environment.
_PROGRAMS: Final[Mapping[str, Kind]] = {"iTerm.app": "osc9", "WezTerm": "osc777", "ghostty": "osc777"}
_TERMS: Final = ("foot", "rxvt-unicode", "xterm-ghostty", "xterm-kitty")


def kind_of(environ: Mapping[str, str]) -> Kind:
    """Return how the terminal of an environment is told; the bell is what all of them have."""
    if kind := _PROGRAMS.get(environ.get("TERM_PROGRAM", "")):
        return kind
    if environ.get("LC_TERMINAL") == "iTerm2":
        return "osc9"
    return "osc777" if environ.get("TERM", "").startswith(_TERMS) else "bell"


def notice(text: str, kind: Kind, *, in_tmux: bool = False, bell: bool = False) -> str:
    """Return the sequence that shows a text, and rings the bell with it or not.

    tmux hands it on to the terminal around it only where `allow-passthrough` is on: the bell goes with it.
    """
    if kind == "off":
        return ""
    if kind == "bell":
        return _BELL
    # Here, as commands check the choices without loading what draws.
    from ..text.safe import short

    # A semicolon would end the text, a control character the sequence.
    words = short(text, _LENGTH).replace(";", ",")
    sequence = f"\x1b]9;{words}\a" if kind == "osc9" else f"\x1b]777;notify;{_TITLE};{words}\a"
    if not in_tmux:
        return sequence + _BELL * bell
    return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\" + _BELL
