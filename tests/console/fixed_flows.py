"""Fixed data of limits and flows for snapshots, in each state that matters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from glidemq_console.model.limits import CELLS, MeterHistory, QueueMeters
from glidemq_console.model.snapshot import FlowView, Interests, Snapshot
from glidemq_core.options.job import JobRef
from glidemq_core.records import (
    Concurrency,
    Flow,
    FlowBudget,
    FlowList,
    FlowNode,
    FlowUsage,
    Group,
    Limits,
    QueueSnapshot,
    Rate,
    TopUp,
)

from .fixed import LIVE, NOW, NOW_MS, QUEUES, ago

Script = Callable[[Interests], Snapshot]


# --- limits ------------------------------------------------------------------------------------------------

MINUTE = 60_000
LIMITED = (
    replace(
        QUEUES[0],
        waiting=4,
        active=10,
        rpm=Rate(used=49, max=60, window_ms=MINUTE, resets_at=NOW + timedelta(seconds=12), source="queue"),
        tpm=Rate(
            used=103_000,
            max=100_000,
            window_ms=MINUTE,
            resets_at=NOW + timedelta(seconds=38),
            source="worker",
        ),
        global_concurrency=16,
    ),
    replace(QUEUES[2], global_concurrency=32),
    QueueSnapshot(
        name="embed",
        waiting=3,
        active=1,
        rpm=Rate(used=212),
        tpm=Rate(used=18_400, window_ms=MINUTE, resets_at=NOW + timedelta(seconds=38)),
        workers=2,
    ),
    QueueSnapshot(
        name="crawl",
        active=2,
        rpm=Rate(used=3, max=20, window_ms=10_000, resets_at=NOW + timedelta(seconds=4), source="worker"),
        workers=1,
    ),
    QUEUES[3],
)


def _cells(height: float, period: float) -> tuple[float | None, ...]:
    return tuple(round(height * (0.6 + 0.4 * math.sin(i / period))) for i in range(CELLS))


METERS = {
    "inference": QueueMeters(
        rpm=MeterHistory(cells=_cells(58, 5), watched_ms=2_400_000),
        tpm=MeterHistory(cells=_cells(104_000, 8), blocked_ms=190_000, watched_ms=2_400_000),
    ),
    "embed": QueueMeters(
        rpm=MeterHistory(cells=(None,) * 40 + _cells(240, 3)[:20], watched_ms=300_000),
        tpm=MeterHistory(cells=(None,) * 40 + _cells(20_000, 3)[:20], watched_ms=300_000),
    ),
}
GROUPS = (
    Group(
        key="tenant-acme",
        active=2,
        max_concurrency=2,
        waiting=9,
        rate=Rate(used=5, max=5, window_ms=10_000, resets_at=NOW + timedelta(seconds=3), source="queue"),
        resume_at=NOW + timedelta(seconds=3),
    ),
    Group(key="tenant-globex", active=1, max_concurrency=4, tokens=12, capacity=100, refill_per_s=5),
    Group(key="tenant-北京", active=0, waiting=0, tokens=100, capacity=100, refill_per_s=0.5),
)
LIMITS = {
    "inference": Limits(
        queue="inference",
        rpm=LIMITED[0].rpm,
        tpm=LIMITED[0].tpm,
        global_concurrency=Concurrency(used=10, max=16),
        groups=GROUPS,
        groups_total=3,
    ),
    **{
        row.name: Limits(
            queue=row.name,
            rpm=row.rpm,
            tpm=row.tpm,
            global_concurrency=Concurrency(used=row.active or 0, max=row.global_concurrency),
            groups_total=0,
        )
        for row in LIMITED[1:]
    },
}


def limits_script(queues: tuple[QueueSnapshot, ...] = LIMITED, *, read_only: bool = False) -> Script:
    """What a server with these queues answers to the limits screen."""

    def answer(wants: Interests) -> Snapshot:
        return replace(
            LIVE,
            queues=tuple(sorted(queues, key=lambda row: row.name)),
            history={},
            limits=LIMITS.get(wants.limits or ""),
            meters=METERS,
            read_only=read_only,
        )

    return answer


# --- flows -------------------------------------------------------------------------------------------------

ROOT = JobRef("ai", "5001")
GENERATE = JobRef("ai", "5004")


def node(id: str, name: str, state: str, depth: int, parent: str | None, **more: object) -> FlowNode:
    parents = (JobRef("ai", parent),) if parent is not None else ()
    facts = {"created_at": ago(seconds=41), "parents": parents, "depth": depth, **more}
    return FlowNode(queue="ai", id=id, name=name, state=state, **facts)  # type: ignore[arg-type]  # as given


def ran(start: float, seconds: float) -> dict[str, object]:
    return {"processed_at": ago(seconds=start), "finished_at": ago(seconds=start - seconds)}


DONE = (
    node(
        "5002",
        "embed",
        "completed",
        1,
        "5001",
        model="nano",
        total_tokens=60,
        total_cost=0.0004,
        **ran(40, 0.9),
    ),
    node("5003", "search", "completed", 1, "5001", **ran(39, 0.2)),
    node(
        "5005",
        "rerank",
        "completed",
        2,
        "5004",
        model="nano",
        total_tokens=60,
        total_cost=0.0004,
        **ran(38, 0.4),
    ),
)
GENERATING = node(
    "5004",
    "generate",
    "active",
    1,
    "5001",
    model="gpt-5.4",
    total_tokens=1_240,
    total_cost=0.016,
    fallback_index=1,
    processed_at=ago(seconds=21),
)
WAITING_ROOT = node("5001", "rag", "waiting-children", 0, None)
PUBLISH = node("5006", "publish", "waiting", 1, "5001")
PARKED = replace(PUBLISH, state="delayed", parked=True, parked_at=ago(seconds=21))

HEALTHY_BUDGET = FlowBudget(
    flow=ROOT,
    max_total_tokens=20_000,
    max_total_cost=0.5,
    cost_unit="usd",
    on_exceeded="pause",
    used_tokens=1_360,
    used_cost=0.017,
    left_tokens=18_640,
    left_cost=0.483,
    tokens_per_min=0,
    cost_per_hour=0,
)
LOW_BUDGET = replace(
    HEALTHY_BUDGET,
    max_total_tokens=2_000,
    max_total_cost=0.05,
    max_tokens={"output": 500},
    used_tokens_by={"output": 485, "input": 875},
    left_tokens=640,
    left_cost=0.033,
    tokens_per_min=2_460,
    cost_per_hour=1.48,
    runs_out_at=NOW + timedelta(seconds=16),
)
OVER_BUDGET = replace(
    LOW_BUDGET,
    max_total_tokens=1_300,
    left_tokens=0,
    exceeded=True,
    parked=(PARKED.ref,),
    runs_out_at=None,
)


def flow(*nodes: FlowNode, budget: FlowBudget | None = None, kind: str = "tree") -> Flow:
    counts: dict[str, int] = {}
    for one in nodes:
        counts[one.state] = counts.get(one.state, 0) + 1
    return Flow(
        root=nodes[0].ref,
        kind=kind,
        nodes=tuple(sorted(nodes, key=lambda one: one.depth)),
        counts=counts,
        usage=FlowUsage(
            job_count=len(nodes),
            tokens={"input": 875, "output": 485},
            total_tokens=1_360,
            total_cost=0.0168,
            cost_unit="usd",
            models={"gpt-5.4": 1, "nano": 2},
        ),
        budget=budget,
    )


HEALTHY = flow(WAITING_ROOT, *DONE, GENERATING, PUBLISH, budget=HEALTHY_BUDGET)
LOW = flow(WAITING_ROOT, *DONE, GENERATING, PUBLISH, budget=LOW_BUDGET)
EXCEEDED = flow(
    WAITING_ROOT, *DONE, replace(GENERATING, state="completed", **ran(21, 20)), PARKED, budget=OVER_BUDGET
)  # type: ignore[arg-type]  # as given
FAILED_CHILD = replace(GENERATING, state="failed", failed_reason="429 slow down", finished_at=ago(seconds=4))
BLOCKED = flow(WAITING_ROOT, *DONE, FAILED_CHILD, PUBLISH, budget=None)
GRAPH = flow(
    replace(WAITING_ROOT, name="report"),
    replace(DONE[0], name="parse", parents=(ROOT,)),
    replace(GENERATING, name="summarise", parents=(ROOT,)),
    node("5007", "fetch", "completed", 2, "5004", parents=(GENERATE, DONE[0].ref), **ran(41, 0.5)),
    kind="dag",
)
FINISHED = flow(
    node("4980", "rag", "completed", 0, None, created_at=ago(minutes=9), **ran(520, 4)),
    node("4981", "embed", "completed", 1, "4980", created_at=ago(minutes=9), **ran(530, 1)),
)


def renumber(one: Flow, id: str, name: str) -> Flow:
    """The same flow under another root, for lists."""
    root = replace(one.nodes[0], id=id, name=name)
    budget = replace(one.budget, flow=root.ref) if one.budget is not None else None
    below = tuple(
        replace(node, parents=tuple(root.ref if ref == one.root else ref for ref in node.parents))
        for node in one.nodes[1:]
    )
    return replace(one, root=root.ref, nodes=(root, *below), budget=budget)


LISTED = (
    LOW,
    renumber(EXCEEDED, "4995", "digest-weekly"),
    renumber(BLOCKED, "4990", "moderate-album"),
    renumber(GRAPH, "4987", "report"),
    renumber(HEALTHY, "4984", "rag"),
    FINISHED,
)
FLOW_QUEUES = (*QUEUES, QueueSnapshot(name="ai", waiting=1, active=1))


def flows_script(
    flows: tuple[Flow, ...] = LISTED,
    *,
    blocked: Mapping[JobRef, tuple[JobRef, ...]] | None = None,
    read_only: bool = False,
) -> Script:
    """What a server with these flows answers; the page shows the first."""

    def answer(wants: Interests) -> Snapshot:
        view = None
        if wants.flow is not None:
            shown = next((f for f in flows if any(n.ref == wants.flow for n in f.nodes)), None)
            fallbacks = {GENERATE: "429 slow down"}
            view = FlowView(
                ref=wants.flow, flow=shown, at_ms=NOW_MS, blocked=blocked or {}, fallbacks=fallbacks
            )
        return replace(
            LIVE,
            queues=FLOW_QUEUES,
            flows=FlowList(items=flows, complete=True, at=NOW) if wants.flows else None,
            flow=view,
            read_only=read_only,
        )

    return answer


#: What a top-up of the exceeded budget would do, and does.
TOP_UP = TopUp(
    preview=True,
    before=OVER_BUDGET,
    after=replace(OVER_BUDGET, max_total_tokens=2_300, left_tokens=940, exceeded=False, parked=()),
    still_exceeded=False,
    released=(PARKED.ref,),
)
#: Name, whose first word is the screen -> what is known.
CASES: dict[str, Script] = {
    "limits": limits_script(),
    "limits-none": limits_script(()),
    "limits-unlimited": limits_script(QUEUES[1:]),
    "limits-read-only": limits_script(read_only=True),
    "flows": flows_script(),
    "flows-none": flows_script(()),
    "flows-healthy": flows_script((HEALTHY,)),
    "flows-low": flows_script((LOW,)),
    "flows-exceeded": flows_script((EXCEEDED,)),
    "flows-blocked": flows_script((BLOCKED,), blocked={ROOT: (GENERATE,)}),
    "flows-graph": flows_script((GRAPH,)),
    "flows-read-only": flows_script((EXCEEDED,), read_only=True),
}
