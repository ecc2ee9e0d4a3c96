"""The flows that are known, newest first: how far each is, what it has spent, what keeps it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from textual.app import ComposeResult

from ...actions.flows import FlowListContext
from ...model.flows import flow_state, root_of
from ...model.snapshot import Interests, Snapshot
from ...text import format as fmt
from ...widgets.lists.columns import Column, Row
from ...widgets.lists.row_list import RowList
from ...widgets.styled import Parts, Styled, dim
from ..registry import bindings
from . import text as say
from .top_up import TopUpScreen

if TYPE_CHECKING:
    from glidemq_core.records import Flow

#: Flows are listed by so many, a page more than is seen; each is read once at least.
PAGE, MOST = 20, 500

COLUMNS = (
    Column(key="name", title="FLOW", width=10, flexible=True, sortable=False),
    Column(key="id", title="ROOT", width=12, leaves=1, flexible=True, sortable=False),
    Column(key="kind", title="KIND", width=6, leaves=5, sortable=False),
    Column(key="state", title="STATE", width=14, sortable=False),
    Column(key="done", title="DONE", width=8, right=True, sortable=False),
    Column(key="tokens", title="TOKENS", width=7, right=True, leaves=4, sortable=False),
    Column(key="cost", title="COST", width=9, right=True, leaves=3, sortable=False),
    Column(key="budget", title="BUDGET", width=23, sortable=False),
    Column(key="age", title="AGE", width=7, right=True, leaves=2, sortable=False),
)
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


class FlowsScreen(TopUpScreen):
    """Every known flow."""

    SCOPE = "flows"
    BINDINGS = bindings(SCOPE)
    TAB = "flows"
    LIST, OPEN = "flow-list", "flows.open"

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._listed: list[Flow] = []
        self._most = 0

    def body(self) -> ComposeResult:
        yield RowList(COLUMNS, id="flow-list", empty=_EMPTY)

    @property
    def selected(self) -> Flow | None:
        key = self.lines.cursor_key if self.is_up else None
        return next((flow for flow in self._listed if flow.root == key), None)

    @property
    def _wanted(self) -> int:
        """How many flows to read: those on screen and a page more, fewer never than before."""
        last = max(self.lines.visible_range[1], self.app.size.height)
        self._most = max(self._most, min(MOST, (last // PAGE + 1) * PAGE))
        return self._most

    # --- what the frame calls ---

    def interests(self) -> Interests:
        seen = frozenset(self.lines.visible_keys())
        return Interests(
            flows=self._wanted, flows_shown=tuple(flow.root for flow in self._listed if flow.root in seen)
        )

    def context(self) -> FlowListContext:
        flow = self.selected
        shown = FlowListContext(console=self.console, page=self, snapshot=self.snapshot)
        return shown if flow is None else replace(shown, queue=flow.root.queue, job=flow.root, flow=flow)

    def status(self, snapshot: Snapshot) -> Parts:
        known = snapshot.flows
        if known is None:
            return []
        words = fmt.plural(len(self._listed), "flow")
        if len(known.items) >= self._most:
            words = f"the first {len(known.items)} flows"
        parts = [dim(words), dim(" · " + ("scan complete" if known.complete else "searching …"))]
        stuck = sum(1 for flow in self._listed if flow_state(flow)[2] in ("error", "state-paused"))
        if stuck:
            parts = [Styled(f"{stuck} need{'s' if stuck == 1 else ''} a look", "warning", "bold"), dim(" · "),
                     *parts]  # fmt: skip
        return self.with_filter(parts)

    def open(self, target: object) -> None:
        from glidemq_core.options.job import JobRef

        if isinstance(target, JobRef):
            self.console.open_page("flow", target)

    def leave(self) -> bool:
        return self.clear_filter()

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        lines = self.lines
        known = snapshot.flows
        if known is None:
            lines.set_reading()
            return
        self._listed = [flow for flow in known.items if self._matches(flow)]
        lines.stale = self.has_class("-old")
        if self._filter and known.items and not self._listed:
            lines.set_empty([[], [dim("No flow matches the filter; esc clears it.")]])
        else:
            lines.set_empty(_EMPTY)
        now = self.console.now_ms()
        lines.show([Row(flow.root, say.flow_cells(flow, now)) for flow in self._listed])

    def _matches(self, flow: Flow) -> bool:
        root = root_of(flow)
        name = root.name if root is not None else ""
        text = f"{name} {flow.root} {flow.kind} {flow_state(flow)[1]}".lower()
        return all(word in text for word in self._filter.lower().split())

    # --- events ---

    def on_row_list_highlighted(self) -> None:
        self.show_keys()
        self.console.set_interests()

    # --- actions ---

    def open_selected(self) -> None:
        flow = self.selected
        if flow is not None:
            self.console.open_page("flow", flow.root)

    @property
    def filter_text(self) -> str:
        return self._filter

    def set_filter(self, text: str) -> None:
        self._filter = text
        self.lines.to_top()
        self.show(self.snapshot)
