"""What the screens that list every known queue share: a filter, and a detail that follows the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.timer import Timer

from ..actions.queues.control import QueueListContext
from ..model.snapshot import Snapshot, filter_queues
from ..text.safe import short
from ..widgets.status_line import Rule
from ..widgets.styled import Parts, dim
from .list_screen import ListScreen

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot

#: The detail follows the cursor once it has rested this long.
REST_S = 0.2
#: Below this height the detail is not beside the list: `d` opens it alone.
DETAIL_HEIGHT = 20
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No queue matches the filter; esc clears it.")])


class QueueListScreen(ListScreen):
    """A `RowList` whose keys are names of queues. Subclasses order them, and draw their rows and one detail."""

    #: Id of the title of the detail.
    TITLE: ClassVar[str]
    #: What the list says when no queue is known.
    NO_QUEUES: ClassVar[tuple[Parts, ...]]

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._detailed: str | None = None
        self._rest: Timer | None = None
        self._listed: list[QueueSnapshot] = []

    @property
    def selected(self) -> str | None:
        key = self.lines.cursor_key if self.is_up else None
        return key if isinstance(key, str) else None

    def _visible_names(self) -> tuple[str, ...]:
        return tuple(key for key in self.lines.visible_keys() if isinstance(key, str))

    # --- what the frame calls ---

    def resized(self) -> None:
        # A few rows more are worth more than a detail that leaves none.
        self.set_class(self.app.size.height < DETAIL_HEIGHT, "-short")
        super().resized()

    def context(self) -> QueueListContext:
        return QueueListContext(console=self.console, page=self, snapshot=self.snapshot, queue=self.selected)

    def open(self, target: object) -> None:
        names = [queue.name for queue in self._listed]
        if target in names:
            self.lines.move_to(names.index(target))

    def leave(self) -> bool:
        if self.has_class("-zoomed"):
            self.toggle_detail()
            return True
        return self.clear_filter()

    # --- drawing ---

    def _in_order(self, queues: list[QueueSnapshot]) -> list[QueueSnapshot]:
        """Put the queues that match the filter in the order of the list."""
        raise NotImplementedError

    def _draw_rows(self, snapshot: Snapshot, now: int) -> None:
        """Show `_listed`."""
        raise NotImplementedError

    def _draw_detail(self, row: QueueSnapshot, snapshot: Snapshot, now: int) -> None:
        """Explain the selected queue."""
        raise NotImplementedError

    def draw(self, snapshot: Snapshot) -> None:
        now = self.console.now_ms()
        self._listed = self._in_order(filter_queues(snapshot.queues, self._filter))
        self._draw_list_state(snapshot)
        self._draw_rows(snapshot, now)
        if self._detailed is None:
            self._detailed = self.selected
        self._draw_selected(snapshot, now)

    def _draw_selected(self, snapshot: Snapshot, now: int) -> None:
        row = snapshot.queue(self.selected) if self.selected is not None else None
        if row is not None:
            title = short(row.name, 80)
            self.query_one(f"#{self.TITLE}", Rule).show(title, lit=True)
            self._draw_detail(row, snapshot, now)

    def _draw_list_state(self, snapshot: Snapshot) -> None:
        """Show whether the list is old, and why it is empty when it is."""
        self.lines.stale = self.has_class("-old")
        is_filtered_out = self._filter and not self._listed and snapshot.queues
        self.lines.set_empty(_NO_MATCH if is_filtered_out else self.NO_QUEUES)
        self.set_class(not self._listed, "-none")

    # --- events ---

    def on_row_list_highlighted(self) -> None:
        self.console.queue_looked_at = self.selected
        self._draw_selected(self.snapshot, self.console.now_ms())
        self.show_keys()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._settle)

    def _settle(self) -> None:
        if self.selected != self._detailed:
            self._detailed = self.selected
            self.console.set_interests()

    # --- actions ---

    def open_selected(self) -> None:
        if self.selected is not None:
            self.console.go("jobs", self.selected)

    @property
    def filter_text(self) -> str:
        return self._filter

    def set_filter(self, text: str) -> None:
        self._filter = text
        self.lines.to_top()
        self._redraw()

    def toggle_detail(self) -> None:
        self.toggle_class("-zoomed")
        self.show(self.snapshot)

    def _redraw(self) -> None:
        """Draw after a change of what is listed, and say what is needed for it."""
        self.show(self.snapshot)
        self.console.set_interests()
