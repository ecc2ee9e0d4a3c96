"""What differs between two values, as lines for a person: nothing that differs is left out, nothing looks alike."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from . import format as fmt
from .safe import clean, mask

#: A line of a difference: its mark (`+`, `-` or blank) and its safe text.
DiffLine = tuple[str, str]

#: Colours of the lines of a difference, by their marks.
MARK_STYLES: Final[Mapping[str, str]] = {"+": "success", "-": "error", " ": "dim"}
#: Lines of a difference that are shown unless the caller allows more.
DIFF_LINES: Final = 40
#: Characters of a long line that are shown at least and at most, and how many beside those that differ.
_LINE, _MOST, _AROUND = 400, 4_000, 24
#: Lines on one side up to which they are compared one by one; what is longer is shown as replaced.
_COMPARED: Final = 2_000


def value_diff(before: Any, after: Any, *, most: int = DIFF_LINES, reveal: bool = False) -> list[DiffLine]:
    """Return the lines that differ between two values, with a line of context around them.

    Args:
        before: A JSON value, or a text.
        after: What has come in its place.
        most: Lines at most; a last one says how many more there are.
        reveal: Show secrets instead of masking them.
    """
    old, new = (_as_lines(value if reveal else mask(value)[0]) for value in (before, after))
    lines = list(_paired(_changes(old, new)))
    if len(lines) > most:
        return [*lines[:most], (" ", f"… {fmt.plural(len(lines) - most, 'line')} more")]
    return lines


def _as_lines(value: Any) -> list[str]:
    if isinstance(value, str):
        return value.split("\n")
    return json.dumps(value, indent=2, ensure_ascii=False, default=str).split("\n")


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield what is around a change as (" ", lines, []), and each change as ("!", lines before, lines after)."""
    shared = _shared(old, new)
    if shared == len(old) == len(new):
        return
    rest = min(len(old), len(new)) - shared
    tail = 0
    while tail < rest and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    # One line of context stays at either end.
    first, last = max(0, shared - 1), max(0, tail - 1)
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    if max(len(old), len(new)) > _COMPARED:
        head, foot = min(shared, 1), min(tail, 1)
        yield " ", list(old[:head]), []
        yield "!", list(old[head : len(old) - foot]), list(new[head : len(new) - foot])
        yield " ", list(old[len(old) - foot :]), []
        return
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for group in matcher.get_grouped_opcodes(1):
        for tag, a, b, c, d in group:
            yield (" ", list(old[a:b]), []) if tag == "equal" else ("!", list(old[a:b]), list(new[c:d]))


def _paired(changes: Iterator[tuple[str, list[str], list[str]]]) -> Iterator[DiffLine]:
    """Draw changes; of two lines that stand for each other, what differs is what is shown."""
    for kind, old, new in changes:
        if kind == " ":
            yield from ((" ", _drawn(line)) for line in old)
            continue
        pairs = [_pair(a, b) for a, b in zip(old, new, strict=False)]
        yield from (("-", a) for a, _ in pairs)
        yield from (("-", _drawn(line)) for line in old[len(pairs) :])
        yield from (("+", b) for _, b in pairs)
        yield from (("+", _drawn(line)) for line in new[len(pairs) :])


def _pair(old: str, new: str) -> tuple[str, str]:
    start = _shared(old, new)
    end = min(_shared(old[:start:-1], new[:start:-1]), len(old) - start, len(new) - start)
    shown = _drawn(old, start, end), _drawn(new, start, end)
    if shown[0] == shown[1]:
        # Characters that have the same stand-in, or the same look: as JSON they have escapes of their own.
        shown = _drawn(old, start, end, escaped=True), _drawn(new, start, end, escaped=True)
    return shown


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many items two sequences have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _drawn(line: str, start: int = 0, end: int = 0, *, escaped: bool = False) -> str:
    """Draw what differs of a line, and what is around it: from `start` to `end` characters before its end."""
    first = max(0, min(start - _AROUND, len(line) - _LINE))
    last = min(len(line), max(len(line) - end + _AROUND, first + _LINE))
    pieces = [line[first:last]]
    if last - first > _MOST:
        pieces = [line[first : first + _MOST // 2], line[last - _MOST // 2 : last]]
    texts = [json.dumps(piece)[1:-1] if escaped else clean(piece, single_line=True) for piece in pieces]
    left_out = f" … {last - first - _MOST:,} characters … "
    return ("… " if first else "") + left_out.join(texts) + (" …" if last < len(line) else "")
