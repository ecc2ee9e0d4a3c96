"""Marked rows of a list: by what identifies them, whether they are listed now or not, until they are gone."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from ...text.format import plural
from ...widgets.lists.columns import Heading
from ...widgets.lists.row_list import RowList
from ...widgets.styled import Parts, Styled, dim
from ..frame import ConsoleScreen

T = TypeVar("T")

#: Jobs that are marked at most.
MOST_MARKED = 10_000


class MarkingScreen(ConsoleScreen, Generic[T]):
    """A screen with a list whose rows can be marked; acts work on the marked items, else on the selected one."""

    def __init__(self) -> None:
        super().__init__()
        #: What is listed, in order.
        self.listed: Sequence[T] = ()
        #: What is marked, as it was shown last.
        self._marked_items: dict[Hashable, T] = {}
        #: The same as it was when undo was last told of it.
        self._noted: dict[Hashable, T] = {}
        #: All that match are being read, to be marked.
        self._is_scanning = False

    # --- for subclasses ------------------------------------------------------------------------------------

    @property
    def lines(self) -> RowList:
        """The list."""
        raise NotImplementedError

    def key_of(self, item: T) -> Hashable:
        """What identifies an item from one snapshot to the next."""
        raise NotImplementedError

    # --- what is marked ------------------------------------------------------------------------------------

    @property
    def marked_items(self) -> tuple[T, ...]:
        """What is marked, as it was shown last, in the order in which it was marked."""
        if self.is_up:
            self._note_marks(self.lines.marks)
        return tuple(self._marked_items.values())

    def _note_marks(self, keys: Collection[Hashable]) -> None:
        if keys == self._marked_items.keys():
            return
        new = set(keys) - self._marked_items.keys()
        found = {key: item for item in self.listed if (key := self.key_of(item)) in new} if new else {}
        kept = {key: item for key, item in self._marked_items.items() if key in keys}
        self._marked_items = kept | found

    def mark_items(self, items: Mapping[Hashable, T], *, undoable: bool = False) -> None:
        """Mark exactly these items.

        Args:
            undoable: A person did it, and may take it back.
        """
        self._marked_items = dict(items)
        if not undoable:
            self._noted = dict(items)
        self.lines.set_marks(items)

    def on_row_list_marks_changed(self, event: RowList.MarksChanged) -> None:
        if event.lines is self.lines:
            self._note_marks(event.keys)
            before, self._noted = self._noted, dict(self._marked_items)
            if before.keys() != self._noted.keys():
                self.console.undo.note("marks", self.console.now_ms(), lambda: self._mark_back(before))
            self.show(self.snapshot)

    def _mark_back(self, items: Mapping[Hashable, T]) -> str:
        self.mark_items(items)
        return f"{plural(len(items), 'row')} marked again" if items else "no row is marked any more"

    def see_marked(self, current: Mapping[Hashable, T], gone: Collection[Hashable]) -> None:
        """Take note of what marked items are now, and take the marks off those that are gone; that is told."""
        self._marked_items = {
            key: current.get(key, item) for key, item in self._marked_items.items() if key not in gone
        }
        if gone:
            self._noted = dict(self._marked_items)
            self.lines.set_marks(self._marked_items)
            words = "1 marked row is gone" if len(gone) == 1 else f"{len(gone):,} marked rows are gone"
            self.show_message(words, token="warning")

    def clear_marks(self) -> bool:
        """Take all marks away; False when there are none."""
        if not self.marked_items:
            return False
        self.mark_items({}, undoable=True)
        return True

    def marked_parts(self) -> Parts:
        count = len(self._marked_items)
        if not count:
            return []
        parts = [Styled(f"{count:,} marked", "focus", "bold")]
        if self.filter_text:
            hidden = count - len(self._marked_items.keys() & {self.key_of(item) for item in self.listed})
            parts += [Styled(f", {hidden:,} not listed", "warning")] if hidden else []
        return [*parts, dim("  ")]

    # --- what actions call ---------------------------------------------------------------------------------

    def has_rows(self) -> bool:
        return bool(self.listed)

    def mark(self) -> None:
        self.lines.action_mark()

    def mark_range(self) -> None:
        self.lines.action_mark_range()

    async def mark_all(self) -> str | None:
        """Mark all that match the filter; return what to show."""
        items = {key: item for item in self.listed if not isinstance(key := self.key_of(item), Heading)}
        self.mark_items(self._marked_items | items, undoable=True)
        return f"{len(self._marked_items):,} marked"

    def stop_scan(self) -> bool:
        """Stop reading all that match; False when that is not going on."""
        was, self._is_scanning = self._is_scanning, False
        return was

    def take_marks(self) -> None:
        """Take all marks away while an act works on what was marked."""
        self.mark_items({})

    def mark_again(self, items: Sequence[T]) -> None:
        """Mark what an act left as it was."""
        self.mark_items(self._marked_items | {self.key_of(item): item for item in items})
