"""What the screens that list every known queue share: a filter, and a detail that follows the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.timer import Timer

from ...actions.queues.control import QueueListContext
from ...model.lists.queues import QueueLine
from ...model.snapshot import Snapshot
from ...text.safe import short
from ...widgets.status_line import Rule
from ...widgets.styled import Parts, dim
from .list_screen import ItemListScreen

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot

#: The detail follows the cursor once it has rested this long.
REST_S = 0.2
#: Below this height the detail is not beside the list: `d` opens it alone.
DETAIL_HEIGHT = 20
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No queue matches the filter; esc clears it.")])


class QueueListScreen(ItemListScreen[QueueLine]):
    """A list of every known queue. Subclasses give its columns, and draw one detail."""

    #: Id of the title of the detail.
    TITLE: ClassVar[str]
    NO_MATCH = _NO_MATCH

    def __init__(self) -> None:
        super().__init__()
        self._detailed: str | None = None
        self._rest: Timer | None = None

    @property
    def selected(self) -> str | None:
        """Name of the queue under the cursor."""
        key = self.lines.cursor_key if self.is_up else None
        return key if isinstance(key, str) else None

    def _visible_names(self) -> tuple[str, ...]:
        return tuple(key for key in self.lines.visible_keys() if isinstance(key, str))

    # --- what is listed ---

    def items(self, snapshot: Snapshot) -> list[QueueLine]:
        queues = sorted(snapshot.queues, key=lambda queue: queue.name)
        return [QueueLine(queue, snapshot) for queue in queues]

    def key_of(self, item: QueueLine) -> str:
        return item.name

    # --- what the frame calls ---

    def resized(self) -> None:
        # A few rows more are worth more than a detail that leaves none.
        self.set_class(self.app.size.height < DETAIL_HEIGHT, "-short")
        super().resized()

    def context(self) -> QueueListContext:
        marked = tuple(line.queue for line in self.marked_items)
        return QueueListContext(
            console=self.console, page=self, snapshot=self.snapshot, queue=self.selected, marked=marked
        )

    def open(self, target: object) -> None:
        keys = self.entry_keys
        if target in keys:
            self.lines.move_to(keys.index(target))

    def leave(self) -> bool:
        if self.has_class("-zoomed"):
            self.toggle_detail()
            return True
        return super().leave()

    # --- drawing ---

    def _draw_detail(self, row: QueueSnapshot, snapshot: Snapshot, now: int) -> None:
        """Explain the selected queue."""
        raise NotImplementedError

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        if self._detailed is None:
            self._detailed = self.selected
        self._draw_selected(snapshot, self.console.now_ms())

    def _draw_selected(self, snapshot: Snapshot, now: int) -> None:
        row = snapshot.queue(self.selected) if self.selected is not None else None
        if row is not None:
            title = short(row.name, 80)
            self.query_one(f"#{self.TITLE}", Rule).show(title, lit=True)
            self._draw_detail(row, snapshot, now)

    # --- events ---

    def row_highlighted(self) -> None:
        self.console.queue_looked_at = self.selected
        self._draw_selected(self.snapshot, self.console.now_ms())
        super().row_highlighted()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._settle)

    def _settle(self) -> None:
        if self.selected != self._detailed:
            self._detailed = self.selected
            self.console.set_interests()

    # --- actions ---

    def record_of(self, item: QueueLine) -> object | None:
        return item.queue

    def open_selected(self) -> None:
        if self.selected is not None:
            self.console.go("jobs", self.selected)

    def toggle_detail(self) -> None:
        self.toggle_class("-zoomed")
        self.show(self.snapshot)
