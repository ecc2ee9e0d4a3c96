"""Who serves which queue: the rows of the list of workers, what is wrong among them, their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .snapshot import delayed_jobs, epoch_ms, ready_jobs

if TYPE_CHECKING:
    from glidemq_core.records import JobRow, QueueSnapshot, WorkerInfo, WorkerJob

#: What a row tells of: a live worker, jobs whose worker is silent, a queue that has jobs and no worker.
Kind = Literal["worker", "silent", "unserved"]


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueWorkers:
    """Who serves one queue."""

    at_ms: int
    workers: tuple[WorkerInfo, ...] = ()
    #: Active jobs whose heartbeat is overdue.
    stalled: tuple[JobRow, ...] = ()
    #: Every key has been searched for workers that nothing lists.
    complete: bool = True
    #: From when on one of them takes stalled jobs over, epoch ms; None where that is not known.
    takeover_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    """A row of the list of workers."""

    kind: Kind
    queue: str
    #: The live worker.
    worker: WorkerInfo | None = None
    #: Stalled jobs: those that the worker names as its own, or those that no live worker names.
    stalled: tuple[JobRow, ...] = ()
    #: How many workers the queue has.
    served_by: int = 0
    #: Whether every worker of the queue has been found.
    complete: bool = True
    #: From when on stalled jobs are taken over, epoch ms.
    takeover_ms: int | None = None
    #: The row of the queue, if it was read.
    of: QueueSnapshot | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the row from one snapshot to the next."""
        return self.kind, self.queue, self.worker.id if self.worker is not None else ""

    @property
    def running(self) -> tuple[WorkerJob, ...]:
        """Jobs that the worker runs, the oldest first; a Node worker does not name them."""
        jobs = self.worker.jobs if self.worker is not None else None
        return tuple(sorted(jobs or (), key=lambda job: (job.started_at, job.id)))

    @property
    def oldest_ms(self) -> int | None:
        """When the job that runs longest began, epoch ms."""
        begun = [job.started_at for job in self.running]
        begun += [job.processed_at for job in self.stalled if job.processed_at is not None]
        return epoch_ms(min(begun, default=None))

    @property
    def language(self) -> str | None:
        """What the worker is written in, None without one."""
        return self.worker.language if self.worker is not None else None

    @property
    def jobs(self) -> int | None:
        """How many jobs the worker runs, or a silent one left; None where nobody runs any."""
        return self.worker.active_jobs if self.worker is not None else len(self.stalled) or None

    @property
    def process(self) -> str:
        """`host:pid` of the worker; empty where none is known."""
        return f"{self.worker.host}:{self.worker.pid}" if self.worker is not None else ""


def jobs_to_do(queue: QueueSnapshot) -> int:
    """How many jobs of a queue need a worker, now or at their time."""
    return (ready_jobs(queue) or 0) + (delayed_jobs(queue) or 0) + (queue.group_waiting or 0)


def worker_rows(queues: Iterable[QueueSnapshot], serving: Mapping[str, QueueWorkers]) -> list[WorkerRow]:
    """Lay out what is known of each queue as rows; a queue whose workers were not read yet has none."""
    listed = list(queues)
    # Dead letters wait for a person, not for a worker.
    dead = {queue.dead_letter_queue for queue in listed}
    rows: list[WorkerRow] = []
    for queue in listed:
        known = serving.get(queue.name)
        if known is not None:
            rows += _rows_of(queue, known, needs_worker=queue.name not in dead)
    return rows


def _rows_of(queue: QueueSnapshot, known: QueueWorkers, *, needs_worker: bool) -> Iterable[WorkerRow]:
    left = {job.id: job for job in known.stalled}
    about: dict[str, Any] = {
        "queue": queue.name, "served_by": len(known.workers), "complete": known.complete, "of": queue,
        "takeover_ms": known.takeover_ms,
    }  # fmt: skip
    for worker in known.workers:
        mine = tuple(left.pop(job.id) for job in worker.jobs or () if job.id in left)
        yield WorkerRow(kind="worker", worker=worker, stalled=mine, **about)
    if left:
        yield WorkerRow(kind="silent", stalled=tuple(left.values()), **about)
    if needs_worker and not known.workers and jobs_to_do(queue):
        yield WorkerRow(kind="unserved", **about)


#: What each column of the workers sorts by; unknown values stand last in both directions.
def wrong_first(rows: Iterable[WorkerRow]) -> list[WorkerRow]:
    """Put what is wrong before the workers, each in the order it has."""
    return sorted(rows, key=lambda row: row.kind == "worker")
