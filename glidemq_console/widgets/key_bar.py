"""Lines whose parts can be clicked: words that lead somewhere, and the keys that work here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.message import Message
from textual.strip import Strip

from .drawn import Bar, strip
from .styled import Parts, Styled, entry_at, fit, width_of


class LinkBar(Bar):
    """Entries of (key, parts), and figures at the right end. A click chooses an entry that has a key."""

    #: Cells between two entries.
    GAP: ClassVar[int] = 3

    @dataclass
    class Chosen(Message):
        """An entry was clicked."""

        bar: LinkBar
        entry: str

    def __init__(self, *, id: str | None = None) -> None:
        """Make a bar without entries."""
        super().__init__(id=id)
        self._entries: list[tuple[str, list[Styled]]] = []
        self._right: list[Styled] = []

    @property
    def text(self) -> str:
        """What the entries say."""
        return "   ".join("".join(part.text for part in parts) for _, parts in self._placed())

    def show(self, entries: Sequence[tuple[str, Parts]], right: Parts = ()) -> None:
        """Show these entries, and `right` at the other end; nothing is painted when nothing changed."""
        new = [(key, list(parts)) for key, parts in entries], list(right)
        if new != (self._entries, self._right):
            self._entries, self._right = new
            self.refresh()

    def _placed(self) -> list[tuple[str, list[Styled]]]:
        """The entries that are drawn."""
        return self._entries

    def on_click(self, event: events.Click) -> None:
        if key := entry_at(self._placed(), event.x, self.GAP):
            event.stop()
            self.post_message(self.Chosen(self, key))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        left = [Styled(" ")]
        for index, (_, parts) in enumerate(self._placed()):
            left += [Styled(" " * self.GAP if index else ""), *parts]
        right = fit(self._right, min(width, width_of(self._right)))
        return strip(self.app, [*fit(left, width - width_of(right)), *right], width, self.rich_style)


class KeyBar(LinkBar):
    """Keys by the id of their action, as many as fit in the order given; the last one always fits."""

    def _placed(self) -> list[tuple[str, list[Styled]]]:
        if not self._entries:
            return []
        *others, last = self._entries
        room = self.size.width - self.GAP - width_of(self._right) - width_of(last[1])
        placed = []
        for entry in others:
            room -= width_of(entry[1]) + self.GAP
            if room < 0:
                break
            placed.append(entry)
        return [*placed, last]
