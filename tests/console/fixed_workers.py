"""Fixed data of workers for snapshots: busy and idle ones, a paused one, a dead one, a queue that nobody serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_console.model.workers import QueueWorkers
from glidemq_core.records import JobRow, WorkerInfo, WorkerJob

from .fixed import LIVE, NOW, NOW_MS, QUEUES, ago


def job(id: str, name: str, **span: float) -> WorkerJob:
    return WorkerJob(id=id, name=name, started_at=ago(**span))


def stalled(id: str, name: str, **span: float) -> JobRow:
    return JobRow(id=id, queue="rag-index", name=name, state="active", processed_at=ago(**span), stalled=True)


def worker(queue: str, process: str, up: timedelta, **more: Any) -> WorkerInfo:
    host, _, pid = process.partition(":")
    return WorkerInfo(
        queue=queue,
        id=process,
        host=host,
        pid=int(pid),
        started_at=NOW - up,
        age_ms=int(up.total_seconds() * 1000),
        **more,
    )


def python(queue: str, process: str, up: timedelta, *jobs: WorkerJob, **more: Any) -> WorkerInfo:
    seen = {"seen_at": ago(seconds=3), "concurrency": 10, "active_jobs": len(jobs), "paused": False}
    return worker(queue, process, up, language="python", jobs=jobs, **(seen | more))


SERVING = {
    "inference": QueueWorkers(
        at_ms=NOW_MS,
        workers=(
            python(
                "inference",
                "ip-10-0-3-7:4182",
                timedelta(hours=6, minutes=10),
                job("48213", "answer", seconds=38),
                job("48214", "answer", seconds=12),
                job("48216", "summarize", seconds=9),
                job("48217", "answer", seconds=2),
            ),
            python("inference", "ip-10-0-3-8:4190", timedelta(minutes=12)),
            worker("inference", "ip-10-0-3-9:911", timedelta(days=2), active_jobs=6),
        ),
    ),
    "moderation": QueueWorkers(
        at_ms=NOW_MS,
        workers=(
            python(
                "moderation",
                "ip-10-0-3-7:4182",
                timedelta(hours=6, minutes=10),
                job("48207", "moderate", minutes=1, seconds=5),
                concurrency=1,
                paused=True,
            ),
        ),
    ),
    "rag-index": QueueWorkers(
        at_ms=NOW_MS,
        workers=(
            python(
                "rag-index",
                "ip-10-0-3-8:4191",
                timedelta(hours=1, minutes=2),
                job("9001", "embed", minutes=4),
                job("9102", "embed", seconds=1),
                concurrency=32,
                seen_at=ago(seconds=14),
            ),
        ),
        stalled=(
            stalled("8990", "embed", minutes=21),
            stalled("8991", "chunk", minutes=20),
            stalled("9001", "embed", minutes=4),
        ),
        takeover_ms=NOW_MS + 12_000,
    ),
    "webhooks": QueueWorkers(at_ms=NOW_MS),
}


def workers_script(base: Snapshot = LIVE) -> Callable[[Interests], Snapshot]:
    """What a server with these workers answers."""

    def answer(wants: Interests) -> Snapshot:
        served = {queue.name: SERVING[queue.name] for queue in base.queues}
        return replace(base, serving=served if wants.serving is not None else {})

    return answer


#: Nobody is there, and nothing to do.
NONE = replace(LIVE, queues=())
CALM = replace(LIVE, queues=QUEUES[:2])
