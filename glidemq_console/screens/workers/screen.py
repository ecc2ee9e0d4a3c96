"""Live workers of every known queue, what each runs, and what nobody looks after: stalled jobs, unserved queues."""

from __future__ import annotations

from dataclasses import replace

from textual.app import ComposeResult

from ...actions.queues.workers import WorkersContext
from ...model.snapshot import Interests, JobsQuery, Snapshot, Sorting, index_of_key
from ...model.workers import WORKER_KEYS, WorkerRow, filter_rows, sort_rows, worker_rows
from ...widgets.lists.columns import Column, Row
from ...widgets.lists.row_list import MARGIN, RowList
from ...widgets.styled import Parts, Styled
from ..frame import ConsoleScreen
from ..registry import bindings
from . import text as say

COLUMNS = (
    Column(key="worker", title="WORKER", width=16, flexible=1),
    Column(key="queue", title="QUEUE", width=12, flexible=1),
    Column(key="lang", title="LANG", width=4, leaves=4),
    Column(key="up", title="UP", width=7, right=True, leaves=3),
    Column(key="run", title="RUN", width=7, right=True),
    Column(key="oldest", title="OLDEST", width=7, right=True, leaves=1),
    Column(key="seen", title="SEEN", width=6, right=True, leaves=2),
    Column(key="does", title="DOES", width=14, flexible=7, sortable=False),
)
_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No workers here, and no jobs that wait for one.", "foreground")],
    [],
    [Styled("A worker shows up as soon as it runs:", "dim")],
    [Styled("  glidemq worker MODULE:NAME")],
    [Styled("or see some at work:  ", "dim"), Styled("glidemq demo")],
)
_NO_MATCH: tuple[Parts, ...] = ([], [Styled("No worker matches the filter; esc clears it.", "dim")])
#: The state of the jobs that a row tells of.
_STATES = {"worker": "active", "silent": "stalled", "unserved": None}


class WorkersScreen(ConsoleScreen):
    """Every worker."""

    SCOPE = "workers"
    BINDINGS = bindings(SCOPE)
    TAB = "workers"

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._sorting = Sorting()
        self._listed: list[WorkerRow] = []

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, id="worker-list", empty=_EMPTY)

    @property
    def lines(self) -> RowList:
        return self.query_one("#worker-list", RowList)

    @property
    def selected(self) -> WorkerRow | None:
        """The row under the cursor."""
        key = self.lines.cursor_key if self.is_up else None
        return next((row for row in self._listed if row.key == key), None)

    # --- what the frame asks ---

    def main_widget(self) -> RowList:
        return self.lines

    def interests(self) -> Interests:
        seen = frozenset(self.lines.visible_keys())
        queues = tuple(dict.fromkeys(row.queue for row in self._listed if row.key in seen))
        return Interests(serving=queues)

    def context(self) -> WorkersContext:
        row = self.selected
        shown = WorkersContext(console=self.console, page=self, snapshot=self.snapshot)
        return shown if row is None else replace(shown, queue=row.queue)

    def status(self, snapshot: Snapshot) -> Parts:
        return self.with_filter(say.summary(self._listed, snapshot.serving, len(snapshot.queues)))

    def leave(self) -> bool:
        return self.clear_filter()

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        lines = self.lines
        rows = worker_rows(snapshot.queues, snapshot.serving)
        self._listed = sort_rows(filter_rows(rows, self._filter), self._sorting)
        lines.stale = self.has_class("-old")
        lines.set_sort(self._sorting.column, descending=self._sorting.descending)
        if len(snapshot.serving) < len(snapshot.queues) and not rows:
            lines.set_reading()
        else:
            lines.set_empty(_NO_MATCH if self._filter and rows else _EMPTY)
        self._draw_rows()

    def _draw_rows(self, start: int | None = None, end: int | None = None) -> None:
        """Hand the list the rows on screen, a margin, and the row under the cursor."""
        first, last = self.lines.visible_range
        start = max(0, first - MARGIN) if start is None else start
        end = max(last, first + self.app.size.height) + MARGIN if end is None else end
        at = index_of_key([row.key for row in self._listed], self.lines.cursor_key, self.lines.cursor_index)
        start, end = min(start, at), max(end, at + 1)
        now = self.console.now_ms()
        rows = [Row(row.key, say.worker_cells(row, now)) for row in self._listed[start:end]]
        self.lines.set_page(len(self._listed), start, rows)

    # --- events ---

    def on_row_list_needed(self, event: RowList.Needed) -> None:
        self._draw_rows(event.start, event.end)
        self.console.set_interests()

    def on_row_list_highlighted(self) -> None:
        if (row := self.selected) is not None:
            self.console.queue_looked_at = row.queue
        self.show_keys()
        self.console.set_interests()

    def on_row_list_chosen(self) -> None:
        self.console.action_act("workers.open")

    def on_row_list_sort_asked(self, event: RowList.SortAsked) -> None:
        if event.column == self._sorting.column:
            self.sort_reverse()
        else:
            self._sort(_first_sorting(event.column))

    # --- actions ---

    def open_selected(self) -> None:
        row = self.selected
        if row is None:
            return
        state = _STATES[row.kind]
        self.console.go("jobs", row.queue if state is None else JobsQuery(queue=row.queue, state=state))

    @property
    def filter_text(self) -> str:
        return self._filter

    def set_filter(self, text: str) -> None:
        self._filter = text
        self._redraw()

    def sort_next(self) -> str:
        columns = list(WORKER_KEYS)
        return self._sort(_first_sorting(columns[(columns.index(self._sorting.column) + 1) % len(columns)]))

    def sort_reverse(self) -> str:
        return self._sort(Sorting(self._sorting.column, not self._sorting.descending))

    def _sort(self, sorting: Sorting) -> str:
        self._sorting = sorting
        self._redraw()
        return f"sorted by {sorting.column}, {'highest' if sorting.descending else 'lowest'} first"

    def _redraw(self) -> None:
        """Draw after a change of what is listed, from the top."""
        self.lines.to_top()
        self.show(self.snapshot)
        self.console.set_interests()


def _first_sorting(column: str) -> Sorting:
    """Names begin with the first, figures with the highest."""
    return Sorting(column, column not in ("queue", "worker", "lang"))
