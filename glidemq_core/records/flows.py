"""Usage, budgets and flows as the engine answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from ..options.job import JobRef
from .base import answer, python_only
from .outcomes import FlowKind, JobState, OnExceeded, UsageKey

Amounts = Mapping[str, float]


@answer
class Usage:
    """What a run reported: tokens and costs by category with their totals; None is not reported."""

    model: str | None = None
    provider: str | None = None
    tokens: Amounts = field(default_factory=dict)
    total_tokens: float | None = None
    costs: Amounts = field(default_factory=dict)
    total_cost: float | None = None
    cost_unit: str | None = None
    latency_ms: float | None = None
    cached: bool | None = None


@answer
class Totals:
    """Usage summed over jobs; `models` counts jobs by model."""

    job_count: int = 0
    tokens: Amounts = field(default_factory=dict)
    total_tokens: float = 0
    costs: Amounts = field(default_factory=dict)
    total_cost: float = 0
    cost_unit: str | None = None
    models: Amounts = field(default_factory=dict)
    #: All units met: with more than one, costs are a mixed sum.
    cost_units: tuple[str, ...] = python_only(())


@answer
class FlowUsage(Totals):
    """Usage of a flow."""

    #: Part of it that failed and lost attempts spent; None unless the ledger was asked.
    wasted: Totals | None = python_only(None)


@answer
class MinuteUsage(Totals):
    """Usage reported in one minute."""

    at: datetime


@answer
class UsageGroup(Totals):
    """Usage of one queue, model, flow or job.

    Args:
        wasted_cost: what its failed and lost attempts cost, where that is known.
    """

    key: str
    wasted_cost: float | None = None


@answer
class UsageGroups:
    """Usage by queue, model, flow or job, the dearest first.

    Args:
        jobs_read: jobs that were looked at, the newest that ended.
        complete: every job that ended in this time and is kept was looked at.
    """

    by: UsageKey
    groups: tuple[UsageGroup, ...]
    jobs_read: int
    complete: bool
    start_at: datetime
    at: datetime


@answer
class UsageSummary(Totals):
    """Usage of a span of time, by queue too; both ends' buckets are counted whole."""

    start_at: datetime
    end_at: datetime
    bucket_ms: int = 60_000
    queues: tuple[str, ...] = ()
    per_queue: Mapping[str, Totals] = field(default_factory=dict)


@answer
class FlowBudget:
    """Caps of a flow, what is used and what is left; a cap that is None does not exist."""

    flow: JobRef
    max_total_tokens: float | None = None
    max_tokens: Amounts = field(default_factory=dict)
    token_weights: Amounts = field(default_factory=dict)
    max_total_cost: float | None = None
    max_costs: Amounts = field(default_factory=dict)
    cost_unit: str | None = None
    on_exceeded: OnExceeded = "fail"
    used_tokens: float = 0
    used_cost: float = 0
    used_tokens_by: Amounts = field(default_factory=dict)
    used_costs_by: Amounts = field(default_factory=dict)
    left_tokens: float | None = None
    left_cost: float | None = None
    exceeded: bool = False
    parked: tuple[JobRef, ...] = ()
    tokens_per_min: float | None = None
    cost_per_hour: float | None = None
    runs_out_at: datetime | None = None


@answer
class TopUp:
    """A budget before and after more was added, and the jobs that go on because of it."""

    preview: bool
    before: FlowBudget
    after: FlowBudget
    still_exceeded: bool
    released: tuple[JobRef, ...] = ()
    #: Caps that are still exceeded, by their names on the wire, categories as `maxTokens:<category>`.
    over: tuple[str, ...] = python_only(())


@answer
class FlowNode:
    """A job of a flow; `parents` wait for it."""

    queue: str
    id: str
    name: str
    state: JobState
    depth: int = 0
    parents: tuple[JobRef, ...] = ()
    parked: bool = False
    attempts_made: int = 0
    fallback_index: int = 0
    model: str | None = None
    total_tokens: float | None = None
    total_cost: float | None = None
    created_at: datetime | None = None
    processed_at: datetime | None = None
    finished_at: datetime | None = None
    failed_reason: str | None = None
    #: Its record is gone: `state` is `completed` if whoever waited for it counted it, else `unknown`.
    removed: bool = False
    #: Since when it is parked.
    parked_at: datetime | None = python_only(None)
    #: Active, but its heartbeat is overdue: its worker has died or hangs.
    stalled: bool = python_only(False)

    @property
    def ref(self) -> JobRef:
        """The job with its queue."""
        return JobRef(self.queue, self.id)


@answer
class Flow:
    """A whole flow from its root down; `kind` is single, tree or dag."""

    root: JobRef
    kind: FlowKind
    nodes: tuple[FlowNode, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    #: Jobs among them whose records are gone.
    removed: int = 0
    usage: FlowUsage = field(default_factory=FlowUsage)
    budget: FlowBudget | None = None
    truncated: bool = False
    at: datetime | None = python_only(None)


@answer
class FlowList:
    """Known flows; `complete` is False while the search goes on."""

    items: tuple[Flow, ...]
    complete: bool
    at: datetime
