"""A flow as lines of a tree, and what state it is in as a whole: pure functions of the record."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..text import format as fmt
from .snapshot import age_ms, epoch_ms

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowBudget, FlowNode

#: States of a child that will not complete by itself; `unknown` is one that was removed before it was done.
HOPELESS = ("failed", "unknown")
#: Cells of the lines before a name at most; deeper ones are cut at the left.
MOST_LEAD = 30


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A job in the tree. One that several jobs wait for stands once in full and again as a pointer."""

    key: tuple[JobRef, int]
    node: FlowNode
    lead: str
    again: bool = False


def children_of(flow: Flow) -> dict[JobRef, list[FlowNode]]:
    """The children of every job of a flow, in order."""
    known = {node.ref for node in flow.nodes}
    found: dict[JobRef, list[FlowNode]] = {}
    for node in flow.nodes:
        for parent in node.parents:
            if parent in known:
                found.setdefault(parent, []).append(node)
    return found


def tree_rows(flow: Flow) -> list[TreeRow]:
    """Lay a flow out from its root down; a job without a parent stands beside the root."""
    below, known = children_of(flow), {node.ref for node in flow.nodes}
    tops = [node for node in flow.nodes if not any(parent in known for parent in node.parents)]
    tops.sort(key=lambda node: node.ref != flow.root)
    rows: list[TreeRow] = []
    seen: dict[JobRef, int] = {}
    # What stands in a circle has no top: it comes last, each job once.
    for top in [*tops, *flow.nodes]:
        if top.ref in seen:
            continue
        stack: list[tuple[FlowNode, str, str]] = [(top, "", "")]
        while stack:
            node, lead, indent = stack.pop()
            times = seen.get(node.ref, 0)
            seen[node.ref] = times + 1
            shown = lead if len(lead) <= MOST_LEAD else "…" + lead[-MOST_LEAD + 1 :]
            rows.append(TreeRow((node.ref, times), node, shown, again=times > 0))
            children = below.get(node.ref, []) if not times else []
            branch, below_it = "└─ ", "   "
            for child in reversed(children):
                stack.append((child, indent + branch, indent + below_it))
                branch, below_it = "├─ ", "│  "
    return rows


def waits_for(node: FlowNode, below: Mapping[JobRef, Sequence[FlowNode]]) -> int:
    """How many children a job still waits for."""
    return sum(1 for child in below.get(node.ref, ()) if child.state != "completed")


def suspects(flow: Flow) -> list[JobRef]:
    """Parents that wait although a child of theirs failed or is gone, unless it was let go."""
    waiting = {node.ref for node in flow.nodes if node.state == "waiting-children"}
    return list(
        dict.fromkeys(
            parent
            for node in flow.nodes
            if node.state in HOPELESS
            for parent in node.parents
            if parent in waiting
        )
    )


def root_of(flow: Flow) -> FlowNode | None:
    return next((node for node in flow.nodes if node.ref == flow.root), None)


def done_of(flow: Flow) -> tuple[int, int]:
    """Jobs that completed, of how many."""
    return flow.counts.get("completed", 0), len(flow.nodes)


def parked_count(flow: Flow) -> int:
    """Jobs that the budget keeps waiting."""
    parked = sum(1 for node in flow.nodes if node.parked)
    return max(parked, len(flow.budget.parked)) if flow.budget is not None else parked


def flow_state(flow: Flow, blocked: bool | None = None) -> tuple[str, str, str]:
    """Glyph, word and colour of a flow as a whole. `blocked`: some parent can never go on; None: not known."""
    root = root_of(flow)
    state = root.state if root is not None else "unknown"
    if state in ("completed", "failed"):
        look = fmt.state_look(state)
        return look.glyph, state, look.style
    if blocked or (blocked is None and suspects(flow)):
        return "✗", "blocked" if blocked else "child failed", "error"
    if parked := parked_count(flow):
        return fmt.state_look("parked").glyph, f"parked {parked}", "state-paused"
    if flow.counts.get("suspended"):
        return fmt.state_look("suspended").glyph, "suspended", "person"
    if flow.counts.get("active"):
        return fmt.state_look("active").glyph, "running", "state-active"
    if state == "unknown":
        return "?", "unknown", "dim"
    return fmt.state_look("waiting").glyph, "waiting", "state-waiting"


#: The states by which flows are filtered.
FLOW_STATES = ("running", "waiting", "suspended", "parked", "blocked", "failed", "completed", "unknown")


def filter_state(flow: Flow) -> str:
    """The state of a flow as filters name it."""
    word = flow_state(flow)[1]
    return "blocked" if word == "child failed" else word.partition(" ")[0]


