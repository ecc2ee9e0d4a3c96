"""Wrap growing text by cell width; an append costs the same however much is there already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, get_character_cell_size

#: Wide characters may part anywhere; other words move to the next line whole if they fit there.
_PIECES = re.compile(
    "\n|\t| +|"
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
    "\U0001f300-\U0001faff\U00020000-\U0003fffd]|"
    "[^\n\t \u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6"
    "\U0001f300-\U0001faff\U00020000-\U0003fffd]+"
)
_TAB = 4


class Line:
    """One line on the screen."""

    __slots__ = ("kind", "soft", "text", "width")

    def __init__(self, kind: str, soft: bool = False) -> None:
        self.kind = kind
        self.text = ""
        self.width = 0
        #: Goes on with the line before it, which was full.
        self.soft = soft


def wrapped(text: str, width: int) -> list[str]:
    """Return a safe text as lines of a width in cells."""
    wrapper = Wrapper(width)
    wrapper.start("text")
    wrapper.add(text)
    return [line.text for line in wrapper.lines]


def untabbed(text: str) -> str:
    """Return a safe text with spaces for its tabs, as its lines show it."""
    return text.expandtabs(_TAB) if "\t" in text else text


def line_starts(text: str, lines: Sequence[str]) -> list[int]:
    """Return at which character of a text without tabs each of the lines begins that it was wrapped to."""
    starts, at = [], 0
    for line in lines:
        # Wrapping leaves out nothing but newlines, and spaces that had no room.
        while at < len(text) and not text.startswith(line, at):
            at += 1
        starts.append(at)
        at += len(line)
    return starts


class Wrapper:
    """Lines of a width, grown by text of one kind after another. Chunks may be cut anywhere."""

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.lines: list[Line] = []
        #: Lines removed at the top so far; the line at index i has the number `dropped + i` for ever.
        self.dropped = 0
        self._word = 0
        self._word_width = 0

    @property
    def open_kind(self) -> str | None:
        """Kind of the last line."""
        return self.lines[-1].kind if self.lines else None

    def start(self, kind: str) -> None:
        """Begin a new line of a kind, in the place of an empty one at the end."""
        if self.lines and not self.lines[-1].text and not self.lines[-1].soft:
            self.lines.pop()
        self._open(kind)

    def add(self, text: str) -> None:
        """Append safe text to the last line."""
        for match in _PIECES.finditer(text):
            piece = match.group()
            first = piece[0]
            if first == "\n":
                self._open(self.lines[-1].kind)
            elif first == "\t":
                self._spaces(_TAB - self.lines[-1].width % _TAB)
            elif first == " ":
                self._spaces(len(piece))
            else:
                self._put(piece)

    def trim(self, most: int) -> int:
        """Remove lines at the top, in batches, so that at most `most` stay; return how many went."""
        if len(self.lines) <= most:
            return 0
        surplus = min(len(self.lines) - 1, len(self.lines) - most + most // 10)
        del self.lines[:surplus]
        self.dropped += surplus
        return surplus

    def paragraph(self, index: int) -> tuple[int, int]:
        """Return the indexes of the first line and behind the last line of what was one line before wrapping."""
        first = index
        while first > 0 and self.lines[first].soft:
            first -= 1
        last = index + 1
        while last < len(self.lines) and self.lines[last].soft:
            last += 1
        return first, last

    def _open(self, kind: str, soft: bool = False) -> Line:
        line = Line(kind, soft)
        self.lines.append(line)
        self._word = self._word_width = 0
        return line

    def _spaces(self, count: int) -> None:
        line = self.lines[-1]
        # Spaces at the end of a full line are not seen, so they open no new one.
        count = min(count, self.width - line.width)
        line.text += " " * count
        line.width += count
        self._word = self._word_width = 0

    def _put(self, piece: str) -> None:
        line = self.lines[-1]
        width = cell_len(piece)
        wide = width == 2 and len(piece) == 1
        if wide:
            self._word = self._word_width = 0
        if line.width + width > self.width and line.width > self._word_width:
            line = self._move_word(line)
        if line.width + width > self.width:
            for part, cells in self._split(piece, self.width - line.width):
                if cells < 0:
                    line = self._open(line.kind, soft=True)
                    continue
                self._append(line, part, cells)
        else:
            self._append(line, piece, width)
        if wide:
            self._word = self._word_width = 0

    def _append(self, line: Line, piece: str, width: int) -> None:
        line.text += piece
        line.width += width
        self._word += len(piece)
        self._word_width += width

    def _move_word(self, line: Line) -> Line:
        cut = len(line.text) - self._word
        word, width = line.text[cut:], self._word_width
        line.text = line.text[:cut]
        line.width -= width
        line = self._open(line.kind, soft=True)
        self._append(line, word, width)
        return line

    def _split(self, piece: str, room: int) -> Iterator[tuple[str, int]]:
        """Cut a word that is longer than a line; a width of -1 stands for a new line."""
        start = used = 0
        for index, character in enumerate(piece):
            cells = get_character_cell_size(character)
            if used + cells > room and (index > start or room < self.width):
                if index > start:
                    yield piece[start:index], used
                yield "", -1
                start, used, room = index, 0, self.width
            used += cells
        yield piece[start:], used
