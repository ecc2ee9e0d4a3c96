"""What the screens around one list share."""

from __future__ import annotations

from typing import ClassVar

from textual.widget import Widget

from ..widgets.lists.row_list import RowList
from .frame import ConsoleScreen


class ListScreen(ConsoleScreen):
    """A screen whose work is done on a list of rows."""

    #: Id of the list, and the action that enter stands for.
    LIST: ClassVar[str]
    OPEN: ClassVar[str]

    @property
    def lines(self) -> RowList:
        return self.query_one(f"#{self.LIST}", RowList)

    def main_widget(self) -> Widget | None:
        return self.lines

    def on_row_list_chosen(self) -> None:
        self.console.action_act(self.OPEN)
