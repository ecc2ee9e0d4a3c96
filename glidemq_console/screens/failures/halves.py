"""What the two halves of the failures share: tabs with both counts above a list and its detail."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from ...model.snapshot import Snapshot
from ...widgets.status_line import StatusLine, TabBar
from ...widgets.styled import Parts
from ..lists.detail_list import DetailListScreen
from ..lists.marking import T
from . import text as say

#: The halves: name of the tab, name of the screen.
HALVES = {"failures": "failures", "dead letters": "letters"}


class HalfScreen(DetailListScreen[T]):
    """One half."""

    TAB = "failures"
    #: Name of its tab among the halves.
    HALF: ClassVar[str]
    DEFAULT_CSS: ClassVar[str] = """
    HalfScreen #half-head { height: 1; }
    HalfScreen #halves { width: 36; }
    HalfScreen #half-summary { width: 1fr; }
    """

    def body(self) -> ComposeResult:
        with Horizontal(id="half-head"):
            yield TabBar(id="halves")
            yield StatusLine(id="half-summary")
        yield from super().body()

    def summary(self, snapshot: Snapshot) -> Parts:
        """What stands beside the tabs."""
        raise NotImplementedError

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        tabs = say.tabs(self.HALF, snapshot.failures, snapshot.letters)
        self.query_one("#halves", TabBar).show(tabs, self.HALF)
        self.query_one("#half-summary", StatusLine).show([], [*self.with_filter(self.summary(snapshot))])

    def title_of(self, action_id: str) -> str | None:
        if action_id.endswith(".other-half"):
            return next(half for half in HALVES if half != self.HALF)
        return super().title_of(action_id)

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "halves":
            event.stop()
            if event.key != self.HALF:
                self.other_half()

    def other_half(self) -> None:
        self.console.go(next(screen for half, screen in HALVES.items() if half != self.HALF))
