"""Who works: live workers of queues, and active jobs whose heartbeat is overdue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from weakref import WeakKeyDictionary, proxy

from glidemq_core.errors import PermissionDeniedError
from glidemq_core.jobs.counts import decode_worker
from glidemq_core.reading.reader import Reader
from glidemq_core.reading.running import HEARTBEAT_FIELDS, is_overdue, running_longest
from glidemq_core.reading.scan import STEP_KEYS, Step, try_all, try_step
from glidemq_core.records.jobs import JobRow, WorkerInfo, WorkerList
from glidemq_core.server.connection import Connection
from glidemq_core.wire.keys import queue_of
from glidemq_core.wire.replies import failed, integer, items, pairs, text

from .jobs.rows import job_row, read_fields
from .snapshot import group_facts

#: Steps over the keys a call may take to find workers that nothing lists; the walk is made once a queue.
_SCAN_CALLS = 10
#: Active jobs looked at for each queue, the longest running first.
_ACTIVE = 1_000
_MAX_CONSUMERS = 2_000
#: From so many queues on one walk over all registrations serves them; fewer are walked one by one, in a cluster so
#: many a call.
_MANY = 5
#: A consumer without registration is asked for again once it has been seen to act by so much later, ms.
_ACTED_MS = 1_000
#: Round trips a second of a walk that somebody waits for.
_WALK_CALLS_PER_S = 1_000


@dataclass(slots=True)
class Walk:
    """A walk over all keys for registrations: how far it has come, for the queue or ("") for all."""

    cursor: str = "0"
    looked: int = 0
    #: Every key has been looked at.
    complete: bool = False
    #: Why it could not go on.
    stopped: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether going on makes no sense: it is complete, or the user may not look."""
        return self.complete or isinstance(self.stopped, PermissionDeniedError)


