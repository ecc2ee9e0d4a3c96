"""Jobs as lists and details show them."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import Any

from ..options.job import Fallback, JobOptions, JobRef
from .approvals import Signal, SuspendInfo
from .base import answer, python_only
from .flows import Usage
from .outcomes import AttemptOutcome, BlockerKind, JobState


@answer
class JobRow:
    """A job without its payloads, as a list shows it."""

    id: str
    queue: str
    name: str
    state: JobState
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
    state: JobState


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
    outcome: AttemptOutcome
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
class JobPage:
    """A page of jobs; `next` is the cursor of the following one, None at the end.

    `looked` jobs were looked at for it, of the `total` that the states hold which can match.
    """

    rows: tuple[JobRow, ...]
    next: str | None
    total: int | None
    at: datetime
    looked: int = 0


@answer
class JobLogs:
    """Log lines of a job, and how many there are in all."""

    logs: tuple[str, ...] = ()
    count: int = 0


@answer
class VectorHit:
    """A job found by its vector, and its distance."""

    job: Any
    score: float


@answer
class Blocker:
    """One thing that keeps a job, or a queue, from going on.

    Args:
        kind: which sort of thing.
        summary: one sentence about it.
        since_at: since when it holds, if that is known.
        clears_at: when it ends by itself, if that is known.
        command: what mends it, if anything does.
    """

    kind: BlockerKind
    summary: str
    since_at: datetime | None = None
    clears_at: datetime | None = None
    command: str | None = None


@answer
class Why:
    """Why a job is not running, or what holds a queue back; the most decisive blocker first.

    Args:
        job: the job; None when a queue was asked about.
        state: its state, `unknown` if its record names none; None for a queue.
        ahead: jobs that start before it, as far as they were counted; None where that cannot be told.
    """

    queue: str
    job: JobRef | None
    state: JobState | None
    blockers: tuple[Blocker, ...]
    ahead: int | None
    at: datetime
