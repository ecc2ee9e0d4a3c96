"""Queues at a glance: one row a queue, the selected one explained below."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from ...actions.queues.control import QueuesContext
from ...feed.readers.queue_detail import FAILED_SAMPLE
from ...model.snapshot import (
    QUEUE_KEYS,
    Interests,
    QueueDetail,
    Snapshot,
    Sorting,
    age_ms,
    delayed_jobs,
    index_of_key,
    pause_note,
    ready_jobs,
    sort_queues,
    workers_text,
)
from ...text import format as fmt
from ...text.safe import short
from ...widgets.chart import Chart, Series
from ...widgets.lists.columns import Column, Row
from ...widgets.lists.row_list import MARGIN, RowList
from ...widgets.meters import sparkline_parts
from ...widgets.status_line import PartsView, Rule
from ...widgets.styled import Cell, Parts, Styled, dim
from ..limits.text import mini_meter
from ..queue_list import QueueListScreen
from ..registry import bindings

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot, WorkerInfo

#: Sparkline cells beside the figure of done/min.
SPARK = 10

COLUMNS = (
    Column(key="queue", title="QUEUE", width=16, flexible=True),
    Column(key="paused", title="", width=1, sortable=False),
    Column(key="wait", title="WAIT", width=6, right=True),
    Column(key="run", title="RUN", width=5, right=True),
    Column(key="delay", title="DELAY", width=6, right=True),
    Column(key="asked", title="◆", width=4, right=True),
    Column(key="fail", title="FAIL", width=5, right=True),
    Column(key="done/min", title="DONE/MIN", width=8, right=True),
    Column(key="spark", title="", width=SPARK, leaves=1, sortable=False),
    Column(key="tok/s", title="TOK/S", width=6, right=True, leaves=2),
    Column(key="$/h", title="COST/H", width=8, right=True, leaves=3),
    Column(key="oldest", title="OLDEST", width=7, right=True, leaves=4),
    Column(key="rpm", title="RPM", width=12, leaves=7, sortable=False),
    Column(key="tpm", title="TPM", width=12, leaves=6, sortable=False),
    Column(key="workers", title="WORKERS", width=12, leaves=5, flexible=True),
)
_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No queues here yet.", "foreground")],
    [],
    [dim("They show up as soon as something is added:")],
    [Styled('  glidemq add inference answer --data \'{"prompt": "…"}\'')],
    [dim("or see it all at work:  "), Styled("glidemq demo")],
)


def number(value: float | None, token: str = "foreground", *, loud: bool = False) -> Cell:
    """A count; zeros and unknowns are dim."""
    quiet = not value
    return Styled(fmt.count(value), "dim" if quiet else token, "bold" if loud and not quiet else "")


def queue_cells(
    row: QueueSnapshot, history: tuple[float | None, ...], languages: str, now: int
) -> dict[str, Cell]:
    oldest = age_ms(row.oldest_waiting_at, now)
    workers = languages or ("" if row.workers is None else fmt.count(row.workers))
    cost = fmt.money(row.cost_per_hour, row.cost_unit)
    return {
        "queue": Styled(short(row.name, 256), "dim" if row.paused else "foreground"),
        "paused": Styled(fmt.state_look("paused").glyph, "state-paused") if row.paused else "",
        "wait": number(ready_jobs(row)),
        "run": number(row.active, "state-stalled" if row.stalled else "foreground"),
        "delay": number(delayed_jobs(row)),
        "asked": number(row.suspended, "person", loud=True),
        "fail": number(row.failed, "error"),
        "done/min": number(row.completed_per_min),
        "spark": sparkline_parts(history, SPARK),
        "tok/s": number(row.tokens_per_s),
        "$/h": Styled(cost, "dim" if not row.cost_per_hour else "foreground"),
        "oldest": dim(fmt.duration(oldest)),
        "rpm": mini_meter(row.rpm),
        "tpm": mini_meter(row.tpm),
        "workers": dim(workers or fmt.UNKNOWN),
    }


class QueuesScreen(QueueListScreen):
    """Every known queue."""

    SCOPE = "queues"
    BINDINGS = bindings(SCOPE)
    TAB = "queues"
    # The detail has room for charts.
    BREAKPOINTS: ClassVar = {"-charts": (100, 32)}
    LIST, TITLE, NO_QUEUES, OPEN = "queue-list", "queue-title", _EMPTY, "queue.open"
    DEFAULT_CSS: ClassVar[str] = """
    QueuesScreen #queue-detail { height: 8; }
    QueuesScreen.-charts #queue-detail { height: 42%; min-height: 14; }
    QueuesScreen.-short #queue-detail { display: none; }
    QueuesScreen.-zoomed #queue-detail { display: block; }
    QueuesScreen.-zoomed #queue-list { display: none; }
    QueuesScreen.-zoomed #queue-detail { height: 1fr; }
    QueuesScreen #charts { display: none; width: 2fr; padding: 0 0 0 1; }
    QueuesScreen.-charts #charts, QueuesScreen.-zoomed #charts { display: block; }
    QueuesScreen #queue-detail Horizontal { height: 1fr; }
    QueuesScreen Chart { width: 1fr; height: 1fr; }
    QueuesScreen #queue-facts { width: 1fr; padding: 0 0 0 2; height: 1fr; }
    QueuesScreen.-none #queue-detail { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._sorting = Sorting()

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, id="queue-list", empty=_EMPTY)
        with Vertical(id="queue-detail"):
            yield Rule(id="queue-title")
            with Horizontal():
                with Horizontal(id="charts"):
                    yield Chart("jobs done a minute, last hour", id="done-chart")
                    yield Chart("run time, mean of each minute", id="time-chart", unit=fmt.took)
                yield PartsView(id="queue-facts")

    # --- what the frame calls ---

    def interests(self) -> Interests:
        return Interests(
            rows=self._visible_names(), queue_detail=self._detailed, workers=self.lines.shows("workers")
        )

    def context(self) -> QueuesContext:
        return QueuesContext(console=self.console, page=self, snapshot=self.snapshot, queue=self.selected)

    def title_of(self, action_id: str) -> str | None:
        if action_id == "queue.pause-or-resume":
            row = self.snapshot.queue(self.selected) if self.selected is not None else None
            return "resume" if row is not None and row.paused else "pause"
        return None

    def status(self, snapshot: Snapshot) -> Parts:
        shown, known = self.lines.total, len(snapshot.queues)
        words = f"{shown} of {known} queues" if self._filter else fmt.plural(known, "queue")
        search = "scan complete" if snapshot.complete else "searching …"
        if snapshot.leaves_out_queues:
            search = "there are more: name those you need, glidemq console QUEUE..."
        return self.with_filter([dim(words), dim(f" · {search}")])

    # --- drawing ---

    def _in_order(self, queues: list[QueueSnapshot]) -> list[QueueSnapshot]:
        self.lines.set_sort(self._sorting.column, descending=self._sorting.descending)
        return sort_queues(queues, self._sorting)

    def _draw_rows(
        self, snapshot: Snapshot, now: int, start: int | None = None, end: int | None = None
    ) -> None:
        """Hand the list the rows on screen, a margin, and the row under the cursor."""
        first, last = self.lines.visible_range
        start = max(0, first - MARGIN) if start is None else start
        end = max(last, first + self.app.size.height) + MARGIN if end is None else end
        names = [queue.name for queue in self._listed]
        at = index_of_key(names, self.selected, self.lines.cursor_index)
        start, end = min(start, at), max(end, at + 1)
        rows = [self._row(queue, snapshot, now) for queue in self._listed[start:end]]
        self.lines.set_page(len(self._listed), start, rows)

    def _row(self, queue: QueueSnapshot, snapshot: Snapshot, now: int) -> Row:
        history = snapshot.history.get(queue.name)
        languages = workers_text(snapshot.workers.get(queue.name, ()))
        return Row(queue.name, queue_cells(queue, history.values if history else (), languages, now))

    def _draw_detail(self, row: QueueSnapshot, snapshot: Snapshot, now: int) -> None:
        detail = snapshot.detail_of(row.name)
        if detail is not None:
            self._draw_charts(detail)
        self.query_one("#queue-facts", PartsView).show(self._facts(row, snapshot, now))

    def _draw_charts(self, detail: QueueDetail) -> None:
        if not (self.has_class("-charts") or self.has_class("-zoomed")):
            return
        labels = ("1h ago", "now")
        done = [Series(name="done", values=detail.completed.values)]
        if any(detail.failed.values):
            done.append(Series(name="failed", values=detail.failed.values, style="error"))
        self.query_one("#done-chart", Chart).show(done, labels=labels)
        ran = Series(name="mean", values=detail.run_ms.values, style="chart-second")
        self.query_one("#time-chart", Chart).show([ran], labels=labels)

    def _facts(self, row: QueueSnapshot, snapshot: Snapshot, now: int) -> list[Parts]:
        detail = snapshot.detail_of(row.name)
        workers = detail.workers if detail is not None else None
        lines: list[Parts] = []
        if row.paused:
            note = pause_note(workers or ())
            paused = Styled(fmt.state_look("paused").label(), "state-paused", "bold")
            lines.append([paused, Styled(f"; {note}" if note else "", "warning")])
        lines.append(_count_line("waiting", row.waiting, "oldest", age_ms(row.oldest_waiting_at, now)))
        if row.prioritized:
            lines.append(_count_line("prioritized", row.prioritized, word="by priority"))
        longest = detail.longest_active_ms if detail is not None else None
        lines.append(_count_line("active", row.active, "longest", longest))
        if row.stalled:
            look = fmt.state_look("stalled")
            stalled = Styled(f"{look.glyph} {row.stalled:,} stalled", look.style, "bold")
            lines.append([stalled, dim("  their worker is silent")])
        if row.suspended:
            words = "waits" if row.suspended == 1 else "wait"
            count = Styled(f"{row.suspended:,}", "person", "bold")
            lines.append([Styled("◆ ", "person"), count, Styled(f" {words} for a person", "person")])
        lines += _errors(row, detail)
        lines.append([dim("workers "), Styled(_worker_words(row, workers))])
        if row.unreadable:
            keys = ", ".join(short(key, 60) for key in row.unreadable)
            lines.append([Styled(f"cannot be read: {keys}", "warning")])
        return lines

    # --- events ---

    def on_row_list_needed(self, event: RowList.Needed) -> None:
        self._draw_rows(self.snapshot, self.console.now_ms(), event.start, event.end)
        self.console.set_interests()

    def on_row_list_sort_asked(self, event: RowList.SortAsked) -> None:
        if event.column == self._sorting.column:
            self.sort_reverse()
        else:
            self._sort(Sorting(event.column, event.column != "queue"))

    # --- actions ---

    def sort_next(self) -> str:
        columns = list(QUEUE_KEYS)
        column = columns[(columns.index(self._sorting.column) + 1) % len(columns)]
        return self._sort(Sorting(column, column != "queue"))

    def sort_reverse(self) -> str:
        return self._sort(Sorting(self._sorting.column, not self._sorting.descending))

    def _sort(self, sorting: Sorting) -> str:
        self._sorting = sorting
        self.lines.to_top()
        self._redraw()
        return f"sorted by {sorting.column}, {'highest' if sorting.descending else 'lowest'} first"


