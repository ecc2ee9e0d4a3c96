"""The flows that are known, newest first: how far each is, what it has spent, what keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from ...actions.flows import FlowListContext
from ...model.flows import section_of
from ...model.snapshot import Interests, Snapshot
from ...text import format as fmt
from ...widgets.lists.row_list import RowList
from ...widgets.styled import Parts, Styled, dim
from ..lists.sections import Section, SectionedScreen
from ..registry import bindings
from .columns import COLUMNS
from .top_up import TopUpScreen

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow

#: Flows are listed by so many, a page more than is seen; each is read once at least.
PAGE, MOST = 20, 500

_EMPTY: tuple[Parts, ...] = (
    [],
    [Styled("No flows here yet.")],
    [],
    [dim("A flow is a job that waits for others; a program makes one:")],
    [
        Styled(
            '  FlowProducer().add(FlowJob("rag", "ai", {}, children=[…]), budget=Budget(max_total_tokens=2000))'
        )
    ],
    [dim("or see some at work:  "), Styled("glidemq demo")],
)
_NO_MATCH: tuple[Parts, ...] = ([], [dim("No flow matches the filter; esc clears it.")])


class FlowsScreen(SectionedScreen["Flow"], TopUpScreen):
    """Every known flow."""

    SCOPE = "flows"
    BINDINGS = bindings(SCOPE)
    TAB = "flows"
    LIST, OPEN = "flow-list", "flows.open"
    COLUMNS, EMPTY, NO_MATCH = COLUMNS, _EMPTY, _NO_MATCH
    SECTIONS = (
        Section("look", "need a look", "warning"),
        Section("running", "running"),
        Section("done", "done", folded=True),
    )

    def __init__(self) -> None:
        super().__init__()
        #: The section of each flow, with the record that it was told from.
        self._sections: dict[JobRef, tuple[Flow, str]] = {}
        self._most = 0

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, markable=True, id="flow-list", empty=_EMPTY)

    @property
    def selected(self) -> Flow | None:
        return self.selected_item

    @property
    def _wanted(self) -> int:
        """How many flows to read: those on screen and a page more, fewer never than before; with a filter all."""
        last = max(self.lines.visible_range[1], self.app.size.height)
        wanted = MOST if self.filter_text else (last // PAGE + 1) * PAGE
        self._most = max(self._most, min(MOST, wanted))
        return self._most

    # --- what the frame calls ---

    def interests(self) -> Interests:
        return Interests(flows=self._wanted, flows_shown=tuple(flow.root for flow in self.visible_items()))

    def context(self) -> FlowListContext:
        flow = self.selected
        shown = FlowListContext(
            console=self.console, page=self, snapshot=self.snapshot, marked=self.marked_items
        )
        return shown if flow is None else replace(shown, queue=flow.root.queue, job=flow.root, flow=flow)

    def status(self, snapshot: Snapshot) -> Parts:
        known = snapshot.flows
        if known is None:
            return []
        words = fmt.plural(self.matched, "flow")
        if len(known.items) >= self._most:
            words = f"the first {len(known.items)} flows"
        parts = [dim(words), dim(" · " + ("scan complete" if known.complete else "searching …"))]
        if stuck := self.section_counts.get("look", 0):
            parts = [Styled(f"{stuck} need{'s' if stuck == 1 else ''} a look", "warning", "bold"), dim(" · "),
                     *parts]  # fmt: skip
        return self.with_filter(parts)

    def open(self, target: object) -> None:
        from glidemq_core.options.job import JobRef

        if isinstance(target, JobRef):
            self.console.open_page("flow", target)

    # --- what is listed ---

    def items(self, snapshot: Snapshot) -> Sequence[Flow] | None:
        return None if snapshot.flows is None else snapshot.flows.items

    def key_of(self, item: Flow) -> JobRef:
        return item.root

    def arranged(self, items: Sequence[Flow]) -> Sequence[Flow]:
        shown = super().arranged(items)
        known = {flow.root for flow in items}
        self._sections = {root: told for root, told in self._sections.items() if root in known}
        return shown

    def section_of(self, item: Flow) -> str:
        told = self._sections.get(item.root)
        if told is None or told[0] is not item:
            told = self._sections[item.root] = item, section_of(item)
        return told[1]

    def ref_of(self, item: Flow) -> JobRef:
        return item.root

    def lacks(self) -> str | None:
        known = self.snapshot.flows
        is_cut = known is not None and len(known.items) >= self._most
        return f"the list holds the first {self._most} flows" if is_cut else None

    # --- actions ---

    def open_selected(self) -> None:
        flow = self.selected
        if flow is not None:
            self.console.open_page("flow", flow.root)