class WorkerFinder:
    """The one way of finding workers: what lists them first, then a walk over the keys that says how far it came.

    Python workers stand in `P:crew`. A worker's registration bears its consumer's name, and the stream knows its
    consumers: those are all that have asked for a job. Only a Node worker that has not asked yet, as its queue is
    at its limit, is found by the walk alone.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._seen: dict[str, set[str]] = {}
        self._walks: dict[str, Walk] = {}
        self._walking = asyncio.Lock()
        #: Consumers whose registration was gone, and when each had acted last, epoch ms.
        self._dead: dict[str, dict[str, int]] = {}
        self.counts: dict[str, tuple[datetime, int]] = {}

    async def read(self, names: Sequence[str], *, brief: bool = False) -> WorkerList:
        """Read workers, oldest first, and (unless briefly) stalled jobs of the given queues."""
        if not brief:
            await self._look_around(names)
        found = await asyncio.gather(*(self._of(name, brief) for name in names))
        at = self._reader.now()
        for name, (workers, _) in zip(names, found, strict=True):
            self.counts[name] = (at, len(workers))
        return WorkerList(
            workers=tuple(
                sorted(
                    (w for workers, _ in found for w in workers), key=lambda w: (w.started_at, w.queue, w.id)
                )
            ),
            stalled=tuple(row for _, stalled in found for row in stalled),
            complete=all(self._is_complete(name) for name in names),
            at=at,
        )

    async def listed(self, queue: str) -> list[WorkerInfo]:
        """Workers of a queue as far as they are listed or have been found, oldest first; walks over no keys."""
        workers, _ = await self._of(queue, brief=True)
        return sorted(workers, key=lambda w: (w.started_at, w.id))

    async def walk(self, queue: str, steps: int | None = None, *, anew: bool = False) -> Walk:
        """Walk over the keys of a queue's node, from where the last walk stopped, or `anew` from the beginning.

        Args:
            steps: pages of keys to look at, at most; None for all that are left.
        """
        async with self._walking:
            if anew or queue not in self._walks:
                self._walks[queue] = Walk()
            await self._go_on(queue, steps)
            return self._walks[queue]

    async def _of(self, queue: str, brief: bool) -> tuple[list[WorkerInfo], list[JobRow]]:
        keys = self._reader.keys(queue)
        groups, published = await self._reader.read(
            [("XINFO", "GROUPS", keys.stream), ("ZRANGE", keys.crew, 0, _MAX_CONSUMERS - 1, "REV")]
        )
        group_names = [
            next((text(v) or "" for k, v in pairs(group) if text(k) == "name"), "") for group in items(groups)
        ]
        consumers = await self._reader.read(
            [("XINFO", "CONSUMERS", keys.stream, group) for group in group_names[:16]]
        )
        now = self._reader.now_ms()
        acted = {
            text(facts.get("name")) or "": now - integer(facts.get("idle"))
            for group in consumers
            for consumer in items(group)
            if (facts := {text(key): value for key, value in pairs(consumer)})
        }
        known, dead = self._seen.setdefault(queue, set()), self._dead.get(queue, {})
        # Dead names pile up: those that have done nothing since they were found dead stay so.
        names = sorted(
            (name for name, at in acted.items() if at > dead.get(name, 0) + _ACTED_MS),
            key=lambda name: acted[name],
        )
        names = [*names[-_MAX_CONSUMERS:], *(text(name) or "" for name in items(published)), *known]
        names = list(dict.fromkeys(names))
        stored = await self._reader.read([("GET", keys.worker(name)) for name in names])
        workers = []
        for name, value in zip(names, stored, strict=True):
            worker = None if failed(value) or value is None else decode_worker(queue, name, value, now)
            if worker is None:
                known.discard(name)
                if name in acted:
                    dead[name] = acted[name]
            else:
                known.add(name)
                workers.append(worker)
        self._dead[queue] = {name: at for name, at in dead.items() if name in acted}
        overdue = [] if brief else await self._stalled(queue, group_facts(groups)[1], now)
        return workers, overdue

    async def _look_around(self, queues: Sequence[str]) -> None:
        """Walk over the registrations once, some steps a call: a new Node worker may not be a consumer yet."""
        shared = len(queues) >= _MANY and not self._reader.connection.is_cluster
        async with self._walking:
            scopes = [scope for scope in (("",) if shared else queues) if not self._is_over(scope)]
            for scope in scopes[:_MANY]:
                self._walks.setdefault(scope, Walk())
                await self._go_on(scope, _SCAN_CALLS)

    async def _go_on(self, scope: str, steps: int | None) -> None:
        walk = self._walks[scope]
        while not walk.is_over and (steps is None or steps > 0):
            steps = None if steps is None else steps - 1
            page = await self._step(scope, walk.cursor)
            walk.stopped = page if isinstance(page, Exception) else None
            if isinstance(page, Exception):
                return
            walk.cursor, keys = page
            walk.looked += STEP_KEYS
            for key in keys:
                if (queue := queue_of(self._reader.prefix, key)) is not None:
                    head = len(self._reader.keys(queue).worker(""))
                    self._seen.setdefault(queue, set()).add(key[head:])
            walk.complete = walk.cursor == "0"

    def _is_over(self, scope: str) -> bool:
        walk = self._walks.get(scope)
        return walk is not None and walk.is_over

    def _is_complete(self, queue: str) -> bool:
        return any(walk is not None and walk.complete for walk in map(self._walks.get, (queue, "")))

    async def _step(self, scope: str, cursor: str) -> Step | Exception:
        if scope:
            return await try_step(self._reader, scope, cursor, "w:*")
        return await try_all(self._reader, cursor, "w:*")

    async def _stalled(self, queue: str, delivered: str, now: int) -> list[JobRow]:
        """Active jobs that no heartbeat has touched for as long as their lock lasts."""
        ids = await running_longest(self._reader, queue, delivered, _ACTIVE)
        facts = await read_fields(self._reader, queue, ids, HEARTBEAT_FIELDS)
        overdue = [job_id for job_id, found in zip(ids, facts, strict=True) if is_overdue(found, now)]
        fields = await read_fields(self._reader, queue, overdue)
        return [
            job_row(queue, job_id, found, now_ms=now)
            for job_id, found in zip(overdue, fields, strict=True)
            if found
        ]


#: Of each connection, by prefix: what callers that hold no watch have found so far.
_crews: WeakKeyDictionary[Connection, dict[str, WorkerFinder]] = WeakKeyDictionary()


def crew_of(connection: Connection, prefix: str) -> WorkerFinder:
    """Return the crew that all callers of a connection share which hold no watch of their own."""
    crews = _crews.setdefault(connection, {})
    if prefix not in crews:
        crews[prefix] = WorkerFinder(Reader(proxy(connection), prefix, _WALK_CALLS_PER_S))
    return crews[prefix]
