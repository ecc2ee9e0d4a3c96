"""Candidates as the script of a shell reads them: one a line, with its help behind a tab where the shell shows it."""

from __future__ import annotations

from .values import Candidate, Values
from .words import Position

#: Lines that tell the script something instead of naming a candidate; no candidate begins with a colon.
GOES_ON, FILES = ":nospace", ":files"
_HELP = 70


def written(values: Values, position: Position, shell: str, breaks: str) -> str:
    """Return the lines for a shell.

    Args:
        breaks: characters at which bash breaks words; it replaces only what stands behind the last of them.
    """
    lines = [*([FILES] if values.files else []), *([GOES_ON] if values.goes_on else [])]
    cut = _behind_break(position.typed, breaks) if shell == "bash" else 0
    for one in values.words:
        word = one.word[cut:]
        if word.startswith(":") or "\n" in word:
            continue
        lines.append(word if shell == "bash" or not one.help else f"{word}\t{_short(one)}")
    return "".join(f"{line}\n" for line in dict.fromkeys(lines))


def _behind_break(typed: str, breaks: str) -> int:
    return 1 + max((typed.rfind(char) for char in breaks if char in ":=@"), default=-1)


def _short(one: Candidate) -> str:
    text = " ".join(one.help.split())
    return text if len(text) <= _HELP else text[: _HELP - 3] + "..."
