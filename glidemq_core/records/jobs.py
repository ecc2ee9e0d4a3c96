"""What the engine answers: jobs, queues, suspensions, usage and token streams, as frozen records.

A field `x_at` is an aware UTC datetime and stands in JSON as `x_ms`; durations are `x_ms` in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from ..options.fields import EPOCH, epoch_ms, from_epoch_ms
from ..options.job import Fallback, JobOptions, JobRef
from .base import answer, python_only, to_json
from .flows import (
    Flow,
    FlowBudget,
    FlowList,
    FlowNode,
    FlowUsage,
    MinuteUsage,
    TopUp,
    Totals,
    Usage,
    UsageSummary,
)
from .operations import (
    AuditCheck,
    AuditEntry,
    Check,
    Concurrency,
    Decision,
    Discovery,
    Group,
    JobLogs,
    Limits,
    Metrics,
    MetricsPoint,
    OperationResult,
    Permissions,
    QueueEvent,
    Rate,
    SchedulerEntry,
    Server,
    ServerInfo,
    SignalResult,
    VectorHit,
    WatchStats,
    WorkerInfo,
    WorkerJob,
)

__all__ = [
    "Approval",
    "Attempt",
    "AuditCheck",
    "AuditEntry",
    "Check",
    "Child",
    "Concurrency",
    "Decision",
    "Discovery",
    "Fallback",
    "Fleet",
    "Flow",
    "FlowBudget",
    "FlowList",
    "FlowNode",
    "FlowUsage",
    "Group",
    "Inbox",
    "JobCounts",
    "JobDetail",
    "JobLogs",
    "JobPage",
    "JobRef",
    "JobRow",
    "Limits",
    "Metrics",
    "MetricsPoint",
    "MinuteUsage",
    "OperationResult",
    "Permissions",
    "QueueEvent",
    "QueueSnapshot",
    "Rate",
    "ReviewDecision",
    "SchedulerEntry",
    "Server",
    "ServerInfo",
    "Signal",
    "SignalResult",
    "StreamChunk",
    "StreamInfo",
    "SuspendInfo",
    "ToolCall",
    "TopUp",
    "Totals",
    "Usage",
    "UsageSummary",
    "VectorHit",
    "WatchStats",
    "WorkerInfo",
    "WorkerJob",
    "WorkerList",
    "to_json",
]


@answer
class JobCounts:
    """How many jobs are in which state; None: not known. `prioritized` is part of `delayed`."""

    waiting: int = 0
    active: int = 0
    delayed: int = 0
    prioritized: int | None = None
    suspended: int = 0
    waiting_children: int | None = None
    group_waiting: int | None = None
    completed: int = 0
    failed: int = 0


@answer
class QueueSnapshot(JobCounts):
    """One queue at a glance. Rates are means of the last 5 full minutes, `avg_ms` the mean run time."""

    name: str
    paused: bool = False
    oldest_waiting_at: datetime | None = None
    completed_per_min: float = 0
    failed_per_min: float = 0
    avg_ms: float | None = None
    tokens_per_s: float = 0
    cost_per_hour: float = 0
    cost_unit: str | None = None
    rpm: Rate = field(default_factory=Rate)
    tpm: Rate = field(default_factory=Rate)
    global_concurrency: int | None = None
    workers: int | None = None
    dead_letter_queue: str | None = None
    #: Keys (by suffix) of another type than ours, or an error text: what they hold is missing above.
    unreadable: tuple[str, ...] = python_only(())
    #: Active jobs whose heartbeat is overdue, counted among the 50 that have run longest.
    stalled: int | None = python_only(None)


@answer
class Signal:
    """A signal a suspended job was given; `data` is "" when none was sent."""

    name: str
    data: Any
    received_at: datetime


@answer
class ReviewDecision:
    """What a person decided about a job since it was suspended.

    Attributes:
        data: the edited payload, else the job's own.
        review_hash: what the decision was bound to, None if to nothing.
        is_current: False if the job's payload is not what was decided on any more: do not act on it.
    """

    approved: bool
    by: str
    comment: str | None = None
    reason: str | None = None
    data: Any = None
    at: datetime
    review_hash: str | None = None
    is_current: bool


@answer
class SuspendInfo:
    """Why and until when a job is suspended; reason and timeout only if they belong to this suspension."""

    reason: str | None = None
    suspended_at: datetime
    timeout_ms: int | None = None
    deadline_at: datetime | None = None
    review_hash: str | None = None
    signals: tuple[Signal, ...] = python_only(())


@answer
class JobRow:
    """A job without its payloads, as a list shows it."""

    id: str
    queue: str
    name: str
    state: str
    priority: int = 0
    attempts_made: int = 0
    max_attempts: int = 0
    delay_ms: int = 0
    due_at: datetime | None = None
    created_at: datetime | None = None
    processed_at: datetime | None = None
    finished_at: datetime | None = None
    failed_reason: str | None = None
    progress: Any = 0
    parent: JobRef | None = None
    fallback_index: int = 0
    model: str | None = None
    total_tokens: float | None = None
    total_cost: float | None = None
    cost_unit: str | None = None
    suspend: SuspendInfo | None = None
    #: Delayed because the budget of its flow ran out, until that is topped up.
    parked: bool = python_only(False)
    #: Active, but its heartbeat is overdue: its worker has died or hangs.
    stalled: bool = python_only(False)

    @property
    def ref(self) -> JobRef:
        """The job with its queue."""
        return JobRef(self.queue, self.id)


@answer
class Child:
    """A job another one waits for."""

    queue: str
    id: str
    name: str
    state: str


@answer
class StreamInfo:
    """How much a job's token stream holds."""

    entries: int = 0
    last_id: str | None = None


