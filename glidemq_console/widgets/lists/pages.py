"""The rows of a list that are known: all of a short one, pages of a long one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from .columns import Row

#: Rows kept in memory when the owner hands them in by pages.
KEPT_ROWS = 2_000


class Pages:
    """Rows by their index; rows of an older page stay until new ones come in their place."""

    def __init__(self) -> None:
        self.total = 0
        self._rows: dict[int, Row] = {}
        self._fresh: set[int] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, index: int) -> Row | None:
        """Return the row at an index, None if it is not known."""
        return self._rows.get(index)

    def key_at(self, index: int) -> Hashable | None:
        """Return the key of the row at an index, None if it is not known."""
        row = self._rows.get(index)
        return row.key if row is not None else None

    def index_of(self, key: Hashable) -> int | None:
        """Return where the row with a key stands, None if no such row is known."""
        return next((index for index, row in self._rows.items() if row.key == key), None)

    def is_fresh(self, first: int, last: int) -> bool:
        """Return whether the last page covers the rows `first` to `last` (exclusive)."""
        return all(index in self._fresh for index in range(first, last))

    def take(self, total: int, start: int, rows: Sequence[Row], *, whole: bool) -> list[int]:
        """Take rows that stand at `start` of `total`, all of them if `whole`; return the indexes that changed."""
        changed = [start + i for i, row in enumerate(rows) if self._rows.get(start + i) != row]
        if whole:
            changed += range(len(rows), self.total)
            self._rows = {}
        elif total != self.total:
            # Everything behind an added or removed row has moved: what is kept is only there to look at.
            self._rows = {index: row for index, row in self._rows.items() if index < total}
        self._fresh = set(range(start, start + len(rows)))
        self._rows.update(enumerate(rows, start))
        self.total = total
        if not whole and len(self._rows) > KEPT_ROWS:
            nearest = sorted(self._rows, key=lambda index: abs(index - start))[: KEPT_ROWS // 2]
            self._rows = {index: self._rows[index] for index in nearest}
        return changed
