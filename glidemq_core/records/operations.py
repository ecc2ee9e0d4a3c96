"""Limits, workers, events, audit, server and outcomes of operations as the engine answers them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from ..options.job import JobTemplate
from .base import answer, python_only


@answer
class Rate:
    """Used of max in a window that ends at `resets_at`; `source`: queue, worker, None (cap unknown)."""

    used: float | None = None
    max: float | None = None
    window_ms: int | None = None
    resets_at: datetime | None = None
    source: str | None = None


@answer
class Concurrency:
    """Jobs running at once in a queue, and how many may; None: no cap."""

    used: int
    max: int | None = None


@answer
class Group:
    """An ordering group: slots, waiting jobs, rate, token bucket, and when it goes on if it is held."""

    key: str
    active: int = 0
    max_concurrency: int | None = None
    waiting: int = 0
    rate: Rate | None = None
    tokens: float | None = None
    capacity: float | None = None
    refill_per_s: float | None = None
    resume_at: datetime | None = None


@answer
class Limits:
    """What holds a queue back."""

    queue: str
    rpm: Rate = field(default_factory=Rate)
    tpm: Rate = field(default_factory=Rate)
    global_concurrency: Concurrency
    groups: tuple[Group, ...] = ()
    groups_total: int | None = None
    at: datetime | None = python_only(None)


@answer
class WorkerJob:
    """A job that a worker is running."""

    id: str
    name: str
    started_at: datetime


@answer
class WorkerInfo:
    """A live worker; what only Python workers tell is None for others."""

    queue: str
    id: str
    host: str
    pid: int
    started_at: datetime
    age_ms: int
    active_jobs: int = 0
    language: str = "node"
    version: str | None = None
    concurrency: int | None = None
    paused: bool | None = None
    seen_at: datetime | None = None
    jobs: tuple[WorkerJob, ...] | None = None


@answer
class QueueEvent:
    """An event of a queue, a hint; `gap`: entries before it were trimmed unseen."""

    queue: str
    id: str
    at: datetime
    event: str
    job_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    gap: bool = python_only(False)


@answer
class AuditEntry:
    """Who changed what, chained to the entry before it by hash.

    `by` is what the caller says; `user` is the server's user that its client named, None if that was forbidden to ask.
    """

    seq: int
    at: datetime
    by: str
    via: str
    host: str
    action: str
    queue: str
    job_ids: tuple[str, ...] = ()
    count: int | None = None
    outcome: str
    comment: str | None = None
    shown_hash: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    prev_hash: str
    hash: str
    user: str | None = None


@answer
class AuditCheck:
    """Whether the chain of audit entries holds; `broken_at` is the first `seq` that does not.

    `entries` were checked, from `first_seq` to `last_seq`; that and `last_hash` kept elsewhere prove later that nothing
    of it was cut off.
    """

    ok: bool
    entries: int
    broken_at: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    last_hash: str | None = None


@answer
class Decision:
    """How an approval or rejection went; `decided_by` is who was first, if known."""

    queue: str
    id: str
    action: str
    ok: bool
    outcome: str
    signal: str
    by: str
    at: datetime
    review_hash: str | None = None
    state: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    audit_seq: int | None = None


@answer
class OperationResult:
    """How one operation on a queue or job went."""

    queue: str
    id: str | None = None
    action: str
    ok: bool
    outcome: str
    count: int | None = None
    ids: tuple[str, ...] | None = None
    message: str | None = None


@answer
class SignalResult:
    """How a signal went (`resumed kept changed not_suspended not_found`); true only if the job was resumed.

    `revoked`: the job resumes only to fail, because it was revoked meanwhile.
    """

    outcome: str
    revoked: bool = False

    def __bool__(self) -> bool:
        return self.outcome == "resumed"


@answer
class Check:
    """One finding of the doctor: ok, warn, fail or skip, and what mends it."""

    id: str
    status: str
    summary: str
    detail: str | None = None
    fix: str | None = None


@answer
class Server:
    """State of our own server."""

    running: bool
    url: str | None = None
    pid: int | None = None
    port: int | None = None
    version: str | None = None
    data_dir: str


@answer
class ServerInfo:
    """The server behind a connection; `mode` is standalone or cluster."""

    version: str
    mode: str = "standalone"
    nodes: int = 1
    used_memory_bytes: int | None = None
    latency_ms: float | None = None
    at: datetime | None = python_only(None)


@answer
class Permissions:
    """What the user may do here, and why not more."""

    can_read: bool
    can_write: bool
    reason: str | None = None
    at: datetime | None = python_only(None)


@answer
class WatchStats:
    """What watching costs."""

    commands_per_s: float = 0
    rtt_ms: float | None = None
    at: datetime | None = python_only(None)


@answer
class Discovery:
    """A step of the search for queues; `progress` is 0 to 1, None if unknown."""

    found: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    progress: float | None = None
    complete: bool = False
    at: datetime


@answer
class MetricsPoint:
    """Jobs of one minute and their mean run time."""

    at: datetime
    count: int
    avg_ms: int


@answer
class Metrics:
    """Jobs over time: `count` in all, `points` by minute; `resolution` in ms."""

    count: int
    points: tuple[MetricsPoint, ...] = ()
    resolution: int = 60_000


@answer
class JobLogs:
    """Log lines of a job, and how many there are in all."""

    logs: tuple[str, ...] = ()
    count: int = 0


@answer
class SchedulerEntry:
    """A scheduler; times are epoch ms, `next_run` 0 waits for the current job."""

    pattern: str | None = None
    every: int | None = None
    repeat_after_complete: int | None = None
    tz: str | None = None
    start_date: int | None = None
    end_date: int | None = None
    limit: int | None = None
    iteration_count: int | None = None
    template: JobTemplate | None = None
    last_run: int | None = None
    next_run: int | None = None


@answer
class VectorHit:
    """A job found by its vector, and its distance."""

    job: Any
    score: float
