"""The columns of the list of flows and of the tree of one: one line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ...model.flows import TreeRow, caps_of, done_of, flow_state, flow_took_ms, root_of, took_ms
from ...model.snapshot import FlowView, epoch_ms, shown_state
from ...text import format as fmt
from ...text.safe import short
from ...widgets.lists.columns import Column
from ...widgets.styled import Cell, Styled, dim
from . import text as say

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowNode


class TreeLine(NamedTuple):
    """A row of the tree of a flow, with what is known of the whole."""

    row: TreeRow
    view: FlowView
    below: Mapping[JobRef, Sequence[FlowNode]]
    #: Rows below it that are folded away.
    hidden: int = 0

    @property
    def node(self) -> FlowNode:
        return self.row.node

    @property
    def again(self) -> bool:
        """The job stands above already; all but its name is told there."""
        return self.row.again


OfFlow = Column["Flow"]
OfNode = Column[TreeLine]


def name(flow: Flow, _now: int) -> Cell:
    root = root_of(flow)
    return Styled(short(root.name if root is not None else "", 200) or fmt.UNKNOWN)


def tokens(flow: Flow, _now: int) -> Cell:
    return Styled(fmt.count(flow.usage.total_tokens), "" if flow.usage.total_tokens else "dim")


def cost(flow: Flow, _now: int) -> Cell:
    unit = short(flow.usage.cost_unit, 12) or None
    return Styled(fmt.money(flow.usage.total_cost, unit), "" if flow.usage.total_cost else "dim")


def called(flow: Flow) -> str:
    root = root_of(flow)
    return root.name if root is not None else ""


def age(flow: Flow) -> int | None:
    """Longer ago is more."""
    root = root_of(flow)
    created = None if root is None else epoch_ms(root.created_at)
    return None if created is None else -created


def share_done(flow: Flow) -> float:
    ended, total = done_of(flow)
    return ended / total if total else 0.0


def share_spent(flow: Flow) -> float | None:
    """How much of the cap is used that is nearest to its end."""
    return max((cap.share for cap in caps_of(flow.budget)), default=None) if flow.budget is not None else None


COLUMNS = (
    OfFlow("name", "FLOW", 10, name, called, rises=True, flexible=1),
    OfFlow("id", "ROOT", 12, lambda flow, _: dim(short(str(flow.root), 200)), leaves=2, flexible=1),
    OfFlow("kind", "KIND", 6, lambda flow, _: dim(flow.kind), lambda flow: flow.kind, rises=True, leaves=6),
    OfFlow("state", "STATE", 14, lambda flow, _: say.state_parts(flow), lambda flow: flow_state(flow)[1], rises=True),
    OfFlow("done", "DONE", 20, lambda flow, _: say.done_parts(flow), share_done, leaves=1),
    OfFlow("tokens", "TOKENS", 7, tokens, lambda flow: flow.usage.total_tokens, right=True, leaves=5),
    OfFlow("cost", "COST", 9, cost, lambda flow: flow.usage.total_cost, right=True, leaves=4),
    OfFlow("budget", "BUDGET", 23, lambda flow, _: say.budget_cell(flow.budget), share_spent),
    OfFlow("age", "AGE", 7, lambda flow, now: dim(say.age_words(flow, now)), age, right=True, leaves=3, rises=True),
    OfFlow("took", "TOOK", 7, lambda flow, _: dim(fmt.took(flow_took_ms(flow))), flow_took_ms, right=True, leaves=3),
)  # fmt: skip


# --- the tree of one flow ----------------------------------------------------------------------------------


def job(line: TreeLine, _now: int) -> Cell:
    name = short(line.node.name, 200) or fmt.UNKNOWN
    lead = Styled(line.row.lead, "hairline")
    if line.again:
        return [lead, dim(f"↑ {name}")]
    look = fmt.state_look(shown_state(line.node))
    folded = [dim(f" ▸ {line.hidden}")] if line.hidden else []
    if line.node.removed:
        # Of what was removed only its place in the flow is kept, and perhaps a name.
        name = short(line.node.name, 200) or short(str(line.node.ref), 200)
    return [
        lead,
        Styled(f"{look.glyph} ", look.style),
        Styled(name, "dim" if line.node.removed else ""),
        *folded,
    ]


def state(line: TreeLine, _now: int) -> Cell:
    if line.again:
        return ""
    state = shown_state(line.node)
    return Styled(short(state, 20), fmt.state_look(state).style)


def model(line: TreeLine, _now: int) -> Cell:
    return "" if line.again else dim(short(line.node.model, 80) if line.node.model else fmt.UNKNOWN)


def took(line: TreeLine, now: int) -> Cell:
    node = line.node
    return "" if line.again else Styled(fmt.took(took_ms(node, now)), "dim" if node.state != "active" else "")


def node_tokens(line: TreeLine, _now: int) -> Cell:
    used = line.node.total_tokens
    return "" if line.again else Styled(fmt.full(used), "" if used else "dim")


def node_cost(line: TreeLine, _now: int) -> Cell:
    spent = line.node.total_cost
    return "" if line.again else Styled(fmt.money(spent), "" if spent else "dim")


def note(line: TreeLine, _now: int) -> Cell:
    return dim("stands above") if line.again else say.note_parts(line.node, line.view, line.below)


TREE_COLUMNS = (
    OfNode("job", "JOB", 20, job, flexible=1),
    OfNode("id", "ID", 12, lambda line, _: dim(short(str(line.node.ref), 200)), leaves=4),
    OfNode("state", "STATE", 16, state, leaves=5),
    OfNode("model", "MODEL", 16, model, leaves=3),
    OfNode("took", "TOOK", 7, took, right=True, leaves=1),
    OfNode("tokens", "TOKENS", 7, node_tokens, right=True),
    OfNode("cost", "COST", 7, node_cost, right=True),
    OfNode(
        "spend",
        "SPENT",
        8,
        lambda line, _: "" if line.again else say.spend_parts(line.node, line.view.flow),
        leaves=2,
    ),
    OfNode("note", "", 26, note, flexible=1),
)
