"""A JSON value as lines that fold: only what is unfolded is ever walked, so size does not matter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from rich.cells import cell_len

from ...text.format import byte_size, plural
from ...text.safe import MASK, cell_fit, clean
from ...text.wrap import line_starts, untabbed, wrapped
from ..finding.places import Place, places_in
from ..styled import Styled

Path = tuple[str | int, ...]

#: Children shown of one container until more are asked for.
PAGE = 100
#: Containers up to this size, down to this depth, are unfolded at first.
OPEN_CHILDREN, OPEN_DEPTH = 20, 2
#: Cells of the widest name that still lines up with its neighbours.
NAME_WIDTH = 16
#: Characters of one name, or of a number, that are drawn.
NAME_LIMIT = 2_000
#: Characters of one text that are drawn when it is unfolded.
TEXT_LIMIT = 256 * 1024


class TextName(NamedTuple):
    """A text of a value that can be searched: the name or the value at a path."""

    path: Path
    is_name: bool = False


class Shown(NamedTuple):
    """What a part of a line shows: a text from one of its characters on, negative for what stands before it."""

    part: int
    text: TextName
    start: int


@dataclass(frozen=True)
class TreeLine:
    """One line of the tree: its parts, and the value that folding it is about."""

    path: Path
    parts: tuple[Styled, ...]
    folds: bool = False
    more: bool = False
    """Stands for children that are not shown yet."""
    shows: tuple[Shown, ...] = ()
    """Which of the parts show a name or a value, or a piece of one."""


class Tree:
    """What is folded and how the lines read."""

    def __init__(self, value: Any, reveal_key: str = "v") -> None:
        self.value = value
        #: The key that is named beside a masked secret.
        self.reveal_key = reveal_key
        self._folded: dict[Path, bool] = {}
        self._pages: dict[Path, int] = {}

    def is_open(self, path: Path, value: Any) -> bool:
        """Return whether a container or long text is unfolded."""
        chosen = self._folded.get(path)
        if chosen is not None:
            return not chosen
        if isinstance(value, dict | list):
            return len(path) < OPEN_DEPTH and len(value) <= OPEN_CHILDREN
        return False

    def toggle(self, line: TreeLine) -> None:
        """Fold or unfold what a line is about, or show more of its children."""
        if line.more:
            self._pages[line.path] = self._pages.get(line.path, PAGE) + PAGE
        elif line.folds:
            self.fold(line, self.is_open(line.path, self._at(line.path)))

    def fold(self, line: TreeLine, folded: bool) -> None:
        """Fold or unfold what a line is about."""
        if line.folds:
            self._folded[line.path] = folded

    def _at(self, path: Path) -> Any:
        value = self.value
        for step in path:
            value = value[step]
        return value

    def unfold(self, path: Path) -> None:
        """Unfold all that a path leads through, and show so many children of each that it is among them."""
        value = self.value
        for depth, step in enumerate(path):
            above = path[:depth]
            if above and not self.is_open(above, value):
                self._folded[above] = False
            at = step if isinstance(step, int) else next(at for at, key in enumerate(value) if key == step)
            if at >= self._pages.get(above, PAGE):
                self._pages[above] = (at // PAGE + 1) * PAGE
            value = value[step]

    def places(self, pattern: re.Pattern[str]) -> Iterator[Place | None]:
        """Yield where a pattern stands in names and values, folded or not, in their order; None after each."""
        for name, text in texts_of(self.value):
            yield from places_in(text, name, pattern)

    def lines(self, width: int) -> list[TreeLine]:
        """Return the visible lines for a width in cells."""
        if isinstance(self.value, dict | list) and self.value:
            return list(self._children((), self.value, width))
        return list(self._lines((), _Head(), self.value, width))

    def _children(self, path: Path, value: dict[str, Any] | list[Any], width: int) -> Iterator[TreeLine]:
        shown = self._pages.get(path, PAGE)
        items = list(islice(_pairs(value), shown))
        names = [_name(key) for key, _ in items]
        column = min(NAME_WIDTH, max((cell_len(name) for name in names), default=0))
        indent = _indent(len(path), width)
        for (key, item), name in zip(items, names, strict=True):
            below = (*path, key)
            if cell_len(indent.text) + cell_len(name) > width // 2:
                # Its value would have no room beside it: it goes below.
                pieces = wrapped(name, max(8, width - cell_len(indent.text)))
                for piece, start in zip(pieces, line_starts(name, pieces), strict=True):
                    shows = (Shown(1, TextName(below, True), start),)
                    yield TreeLine(below, (indent, Styled(piece, "label")), shows=shows)
                head = _Head((indent, Styled("  ")))
            else:
                label = Styled(name + " " * max(0, column - cell_len(name)) + "  ", "label")
                head = _Head((indent, label), (Shown(1, TextName(below, True), 0),))
            yield from self._lines(below, head, item, width)
        if len(value) > shown:
            words = f"… {len(value) - shown:,} more, enter shows {min(PAGE, len(value) - shown)}"
            yield TreeLine(path, (indent, Styled(words, "dim")), more=True)

    def _lines(self, path: Path, head: _Head, value: Any, width: int) -> Iterator[TreeLine]:
        if isinstance(value, dict | list) and value:
            opened = self.is_open(path, value)
            size = plural(len(value), "key") if isinstance(value, dict) else plural(len(value), "item")
            parts = (*head.parts, Styled("▾ " if opened else "▸ ", "focus"), Styled(size, "dim"))
            yield TreeLine(path, parts, folds=True, shows=head.shows)
            if opened:
                yield from self._children(path, value, width)
        elif isinstance(value, str):
            yield from self._text(path, head, value, width)
        else:
            room = max(8, width - head.width)
            scalar = _scalar(value)
            pieces = wrapped(scalar.text, room)
            starts = line_starts(scalar.text, pieces)
            yield head.line(path, (scalar._replace(text=pieces[0]),), starts[0])
            for piece, start in zip(pieces[1:], starts[1:], strict=True):
                further = _Head((Styled(" " * (width - room)),))
                yield further.line(path, (scalar._replace(text=piece),), start)

    def _text(self, path: Path, head: _Head, value: str, width: int) -> Iterator[TreeLine]:
        room = max(8, width - head.width)
        if value == MASK:
            parts = (*head.parts, Styled("••••••••", "dim"), Styled(f"  {self.reveal_key} reveal", "dim"))
            yield TreeLine(path, parts, shows=head.shows)
            return
        if len(value) <= room and "\n" not in value:
            flat = f'"{clean(value, single_line=True)}"'
            if cell_len(flat) <= room:
                yield head.line(path, (Styled(flat),), None if "\t" in value else -1)
                return
        if not self.is_open(path, value):
            beginning = value[: 4 * room]
            size = f"  {byte_size(len(value.encode('utf-8', 'replace')))}"
            quoted = f'"{clean(beginning, single_line=True)}"'
            brief = Styled(cell_fit(quoted, room - len(size) - 2))
            folded = _Head((*head.parts, Styled("▸ ", "focus")), head.shows)
            # A tab is one sign here and some spaces in the text that is searched.
            start = None if "\t" in beginning else -1
            yield folded.line(path, (brief, Styled(size, "dim")), start, folds=True)
            return
        yield TreeLine(path, (*head.parts, Styled("▾ ", "focus")), folds=True, shows=head.shows)
        further = _Head((Styled(_indent(len(path), width).text + "  "),))
        text = _whole(value)
        pieces = wrapped(text, max(8, width - further.width))
        for piece, start in zip(pieces, line_starts(text, pieces), strict=True):
            yield further.line(path, (Styled(piece),), start)


class _Head(NamedTuple):
    """What stands before a value, and what of that shows its name."""

    parts: tuple[Styled, ...] = ()
    shows: tuple[Shown, ...] = ()

    @property
    def width(self) -> int:
        """Its cells."""
        return sum(cell_len(part.text) for part in self.parts)

    def line(
        self, path: Path, parts: tuple[Styled, ...], start: int | None, *, folds: bool = False
    ) -> TreeLine:
        """Make a line of it and a value, whose first part shows the text from a character on; None for no text."""
        value = () if start is None else (Shown(len(self.parts), TextName(path), start),)
        return TreeLine(path, (*self.parts, *parts), folds=folds, shows=(*self.shows, *value))


def texts_of(value: Any) -> Iterator[tuple[TextName, str]]:
    """Yield the names and values in a JSON value as they are shown unfolded, in the order of their lines.

    Indexes of lists and masked secrets are none.
    """
    waiting: list[Iterator[tuple[Path, Any]]] = [iter([((), value)])]
    while waiting:
        entry = next(waiting[-1], None)
        if entry is None:
            waiting.pop()
            continue
        path, item = entry
        if path and isinstance(path[-1], str):
            yield TextName(path, True), _name(path[-1])
        if isinstance(item, dict | list) and item:
            waiting.append(_below(path, item))
        elif item != MASK:
            yield TextName(path), _whole(item) if isinstance(item, str) else _scalar(item).text


def _pairs(value: dict[str, Any] | list[Any]) -> Iterable[tuple[str | int, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value)


def _below(path: Path, value: dict[str, Any] | list[Any]) -> Iterator[tuple[Path, Any]]:
    return (((*path, key), item) for key, item in _pairs(value))


def _name(key: str | int) -> str:
    return clean(str(key), single_line=True, limit=NAME_LIMIT) or '""'


def _whole(text: str) -> str:
    """A text as it is shown unfolded."""
    return untabbed(clean(text, limit=TEXT_LIMIT, line_limit=TEXT_LIMIT, max_lines=TEXT_LIMIT))


def _indent(depth: int, width: int) -> Styled:
    """Two cells a level; beyond a quarter of the width, the level as a number."""
    spaces = "  " * depth
    return Styled(spaces) if len(spaces) <= width // 4 else Styled(f"level {depth}  ", "dim")


def _scalar(value: Any) -> Styled:
    if value is None or isinstance(value, bool):
        return Styled(json.dumps(value), "dim")
    if isinstance(value, dict | list):
        return Styled("{}" if isinstance(value, dict) else "[]", "dim")
    return Styled(clean(str(value), single_line=True, limit=NAME_LIMIT))
