"""Fixed data of schedulers for snapshots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from glidemq_console.model.lists.schedules import SchedulesView
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_core.options.job import JobOptions
from glidemq_core.schedules.entry import Scheduler, SchedulerEntry

from .fixed import LIVE, NOW, NOW_MS, ago, script


def scheduler(queue: str, name: str, job: str, **more: Any) -> Scheduler:
    timing = SchedulerEntry(
        pattern=more.get("pattern"),
        every=more.get("every_ms"),
        repeat_after_complete=more.get("repeat_after_complete_ms"),
        tz=more.get("tz"),
        limit=more.get("limit"),
    )
    return Scheduler(
        queue=queue, name=name, job=job, described=timing.described, **{"options": JobOptions(), **more}
    )


SCHEDULERS = (
    scheduler(
        "crm",
        "sync",
        "sync",
        every_ms=300_000,
        iteration_count=8_112,
        next_at=ago(minutes=58),
        last_at=ago(hours=1, minutes=3),
        missed=12,
        data={"since": "last", "token": "sk-live-4f1c9e2b7d6a4c3e8b5f"},
    ),
    scheduler(
        "inference",
        "warm-up",
        "answer",
        repeat_after_complete_ms=30_000,
        iteration_count=90,
        last_at=ago(seconds=12),
    ),
    scheduler(
        "reports",
        "broken",
        "report",
        pattern="61 3 * * *",
        problem="pattern: 61 is no minute (0 to 59)",
        iteration_count=0,
    ),
    scheduler(
        "reports",
        "nightly-digest",
        "digest",
        pattern="0 3 * * *",
        tz="Europe/Berlin",
        iteration_count=412,
        next_at=NOW + timedelta(hours=11, minutes=57, seconds=49),
        last_at=ago(hours=12, minutes=2),
        data={"to": "team@example.com", "since": "24h"},
        options=JobOptions(attempts=3),
    ),
    scheduler(
        "webhooks", "trial", "deliver", every_ms=60_000, limit=10, iteration_count=4,
        next_at=NOW + timedelta(seconds=21), last_at=ago(seconds=39),
    ),
)  # fmt: skip
SCHEDULES = SchedulesView(schedulers=SCHEDULERS, complete=True, at_ms=NOW_MS)


def schedules_script(
    base: Snapshot = LIVE, view: SchedulesView = SCHEDULES
) -> Callable[[Interests], Snapshot]:
    others = script(base)

    def answer(wants: Interests) -> Snapshot:
        known = others(wants)
        return replace(known, schedules=view) if wants.schedules else known

    return answer
