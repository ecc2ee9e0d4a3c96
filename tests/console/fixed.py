"""Fixed data for snapshots: some queues, one list of jobs, single jobs, at one moment that never moves."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from glidemq_console.config.console import ConsoleConfig
from glidemq_console.feed.scripted import ScriptedFeed
from glidemq_console.model.snapshot import (
    Interests,
    JobList,
    JobView,
    Link,
    LinkState,
    MinuteSeries,
    QueueDetail,
    Snapshot,
)
from glidemq_core.options.job import Fallback, JobOptions, JobRef
from glidemq_core.records import (
    Attempt,
    JobDetail,
    JobRow,
    Permissions,
    QueueSnapshot,
    Rate,
    ServerInfo,
    Signal,
    StreamInfo,
    SuspendInfo,
    Usage,
    WatchStats,
    WorkerInfo,
)

NOW = datetime(2026, 3, 14, 14, 2, 11, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def series(*values: float | None) -> MinuteSeries:
    return MinuteSeries(end_ms=NOW_MS // 60_000 * 60_000, values=(None,) * (60 - len(values)) + values)


def wave(height: float, period: float = 9) -> MinuteSeries:
    return series(*(round(height * (0.6 + 0.4 * math.sin(i / period)), 1) for i in range(60)))


QUEUES = (
    QueueSnapshot(
        name="inference",
        waiting=128,
        active=10,
        delayed=3,
        suspended=2,
        completed=48_100,
        failed=14,
        failed_1h=14,
        stalled=3,
        parked=2,
        missed=1,
        next_timeout_at=NOW + timedelta(minutes=3, seconds=12),
        oldest_waiting_at=ago(seconds=41),
        completed_per_min=412,
        failed_per_min=1.2,
        avg_ms=1_800,
        tokens_per_s=3_100,
        cost_per_hour=1.92,
        cost_unit="usd",
        workers=6,
        rpm=Rate(used=49, max=60, window_ms=60_000, resets_at=NOW + timedelta(seconds=12), source="queue"),
        tpm=Rate(used=34_000, window_ms=60_000, resets_at=NOW + timedelta(seconds=12)),
    ),
    QueueSnapshot(name="moderation", paused=True, suspended=5, completed=310, workers=1),
    QueueSnapshot(
        name="rag-index",
        waiting=1_200,
        active=32,
        completed=9_000,
        failed=2,
        oldest_waiting_at=ago(minutes=3, seconds=12),
        completed_per_min=95,
        tokens_per_s=820,
        cost_per_hour=0.11,
        cost_unit="usd",
        workers=2,
    ),
    QueueSnapshot(name="webhooks", delayed=12, completed=44, completed_per_min=3, workers=0),
)
HISTORY = {
    "inference": wave(480),
    "rag-index": wave(95, 14),
    "moderation": series(*([0.0] * 60)),
    "webhooks": wave(4),
}


def worker(number: int, language: str) -> WorkerInfo:
    return WorkerInfo(
        queue="inference",
        id=f"w{number}",
        host="gpu-1",
        pid=4000 + number,
        started_at=ago(hours=3),
        age_ms=10_800_000,
        active_jobs=2,
        language=language,
    )


FOCUS = QueueDetail(
    queue="inference",
    at_ms=NOW_MS,
    completed=wave(480),
    failed=wave(2),
    run_ms=wave(2_400, 5),
    errors=(("429 slow down", 9), ("timeout after 30s", 5)),
    errors_of=14,
    longest_active_ms=38_000,
    workers=(*(worker(n, "python") for n in range(4)), *(worker(n, "node") for n in (5, 6))),
)


CREWS = {
    "inference": FOCUS.workers or (),
    "moderation": (worker(7, "node"),),
    "rag-index": (worker(8, "python"), worker(9, "python")),
}


def row(id: str, state: str, name: str = "answer", **more: Any) -> JobRow:
    return JobRow(id=id, queue="inference", name=name, state=state, **{"created_at": ago(minutes=2), **more})


ROWS = (
    row(
        "48213",
        "active",
        created_at=ago(seconds=38),
        processed_at=ago(seconds=38),
        max_attempts=3,
        attempts_made=1,
        model="gpt-5.4",
        total_tokens=1_204,
        total_cost=0.018,
    ),
    row(
        "48209",
        "failed",
        created_at=ago(minutes=2, seconds=10),
        processed_at=ago(minutes=2),
        finished_at=ago(minutes=2),
        max_attempts=3,
        attempts_made=3,
        model="gemini-2.5-pro",
        failed_reason="429 slow down",
    ),
    row(
        "48207",
        "suspended",
        "moderate",
        created_at=ago(minutes=6, seconds=2),
        processed_at=ago(minutes=6),
        model="gpt-5.4-nano",
        total_tokens=310,
        total_cost=0.001,
        attempts_made=1,
        suspend=SuspendInfo(
            reason="awaiting-human-review",
            suspended_at=ago(minutes=6),
            timeout_ms=3_600_000,
            deadline_at=NOW + timedelta(minutes=54),
        ),
    ),
    row(
        "48201",
        "delayed",
        "digest",
        created_at=ago(hours=1),
        due_at=NOW + timedelta(minutes=5),
        delay_ms=3_900_000,
    ),
    row(
        "48188",
        "completed",
        created_at=ago(minutes=9),
        processed_at=ago(minutes=9),
        finished_at=ago(minutes=8, seconds=40),
        model="gpt-5.4",
        total_tokens=980,
        total_cost=0.012,
    ),
    JobRow(
        id="48205",
        queue="inference",
        name="chapter",
        state="delayed",
        max_attempts=3,
        delay_ms=86_400_000,
        due_at=NOW + timedelta(hours=23, minutes=55),
        created_at=ago(minutes=9),
        parked=True,
    ),
)

FAILED = JobDetail(
    **{
        name: getattr(ROWS[1], name)
        for name in (
            "id",
            "queue",
            "name",
            "state",
            "created_at",
            "processed_at",
            "finished_at",
            "max_attempts",
            "attempts_made",
            "model",
            "failed_reason",
        )
    },
    fallback_index=2,
    data={
        "prompt": "Explain message queues to a colleague who knows databases well.",
        "options": {
            "temperature": 0.2,
            "top_p": 1,
            "stop": None,
            "max_tokens": 400,
            "seed": 7,
            "stream": True,
        },
        "api_key": "sk-live-4f1c9e2b7d6a4c3e8b5f",
        "history": [{"role": "user", "content": "hello"}],
    },
    data_bytes=4_210,
    options=JobOptions(
        attempts=3,
        backoff=1_000,
        timeout=30_000,
        fallbacks=[Fallback("gpt-5.4-nano", "openai"), Fallback("gemini-2.5-pro", "google")],
    ),
    total_cost=0.021,
    cost_unit="usd",
    ledger=(
        Attempt(
            attempt=1,
            started_at=ago(seconds=131),
            ended_at=ago(seconds=129.1),
            outcome="failed",
            error="503 overloaded",
            model="gpt-5.4",
            provider="openai",
            total_cost=0.018,
        ),
        Attempt(
            attempt=2,
            started_at=ago(seconds=128),
            ended_at=ago(seconds=127.6),
            outcome="failed",
            error="429 slow down",
            model="gpt-5.4-nano",
            provider="openai",
            fallback_index=1,
            total_cost=0.001,
        ),
        Attempt(
            attempt=3,
            started_at=ago(seconds=125),
            ended_at=ago(seconds=120.9),
            outcome="failed",
            error="429 slow down",
            error_type="RateLimitError",
            trace=(
                "Traceback (most recent call last):\n"
                '  File "/srv/app/answers.py", line 41, in answer\n'
                "    return await ask(model, key='sk-live-4f1c9e2b7d6a4c3e8b5f')\n"
                '  File "/srv/app/models.py", line 17, in ask\n'
                "    raise RateLimitError(reply.headers)\n"
                "glidemq_core.errors.RateLimitError: 429 slow down"
            ),
            model="gemini-2.5-pro",
            provider="google",
            fallback_index=2,
            total_cost=0.002,
        ),
    ),
    logs=("calling gpt-5.4", "falling back to gpt-5.4-nano", "falling back to gemini-2.5-pro"),
    logs_total=3,
    stream=StreamInfo(entries=42, last_id="1773496800000-0"),
)

SUSPENDED = JobDetail(
    **{
        name: getattr(ROWS[2], name)
        for name in (
            "id",
            "queue",
            "name",
            "state",
            "created_at",
            "processed_at",
            "suspend",
            "model",
            "total_tokens",
            "total_cost",
        )
    },
    data={"customer": "C-1042", "amount": 129.0},
    data_bytes=38,
    cost_unit="usd",
    usage=Usage(
        model="gpt-5.4-nano",
        provider="openai",
        tokens={"input": 250, "output": 60},
        total_tokens=310,
        costs={"total": 0.001},
        total_cost=0.001,
        cost_unit="usd",
        latency_ms=840,
        cached=False,
    ),
    signals=(Signal(name="revise", data={"by": "alice"}, received_at=ago(minutes=8)),),
)

LIVE = Snapshot(
    at_ms=NOW_MS,
    link=Link(state=LinkState.LIVE, since_ms=NOW_MS, address="valkey://queues.internal:6379"),
    server=ServerInfo(version="9.1.0"),
    permissions=Permissions(can_read=True, can_write=True),
    stats=WatchStats(commands_per_s=1.2, rtt_ms=0.4),
    queues=QUEUES,
    read_ms={queue.name: NOW_MS for queue in QUEUES},
    history=HISTORY,
    workers=CREWS,
    complete=True,
    has_data=True,
)
LOST = replace(
    LIVE,
    link=replace(
        LIVE.link,
        state=LinkState.LOST,
        since_ms=NOW_MS - 12_000,
        retry_at_ms=NOW_MS + 2_000,
        reason="the server went away",
    ),
)


def script(base: Snapshot = LIVE, *, job: JobDetail | None = None, rows: tuple[JobRow, ...] = ROWS):  # type: ignore[no-untyped-def]
    """What a server with this data would answer to a screen."""

    def answer(wants: Interests) -> Snapshot:
        queue_detail = FOCUS if wants.queue_detail == "inference" else None
        jobs = view = None
        if wants.jobs is not None:
            mine = (
                tuple(r for r in rows if wants.jobs.state in (None, r.state))
                if wants.jobs.queue == "inference"
                else ()
            )
            mine = tuple(r for r in mine if (wants.jobs.find or "") in r.name)
            jobs = JobList(query=wants.jobs, rows=mine, total=len(mine), has_more=False, at_ms=NOW_MS)
        if wants.job is not None:
            view = JobView(
                ref=wants.job, detail=job if job is not None and job.ref == wants.job else None, at_ms=NOW_MS
            )
        if not base.has_data:
            return base
        return replace(base, queue_detail=queue_detail, jobs=jobs, job=view)

    return answer


def config(feed: ScriptedFeed, **more: Any) -> ConsoleConfig:
    """A console on fixed data with a fixed clock."""
    return ConsoleConfig(
        url="valkey://queues.internal:6379",
        label="prod-eu",
        user="alice",
        clock=lambda: NOW_MS,
        zone=UTC,
        feed=feed,
        **more,
    )


__all__ = ["FAILED", "LIVE", "LOST", "NOW_MS", "QUEUES", "ROWS", "SUSPENDED", "JobRef", "config", "script"]
