"""Live workers of many queues, and active jobs whose heartbeat is overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import find_overdue, group_facts, longest_running
from glidemq_core.reading.workers import WorkerFinder
from glidemq_core.records.jobs import JobRow, WorkerInfo, WorkerList

from .jobs.rows import job_rows

#: Steps over the keys a call may take to find workers that nothing lists; the walk is made once a queue.
_STEPS = 10
#: Active jobs looked at for each queue, the longest running first.
_ACTIVE = 1_000
#: From so many queues on one walk over all registrations serves them; fewer are walked one by one, in a cluster so
#: many a call.
_MANY = 5


async def read_workers(
    reader: Reader, finder: WorkerFinder, names: Sequence[str], *, brief: bool
) -> WorkerList:
    """Read workers, oldest first, and (unless briefly) stalled jobs of the given queues."""
    if not brief:
        shared = len(names) >= _MANY and not reader.connection.is_cluster
        unknown = [queue for queue in (("",) if shared else names) if not finder.is_over(queue)]
        for queue in unknown[:_MANY]:
            await finder.walk(queue, _STEPS)
    found = await asyncio.gather(*(_read_queue(reader, finder, name, brief) for name in names))
    workers = [worker for workers, _ in found for worker in workers]
    return WorkerList(
        workers=tuple(sorted(workers, key=lambda worker: (worker.started_at, worker.queue, worker.id))),
        stalled=tuple(row for _, stalled in found for row in stalled),
        complete=all(finder.is_complete(name) for name in names),
        at=reader.now(),
    )


async def _read_queue(
    reader: Reader, finder: WorkerFinder, queue: str, brief: bool
) -> tuple[list[WorkerInfo], list[JobRow]]:
    workers, groups = await finder.look(queue)
    if brief:
        return workers, []
    ids = await longest_running(reader, queue, group_facts(groups)[1], _ACTIVE)
    overdue = await job_rows(reader, queue, await find_overdue(reader, queue, ids))
    return workers, [row for row in overdue if row is not None]
