"""Tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_BARS = str.maketrans({"|": "\\|", "\n": " "})


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(cell.translate(_BARS) for cell in row) + " |"
    yield ""
