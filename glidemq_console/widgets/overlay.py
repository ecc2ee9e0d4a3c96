"""Lines to read over the screen they were asked on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen

from .status_line import PartsView
from .styled import Parts


class Overlay(ModalScreen[None]):
    """A page that scrolls; subclasses bind the key that opened it to `close`, too."""

    DEFAULT_CSS: ClassVar[str] = """
    Overlay { align: center middle; background: $background 60%; }
    Overlay VerticalScroll {
        width: 92; max-width: 96%; height: auto; max-height: 90%;
        padding: 1 2; background: $panel; border: round $hairline;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "close", "close", show=False),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("ctrl+d", "page(0.5)", show=False),
        Binding("ctrl+u", "page(-0.5)", show=False),
        Binding("home,g", "page(-1_000)", show=False),
        Binding("end,G", "page(1_000)", show=False),
    ]

    def __init__(self, lines: Sequence[Parts], *, hang: int | None = None) -> None:
        """Show lines; those that are wrapped go on `hang` cells from the left."""
        super().__init__()
        self._lines = lines
        self._hang = hang

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield PartsView(self._lines, wraps=True, hang=self._hang)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_page(self, pages: float) -> None:
        pane = self.query_one(VerticalScroll)
        pane.scroll_relative(y=round(pages * max(1, pane.size.height - 1)), animate=False)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)
