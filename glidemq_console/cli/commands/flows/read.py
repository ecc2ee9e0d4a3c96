"""`flow` and `flows`: the whole flow a job belongs to, drawn from its root down, and all that are known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, NamedTuple

from ....model.snapshot import shown_state
from ....text.format import UNKNOWN, age, count, full, plural, state_look
from ... import options
from ...option_types import flow_filter
from ...options import option
from ...program import command, require
from ...session import Session

if TYPE_CHECKING:
    from glidemq_core.options.job import JobRef
    from glidemq_core.records import Flow, FlowNode
    from glidemq_core.watch import Watch

DEFAULT_NODES = 1_000
_NODES = 100_000
#: Parents whose blocking children are looked up.
_SUSPECTS = 20
#: Flows that are listed or looked at, at most, and at a time; how long older ones are searched for, s.
_FLOWS, _AT_A_TIME, _SEARCH_S = 10_000, 200, 5.0


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


@command("flows")
async def flows(
    session: Session,
    names: options.Queues = None,
    queue: options.QueueOption = None,
    where: Annotated[
        list[str] | None,
        option("--where", "EXPR", "Only flows that this filter takes; @NAME is a saved one.", flow_filter),
    ] = None,
    scan: options.Scan = None,
    limit: Annotated[int, option("--limit", "N", "Flows at most.", min=1, max=_FLOWS)] = 50,
) -> None:
    """List flows by their roots: those that go on, then those that ended, each newest first."""
    require(scan is None or where, "--scan belongs to --where")
    found, all_queues = await session.chosen_queues(options.merged(names, queue))
    listed = await _listed(await session.watch(), found, " ".join(where or ()), limit, scan)
    if session.json:
        session.out.record(
            {
                "flows": listed.flows,
                "looked": listed.looked,
                "complete": listed.is_complete and all_queues,
                "at_ms": listed.at,
            }
        )
        return
    if listed.flows:
        _show_list(session, listed.flows)
    elif listed.is_complete:
        session.out.note("no such flows" if where else "no flows")
    if not listed.is_complete:
        words = (
            options.looked_words(len(listed.flows), listed.looked, None) if where else "not all are listed"
        )
        session.out.note(f"{words}: --limit N lists more{', --scan N looks further' if scan else ''}")


class _Listed(NamedTuple):
    """Flows that are listed, of how many that were looked at; `is_complete`: there are no others."""

    flows: list[Flow]
    looked: int
    is_complete: bool
    at: datetime


async def _listed(watch: Watch, names: Sequence[str], where: str, limit: int, most: int | None) -> _Listed:
    """Read flows, some more at a time, until enough match; older ones are searched for as long as that may take."""
    from glidemq_console.model.lists.filters import read_filter

    wanted, until = read_filter("flows", where), time.monotonic() + _SEARCH_S
    last = min(most or _FLOWS, _FLOWS)
    size = min(last, limit if not where else _AT_A_TIME)
    while True:
        known = await watch.flows(names, limit=size)
        matching = [flow for flow in known.items if wanted.fits(flow, known.at)]
        is_cut, is_late = len(known.items) >= size, time.monotonic() >= until
        if len(matching) >= limit or is_late or (is_cut and size == last) or (known.complete and not is_cut):
            shown = matching[:limit]
            is_complete = known.complete and not is_cut and len(shown) == len(matching)
            return _Listed(shown, len(known.items), is_complete, known.at)
        size = min(last, size + _AT_A_TIME) if is_cut else size


def _show_list(session: Session, flows: Sequence[Flow]) -> None:
    from glidemq_console.model.flows import done_of, flow_state, root_of

    out, rows = session.out, []
    for flow in flows:
        root, (done, jobs) = root_of(flow), done_of(flow)
        glyph, word, _ = flow_state(flow)
        rows.append(
            [
                out.safe(root.name if root is not None else "", 30) or UNKNOWN,
                out.safe(flow.root, 60),
                f"{glyph} {word}",
                f"{done}/{jobs}{'+' if flow.truncated else ''}",
                count(flow.usage.total_tokens),
                out.money(flow.usage.total_cost, flow.usage.cost_unit),
                age(root.created_at if root is not None else None, datetime.now(UTC)),
            ]
        )
    headers = ["FLOW", "ROOT", "STATE", "DONE", "TOKENS", "COST", "AGE"]
    out.table(headers, rows, right=["DONE", "TOKENS", "COST", "AGE"])


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
