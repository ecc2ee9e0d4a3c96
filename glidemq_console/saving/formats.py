"""Rows of a list as CSV, JSON or Markdown: inert on a terminal and in a spreadsheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from ..text.safe import clean, json_line

#: Characters with which a spreadsheet takes a cell for a formula.
_FORMULA: Final = ("=", "+", "-", "@")
#: Characters of one cell at most; whoever wants longer values takes JSON.
CELL_LIMIT: Final = 32_000


@dataclass(frozen=True, slots=True)
class SavedRow:
    """One row, its secrets masked already."""

    #: As the list shows it, by the title of the column.
    shown: Mapping[str, str]
    #: Its values as JSON has them.
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What the rows are."""

    screen: str
    queue: str | None = None
    #: What else says which rows these are, such as a state or a filter.
    narrowed: Mapping[str, str] = field(default_factory=dict)
    at_ms: int
    titles: Sequence[str]


class Format(Protocol):
    """How rows are written. Texts are UTF-8, each piece a whole line or lines."""

    def begin(self, about: About, first: Sequence[SavedRow]) -> str:
        """Return what stands before the rows; `first` are the first of them."""

    def row(self, row: SavedRow) -> str:
        """Return one row."""

    def end(self, partial: str | None) -> str:
        """Return what stands behind the rows; `partial` says why some are missing."""


class Csv:
    """A line of names and a line a row, with the values that JSON has, nested ones as JSON."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def begin(self, about: About, first: Sequence[SavedRow]) -> str:
        self._names = list(dict.fromkeys(name for row in first for name in row.fields))
        return self._line(self._names) if self._names else ""

    def row(self, row: SavedRow) -> str:
        return self._line([row.fields.get(name) for name in self._names])

    def end(self, partial: str | None) -> str:
        # A line that is no row would be read as one: that it is partial is told where it was asked for.
        return ""

    @staticmethod
    def _line(values: Sequence[Any]) -> str:
        return ",".join(map(csv_cell, values)) + "\r\n"


def csv_cell(value: Any) -> str:
    """Return a value as a cell that no spreadsheet runs."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_line(value)
    text = clean(text, limit=CELL_LIMIT, single_line=True)
    if text.startswith(_FORMULA):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"') else text


class Json:
    """One object; its `rows` stand a line each, and `partial` says why some are missing."""

    def __init__(self) -> None:
        self._written = 0

    def begin(self, about: About, first: Sequence[SavedRow]) -> str:
        head = {"list": about.screen, "queue": about.queue, **about.narrowed, "at_ms": about.at_ms}
        return json_line(head).removesuffix("}") + ',"rows":[\n'

    def row(self, row: SavedRow) -> str:
        self._written += 1
        return ("" if self._written == 1 else ",\n") + json_line(dict(row.fields))

    def end(self, partial: str | None) -> str:
        return ("\n" if self._written else "") + f'],"partial":{json_line(partial)}}}\n'


class Markdown:
    """A table of what the list shows."""

    def __init__(self) -> None:
        self._titles: Sequence[str] = ()

    def begin(self, about: About, first: Sequence[SavedRow]) -> str:
        self._titles = about.titles
        return self._line(self._titles) + self._line(["---"] * len(self._titles))

    def row(self, row: SavedRow) -> str:
        return self._line([row.shown.get(title, "") for title in self._titles])

    def end(self, partial: str | None) -> str:
        return f"\npartial: {partial}\n" if partial else ""

    @staticmethod
    def _line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_markdown_cell(cell) for cell in cells) + " |\n"


def _markdown_cell(text: str) -> str:
    """Return text that stays one cell, and no markup of its own."""
    text = clean(text, limit=CELL_LIMIT, single_line=True).strip()
    for sign in "\\|`*_<>[]":
        text = text.replace(sign, "\\" + sign)
    return text


#: How rows can be written, by the ending of the file.
FORMATS: Final[Mapping[str, type[Csv | Json | Markdown]]] = {"csv": Csv, "json": Json, "md": Markdown}
