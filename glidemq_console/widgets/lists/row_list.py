"""A list of rows that stays fluid at any length: it draws what is visible and asks its owner for what is missing."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from ..drawn import strip
from ..scrolling import CURSOR_KEYS
from ..styled import Parts, Styled
from .columns import GUTTER, Column, Heading, Row, column_at
from .headed import Headed
from .marks import MARK_KEYS
from .pages import Pages
from .row_strips import Look, row_strip

#: Rows asked for above and below what is visible.
MARGIN = 25


class RowList(Headed, can_focus=True, inherit_bindings=False):
    """Rows under a header; once moved, the cursor stays on the row with its key, wherever a refresh puts that row.

    Before, it stays on the first row whatever that is, unless the list `holds` the row that it began with.

    Short lists: `show(rows)`. Long ones: `set_page(total, start, rows)` whenever a page is known, and answer
    `Needed` with the pages asked for. Rows of an older page stay visible until the new ones come.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *CURSOR_KEYS,
        Binding("enter", "choose", "open", show=False),
        *MARK_KEYS,
    ]

    stale: reactive[bool] = reactive(False)
    """Draw everything dim: the data is older than it should be."""

    @dataclass
    class _About(Message):
        lines: RowList
        key: Hashable | None
        index: int

    class Highlighted(_About):
        """The cursor is on another row now (`key` is None while that row is unknown)."""

    class Chosen(_About):
        """The row was opened: enter or a double click."""

    @dataclass
    class Needed(Message):
        """Rows `start` to `end` (exclusive) are about to be seen and unknown or old."""

        lines: RowList
        start: int
        end: int

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RowList.Needed) and message.lines is self.lines

    @dataclass
    class SortAsked(Message):
        """The title of a column was clicked."""

        lines: RowList
        column: str

    @dataclass
    class MarksChanged(Message):
        """Another set of rows is marked."""

        lines: RowList
        keys: frozenset[Hashable]

    def __init__(
        self,
        columns: Sequence[Column[Any]],
        *,
        markable: bool = False,
        holds: bool = False,
        empty: Sequence[Parts] = (),
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """Make a list whose `empty` lines stand in the place of no rows; with `markable`, `space` marks rows.

        With `holds` the row under the cursor is followed from the start, as where it is read beside the list.
        """
        super().__init__(columns, id=id, classes=classes)
        self.markable = markable
        self._holds = holds
        self._empty = tuple(empty)
        self._reading = False
        #: Enter came before the row: it is opened once it is there.
        self._choose_early = False
        self._rows = Pages()
        self._cursor_key: Hashable | None = None
        self._touched = False
        self._marks: set[Hashable] = set()
        self._strips: LRUCache[tuple[int, bool, bool, bool], Strip] = LRUCache(1_000)
        self._asked: tuple[int, int] | None = None

    # --- data ---

    @property
    def total(self) -> int:
        """How many rows there are, known or not."""
        return self._rows.total

    line_count = total

    @property
    def cursor_index(self) -> int:
        """Index of the row under the cursor."""
        return self._cursor

    @property
    def cursor_key(self) -> Hashable | None:
        """Key of the row under the cursor; None when there is none or it is not known yet."""
        return self._cursor_key

    @property
    def marks(self) -> frozenset[Hashable]:
        """Keys of the marked rows."""
        return frozenset(self._marks)

    @property
    def visible_range(self) -> tuple[int, int]:
        """Indexes of the rows on the screen, the second one exclusive."""
        start = min(round(self.scroll_y), self.total)
        return start, min(self.total, start + max(0, self.size.height - self.header_lines))

    def row_at(self, index: int) -> Row | None:
        """Return the row at an index, None if it is not known."""
        return self._rows.get(index)

    def visible_keys(self) -> list[Hashable]:
        """Return the keys of the known rows on the screen."""
        keys = map(self._rows.key_at, range(*self.visible_range))
        return [key for key in keys if key is not None]

    def show(self, rows: Sequence[Row]) -> None:
        """Show exactly these rows."""
        self._update(len(rows), 0, rows, whole=True)

    def set_page(self, total: int, start: int, rows: Sequence[Row]) -> None:
        """Take a page of a long list: `rows` stand at `start` and there are `total` in all."""
        self._update(total, start, rows, whole=len(rows) >= total)

    def clear(self) -> None:
        """Forget rows and cursor, as for another list; marks are the owner's."""
        self._touched = False
        self._choose_early = False
        self._cursor, self._cursor_key = 0, None
        self._update(0, 0, (), whole=True)
        self.scroll_to(y=0, animate=False, force=True)

    def to_top(self) -> None:
        """Show the first rows with the cursor on the first, as after a change of what is listed or in which order."""
        self._touched = False
        if self._cursor:
            self._put_cursor(0)
        self.scroll_to(y=0, animate=False, force=True)

    def set_empty(self, lines: Sequence[Parts]) -> None:
        """Say what stands in the place of the rows when there are none."""
        self._reading = False
        self._say_empty(lines)

    def set_reading(self) -> None:
        """Say that the rows are being read; the one that enter asks for meanwhile is opened when it comes."""
        self._reading = True
        self._say_empty([[], [Styled("reading …", "dim")]])

    def _say_empty(self, lines: Sequence[Parts]) -> None:
        empty = tuple(lines)
        if empty != self._empty:
            self._empty = empty
            if self.total == 0:
                self.refresh()

    def set_marks(self, keys: Iterable[Hashable]) -> None:
        """Mark exactly these rows."""
        marks = {key for key in keys if not isinstance(key, Heading)}
        if marks != self._marks:
            self._marks = marks
            self.refresh()
            self.post_message(self.MarksChanged(self, frozenset(marks)))

    def _update(self, total: int, start: int, rows: Sequence[Row], *, whole: bool) -> None:
        resized = total != self.total
        changed = self._rows.take(total, start, rows, whole=whole)
        self._asked = None
        if resized:
            self._measure()
        self._follow(start, rows, whole=whole)
        for index in changed:
            self._forget_strips(index)
        if resized and (total == 0 or len(changed) == total):
            self.refresh()
        else:
            self._refresh_rows(changed)
        self._ask()
        if total:
            self._reading = False
        if self._choose_early:
            self.action_choose()

    def _follow(self, start: int, rows: Sequence[Row], *, whole: bool) -> None:
        """Put the cursor where its row went; if that is gone, on what now stands there."""
        key, old_index = self._cursor_key, self._cursor
        index = old_index
        holds = self._holds and not isinstance(key, Heading)
        if key is not None and (self._touched or holds):
            index = next((start + i for i, row in enumerate(rows) if row.key == key), old_index)
        elif isinstance(self._rows.key_at(index), Heading) and not self._touched:
            # Reading begins with what stands under the first heading; where a row is followed, under all of them.
            below = index + 1
            while self._holds and isinstance(self._rows.key_at(below), Heading):
                below += 1
            key_below = self._rows.key_at(below)
            index = below if key_below is not None and not isinstance(key_below, Heading) else index
        index = self._nearest(index)
        new_key = self._rows.key_at(index)
        if new_key is None and not whole and index == old_index:
            new_key = key
        self._cursor, self._cursor_key = index, new_key
        if index != old_index:
            self._refresh_rows([old_index, index])
            if self._touched:
                self.scroll_to(y=max(0, round(self.scroll_y) + index - old_index), animate=False, force=True)
            elif self.size.height > self.header_lines:
                # Before it is laid out, all of it would be out of sight.
                self._reveal()
        if new_key != key:
            self._refresh_rows([index])
            self.post_message(self.Highlighted(self, new_key, index))

    def _ask(self) -> None:
        """Ask for rows near the viewport that are unknown or old."""
        if not self.is_mounted or self.total == 0:
            return
        first, last = self.visible_range
        if self._rows.is_fresh(first, last):
            return
        wanted = max(0, first - MARGIN), min(self.total, last + MARGIN)
        if wanted != self._asked:
            self._asked = wanted
            self.post_message(self.Needed(self, *wanted))

    # --- cursor ---

    def move_to(self, index: int) -> None:
        """Put the cursor on the row at an index and scroll it into view."""
        self._touched, self._choose_early = True, False
        if self.total == 0:
            return
        self._put_cursor(self._nearest(index))
        self._reveal()

    def _put_cursor(self, index: int) -> None:
        old, self._cursor = self._cursor, index
        key = self._rows.key_at(index)
        if old != index or key != self._cursor_key:
            self._cursor_key = key
            self._refresh_rows([old, index])
            self.post_message(self.Highlighted(self, key, index))

    def move_to_key(self, key: Hashable) -> bool:
        """Put the cursor on the row with a key; return False if no such row is known."""
        index = self._rows.index_of(key)
        if index is not None:
            self.move_to(index)
        return index is not None

    def action_choose(self) -> None:
        self._choose_early = self._cursor_key is None and (self._reading or self.total > 0)
        if self._cursor_key is not None:
            self.post_message(self.Chosen(self, self._cursor_key, self._cursor))

    def key_at(self, index: int) -> Hashable | None:
        return self._rows.key_at(index)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None:
            return
        if offset.y < self.header_lines:
            column = column_at(self._layout, offset.x)
            if column is not None and column.sort_key is not None:
                self.post_message(self.SortAsked(self, column.key))
        elif (index := round(self.scroll_y) + offset.y - self.header_lines) < self.total:
            self.move_to(index)
            if self.markable and event.ctrl:
                self.toggle_mark()
            elif self.markable and event.shift:
                self.action_mark_range()
            elif event.chain == 2:
                self.action_choose()
        event.stop()

    # --- drawing ---

    def on_mount(self) -> None:
        self._ask()

    def on_resize(self) -> None:
        self.lay_out()

    def lay_out(self) -> None:
        super().lay_out()
        self._strips.clear()
        self._ask()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._ask()

    def watch_stale(self) -> None:
        self._strips.clear()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._refresh_rows([self._cursor, -1])

    def _forget_strips(self, index: int) -> None:
        for flags in range(8):
            self._strips.discard((index, bool(flags & 1), bool(flags & 2), bool(flags & 4)))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y < self.header_lines:
            return self._header(y)
        index = round(self.scroll_y) + y - self.header_lines
        if self.total == 0 and y - self.header_lines - 1 in range(len(self._empty)):
            return strip(
                self.app, [Styled(" " * GUTTER), *self._empty[y - self.header_lines - 1]], width, base
            )
        if index >= self.total:
            return Strip.blank(width, base)
        row = self._rows.get(index)
        is_cursor = index == self._cursor
        is_marked = row is not None and row.key in self._marks
        state = (index, is_cursor, is_marked, self.has_focus)
        drawn = self._strips.get(state)
        if drawn is None or row is None:
            look = Look(is_cursor=is_cursor, is_marked=is_marked, focused=self.has_focus, stale=self.stale)
            drawn = row_strip(self.app, self._layout, row, look, width, base)
            if row is not None:
                self._strips[state] = drawn
        return drawn
