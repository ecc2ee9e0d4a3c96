"""A terminal that does what the console asks of it, and takes note of what it does not know."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rich.cells import get_character_cell_size

_TOKEN = re.compile(
    r"\x1b\[(\?[0-9]+)([hl])"  # modes
    r"|\x1b\[([0-9;]*)([A-Za-z])"
    r"|(\x1b\[\?[0-9;]+\$p|\x1b\[[<>=?][0-9;]*[um]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))"  # remembered only
    r"|([\r\n\x07])"
    r"|([^\x00-\x1f]+)"
)
#: A sequence that goes on in what is fed next is not longer than this.
_LONGEST = 4_096
_SHOWN_ON_SPACE = {"4", "7", "9"}

Cell = tuple[str, frozenset[str], str, str]
"""A text, attributes, foreground and background."""
BLANK: Cell = (" ", frozenset(), "39", "49")


@dataclass
class Emulator:
    """Cells of a terminal without line wrap."""

    width: int
    height: int
    x: int = 0
    y: int = 0
    #: Modes set by `?...h`.
    modes: set[str] = field(default_factory=set)
    #: Everything that was set or asked, in order.
    log: list[str] = field(default_factory=list)
    #: What is no text and no sequence that the console needs.
    unknown: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cells: list[list[Cell]] = [[BLANK] * self.width for _ in range(self.height)]
        self._attributes: frozenset[str] = frozenset()
        self._foreground, self._background = "39", "49"
        self._rest = ""

    def feed(self, text: str) -> None:
        """Take what was written; a sequence may be cut anywhere."""
        text, self._rest = self._rest + text, ""
        position = 0
        while position < len(text):
            token = _TOKEN.match(text, position)
            if token is None:
                if text[position] == "\x1b" and len(text) - position < _LONGEST:
                    self._rest = text[position:]
                    return
                self.unknown.append(text[position : position + 20])
                position += 1
                continue
            position = token.end()
            mode, on_off, numbers, command, other, control, words = token.groups()
            if mode:
                self.log.append(mode + on_off)
                (self.modes.add if on_off == "h" else self.modes.discard)(mode)
            elif command:
                self._control(numbers, command)
            elif other:
                self.log.append(other[1:])
            elif control:
                self.x = 0
                self.y = min(self.y + (control == "\n"), self.height - 1)
            else:
                for character in words:
                    self._put(character)

    def clear(self) -> None:
        """Show nothing, as after a program that has written over everything."""
        self.cells = [[BLANK] * self.width for _ in range(self.height)]

    def _control(self, numbers: str, command: str) -> None:
        self.log.append(numbers + command)
        if command == "H":
            row, column = (int(n or 1) for n in (numbers or "1;1").split(";"))
            self.y, self.x = min(row, self.height) - 1, min(column, self.width) - 1
        elif command == "m":
            self._style(numbers.split(";"))
        elif (numbers, command) != ("6", "n"):
            self.unknown.append(f"\x1b[{numbers}{command}")

    def _style(self, codes: list[str]) -> None:
        while codes:
            code = codes.pop(0)
            if code in ("", "0"):
                self._attributes, self._foreground, self._background = frozenset(), "39", "49"
            elif code in ("38", "48"):
                rest = [codes.pop(0) for _ in range(2 if codes[0] == "5" else 4)]
                name = ";".join([code, *rest])
                self._foreground, self._background = (
                    (name, self._background) if code == "38" else (self._foreground, name)
                )
            elif 30 <= int(code) <= 39 or 90 <= int(code) <= 97:
                self._foreground = code
            elif 40 <= int(code) <= 49 or 100 <= int(code) <= 107:
                self._background = code
            else:
                self._attributes |= {code}

    def _put(self, character: str) -> None:
        width = get_character_cell_size(character)
        line = self.cells[self.y]
        if not width:
            at = min(self.x, self.width) - 1
            while at > 0 and line[at][0] == "":
                at -= 1
            text, *look = line[at]
            line[at] = (text + character, *look)  # type: ignore[assignment]
            return
        if self.x + width > self.width:
            return
        self._break(self.x, self.x + width)
        look = (self._attributes, self._foreground, self._background)
        line[self.x] = (character, *look)
        for at in range(self.x + 1, self.x + width):
            line[at] = ("", *look)
        self.x += width

    def _break(self, start: int, end: int) -> None:
        """Blank what is left of wide characters that are partly overwritten."""
        line = self.cells[self.y]
        at = start
        while at and line[at][0] == "":
            at -= 1
            line[at] = (" ", *line[at][1:])
        while end < self.width and line[end][0] == "":
            line[end] = (" ", *line[end][1:])
            end += 1

    @property
    def lines(self) -> list[str]:
        """What can be read."""
        return ["".join(cell[0] for cell in line) for line in self.cells]

    @property
    def looks(self) -> list[list[Cell]]:
        """The cells, those alike that nobody can tell apart."""
        return [[_seen(cell) for cell in line] for line in self.cells]


def _seen(cell: Cell) -> Cell:
    text, attributes, foreground, background = cell
    if text != " ":
        return cell
    shown = attributes & _SHOWN_ON_SPACE
    return (text, shown, foreground if shown else "39", background)
