"""`flow`: the whole flow a job belongs to, drawn from its root down."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from ....model.snapshot import shown_state
from ....text.format import UNKNOWN, count, full, plural, state_look
from ... import options
from ...options import option
from ...program import command
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowNode

DEFAULT_NODES = 1_000
_NODES = 100_000
#: Parents whose blocking children are looked up.
_SUSPECTS = 20


@command("flow")
async def flow(
    session: Session,
    name: options.Job,
    queue: options.JobQueue = None,
    depth: Annotated[
        int | None, option("--depth", "N", "Levels below the root at most.", min=0, max=_NODES)
    ] = None,
    max_nodes: Annotated[int, option("--max-nodes", "N", "Jobs at most.", min=1, max=_NODES)] = DEFAULT_NODES,
) -> None:
    """Show the flow of any of its jobs: who waits for whom, states, models, tokens, cost, budget."""
    ref = await session.job_ref(name, queue)
    whole = await (await session.watch()).flow(ref.queue, ref.id, max_nodes=max_nodes)
    shown = whole if depth is None else _cut(whole, depth)
    if session.json:
        session.out.record({"flow": shown})
    else:
        _show(session, shown, await _blocked(session, whole))


def _cut(flow: Flow, depth: int) -> Flow:
    """Leave out what is deeper; counts, usage and budget stay those of the whole flow."""
    kept = tuple(node for node in flow.nodes if node.depth <= depth)
    return replace(flow, nodes=kept, truncated=flow.truncated or len(kept) < len(flow.nodes))


async def _blocked(session: Session, flow: Flow) -> dict[JobRef, list[JobRef]]:
    """Find the children that keep parents from ever going on."""
    from glidemq_console.model.flows import suspects

    found = {}
    for parent in suspects(flow)[:_SUSPECTS]:
        source = await session.queue(parent.queue)
        if children := await source.get_blocking_children(parent.id):
            found[parent] = children
    return found


def _show(session: Session, flow: Flow, blocked: dict[JobRef, list[JobRef]]) -> None:
    from glidemq_console.model.flows import tree_rows

    out = session.out
    unit = flow.usage.cost_unit
    used = f"{full(flow.usage.total_tokens)} tokens, {out.money(flow.usage.total_cost, unit)}"
    states = ", ".join(f"{number} {out.safe(state, 20)}" for state, number in flow.counts.items())
    if flow.removed:
        states += f" ({flow.removed} of them removed)"
    out.fields(
        [
            ("flow", f"{out.safe(flow.root, 300)} ({flow.kind})"),
            ("jobs", states),
            ("used", used if flow.usage.job_count else "no usage reported yet"),
        ]
    )
    if flow.budget is not None:
        from .budgets import budget_fields

        out.fields(budget_fields(session, flow.budget)[1:])
    out.line()
    rows = []
    for row in tree_rows(flow):
        label = row.lead + out.safe(f"{row.node.name} {row.node.ref}", 60)
        if row.again:
            rows.append([f"{label} (above)", *[""] * 6])
        else:
            rows.append([label, *_cells(session, row.node, unit, blocked)])
    headers = ["JOB", "STATE", "TRIES", "MODEL", "TOKENS", "COST", "WHY"]
    out.table(headers, rows, right=["TRIES", "TOKENS", "COST"])
    if flow.truncated:
        shown = plural(len(flow.nodes), "job")
        out.note(f"only {shown} shown; --max-nodes N reads more, --depth N shows more levels")


def _cells(
    session: Session, node: FlowNode, unit: str | None, blocked: dict[JobRef, list[JobRef]]
) -> list[str]:
    out = session.out
    shown = shown_state(node)
    look = state_look(shown)
    state = look.label() if look.word == shown else f"{look.glyph} {out.safe(node.state, 20)}"
    return [
        state,
        str(node.attempts_made),
        out.safe(node.model, 30) if node.model else UNKNOWN,
        count(node.total_tokens),
        out.money(node.total_cost, unit),
        out.safe(_why(node, blocked.get(node.ref, [])), 100),
    ]


def _why(node: FlowNode, culprits: list[JobRef]) -> str:
    """Say what keeps a job where it is, or how it came to be so."""
    reasons = []
    if node.removed:
        reasons.append("done and removed" if node.state == "completed" else "removed")
    if node.parked:
        reasons.append("parked: the budget is used up")
    if culprits:
        more = f" and {len(culprits) - 3} more" if len(culprits) > 3 else ""
        listed = ", ".join(str(child) for child in culprits[:3])
        reasons.append(f"waits for ever for {listed}{more}: failed or gone")
    if node.failed_reason and node.state not in ("completed", "active"):
        reasons.append(node.failed_reason)
    if node.fallback_index:
        reasons.append(f"fallback {node.fallback_index}")
    return "; ".join(reasons)