#: Styles of the states of a flow that somebody has to look at.
_LOOKED_AT = frozenset(("error", "state-failed", "state-paused", "person"))


def section_of(flow: Flow) -> str:
    """Where a flow is listed: `look` if it needs one, `done` when it completed, else `running`."""
    _, word, style = flow_state(flow)
    return "look" if style in _LOOKED_AT else "done" if word == "completed" else "running"


def flow_took_ms(flow: Flow) -> int | None:
    """How long a flow took from being added to its end; None while it goes on."""
    root = root_of(flow)
    if root is None or root.state not in ("completed", "failed"):
        return None
    created, finished = epoch_ms(root.created_at), epoch_ms(root.finished_at)
    return None if created is None or finished is None else max(0, finished - created)


@dataclass(frozen=True, slots=True)
class Cap:
    """One cap of a budget: its name on screen, what is used of it, and how its amounts are written."""

    name: str
    kind: str
    """The argument of a top-up: `add_tokens`, `add_cost`, `add_tokens_by` or `add_costs_by`."""
    category: str | None
    used: float
    most: float

    @property
    def is_money(self) -> bool:
        return self.kind.startswith("add_cost")

    @property
    def share(self) -> float:
        return self.used / self.most


def caps_of(budget: FlowBudget) -> list[Cap]:
    """Every cap that exists, totals first."""
    found: list[Cap] = []
    if budget.max_total_tokens:
        found.append(Cap("tokens", "add_tokens", None, budget.used_tokens, budget.max_total_tokens))
    if budget.max_total_cost:
        found.append(Cap("cost", "add_cost", None, budget.used_cost, budget.max_total_cost))
    for kind, caps, used in (
        ("add_tokens_by", budget.max_tokens, budget.used_tokens_by),
        ("add_costs_by", budget.max_costs, budget.used_costs_by),
    ):
        found += [
            Cap(f"{name} cost" if kind == "add_costs_by" else name, kind, name, used.get(name, 0), most)
            for name, most in sorted(caps.items())
            if most > 0
        ]
    return found


@dataclass(frozen=True, kw_only=True)
class TopUpRequest:
    """What is to be added to a budget."""

    add_tokens: float = 0
    add_cost: float = 0
    add_tokens_by: Mapping[str, float] = field(default_factory=dict)
    add_costs_by: Mapping[str, float] = field(default_factory=dict)
    retry_failed: bool = False

    @property
    def adds(self) -> bool:
        return bool(self.add_tokens or self.add_cost or self.add_tokens_by or self.add_costs_by)


def forecast(budget: FlowBudget, now_ms: int) -> tuple[str, str]:
    """When the budget will be used up, in honest words, and their colour."""
    parked = f", parked {len(budget.parked)}" if budget.parked else ""
    if budget.exceeded:
        return f"exceeded{parked}", "error"
    if parked:
        return parked[2:], "warning"
    runs_out = epoch_ms(budget.runs_out_at)
    if runs_out is not None:
        left = runs_out - now_ms
        return f"runs out in {fmt.countdown(runs_out, now_ms)}", "warning" if left < 600_000 else "foreground"
    return ("no data" if budget.tokens_per_min is None else "steady"), "dim"


def unfolded(
    rows: Sequence[TreeRow], folded: Collection[Hashable]
) -> tuple[list[TreeRow], dict[Hashable, int]]:
    """Leave out what stands below folded rows; return the rest, and how many rows each of those hides."""
    shown: list[TreeRow] = []
    hidden: dict[Hashable, int] = {}
    under: TreeRow | None = None
    for row in rows:
        if under is not None and len(row.lead) > len(under.lead):
            hidden[under.key] = hidden.get(under.key, 0) + 1
            continue
        shown.append(row)
        under = row if row.key in folded else None
    return shown, hidden


def ancestors(rows: Sequence[TreeRow], at: int) -> list[TreeRow]:
    """The rows under which a row stands, the nearest first."""
    found: list[TreeRow] = []
    depth = len(rows[at].lead)
    for row in reversed(rows[:at]):
        if len(row.lead) < depth:
            found.append(row)
            depth = len(row.lead)
    return found


def took_ms(node: FlowNode, now_ms: int) -> int | None:
    """How long a job ran last, or has been running."""
    if node.processed_at is None or node.state in ("waiting-children", "delayed", "suspended"):
        return None
    if node.finished_at is not None:
        return max(0, (epoch_ms(node.finished_at) or 0) - (epoch_ms(node.processed_at) or 0))
    return age_ms(node.processed_at, now_ms) if node.state == "active" else None
