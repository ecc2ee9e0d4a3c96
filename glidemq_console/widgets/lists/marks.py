"""Marking rows of a list: one, or a range; the owner marks all, for it knows what is not listed yet."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

from textual.binding import Binding, BindingType

from ..scrolling import CursorScrolled

MARK_KEYS: Final[tuple[BindingType, ...]] = (
    Binding("space", "mark", "mark", show=False),
    Binding("ctrl+@", "mark_range", "mark range", show=False),
    Binding("shift+up", "mark_move(-1)", "mark up", show=False),
    Binding("shift+down", "mark_move(1)", "mark down", show=False),
)


class Markable(CursorScrolled):
    """A list whose rows have keys and can be marked."""

    #: Whether they can be here.
    markable = False
    #: Knows the keys of all rows where those are handed in by pages.
    _keys: Callable[[], Sequence[Hashable]] | None = None
    #: The row that was marked last, from which a range is marked.
    _marked_last: Hashable | None = None

    @property
    def marks(self) -> frozenset[Hashable]:
        """Keys of the marked rows."""
        raise NotImplementedError

    def set_marks(self, keys: Iterable[Hashable]) -> None:
        """Mark exactly these rows."""
        raise NotImplementedError

    def key_at(self, index: int) -> Hashable | None:
        """Return the key of a row, None while it is not known."""
        raise NotImplementedError

    def name_rows(self, keys: Callable[[], Sequence[Hashable]]) -> None:
        """Say who knows the keys of all rows, those too that were not handed in."""
        self._keys = keys

    def all_keys(self) -> Sequence[Hashable | None]:
        """Return the keys of all rows, None of those that nobody knows."""
        if self._keys is not None:
            return self._keys()
        return [self.key_at(index) for index in range(self.line_count)]

    def toggle_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away."""
        key = self.key_at(self._cursor)
        if key is not None:
            self._marked_last = key
            self.set_marks(self.marks ^ {key})

    def action_mark(self) -> None:
        """Mark the row under the cursor, or take its mark away, and go on to the next one."""
        if self.markable and self.key_at(self._cursor) is not None:
            self.toggle_mark()
            self.action_move(1)

    def action_mark_range(self) -> None:
        """Mark the rows from the one that was marked last to the cursor."""
        keys = self.all_keys()
        last = keys.index(self._marked_last) if self._marked_last in keys else self._cursor
        start, end = sorted((last, self._cursor))
        self.set_marks(self.marks | {key for key in keys[start : end + 1] if key is not None})
        self._marked_last = self.key_at(self._cursor)

    def action_mark_move(self, lines: int) -> None:
        """Mark the row under the cursor and the one it moves to."""
        self._marked_last = self.key_at(self._cursor)
        self.action_move(lines)
        self.action_mark_range()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.markable if action.startswith("mark") else True
