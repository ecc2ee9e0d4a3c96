"""What workers say of themselves in their registrations `P:w:<consumer>`."""

from __future__ import annotations

import math
from typing import Any

from glidemq_core.options.fields import from_epoch_ms
from glidemq_core.records import WorkerInfo, WorkerJob
from glidemq_core.wire.strict_json import parse_json


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
