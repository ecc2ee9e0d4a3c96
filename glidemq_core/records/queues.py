"""What is known of a queue: counts, rates, limits, workers, events, metrics, schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from .base import answer, python_only
from .jobs import JobRow
from .outcomes import RateSource, WorkerLanguage


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
class Rate:
    """Used of max in a window that ends at `resets_at`; `source`: queue, worker, None (cap unknown)."""

    used: float | None = None
    max: float | None = None
    window_ms: int | None = None
    resets_at: datetime | None = None
    source: RateSource | None = None


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
    #: Jobs that failed in the last hour and are still there.
    failed_1h: int | None = python_only(None)
    #: Jobs that a budget has parked; those that Node workers parked are not counted.
    parked: int | None = python_only(None)
    #: Schedulers with a run that nobody made in time; None where there are too many to look at.
    missed: int | None = python_only(None)
    #: When the first of the suspended jobs times out.
    next_timeout_at: datetime | None = python_only(None)


@answer
class Fleet:
    """All queues at one moment; `complete` is False while the search for queues goes on."""

    queues: tuple[QueueSnapshot, ...]
    complete: bool
    at: datetime


@answer
class Discovery:
    """A step of the search for queues; `progress` is 0 to 1, None if unknown."""

    found: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    progress: float | None = None
    complete: bool = False
    at: datetime


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
    language: WorkerLanguage = "node"
    version: str | None = None
    concurrency: int | None = None
    paused: bool | None = None
    seen_at: datetime | None = None
    jobs: tuple[WorkerJob, ...] | None = None


@answer
class WorkerList:
    """Live workers, and active jobs whose heartbeat is overdue.

    `complete` is False while not all keys have been looked at for workers that nothing lists.
    """

    workers: tuple[WorkerInfo, ...]
    stalled: tuple[JobRow, ...]
    complete: bool
    at: datetime
    #: By queue, from when on a Python worker takes stalled jobs over; a queue of which that is not known is missing.
    takeovers: Mapping[str, datetime] = field(default_factory=dict, metadata={"json": False})


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
class RecentEvents:
    """The newest events of some queues, oldest first. `cut`: queues of which older ones were left out."""

    events: tuple[QueueEvent, ...]
    cut: tuple[str, ...]
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
