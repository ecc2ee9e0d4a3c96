"""Finding the live workers of queues: what lists them first, then a walk over the keys; and their registrations."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, proxy

from glidemq_core.errors import PermissionDeniedError
from glidemq_core.options.fields import from_epoch_ms
from glidemq_core.records import WorkerInfo, WorkerJob
from glidemq_core.server.connection import Connection
from glidemq_core.server.context import QueueContext
from glidemq_core.wire.keys import queue_of
from glidemq_core.wire.replies import failed, integer, items, pairs, text
from glidemq_core.wire.strict_json import parse_json

from . import scan
from .reader import Reader

_MAX_CONSUMERS = 2_000
_MAX_GROUPS = 16
#: A consumer without registration is asked for again once it has been seen to act by so much later, ms.
_ACTED_MS = 1_000
#: Round trips a second of a walk that a caller waits for.
_WALK_CALLS_PER_S = 1_000


@dataclass(slots=True)
class Walk:
    """A walk over all keys for registrations: how far it has come, for one queue or ("") for all."""

    cursor: str = "0"
    #: Every key has been searched.
    complete: bool = False
    #: Why it could not go on.
    stopped: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether going on makes no sense: it is complete, or this user may not scan keys."""
        return self.complete or isinstance(self.stopped, PermissionDeniedError)


class WorkerFinder:
    """The one way of finding workers, and what was found so far.

    Python workers stand in `P:crew`. A worker's registration bears its consumer's name, and the stream knows its
    consumers: those are all that have asked for a job. Only a Node worker that has not asked yet, as its queue is
    at its limit, is found by the walk alone.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        #: Consumers whose registration was found, by queue.
        self._seen: dict[str, set[str]] = {}
        self._walks: dict[str, Walk] = {}
        self._walking = asyncio.Lock()
        #: Consumers whose registration was gone, and when each had acted last, epoch ms.
        self._dead: dict[str, dict[str, int]] = {}

    async def listed(self, queue: str) -> list[WorkerInfo]:
        """Return workers as far as they are listed or have been found, oldest first; walks over no keys."""
        workers, _ = await self.read(queue)
        return workers

    async def read(self, queue: str) -> tuple[list[WorkerInfo], Any]:
        """As `listed`; also the answer of XINFO GROUPS, which was needed for it."""
        keys = self._reader.keys(queue)
        groups, published = await self._reader.read(
            [("XINFO", "GROUPS", keys.stream), ("ZRANGE", keys.crew, 0, _MAX_CONSUMERS - 1, "REV")]
        )
        now_ms = self._reader.now_ms()
        acted = await self._consumers(queue, groups, now_ms)
        known, dead = self._seen.setdefault(queue, set()), self._dead.get(queue, {})
        # Dead names pile up: those that have done nothing since they were found dead stay so.
        recent = sorted(
            (name for name, at in acted.items() if at > dead.get(name, 0) + _ACTED_MS),
            key=lambda name: acted[name],
        )
        names = [*recent[-_MAX_CONSUMERS:], *(text(name) or "" for name in items(published)), *known]
        names = list(dict.fromkeys(names))
        stored = await self._reader.read([("GET", keys.worker(name)) for name in names])
        workers = []
        for name, value in zip(names, stored, strict=True):
            worker = None if failed(value) or value is None else decode_worker(queue, name, value, now_ms)
            if worker is None:
                known.discard(name)
                if name in acted:
                    dead[name] = acted[name]
            else:
                known.add(name)
                workers.append(worker)
        self._dead[queue] = {name: at for name, at in dead.items() if name in acted}
        return sorted(workers, key=lambda worker: (worker.started_at, worker.id)), groups

    async def _consumers(self, queue: str, groups: Any, now_ms: int) -> Mapping[str, int]:
        """Return consumers of the stream's groups and when each has acted last, epoch ms."""
        names = [
            next((text(value) or "" for key, value in pairs(group) if text(key) == "name"), "")
            for group in items(groups)
        ]
        stream = self._reader.keys(queue).stream
        answers = await self._reader.read(
            [("XINFO", "CONSUMERS", stream, name) for name in names[:_MAX_GROUPS]]
        )
        return {
            text(facts.get("name")) or "": now_ms - integer(facts.get("idle"))
            for consumers in answers
            for consumer in items(consumers)
            if (facts := {text(key): value for key, value in pairs(consumer)})
        }

    async def walk(self, queue: str, steps: int | None = None, *, anew: bool = False) -> Walk:
        """Look for registrations that nothing lists, from where the last walk stopped.

        Args:
            queue: whose keys; "" for those of all queues of one server.
            steps: pages of keys to search, at most; None for all that are left.
            anew: whether to begin again.
        """
        async with self._walking:
            if anew or queue not in self._walks:
                self._walks[queue] = Walk()
            walk = self._walks[queue]
            while not walk.is_over and (steps is None or steps > 0):
                steps = None if steps is None else steps - 1
                page = await scan.try_step(self._reader, queue, walk.cursor, "w:*")
                walk.stopped = page if isinstance(page, Exception) else None
                if isinstance(page, Exception):
                    break
                walk.cursor, keys = page
                walk.complete = walk.cursor == "0"
                for key in keys:
                    if (owner := queue_of(self._reader.prefix, key)) is not None:
                        head = len(self._reader.keys(owner).worker(""))
                        self._seen.setdefault(owner, set()).add(key[head:])
            return walk

    def is_over(self, queue: str) -> bool:
        """Whether a walk over the keys of a queue, or ("") of all queues, need not go on."""
        walk = self._walks.get(queue)
        return walk is not None and walk.is_over

    def is_complete(self, queue: str) -> bool:
        """Whether a walk has searched every key of a queue."""
        return any(walk is not None and walk.complete for walk in map(self._walks.get, (queue, "")))


