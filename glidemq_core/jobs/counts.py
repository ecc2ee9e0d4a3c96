"""How a queue is: counts, metrics, workers, whether it exists."""

from __future__ import annotations

import math
import warnings
from collections.abc import AsyncIterator
from typing import Any, Literal

from ..errors import ServerError
from ..options.fields import from_epoch_ms, integer, one_of
from ..records.jobs import JobCounts
from ..records.operations import Metrics, MetricsPoint, WorkerInfo, WorkerJob
from ..server.context import QueueContext
from ..wire.numbers import to_int
from ..wire.strict_json import parse_json

#: Keys a SCAN step looks at, and steps of one walk.
_SCAN_COUNT = 500
_SCAN_ROUNDS = 1000


async def scan_hashes(scope: QueueContext, suffix: str, *, missed: str) -> AsyncIterator[list[str]]:
    """Walk over the hashes `P:<suffix>`, in pages without order; bounded, and warns of what it may have `missed`."""
    cursor = "0"
    for _ in range(_SCAN_ROUNDS):
        cursor, keys = await _scan_page(scope, cursor, suffix)
        if keys:
            yield keys
        if cursor == "0":
            return
    warnings.warn(
        f"the server holds too many keys to look at all of them for '{scope.queue}': {missed}",
        RuntimeWarning,
        stacklevel=2,
    )


async def _scan_page(scope: QueueContext, cursor: str, suffix: str) -> tuple[str, list[str]]:
    """One step over the hashes `P:<suffix>`; returns the next cursor ("0": done) and the keys."""
    page = await scope.read("scan", cursor, scope.keys.pattern(suffix), _SCAN_COUNT, "hash")
    return page[0].decode(), [key.decode("utf-8", "replace") for key in page[1:]]


async def get_job_counts(scope: QueueContext) -> JobCounts:
    """Count jobs by state, in one call whose cost does not grow with them.

    `prioritized` is part of `delayed`; it and `group_waiting` are None where many priorities or ordering keys
    would make the sum dear, `waiting_children` always (nothing on the wire counts them).
    """
    reply = await scope.read("snapshot", scope.now_ms(), 1, "")
    length, pending, lifo, priority, listed, scheduled, prioritized, suspended, completed, failed, parked = (
        reply[1:12]
    )
    if reply[-1]:
        spoilt = ", ".join(sorted({f"{scope.keys.root}:{key.decode()}" for key in reply[-1]}))
        raise ServerError(
            f"queue '{scope.queue}' holds keys of another type: {spoilt}",
            hint="something else uses these names; choose another prefix",
            command="FCALL_RO",
            code="WRONGTYPE",
        )
    return JobCounts(
        waiting=max(0, length - pending) + lifo + priority,
        active=pending + max(0, to_int(listed)),
        delayed=scheduled,
        prioritized=prioritized,
        suspended=suspended,
        waiting_children=None,
        group_waiting=parked,
        completed=completed,
        failed=failed,
    )


async def count(scope: QueueContext) -> int:
    """Length of the stream: FIFO jobs that wait or run."""
    return int(await scope.connection.command("XLEN", scope.keys.stream))


async def exists(scope: QueueContext) -> bool:
    """Whether anything that makes up a queue is there."""
    return bool(await scope.connection.command("EXISTS", *scope.keys.signs()))


async def get_metrics(
    scope: QueueContext, kind: Literal["completed", "failed"], start: int = 0, end: int = -1
) -> Metrics:
    """Jobs per minute, oldest first, sliced `start`..`end` inclusive (negative: from the end).

    Raises InvalidOptionError.
    """
    one_of("completed", "failed")(kind, "kind")
    start, end = integer(start, "start"), integer(end, "end")
    total, stored = await scope.gather(
        ("ZCARD", f"{scope.keys.root}:{kind}"), ("HGETALL", scope.keys.metrics(kind))
    )
    minutes: dict[int, dict[str, int]] = {}
    for name, value in (stored or {}).items():
        mark, _, rest = name.decode("utf-8", "replace").partition(":")
        minute, _, what = rest.partition(":")
        if mark == "m" and minute.isdigit() and what in ("c", "d"):
            minutes.setdefault(int(minute), {})[what] = to_int(value)
    points = []
    for minute, sums in sorted(minutes.items()):
        at, jobs = from_epoch_ms(minute), sums.get("c", 0)
        if at is not None and jobs > 0:
            points.append(MetricsPoint(at=at, count=jobs, avg_ms=(2 * sums.get("d", 0) + jobs) // (2 * jobs)))
    first = max(0, len(points) + start) if start < 0 else start
    last = len(points) + end if end < 0 else end
    return Metrics(count=int(total or 0), points=tuple(points[first : last + 1]))


async def get_workers(scope: QueueContext) -> list[WorkerInfo]:
    """Live workers of the queue, oldest first: all of them, however many keys have to be looked at.

    Raises: PermissionDeniedError for users who may not look.
    """
    from ..watch.workers import crew_of

    crew = crew_of(scope.connection, scope.keys.prefix)
    walk = await crew.walk(scope.queue, anew=True)
    if walk.stopped is not None:
        raise walk.stopped
    return await crew.listed(scope.queue)


def decode_worker(queue: str, name: str, stored: Any, now_ms: int) -> WorkerInfo | None:
    """Read one registration; None for what is none (`addr`, `pid` and `startedAt` make it one)."""
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
