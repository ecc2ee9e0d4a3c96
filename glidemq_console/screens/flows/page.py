"""One flow: its tree or graph, its budget, and what keeps it from going on."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll

from ...actions.flows import FlowPageContext
from ...model.flows import TreeRow, children_of, section_of, tree_rows, unfolded
from ...model.snapshot import FlowView, Interests, Snapshot, index_of_key
from ...saving.exports import SavedOne
from ...saving.payloads import without_payloads
from ...text.safe import mask, short
from ...widgets.lists.row_list import RowList
from ...widgets.status_line import PartsView, Rule, StatusLine
from ...widgets.styled import Parts, Styled, dim
from ..lists.saving import payloads
from ..page_screen import PageScreen
from ..registry import bindings
from . import text as say
from .columns import TREE_COLUMNS, TreeLine
from .finding import TreeFindingScreen
from .top_up import TopUpScreen

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowNode


#: From this height on there is room for a banner before one is needed; below, two empty lines are too dear.
BANNER_HEIGHT = 30


class FlowScreen(PageScreen, TreeFindingScreen, TopUpScreen):
    """The page of one flow, found from any of its jobs."""

    SCOPE = "flow"
    BINDINGS = bindings(SCOPE)
    TAB, PAGE = "flows", "flow"
    LIST, OPEN = "flow-tree", "flow.open"
    COLUMNS = TREE_COLUMNS
    # The budget stands beside the tree.
    BREAKPOINTS: ClassVar = {"-wide": (130, 0)}
    DEFAULT_CSS: ClassVar[str] = """
    FlowScreen #flow-banner { display: none; padding: 0 1; max-height: 8; }
    FlowScreen.-may-block #flow-banner { display: block; min-height: 2; }
    FlowScreen.-blocked #flow-banner { display: block; background: $error-background; }
    FlowScreen #flow-panes { height: 1fr; layout: vertical; }
    FlowScreen #flow-line { height: auto; margin-top: 1; }
    FlowScreen #flow-side { height: auto; max-height: 55%; padding: 0 1 0 3; scrollbar-size-vertical: 1; }
    FlowScreen #flow-tree { height: 1fr; width: 1fr; min-height: 5; }
    FlowScreen.-wide #flow-panes { layout: horizontal; }
    FlowScreen.-wide #flow-line { display: none; }
    FlowScreen.-wide #flow-side { width: 56; height: 1fr; max-height: 100%; padding: 1 1 0 2; }
    """

    def __init__(self, ref: JobRef) -> None:
        super().__init__(ref)
        self._placed = False

    def body(self) -> ComposeResult:
        yield StatusLine(id="flow-head")
        yield PartsView(id="flow-banner", wraps=True, hang=2)
        yield Rule(id="flow-rule")
        with Horizontal(id="flow-panes"):
            yield RowList(TREE_COLUMNS, id="flow-tree")
            yield Rule(id="flow-line")
            with VerticalScroll(id="flow-side", can_focus=False):
                yield PartsView(id="flow-facts", wraps=True, hang=12)

    @property
    def view(self) -> FlowView | None:
        view = self.snapshot.flow
        return view if view is not None and view.ref == self.ref else None

    @property
    def flow(self) -> Flow | None:
        return self.view.flow if self.view is not None else None

    @property
    def selected(self) -> FlowNode | None:
        line = self.selected_item
        return line.node if line is not None else None

    def key_of(self, item: TreeLine) -> Hashable:
        return item.row.key

    # --- what the frame calls ---

    def crumb(self) -> str:
        return "flow"

    def interests(self) -> Interests:
        return Interests(flow=self.ref)

    def context(self) -> FlowPageContext:
        view, node = self.view, self.selected
        shown = FlowPageContext(console=self.console, page=self, snapshot=self.snapshot, view=view)
        if view is not None:
            shown = replace(shown, flow=view.flow)
        if node is None:
            return shown
        return replace(shown, queue=node.queue, job=node.ref, job_state=node.state)

    def status(self, snapshot: Snapshot) -> Parts:
        view = self.view
        if view is None or view.flow is None:
            return []
        return [*self.found_parts(), dim(view.flow.kind)]

    # --- drawing ---

    def draw(self, snapshot: Snapshot) -> None:
        view, head = self.view, self.query_one("#flow-head", StatusLine)
        if view is None or view.flow is None:
            words = "reading …" if view is None else "is gone: removed, or it left when it was done"
            head.show([Styled(short(str(self.ref)), "", "bold"), dim(f"   {words}")])
            self.lines.set_empty([] if view is None else [[dim("esc goes back")]])
            if view is not None:
                self.listed = ()
                self.draw_rows()
            return
        now, flow = self.console.now_ms(), view.flow
        head.show(*say.headline(view, now), is_left_first=True)
        rows, hidden = unfolded(tree_rows(flow), self._folded)
        below = children_of(flow)
        self.listed = [TreeLine(row, view, below, hidden.get(row.key, 0)) for row in rows]
        self.lines.stale = self.has_class("-old")
        self.draw_rows()
        if not self._placed:
            self._place(flow)
        self._draw_facts(view, now)

    def _place(self, flow: Flow) -> None:
        """Choose where to look, and keep room for a banner: the tree does not move when one comes."""
        self._placed = True
        self.set_class(section_of(flow) != "done" and self.app.size.height >= BANNER_HEIGHT, "-may-block")
        if flow.root != self.ref:
            # Found from one of its jobs: that is where the reader looks.
            keys = [self.key_of(line) for line in self.listed]
            self.lines.move_to(index_of_key(keys, (self.ref, 0)))

    def _draw_facts(self, view: FlowView, now: int) -> None:
        flow = view.flow
        assert flow is not None
        beside = self.has_class("-wide")
        self.set_class(bool(view.blocked), "-blocked")
        self.query_one("#flow-banner", PartsView).show(say.banner(view))
        lines: list[Parts] = say.budget_lines(view, now, narrow=beside)
        if flow.kind == "single":
            lines.append([dim("This job is part of no flow: nothing waits for it, it waits for nothing.")])
        if beside and (usage := say.usage_lines(flow)):
            lines += [[], *usage]
        self.query_one("#flow-line", Rule).show("budget")
        self.query_one("#flow-facts", PartsView).show(lines)

    # --- events and actions ---

    def open_selected(self) -> None:
        node = self.selected
        if node is not None:
            self.console.open_page("job", node.ref)

    def record_of(self, item: TreeLine) -> FlowNode:
        return item.node

    def ref_of(self, item: TreeLine) -> JobRef:
        return item.node.ref

    def saves(self, *, payload: bool) -> SavedOne | None:  # type: ignore[override]
        view = self.view
        if view is None or view.flow is None:
            return None
        return SavedOne(name=str(view.flow.root), read=partial(self._whole_flow, view.flow, payload))

    async def _whole_flow(self, flow: Flow, payload: bool) -> object:
        """The flow, with what its jobs were given and gave by their names where that is asked for."""
        from glidemq_core.records.base import to_json

        saved = without_payloads(to_json(flow))
        if payload:
            saved["payloads"] = await payloads([node.ref for node in flow.nodes], self.console.feed)
        return mask(saved)[0]

    def fold(self, folded: bool) -> None:
        """Fold or unfold the selected row; one that has nothing below it folds what it stands under."""
        rows = [line.row for line in self.listed]
        at = next((index for index, row in enumerate(rows) if row.key == self.lines.cursor_key), None)
        if at is None:
            return
        if folded and not _folds(rows, at):
            at = next((i for i in range(at, -1, -1) if len(rows[i].lead) < len(rows[at].lead)), at)
        (self._folded.add if folded else self._folded.discard)(rows[at].key)
        self.show(self.snapshot)
        self.lines.move_to(at)

    def turned(self) -> None:
        self.listed, self._placed = [], False
        self._folded.clear()
        self._looked_for = ""
        self.lines.clear()


def _folds(rows: Sequence[TreeRow], index: int) -> bool:
    """Whether a row has rows below it that are shown."""
    return index + 1 < len(rows) and len(rows[index + 1].lead) > len(rows[index].lead)
