"""Live workers of many queues, and active jobs whose heartbeat is overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import find_overdue, group_facts, longest_running
from glidemq_core.reading.workers import WorkerFinder
from glidemq_core.records import JobRow, WorkerInfo, WorkerList
from glidemq_core.wire.replies import failed, integer

from .jobs.rows import job_rows

#: Steps over the keys a call may take to find workers that nothing lists; the walk is made once a queue.
_STEPS = 10
#: Active jobs of each queue whose heartbeat is checked, the longest running first.
_ACTIVE = 1_000
#: From so many queues on one walk over all registrations serves them; fewer are walked one by one, in a cluster so
#: many a call.
_MANY = 5


#: How long a number of workers stands, s.
_FRESH_S = 15.0


class _Served(NamedTuple):
    """Who serves one queue."""

    workers: list[WorkerInfo]
    stalled: Sequence[JobRow] = ()
    #: When the next sweep for stalled jobs may begin.
    takeover: datetime | None = None


class WorkersReader:
    """Reads the workers of queues, and remembers how many there were."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._finder = WorkerFinder(reader)
        self._counts: dict[str, tuple[datetime, int]] = {}

    async def read(self, names: Sequence[str], *, brief: bool) -> WorkerList:
        """Read workers, oldest first, and (unless briefly) stalled jobs of the given queues."""
        if not brief:
            await self._walk(names)
        found = await asyncio.gather(*(self._read(name, brief) for name in names))
        at = self._reader.now()
        self._counts |= {name: (at, len(one.workers)) for name, one in zip(names, found, strict=True)}
        workers = [worker for one in found for worker in one.workers]
        return WorkerList(
            workers=tuple(sorted(workers, key=lambda worker: (worker.started_at, worker.queue, worker.id))),
            stalled=tuple(row for one in found for row in one.stalled),
            complete=all(self._finder.is_complete(name) for name in names),
            at=at,
            takeovers={
                name: one.takeover for name, one in zip(names, found, strict=True) if one.takeover is not None
            },
        )

    def count(self, name: str) -> int | None:
        """Return how many workers a queue had a short while ago; None if that is not known."""
        at, count = self._counts.get(name, (None, None))
        fresh = at is not None and (self._reader.now() - at).total_seconds() < _FRESH_S
        return count if fresh else None

    async def _walk(self, names: Sequence[str]) -> None:
        """Walk over the registrations once, some steps a call: a new Node worker may not be a consumer yet."""
        shared = len(names) >= _MANY and not self._reader.connection.is_cluster
        unknown = [queue for queue in (("",) if shared else names) if not self._finder.is_over(queue)]
        for queue in unknown[:_MANY]:
            await self._finder.walk(queue, _STEPS)

    async def _read(self, queue: str, brief: bool) -> _Served:
        workers, groups = await self._finder.read(queue)
        if brief:
            return _Served(workers)
        ids = await longest_running(self._reader, queue, group_facts(groups)[1], _ACTIVE)
        overdue = await find_overdue(self._reader, queue, ids)
        if not overdue:
            return _Served(workers)
        rows, [turn] = await asyncio.gather(
            job_rows(self._reader, queue, overdue),
            self._reader.read([("PTTL", self._reader.keys(queue).turn("stalls"))]),
        )
        left_ms = -1 if failed(turn) else integer(turn)
        takeover = self._reader.now() + timedelta(milliseconds=left_ms) if left_ms >= 0 else None
        return _Served(workers, [row for row in rows if row is not None], takeover)
