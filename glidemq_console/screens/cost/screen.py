"""What is spent: the hour and the day by queue, model, flow and job, how fast it goes, what was for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from ...actions.lists.cost import CostContext
from ...model.lists.cost import TOP_JOBS, WAYS, SpendRow, SpendView
from ...model.memory import Kept
from ...model.snapshot import Interests, Snapshot, Sorting
from ...model.trouble import totals
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import PartsView, TabBar
from ...widgets.styled import Parts, Styled, dim
from ..lists.list_screen import ItemListScreen
from ..registry import bindings
from .columns import COLUMNS

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records.outcomes import UsageKey

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("Nothing has been spent within a day.")],
    [],
    [dim("A processor reports what a model used:")],
    [Styled("  await job.report_usage(model=…, tokens={…}, total_cost=0.018, cost_unit='usd')")],
)
_NO_MATCH: tuple[Parts, ...] = ([], [dim("Nothing here matches the filter; esc clears it.")])
#: Cells from which on the figures of the head stand apart.
_WIDE = 80
_WORDS: dict[UsageKey, str] = {"queue": "queues", "model": "models", "flow": "flows", "job": "top ten jobs"}


class CostScreen(ItemListScreen[SpendRow]):
    """Spending, added up in one of four ways."""

    SCOPE = "cost"
    BINDINGS = bindings(SCOPE)
    TAB = "cost"
    LIST, OPEN = "cost-list", "cost.open"
    COLUMNS, EMPTY, NO_MATCH = COLUMNS, _EMPTY, _NO_MATCH
    FIRST = Sorting("day", descending=True)
    DEFAULT_CSS = """
    CostScreen #spent { height: 3; padding: 1 1 0 1; }
    CostScreen #ways { height: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._by: UsageKey = WAYS[0]

    def body(self) -> ComposeResult:
        yield PartsView(id="spent")
        yield TabBar(id="ways")
        yield RowList(COLUMNS, id="cost-list", empty=_EMPTY)

    # --- what the frame asks ---

    def interests(self) -> Interests:
        return Interests(cost=self._by)

    def context(self) -> CostContext:
        row = self.selected_item
        shown = CostContext(console=self.console, page=self, snapshot=self.snapshot, spent=row)
        if row is None or self._by == "model":
            return shown
        if self._by == "queue":
            return replace(shown, queue=row.key)
        ref = self._ref(row)
        return replace(shown, queue=ref.queue, job=ref)

    def status(self, snapshot: Snapshot) -> Parts:
        view = self._view(snapshot)
        if view is None:
            return []
        jobs = fmt.plural(view.jobs_read, "job")
        looked = (
            f"looked at all {jobs} that ended within a day"
            if view.complete
            else f"looked at the newest {jobs}"
        )
        return self.with_filter([dim(looked)])

    # --- what is listed ---

    def _view(self, snapshot: Snapshot) -> SpendView | None:
        view = snapshot.cost
        return view if view is not None and view.by == self._by else None

    def items(self, snapshot: Snapshot) -> Sequence[SpendRow] | None:
        view = self._view(snapshot)
        return view.rows if view is not None and (view.rows or snapshot.complete) else None

    def key_of(self, item: SpendRow) -> str:
        return item.key

    def record_of(self, item: SpendRow) -> dict[str, object]:
        return {"key": item.key, "hour": item.hour, "day": item.day, "share": item.share}

    def lacks(self) -> str | None:
        view = self._view(self.snapshot)
        if view is None or (view.complete and self._by != "job"):
            return None
        if self._by == "job":
            return f"the list holds the {TOP_JOBS} dearest jobs"
        return f"looked at the newest {fmt.plural(view.jobs_read, 'job')}"

    def kept(self) -> Kept:
        kept = super().kept()
        return kept if self._by == WAYS[0] else {**kept, "by": self._by}

    def recall(self, kept: Kept) -> None:
        self._by = next((way for way in WAYS if way == kept.get("by")), WAYS[0])
        super().recall(kept)

    def draw(self, snapshot: Snapshot) -> None:
        super().draw(snapshot)
        tabs: list[tuple[str, Parts, Parts]] = []
        for way in WAYS:
            name = Styled(_WORDS[way], "focus" if way == self._by else "dim")
            tabs.append((way, [name], [name]))
        self.query_one("#ways", TabBar).show(tabs, self._by)
        self.query_one("#spent", PartsView).show([self._headline(snapshot)])

    def _headline(self, snapshot: Snapshot) -> Parts:
        """`hour 1.92   day 31.4   burning 3.10/h   wasted 0.41 within a day`."""
        view, burn = self._view(snapshot), totals(snapshot.queues)
        if view is None:
            return [dim("reading …")]
        unit = short(view.unit, 12) or None
        more = "" if view.complete else "+"
        parts: list[Styled] = []
        for name, amount, token in (
            ("hour", view.hour, ""),
            ("day", view.day, ""),
            ("burning", burn.cost_per_hour, ""),
            ("wasted", view.wasted, "error"),
        ):
            words = fmt.money(amount, unit, per="/h" if name == "burning" else "") if amount else fmt.ZERO
            mark = more if amount and name != "burning" else ""
            parts += [
                dim(f"{name} "),
                Styled(f"{words}{mark}", token if amount else "dim", "bold"),
                Styled(" " * (4 if self.app.size.width >= _WIDE else 2)),
            ]
        return parts[:-1]

    # --- events and actions ---

    def on_tab_bar_chosen(self, event: TabBar.Chosen) -> None:
        if event.bar.id == "ways":
            event.stop()
            self._go(next(way for way in WAYS if way == event.key))

    def next_way(self, step: int) -> None:
        self._go(WAYS[(WAYS.index(self._by) + step) % len(WAYS)])

    def _go(self, way: UsageKey) -> None:
        self._by = way
        self._redraw()

    @property
    def opens(self) -> str | None:
        """What the selected row opens; None for nothing."""
        return {"queue": "jobs", "flow": "flow", "job": "job"}.get(self._by)

    def open_selected(self) -> None:
        row = self.selected_item
        if row is None:
            return
        if self._by == "queue":
            self.console.go("jobs", row.key)
        elif self._by == "flow":
            self.console.open_page("flow", self._ref(row))
        elif self._by == "job":
            self.console.open_page("job", self._ref(row))

    def _ref(self, row: SpendRow) -> JobRef:
        from glidemq_core.options.job import JobRef

        queue, _, job_id = row.key.partition(":")
        return JobRef(queue, job_id)
