"""Lists whose filter acts on more than what is loaded: how far it looked, and looking further on the last row."""

from __future__ import annotations

from ...model.lists.looked import Looked
from ...widgets.lists.columns import Heading, Row
from ...widgets.styled import dim
from .list_screen import ListScreen
from .marking import T


class FilteringScreen(ListScreen[T]):
    """A list whose filter has its rows looked for."""

    #: How often it was asked to look further for what the filter takes.
    _further = 0

    @property
    def progress(self) -> Looked | None:
        """How far the filter has looked; None without one."""
        raise NotImplementedError

    def last_row(self) -> Row | None:
        """The row below what was found, where enter looks further."""
        progress = self.progress
        if progress is None or progress.is_searching or not progress.has_more:
            return None
        return Row(Heading("further"), {}, words=[dim(f"{progress.words} · enter looks further")])

    def open_row(self) -> None:
        if isinstance(self.lines.cursor_key, Heading):
            self.look_further()
        else:
            super().open_row()

    def look_further(self) -> None:
        """Have the filter look as far again."""
        self._further += 1
        self.console.set_interests()
