"""Queues at a glance: one row a queue, the selected one explained below."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from ...actions.queues.control import QueuesContext
from ...feed.readers.queue_detail import FAILED_SAMPLE
from ...model.lists.queues import QueueLine
from ...model.snapshot import (
    Interests,
    QueueDetail,
    Snapshot,
    Sorting,
    age_ms,
    pause_note,
    workers_text,
)
from ...text import format as fmt
from ...text.safe import short
from ...widgets.chart import Chart, Series
from ...widgets.lists.columns import Row
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import PartsView, Rule
from ...widgets.styled import Parts, Styled, dim
from ..lists.queue_list import QueueListScreen
from ..registry import bindings
from .columns import COLUMNS, ground_of, totals

if TYPE_CHECKING:
    from glidemq_core.records import QueueSnapshot, WorkerInfo

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No queues here yet.", "foreground")],
    [],
    [dim("They show up as soon as something is added:")],
    [Styled('  glidemq add inference answer --data \'{"prompt": "…"}\'')],
    [dim("or see it all at work:  "), Styled("glidemq demo")],
)


#: From this height of the terminal on the header has a line of totals.
TOTALS_HEIGHT = 30
#: Lines of the detail at least: with charts, and of the facts alone; the list has as many as the latter.
CHARTS_HEIGHT, FACTS_HEIGHT = 14, 8
#: Minutes that the charts show at least.
LEAST_MINUTES = 5


class QueuesScreen(QueueListScreen):
    """Every known queue."""

    SCOPE = "queues"
    BINDINGS = bindings(SCOPE)
    TAB = "queues"
    # The detail has room for charts, where it is alone for two.
    BREAKPOINTS: ClassVar = {"-charts": (100, 32), "-two-charts": (80, 0)}
    LIST, TITLE, OPEN = "queue-list", "queue-title", "queue.open"
    COLUMNS, EMPTY = COLUMNS, _EMPTY
    FIRST = Sorting()
    DEFAULT_CSS: ClassVar[str] = """
    QueuesScreen #queue-detail { height: 1fr; }
    QueuesScreen.-short #queue-detail { display: none; }
    QueuesScreen.-zoomed #queue-detail { display: block; }
    QueuesScreen.-zoomed #queue-list { display: none; }
    QueuesScreen.-zoomed #queue-detail { height: 1fr; }
    QueuesScreen #charts { display: none; width: 2fr; padding: 0 0 0 1; }
    QueuesScreen.-charts #charts, QueuesScreen.-zoomed #charts { display: block; }
    QueuesScreen #queue-detail Horizontal { height: 1fr; }
    QueuesScreen Chart { width: 1fr; height: 1fr; }
    QueuesScreen #time-chart { display: none; }
    QueuesScreen.-two-charts #time-chart { display: block; }
    QueuesScreen #queue-facts { width: 1fr; min-width: 39; padding: 0 0 0 2; height: 1fr; }
    QueuesScreen.-none #queue-detail { display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        #: Queues that hold dead letters.
        self._letters: set[str | None] = set()

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, markable=True, id="queue-list", empty=_EMPTY)
        with Vertical(id="queue-detail"):
            yield Rule(id="queue-title")
            with Horizontal():
                with Horizontal(id="charts"):
                    yield Chart("jobs done a minute", id="done-chart")
                    yield Chart("run time, mean of each minute", id="time-chart", unit=fmt.took)
                yield PartsView(id="queue-facts")

    # --- what the frame calls ---

    def interests(self) -> Interests:
        return Interests(
            rows=self._visible_names(), queue_detail=self._detailed, workers=self.lines.shows("workers")
        )

    def context(self) -> QueuesContext:
        marked = tuple(line.queue for line in self.marked_items)
        return QueuesContext(
            console=self.console, page=self, snapshot=self.snapshot, queue=self.selected, marked=marked
        )

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

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        self.lines.set_totals(totals(self.listed) if self.app.size.height >= TOTALS_HEIGHT else None)
        # While queues are still being found, the list is not what was opened yet.
        self.fit("#body", is_last=snapshot.complete)

    def height_in(self, room: int) -> int | str:
        detail = CHARTS_HEIGHT if self.has_class("-charts") else FACTS_HEIGHT
        wanted = len(self.listed) + self.lines.header_lines + 1
        return "1fr" if self.has_class("-short") else max(FACTS_HEIGHT, min(wanted, room - detail))

    def row_for(self, item: QueueLine, now_ms: int) -> Row:
        return replace(super().row_for(item, now_ms), ground=ground_of(item.queue, self._letters))

    def items(self, snapshot: Snapshot) -> list[QueueLine]:
        self._letters = {queue.dead_letter_queue for queue in snapshot.queues}
        return super().items(snapshot)

    def _draw_detail(self, row: QueueSnapshot, snapshot: Snapshot, now: int) -> None:
        detail = snapshot.detail_of(row.name)
        if detail is not None:
            self._draw_charts(detail)
        self.query_one("#queue-facts", PartsView).show(self._facts(row, snapshot, now))

    def _draw_charts(self, detail: QueueDetail) -> None:
        if not (self.has_class("-charts") or self.has_class("-zoomed")):
            return
        minutes = _minutes_known(detail)
        labels = ("1h ago" if minutes >= 60 else f"{minutes}m ago", "now")
        done = [Series(name="done", values=detail.completed.values[-minutes:])]
        if any(detail.failed.values):
            done.append(Series(name="failed", values=detail.failed.values[-minutes:], style="error"))
        self.query_one("#done-chart", Chart).show(done, labels=labels)
        ran = Series(name="mean", values=detail.run_ms.values[-minutes:], style="chart-second")
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


def _minutes_known(detail: QueueDetail) -> int:
    """Over how many minutes something is known, at least a few: a line of two points says nothing."""
    series = (detail.completed.values, detail.failed.values, detail.run_ms.values)
    begun = [next((at for at, value in enumerate(values) if value), len(values)) for values in series]
    return max(LEAST_MINUTES, max(map(len, series)) - min(begun))


def _count_line(
    state: str, count: int | None, extreme: str = "", extreme_ms: int | None = None, word: str | None = None
) -> Parts:
    """How many jobs are in a state, and the age of the oldest or longest of them."""
    look = fmt.state_look(state)
    parts = [Styled(f"{look.glyph} ", look.style), Styled(fmt.count(count)), dim(f" {word or state}")]
    if extreme_ms is not None:
        parts += [dim(f"  {extreme} "), Styled(fmt.passed(extreme_ms))]
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
