"""Live workers of every known queue, what each runs, and what nobody looks after: stalled jobs, unserved queues."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

from textual.app import ComposeResult

from ...actions.queues.workers import WorkersContext
from ...model.snapshot import Interests, JobsQuery, Snapshot, Sorting
from ...model.workers import WorkerRow, worker_rows, wrong_first
from ...widgets.lists.row_list import RowList
from ...widgets.styled import Parts, Styled
from ..lists.list_screen import ItemListScreen
from ..registry import bindings
from . import text as say
from .columns import COLUMNS

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


class WorkersScreen(ItemListScreen[WorkerRow]):
    """Every worker."""

    SCOPE = "workers"
    BINDINGS = bindings(SCOPE)
    TAB = "workers"
    LIST, OPEN = "worker-list", "workers.open"
    COLUMNS, EMPTY, NO_MATCH = COLUMNS, _EMPTY, _NO_MATCH
    FIRST = Sorting()

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, markable=True, id="worker-list", empty=_EMPTY)

    # --- what the frame asks ---

    def interests(self) -> Interests:
        return Interests(serving=tuple(dict.fromkeys(row.queue for row in self.visible_items())))

    def context(self) -> WorkersContext:
        from glidemq_core.options.job import JobRef

        row = self.selected_item
        shown = WorkersContext(console=self.console, page=self, snapshot=self.snapshot)
        if row is None:
            return shown
        oldest = _oldest_job(row)
        job = JobRef(row.queue, oldest) if oldest is not None else None
        return replace(shown, queue=row.queue, job=job)

    def status(self, snapshot: Snapshot) -> Parts:
        return self.with_filter(say.summary(self.listed, snapshot.serving, len(snapshot.queues)))

    # --- what is listed ---

    def items(self, snapshot: Snapshot) -> list[WorkerRow] | None:
        rows = worker_rows(snapshot.queues, snapshot.serving)
        if not rows and len(snapshot.serving) < len(snapshot.queues):
            return None
        return sorted(rows, key=lambda row: (row.queue, row.process, row.key))

    def in_order(self, items: list[WorkerRow]) -> list[WorkerRow]:
        return wrong_first(super().in_order(items))

    def key_of(self, item: WorkerRow) -> Hashable:
        return item.key

    # --- events and actions ---

    def row_highlighted(self) -> None:
        if (row := self.selected_item) is not None:
            self.console.queue_looked_at = row.queue
        super().row_highlighted()

    def record_of(self, item: WorkerRow) -> object | None:
        return item.worker or item.of

    def copies(self, *, other: bool) -> tuple[str, str] | None:
        row = self.selected_item
        if row is None or other:
            return super().copies(other=other)
        return (row.process, "the worker's process") if row.process else (row.queue, "its queue's name")

    def open_selected(self) -> None:
        row = self.selected_item
        if row is None:
            return
        state = _STATES[row.kind]
        self.console.go("jobs", row.queue if state is None else JobsQuery(queue=row.queue, state=state))


def _oldest_job(row: WorkerRow) -> str | None:
    """Id of the job that has run longest, or of the first stalled one."""
    ids = [*(job.id for job in row.running), *(job.id for job in row.stalled)]
    return ids[0] if ids else None