@answer
class Attempt(Usage):
    """One run of a job by a Python worker, what it spent and how it ended.

    A failed one has the class of its error in `error_type`; of the newest three `trace` is the formatted traceback.
    """

    attempt: int
    started_at: datetime
    ended_at: datetime | None = None
    outcome: str
    error: str | None = None
    error_type: str | None = None
    trace: str | None = None
    fallback_index: int = 0
    worker: str | None = None


@answer
class JobDetail(JobRow):
    """Everything about a job. `truncated`: the payload was over the limit, `data` is then None."""

    data: Any = None
    data_bytes: int = 0
    data_error: str | None = None
    truncated: bool = False
    masked: int = 0
    options: JobOptions = field(default_factory=JobOptions)
    result: Any = None
    cost: float | None = None
    expires_at: datetime | None = None
    last_active_at: datetime | None = None
    ordering_key: str | None = None
    ordering_seq: int | None = None
    lifo: bool = False
    scheduler: str | None = None
    parents: tuple[JobRef, ...] = ()
    children: tuple[Child, ...] = ()
    children_total: int = 0
    budget: JobRef | None = None
    fallback: Fallback | None = None
    usage: Usage | None = None
    tpm_tokens: int | None = None
    signals: tuple[Signal, ...] = ()
    revoked: bool = False
    stalled_count: int = 0
    stream: StreamInfo = field(default_factory=StreamInfo)
    ledger: tuple[Attempt, ...] | None = None
    logs: tuple[str, ...] = ()
    logs_total: int = 0
    #: Fields that were too long to be read, with their sizes.
    left_out: tuple[str, ...] = python_only(())
    at: datetime | None = python_only(None)


@answer
class ToolCall:
    """A tool that a job asked for in its stream. `bytes` is the size of the whole, `cut`: `args` is not all of it."""

    name: str
    args: str
    bytes: int
    cut: bool = False


