"""Who works: live workers of queues, and active jobs whose heartbeat is overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from glidemq_core.decoding import Fields
from glidemq_core.numbers import to_int
from glidemq_core.options import JobOptions
from glidemq_core.records import JobRow, WorkerInfo, WorkerList
from glidemq_core.vitals import decode_worker

from .rows import job_row, read_fields
from .scan import scan_step
from .snapshot import group_facts
from .source import Source, entries, failed, pairs, text

#: Steps over the keys a call may take to find workers that have not read yet; the walk is made once a queue.
_SCAN_CALLS = 10
#: Active jobs looked at for each queue, the longest running first.
_ACTIVE = 1_000
#: Heartbeat silence after which a job counts as stalled when it names no lock of its own.
DEFAULT_LOCK_MS = 30_000
_MAX_CONSUMERS = 2_000


class Crew:
    """Finds workers without scanning over and over.

    A worker's registration bears its consumer's name, and the stream knows its consumers.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._seen: dict[str, set[str]] = {}
        self._walk: dict[str, str] = {}
        self.counts: dict[str, tuple[datetime, int]] = {}

    async def read(self, names: Sequence[str], *, brief: bool = False) -> WorkerList:
        """Read workers, oldest first, and (unless briefly) stalled jobs of the given queues."""
        found = await asyncio.gather(*(self._of(name, brief) for name in names))
        at = self._source.now()
        for name, (workers, _) in zip(names, found, strict=True):
            self.counts[name] = (at, len(workers))
        return WorkerList(
            workers=tuple(
                sorted(
                    (w for workers, _ in found for w in workers), key=lambda w: (w.started_at, w.queue, w.id)
                )
            ),
            stalled=tuple(row for _, stalled in found for row in stalled),
            at=at,
        )

    async def _of(self, queue: str, brief: bool) -> tuple[list[WorkerInfo], list[JobRow]]:
        keys = self._source.keys(queue)
        groups, published = await self._source.ask([("XINFO", "GROUPS", keys.stream), ("HKEYS", keys.limits)])
        group_names = [
            next((text(v) or "" for k, v in pairs(group) if text(k) == "name"), "")
            for group in _items(groups)
        ]
        consumers = await self._source.ask(
            [("XINFO", "CONSUMERS", keys.stream, group) for group in group_names[:16]]
        )
        names = [
            text(value) or ""
            for group in consumers
            for consumer in _items(group)
            for key, value in pairs(consumer)
            if text(key) == "name"
        ]
        known = self._seen.setdefault(queue, set())
        if not brief:
            await self._look_around(queue, known)
        names += [text(name) or "" for name in _items(published)]
        names = list(dict.fromkeys([*names[-_MAX_CONSUMERS:], *known]))
        stored = await self._source.ask([("GET", keys.worker(name)) for name in names])
        now = self._source.now_ms()
        workers = []
        for name, value in zip(names, stored, strict=True):
            worker = None if failed(value) or value is None else decode_worker(queue, name, value, now)
            if worker is None:
                known.discard(name)
            else:
                known.add(name)
                workers.append(worker)
        overdue = [] if brief else await self._stalled(queue, group_facts(groups)[1], now)
        return workers, overdue

    async def _look_around(self, queue: str, known: set[str]) -> None:
        """Walk over the registrations once, some steps a call: a new worker may not be a consumer yet."""
        at = self._walk.get(queue, "0")
        if at == "done":
            return
        head = len(self._source.keys(queue).worker(""))
        for _ in range(_SCAN_CALLS):
            at, keys = await scan_step(self._source, queue, at, "w:*")
            known.update(key[head:] for key in keys)
            if at == "0":
                at = "done"
                break
        self._walk[queue] = at

    async def _stalled(self, queue: str, delivered: str, now: int) -> list[JobRow]:
        """Active jobs that no heartbeat has touched for as long as their lock lasts."""
        keys = self._source.keys(queue)
        running, listed = await self._source.ask(
            [
                ("XRANGE", keys.stream, "-", delivered, "COUNT", _ACTIVE),
                ("ZRANGE", keys.list_runs, 0, _ACTIVE - 1),
            ]
        )
        ids = [dict(fields).get("jobId") or "" for _, fields in entries(running)]
        ids += [text(job_id) or "" for job_id in _items(listed)]
        facts = await read_fields(self._source, queue, ids, ("state", "lastActive", "opts"))
        overdue = [job_id for job_id, found in zip(ids, facts, strict=True) if _is_overdue(found, now)]
        fields = await read_fields(self._source, queue, overdue)
        return [job_row(queue, job_id, found) for job_id, found in zip(overdue, fields, strict=True) if found]


def _is_overdue(fields: Fields, now: int) -> bool:
    if fields.get("state") != b"active":
        return False
    lock: int = JobOptions.from_wire(fields.get("opts")).lock_duration or DEFAULT_LOCK_MS
    return now - to_int(fields.get("lastActive")) > lock


def _items(reply: Any) -> Sequence[Any]:
    return reply if isinstance(reply, (list, tuple)) else ()
