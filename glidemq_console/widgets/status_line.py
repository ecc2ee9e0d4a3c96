"""Lines of given parts: header, footer, tabs, rules, results. One widget a line, left and right aligned halves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from .drawn import Bar, Drawn, segments, strip
from .styled import Parts, Styled, entry_at, fit, width_of, wrap


class PartsView(Drawn):
    """Draws lines of parts as they are given; what does not fit is cut with an ellipsis, or wrapped."""

    DEFAULT_CSS = """
    PartsView {
        height: auto;
        width: 1fr;
    }
    """

    def __init__(
        self,
        lines: Sequence[Parts] = (),
        *,
        wraps: bool = False,
        hang: int | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """Make a view of some lines; those that are wrapped go on `hang` cells from the left."""
        super().__init__(id=id, classes=classes)
        self._lines = [list(line) for line in lines]
        self._wraps = wraps
        self._hang = hang
        self._wrapped: tuple[int, list[list[Styled]]] = (0, [])

    @property
    def lines(self) -> list[list[Styled]]:
        """The lines that are shown."""
        return self._lines

    @property
    def text(self) -> str:
        """The lines as plain text."""
        return "\n".join("".join(part.text for part in line) for line in self._lines)

    def show(self, lines: Sequence[Parts]) -> None:
        """Show these lines; nothing is painted when they are what is shown already."""
        new = [list(line) for line in lines]
        if new != self._lines:
            before = len(self._drawn(self.size.width))
            self._lines = new
            self._wrapped = (0, [])
            self.refresh(layout=len(self._drawn(self.size.width)) != before)

    def _drawn(self, width: int) -> list[list[Styled]]:
        """The lines as they fit."""
        if not self._wraps:
            return self._lines
        if self._wrapped[0] != width:
            self._wrapped = width, [piece for line in self._lines for piece in wrap(line, width, self._hang)]
        return self._wrapped[1]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._drawn(width))

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        lines = self._drawn(width)
        if y >= len(lines):
            return Strip.blank(width, base)
        return strip(self.app, lines[y], width, base)


class StatusLine(Bar):
    """One line: the left parts give way to the right ones when space is short."""

    def __init__(
        self, left: Parts = (), right: Parts = (), *, id: str | None = None, classes: str | None = None
    ) -> None:
        """Make a line of a left and a right half."""
        super().__init__(id=id, classes=classes)
        self._left, self._right = list(left), list(right)
        self._is_left_first = False

    @property
    def text(self) -> str:
        """Both halves as plain text."""
        return "".join(part.text for part in (*self._left, *self._right))

    def show(self, left: Parts, right: Parts = (), *, is_left_first: bool = False) -> None:
        """Show these halves; nothing is painted when they are what is shown already.

        Args:
            is_left_first: Where there is no room for both, the right one leaves whole.
        """
        new = list(left), list(right)
        if new != (self._left, self._right):
            self._left, self._right = new
            self._is_left_first = is_left_first
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        if y:
            return Strip.blank(width, base)
        if self._is_left_first and width_of(self._left) + width_of(self._right) + 3 > width:
            return strip(self.app, fit([Styled(" "), *self._left], width - 1), width, base)
        right = fit(self._right, min(width, width_of(self._right)))
        left = fit([Styled(" "), *self._left], width - width_of(right) - 2)
        return strip(self.app, [*left, Styled(" "), *right], width, base)


class Rule(Drawn):
    """A hairline, with a title in it if it has one; the title of the focused pane carries the accent."""

    DEFAULT_CSS = """
    Rule {
        height: 1;
        width: 1fr;
    }
    """

    def __init__(self, title: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        """Make a rule with a title of safe text."""
        super().__init__(id=id, classes=classes)
        self._title = title
        self._lit = False

    def show(self, title: str, *, lit: bool = False) -> None:
        """Show another title, lit when its pane has the focus."""
        if (title, lit) != (self._title, self._lit):
            self._title, self._lit = title, lit
            self.refresh()

    def light(self, lit: bool) -> None:
        """Put the accent on the title, or take it away."""
        self.show(self._title, lit=lit)

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        parts = []
        if self._title:
            parts = [
                Styled("── ", "hairline"),
                Styled(self._title, *(("focus", "bold") if self._lit else ("dim", ""))),
                Styled(" "),
            ]
        parts.append(Styled("─" * max(0, width - width_of(parts)), "hairline"))
        return strip(self.app, parts, width, base)


class TabBar(Bar):
    """Tabs of the screens or of a list's states: a click or a number key of the owner chooses one."""

    #: Cells between two tabs.
    GAP: ClassVar[int] = 2

    @dataclass
    class Chosen(Message):
        """A tab was clicked."""

        bar: TabBar
        key: str

    def __init__(
        self, *, one_by_one: bool = False, id: str | None = None, classes: str | None = None
    ) -> None:
        """Make a bar without tabs; where space is short they all go to their short form, or one by one."""
        super().__init__(id=id, classes=classes)
        self._one_by_one = one_by_one
        self._tabs: list[tuple[str, list[Styled], list[Styled]]] = []
        self._current = ""
        self._right: list[tuple[str, list[Styled]]] | None = None

    def show(
        self,
        tabs: Sequence[tuple[str, Parts, Parts]],
        current: str,
        right: Sequence[tuple[str, Parts]] | None = None,
    ) -> None:
        """Show tabs of (key, parts, short parts); where space is short, the current one is shown in full.

        Args:
            tabs: The tabs.
            current: Key of the one that is lit.
            right: Words at the right end, by their keys; beside them every other tab is short. None for none.
        """
        new = [(key, list(parts), list(short)) for key, parts, short in tabs]
        words = None if right is None else [(key, list(parts)) for key, parts in right]
        if (new, current, words) != (self._tabs, self._current, self._right):
            self._tabs, self._current, self._right = new, current, words
            self.refresh()

    def _gap(self) -> int:
        """Cells between two tabs; fewer where they share the line."""
        return self.GAP if self._right is None else 1

    def _placed(self) -> list[tuple[str, list[Styled]]]:
        if self._right is not None:
            beside = [(key, parts if key == self._current else short) for key, parts, short in self._tabs]
            if sum(width_of(parts) + 1 for _, parts in beside) <= self._right_at():
                return beside
            return [(key, short) for key, _, short in self._tabs]
        placed = [(key, parts) for key, parts, _ in self._tabs]
        over = sum(width_of(parts) + self.GAP for _, parts in placed) - self.GAP - (self.size.width - 1)
        for at in reversed(range(len(placed))):
            key, parts, short = self._tabs[at]
            if over > 0 and key != self._current:
                placed[at] = key, short
                over -= width_of(parts) - width_of(short) if self._one_by_one else 0
        return placed

    def on_click(self, event: events.Click) -> None:
        key = entry_at(self._placed(), event.x, self._gap())
        if key is None and self._right is not None:
            # The first entry of a line stands at cell 1.
            key = entry_at(self._right, event.x - self._right_at() + 1, 1) or None
        if key is not None:
            event.stop()
            self.post_message(self.Chosen(self, key))

    def _right_at(self) -> int:
        """Cell at which the words at the right end begin."""
        words = self._right or []
        return self.size.width - sum(width_of(parts) + 1 for _, parts in words)

    def render_line(self, y: int) -> Strip:
        base = self.rich_style
        line = segments(self.app, [Styled(" ")], base)
        for key, parts in self._placed():
            lit = key == self._current
            shown = [part._replace(attributes="bold underline") if lit else part for part in parts]
            line += segments(self.app, [*fit(shown, width_of(shown)), Styled(" " * self._gap())], base)
        if not self._right:
            return Strip(line).adjust_cell_length(self.size.width, base)
        left = Strip(line).adjust_cell_length(max(0, self._right_at()), base)
        words = [piece for _, parts in self._right for piece in (*parts, Styled(" "))]
        return Strip.join([left, Strip(segments(self.app, words, base))]).adjust_cell_length(
            self.size.width, base
        )
