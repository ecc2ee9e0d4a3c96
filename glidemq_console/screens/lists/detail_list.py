"""A list with what is selected in it told in full, below the list or beside it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll

from ...model.snapshot import Snapshot
from ...text.shown_keys import key_of
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import PartsView, Rule
from ...widgets.styled import Parts
from .list_screen import ItemListScreen
from .marking import T

#: Rows of the list at least, with its header.
MIN_ROWS = 5


class DetailListScreen(ItemListScreen[T]):
    """A list and a detail of lines. The line between them stays where it is until the list changes its length."""

    # The detail stands beside the list; below it there is room for more than a summary.
    BREAKPOINTS: ClassVar = {"-wide": (130, 0), "-tall": (0, 32)}
    LIST = "detail-list"
    DEFAULT_CSS: ClassVar[str] = """
    DetailListScreen #panes { height: 1fr; layout: vertical; }
    DetailListScreen #detail-list { height: 1fr; width: 1fr; }
    DetailListScreen #detail { height: 1fr; width: 1fr; }
    DetailListScreen #detail-scroll { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    DetailListScreen.-wide #panes { layout: horizontal; }
    DetailListScreen.-wide #detail-list { width: 54%; height: 1fr; }
    DetailListScreen.-wide #detail { width: 46%; height: 1fr; border-left: vkey $hairline; padding: 0 0 0 1; }
    DetailListScreen.-zoomed #detail-list { display: none; }
    DetailListScreen.-zoomed #detail { width: 1fr; height: 1fr; border-left: none; }
    DetailListScreen.-none #detail { display: none; }
    DetailListScreen.-none #detail-list { width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_revealed = False
        self.is_bare = False

    def body(self) -> ComposeResult:
        with Container(id="panes"):
            yield RowList(self.COLUMNS, markable=True, id="detail-list", empty=self.EMPTY)
            with Vertical(id="detail"):
                yield Rule(id="detail-title")
                with VerticalScroll(id="detail-scroll", can_focus=False):
                    yield PartsView(id="detail-lines", wraps=True, hang=2)

    def detail(self, item: T, snapshot: Snapshot, now: int) -> tuple[str, list[Parts]]:
        """Return title and lines of what is selected."""
        raise NotImplementedError

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        self.fit("#panes")
        self.draw_detail()

    def height_in(self, room: int) -> int | str:
        return "1fr" if self.has_class("-wide") else max(MIN_ROWS, min(len(self.listed) + 2, room // 2))

    def draw_detail(self) -> None:
        """Draw the detail of what is selected."""
        item = self.selected_item
        if item is not None:
            title, lines = self.detail(item, self.snapshot, self.console.now_ms())
            self.query_one("#detail-title", Rule).show(title, lit=True)
            self.query_one("#detail-lines", PartsView).show(lines)

    @property
    def is_tall(self) -> bool:
        """Whether the detail has room for all there is."""
        return self.has_class("-tall") or self.has_class("-wide") or self.has_class("-zoomed")

    @property
    def reveals_secrets(self) -> bool:
        return self.is_revealed

    def leave(self) -> bool:
        if self.has_class("-zoomed"):
            self.toggle_detail()
            return True
        return super().leave()

    # --- events and actions ---

    def row_highlighted(self) -> None:
        self.is_revealed = False
        self.query_one("#detail-scroll", VerticalScroll).scroll_home(animate=False)
        self.draw_detail()
        super().row_highlighted()

    def toggle_detail(self) -> None:
        self.toggle_class("-zoomed")
        self.show(self.snapshot)

    def toggle_reveal(self) -> str:
        self.is_revealed = not self.is_revealed
        self.draw_detail()
        return (
            f"secrets revealed; {key_of(f'{self.SCOPE}.reveal', 'v')} masks them"
            if self.is_revealed
            else "secrets masked"
        )

    def toggle_bare(self) -> str:
        self.is_bare = not self.is_bare
        self.draw_detail()
        return "as it is stored" if self.is_bare else "laid out"