@answer
class Approval(SuspendInfo):
    """What an approver must see of a suspended job; draft, tool calls and `chunks` are of the run that suspended.

    `hidden` names in words what a limit kept out, `data_error` says why the payload cannot be read: then `data` is
    None and `raw` its text. Whoever has not been shown all of it has no `review_hash`.
    """

    queue: str
    id: str
    name: str
    data: Any = None
    data_bytes: int = 0
    truncated: bool = False
    draft: str | None = None
    progress: Any = 0
    signals: tuple[Signal, ...] = ()
    usage: Usage | None = None
    budget: JobRef | None = None
    waiting_behind: int | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    #: Entries of its stream by kind.
    chunks: Mapping[str, int] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    data_error: str | None = None
    raw: str | None = None
    #: Tells readings apart: the same as long as nothing that is known of it has changed, cut or not.
    mark: str = python_only("")

    @property
    def unshown(self) -> str | None:
        """What of it is not shown here, in words; None if everything is: only then may it be approved."""
        if self.data_error is not None:
            return "its payload cannot be read"
        parts = [f"its payload of {self.data_bytes} bytes"] if self.truncated else []
        return "not shown: " + ", ".join([*parts, *self.hidden]) if parts or self.hidden else None

    @property
    def ref(self) -> JobRef:
        """The job with its queue."""
        return JobRef(self.queue, self.id)


@answer
class Fleet:
    """All queues at one moment; `complete` is False while the search for queues goes on."""

    queues: tuple[QueueSnapshot, ...]
    complete: bool
    at: datetime


@answer
class JobPage:
    """A page of jobs; `next` is the cursor of the following one, None at the end."""

    rows: tuple[JobRow, ...]
    next: str | None
    total: int | None
    at: datetime


@answer
class Inbox:
    """Suspended jobs by deadline."""

    items: tuple[Approval, ...]
    total: int
    complete: bool
    at: datetime


@answer
class WorkerList:
    """Live workers, and active jobs whose heartbeat is overdue.

    `complete` is False while not all keys have been looked at for workers that nothing lists.
    """

    workers: tuple[WorkerInfo, ...]
    stalled: tuple[JobRow, ...]
    complete: bool
    at: datetime


_TEXT_FIELDS = ("content", "t", "token", "text", "delta")


class StreamChunk(Mapping[str, str]):
    """One entry of a job's token stream: a mapping of its fields; a name given twice reads as its last value.

    `id` is the entry id, `pairs` the fields in their order with duplicates.
    """

    __slots__ = ("_fields", "id", "pairs")

    def __init__(self, id: str, fields: Mapping[str, str] | Iterable[tuple[str, str]]) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self.id = id
        self.pairs: tuple[tuple[str, str], ...] = tuple((name, value) for name, value in pairs)
        self._fields = dict(self.pairs)

    def __getitem__(self, name: str) -> str:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"StreamChunk({self.id!r}, {self._fields!r})"

    def __hash__(self) -> int:
        return hash((self.id, self.pairs))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StreamChunk):
            return (self.id, self.pairs) == (other.id, other.pairs)
        return super().__eq__(other)

    @property
    def at(self) -> datetime:
        """When the entry was written, by the server's clock."""
        milliseconds = self.id.partition("-")[0]
        return (from_epoch_ms(int(milliseconds)) if milliseconds.isdecimal() else None) or EPOCH

    @property
    def type(self) -> str:
        """`done`, or its own type (`token` reads as `content`), or `content` if it has text, else `data`."""
        if self._fields.get("done") == "1":
            return "done"
        if kind := self._fields.get("type"):
            return "content" if kind == "token" else kind
        return "content" if any(name in self._fields for name in _TEXT_FIELDS) else "data"

    @property
    def text(self) -> str:
        """The first of the fields content, t, token, text, delta; "" without any."""
        return next((self._fields[name] for name in _TEXT_FIELDS if name in self._fields), "")

    def to_json(self) -> dict[str, Any]:
        """Return `{id, t_ms, type, text, fields}`."""
        return {
            "id": self.id,
            "t_ms": epoch_ms(self.at),
            "type": self.type,
            "text": self.text,
            "fields": dict(self._fields),
        }