def _count_line(
    state: str, count: int | None, extreme: str = "", extreme_ms: int | None = None, word: str | None = None
) -> Parts:
    """How many jobs are in a state, and the age of the oldest or longest of them."""
    look = fmt.state_look(state)
    parts = [Styled(f"{look.glyph} ", look.style), Styled(fmt.count(count)), dim(f" {word or state}")]
    if extreme_ms is not None:
        parts += [dim(f"  {extreme} "), Styled(fmt.duration(extreme_ms))]
    return parts


def _errors(row: QueueSnapshot, detail: QueueDetail | None) -> list[Parts]:
    if not row.failed:
        return []
    glyph = Styled(f"{fmt.state_look('failed').glyph} ", "error")
    lines: list[Parts] = [[glyph, Styled(fmt.count(row.failed), "error"), dim(" failed")]]
    if detail is not None:
        for reason, count in detail.errors[:3]:
            lines.append([Styled(f"  {count:>4} ", "foreground"), dim(short(reason, 60))])
        if row.failed > detail.errors_of >= FAILED_SAMPLE:
            lines.append([dim(f"       among the latest {detail.errors_of}")])
    return lines


def _worker_words(row: QueueSnapshot, workers: tuple[WorkerInfo, ...] | None) -> str:
    if workers:
        return workers_text(workers)
    if row.workers is None:
        return fmt.UNKNOWN
    return "none: nothing will start here" if row.workers == 0 else fmt.count(row.workers)