#: Of each connection, by prefix: what callers without a finder of their own have found so far.
_finders: WeakKeyDictionary[Connection, dict[str, WorkerFinder]] = WeakKeyDictionary()


def finder_of(connection: Connection, prefix: str) -> WorkerFinder:
    """Return the finder that callers of a connection share which hold none of their own."""
    finders = _finders.setdefault(connection, {})
    if prefix not in finders:
        finders[prefix] = WorkerFinder(Reader(proxy(connection), prefix, _WALK_CALLS_PER_S))
    return finders[prefix]


async def get_workers(context: QueueContext) -> list[WorkerInfo]:
    """Return all live workers of a queue, oldest first, however many keys have to be searched.

    Raises:
        PermissionDeniedError: this user may not scan keys.
    """
    finder = finder_of(context.connection, context.keys.prefix)
    walk = await finder.walk(context.queue, anew=True)
    if walk.stopped is not None:
        raise walk.stopped
    return await finder.listed(context.queue)


def decode_worker(queue: str, name: str, stored: Any, now_ms: int) -> WorkerInfo | None:
    """Read one registration `P:w:<consumer>`; None for what is none (`addr`, `pid` and `startedAt` make it one)."""
    try:
        raw = parse_json(stored) if isinstance(stored, bytes) else None
    except ValueError:
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("addr"), str):
        return None
    pid, started = _whole(raw.get("pid")), _whole(raw.get("startedAt"))
    started_at = from_epoch_ms(started) if started is not None else None
    if pid is None or started is None or started_at is None:
        return None
    seen = _whole(raw.get("seenAt"))
    return WorkerInfo(
        queue=queue,
        id=name,
        host=raw["addr"],
        pid=pid,
        started_at=started_at,
        age_ms=max(0, now_ms - started),
        active_jobs=_whole(raw.get("activeJobs")) or 0,
        language="python" if raw.get("language") == "python" else "node",
        version=raw["version"] if isinstance(raw.get("version"), str) else None,
        concurrency=_whole(raw.get("concurrency")),
        paused=raw["paused"] if isinstance(raw.get("paused"), bool) else None,
        seen_at=from_epoch_ms(seen) if seen is not None else None,
        jobs=_jobs(raw.get("jobs")),
    )


def _jobs(listed: Any) -> tuple[WorkerJob, ...] | None:
    """Running jobs as a Python worker lists them in its registration; None where it lists none at all."""
    if not isinstance(listed, list):
        return None
    found = []
    for item in listed:
        started = _whole(item.get("startedAt")) if isinstance(item, dict) else None
        at = from_epoch_ms(started) if started is not None else None
        if at is not None:
            found.append(WorkerJob(id=str(item.get("id", "")), name=str(item.get("name", "")), started_at=at))
    return tuple(found)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return int(value)
