"""Marking rows of a list: one, a range, all."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

from textual.binding import Binding, BindingType

from ..scrolling import CursorScrolled

MARK_KEYS: Final[tuple[BindingType, ...]] = (
    Binding("space", "mark", "mark", show=False),
    Binding("ctrl+@", "mark_range", "mark range", show=False),
    Binding("shift+up", "mark_move(-1)", "mark up", show=False),
    Binding("shift+down", "mark_move(1)", "mark down", show=False),
    Binding("asterisk", "mark_all", "mark all", show=False),
)


class Markable(CursorScrolled):
    """A list whose rows have keys and can be marked."""

    #: Whether they can be here.
    markable = False
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

    def index_of(self, key: Hashable) -> int | None:
        """Return where the row with a key stands, None while it is not known."""
        raise NotImplementedError

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
        """Mark the known rows from the one that was marked last to the cursor."""
        last = self.index_of(self._marked_last) if self._marked_last is not None else None
        start, end = sorted((self._cursor if last is None else last, self._cursor))
        keys = (self.key_at(index) for index in range(start, end + 1))
        self.set_marks(self.marks | {key for key in keys if key is not None})
        self._marked_last = self.key_at(self._cursor)

    def action_mark_move(self, lines: int) -> None:
        """Mark the row under the cursor and the one it moves to."""
        self._marked_last = self.key_at(self._cursor)
        self.action_move(lines)
        self.action_mark_range()

    def action_mark_all(self) -> None:
        """Mark every row that is known."""
        keys = (self.key_at(index) for index in range(self.line_count))
        self.set_marks({key for key in keys if key is not None})

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.markable if action.startswith("mark") else True
