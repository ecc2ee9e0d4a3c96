"""What the two halves of the failures share: tabs with both counts above a list and its detail."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal

from ...actions.base import Unchanged
from ...model.snapshot import Snapshot
from ...text.format import plural
from ...widgets.status_line import StatusLine, TabBar
from ...widgets.styled import Parts
from ..lists.detail_list import DetailListScreen
from ..lists.filtering import FilteringScreen
from ..lists.marking import MOST_MARKED, T
from . import text as say

#: The halves: name of the tab, name of the screen.
HALVES = {"failures": "failures", "dead letters": "letters"}


class HalfScreen(DetailListScreen[T], FilteringScreen[T]):
    """One half. Its filter has its rows looked for among all that there are."""

    TAB = "failures"
    #: Name of its tab among the halves.
    HALF: ClassVar[str]
    #: The command that lists all that its filter takes, however many.
    ALL_OF_THEM: ClassVar[str]
    DEFAULT_CSS: ClassVar[str] = """
    HalfScreen #half-head { height: 1; }
    HalfScreen #halves { width: 36; }
    HalfScreen #half-summary { width: 1fr; }
    """

    def __init__(self) -> None:
        super().__init__()
        #: Of which list the rows are that were drawn last.
        self._drawn: Hashable = None
        #: Set whenever it is drawn.
        self._is_newly_drawn = asyncio.Event()

    # --- what the filter takes ---

    @property
    def which_list(self) -> Hashable:
        """What tells one list from another of other rows."""
        return self.filter_text

    def filtered(self, items: Sequence[T]) -> list[T]:
        # The feed has found what the filter takes.
        return list(items)

    def leaves_out(self, items: Sequence[T]) -> bool:
        return bool(self.filter_text)

    def see_listed(self, items: Sequence[T]) -> None:
        # What another filter took is not gone because this one does not take it.
        known = {self.key_of(item): item for item in items}
        before = {self.key_of(item) for item in self.listed} if self._drawn == self.which_list else set()
        self.see_marked(known, [key for key in self.lines.marks if key in before and key not in known])

    def lacks(self) -> str | None:
        progress = self.progress
        return progress.words if progress is not None and progress.has_more else None

    # --- marking all that the filter takes ---

    async def mark_all(self) -> str | None:
        """Mark all that the filter takes, once it has looked through all there is; `escape` stops and marks nothing."""
        progress, which = self.progress, self.which_list
        if progress is None or not progress.has_more:
            return await super().mark_all()
        self._is_scanning = True
        try:
            while progress is None or (progress.has_more and progress.matches <= MOST_MARKED):
                if progress is not None:
                    self.show_message(f"marking all that match: {progress.words}, esc stops")
                    if not progress.is_searching:
                        self.look_further()
                self._is_newly_drawn.clear()
                await self._is_newly_drawn.wait()
                if not self._is_scanning or self.which_list != which:
                    return Unchanged("stopped: no mark was set")
                progress = self.progress
        finally:
            self._is_scanning = False
        if not progress.has_more:
            return await super().mark_all()
        return self._mark_most()

    def _mark_most(self) -> str:
        """Mark as much of what was found as is marked at most; return what to show."""
        chosen: dict[Hashable, T] = {}
        jobs = 0
        for item in self.listed:
            if chosen and jobs + self.jobs_of(item) > MOST_MARKED:
                break
            chosen[self.key_of(item)] = item
            jobs += self.jobs_of(item)
        self.mark_items(self._marked_items | chosen, undoable=True)
        rows = f"{plural(len(chosen), 'row')} with {jobs:,}" if len(chosen) != jobs else f"{jobs:,}"
        return f"{rows} marked, and there are more: {self.ALL_OF_THEM} --where lists all"

    def jobs_of(self, item: T) -> int:
        """How many jobs a row stands for."""
        return 1

    def stop_scan(self) -> bool:
        was = super().stop_scan()
        # Whoever scans waits for the next drawing.
        self._is_newly_drawn.set()
        return was

    def on_screen_suspend(self) -> None:
        # What is not shown is not looked for either.
        self.stop_scan()

    def leave(self) -> bool:
        return self.stop_scan() or super().leave()

    # --- drawing ---

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
        self._drawn = self.which_list
        self._is_newly_drawn.set()
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
