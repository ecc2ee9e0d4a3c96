"""A JSON value as lines that fold: only what is unfolded is ever walked, so size does not matter."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rich.cells import cell_len

from ...text.format import byte_size, plural
from ...text.safe import MASK, cell_fit, clean
from ...text.wrap import wrapped
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


@dataclass(frozen=True)
class TreeLine:
    """One line of the tree: its parts, and the value that folding it is about."""

    path: Path
    parts: tuple[Styled, ...]
    folds: bool = False
    more: bool = False
    """Stands for children that are not shown yet."""


class Tree:
    """What is folded and how the lines read."""

    def __init__(self, value: Any) -> None:
        self.value = value
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

    def lines(self, width: int) -> list[TreeLine]:
        """Return the visible lines for a width in cells."""
        if isinstance(self.value, dict | list) and self.value:
            return list(self._children((), self.value, width))
        return list(self._lines((), [], self.value, width))

    def _children(self, path: Path, value: dict[str, Any] | list[Any], width: int) -> Iterator[TreeLine]:
        shown = self._pages.get(path, PAGE)
        pairs: Iterable[tuple[str | int, Any]] = (
            value.items() if isinstance(value, dict) else enumerate(value)
        )
        items = list(islice(pairs, shown))
        names = [clean(str(key), single_line=True, limit=NAME_LIMIT) or '""' for key, _ in items]
        column = min(NAME_WIDTH, max((cell_len(name) for name in names), default=0))
        indent = _indent(len(path), width)
        for (key, item), name in zip(items, names, strict=True):
            if cell_len(indent.text) + cell_len(name) > width // 2:
                # Its value would have no room beside it: it goes below.
                for line in wrapped(name, max(8, width - cell_len(indent.text))):
                    yield TreeLine((*path, key), (indent, Styled(line, "label")))
                head = [indent, Styled("  ")]
            else:
                label = Styled(name + " " * max(0, column - cell_len(name)) + "  ", "label")
                head = [indent, label]
            yield from self._lines((*path, key), head, item, width)
        if len(value) > shown:
            words = f"… {len(value) - shown:,} more, enter shows {min(PAGE, len(value) - shown)}"
            yield TreeLine(path, (indent, Styled(words, "dim")), more=True)

    def _lines(self, path: Path, head: list[Styled], value: Any, width: int) -> Iterator[TreeLine]:
        if isinstance(value, dict | list) and value:
            opened = self.is_open(path, value)
            size = plural(len(value), "key") if isinstance(value, dict) else plural(len(value), "item")
            yield TreeLine(
                path, (*head, Styled("▾ " if opened else "▸ ", "focus"), Styled(size, "dim")), folds=True
            )
            if opened:
                yield from self._children(path, value, width)
        elif isinstance(value, str):
            yield from self._text(path, head, value, width)
        else:
            room = max(8, width - sum(cell_len(part.text) for part in head))
            scalar = _scalar(value)
            first, *rest = wrapped(scalar.text, room)
            yield TreeLine(path, (*head, scalar._replace(text=first)))
            for line in rest:
                yield TreeLine(path, (Styled(" " * (width - room)), scalar._replace(text=line)))

    def _text(self, path: Path, head: list[Styled], value: str, width: int) -> Iterator[TreeLine]:
        room = max(8, width - sum(cell_len(part.text) for part in head))
        if value == MASK:
            yield TreeLine(path, (*head, Styled("••••••••", "dim"), Styled("  v reveal", "dim")))
            return
        if len(value) <= room and "\n" not in value:
            flat = f'"{clean(value, single_line=True)}"'
            if cell_len(flat) <= room:
                yield TreeLine(path, (*head, Styled(flat)))
                return
        if not self.is_open(path, value):
            start = clean(value[: 4 * room], single_line=True)
            size = f"  {byte_size(len(value.encode('utf-8', 'replace')))}"
            brief = Styled(cell_fit(f'"{start}"', room - len(size) - 2))
            yield TreeLine(path, (*head, Styled("▸ ", "focus"), brief, Styled(size, "dim")), folds=True)
            return
        yield TreeLine(path, (*head, Styled("▾ ", "focus")), folds=True)
        indent = Styled(_indent(len(path), width).text + "  ")
        text = clean(value, limit=TEXT_LIMIT, line_limit=TEXT_LIMIT, max_lines=TEXT_LIMIT)
        for line in wrapped(text, max(8, width - len(indent.text))):
            yield TreeLine(path, (indent, Styled(line)))


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
