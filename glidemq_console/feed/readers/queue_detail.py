"""What the detail of one queue shows beside its row: an hour by minute, errors, the longest run, workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...model.snapshot import HISTORY_MINUTES, QueueDetail, age_ms, epoch_ms, error_groups, minute_series

if TYPE_CHECKING:
    from glidemq_core import WorkerList
    from glidemq_core.watch import Watch

#: Jobs that errors and the longest run are counted from.
FAILED_SAMPLE = 50


async def read_queue_detail(watch: Watch, queue: str, workers: WorkerList | None, now: int) -> QueueDetail:
    """Read the detail of a queue in a handful of calls at once; `workers` is None when unknown."""
    completed, failed, broken, active = await asyncio.gather(
        watch.metrics(queue, "completed", minutes=HISTORY_MINUTES),
        watch.metrics(queue, "failed", minutes=HISTORY_MINUTES),
        watch.jobs(queue, "failed", limit=FAILED_SAMPLE),
        watch.jobs(queue, "active", limit=FAILED_SAMPLE, newest=False),
    )
    errors, errors_of = error_groups(broken.rows)
    running = [age_ms(row.processed_at, now) or 0 for row in active.rows]
    return QueueDetail(
        queue=queue,
        at_ms=now,
        completed=minute_series(((epoch_ms(p.at) or 0, float(p.count)) for p in completed.points), now),
        failed=minute_series(((epoch_ms(p.at) or 0, float(p.count)) for p in failed.points), now),
        run_ms=minute_series(
            ((epoch_ms(p.at) or 0, float(p.avg_ms) if p.count else None) for p in completed.points), now
        ),
        errors=errors,
        errors_of=errors_of,
        longest_active_ms=max(running, default=None),
        workers=tuple(workers.workers) if workers is not None else None,
    )
