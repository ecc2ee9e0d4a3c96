"""Fixed data of limits and flows for snapshots, in each state that matters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from glidemq_console.meters import CELLS, MeterHistory, QueueMeters
from glidemq_console.store import FlowView, Interests, Snapshot
from glidemq_core.options import JobRef
from glidemq_core.records import (
    Concurrency,
    Flow,
    FlowBudget,
    FlowList,
    FlowNode,
    FlowUsage,
    Group,
    Limits,
    QueueSnapshot,
    Rate,
)

from .fixed import LIVE, NOW, NOW_MS, QUEUES, ago

Script = Callable[[Interests], Snapshot]


def soon(**span: float) -> object:
    return NOW + timedelta(**span)


# --- limits ------------------------------------------------------------------------------------------------

MINUTE = 60_000
LIMITED = (
    replace(
        QUEUES[0],
        waiting=4,
        active=10,
        rpm=Rate(used=49, max=60, window_ms=MINUTE, resets_at=NOW + timedelta(seconds=12), source="queue"),
        tpm=Rate(
            used=103_000,
            max=100_000,
            window_ms=MINUTE,
            resets_at=NOW + timedelta(seconds=38),
            source="worker",
        ),
        global_concurrency=16,
    ),
    replace(QUEUES[2], global_concurrency=32),
    QueueSnapshot(
        name="embed",
        waiting=3,
        active=1,
        rpm=Rate(used=212),
        tpm=Rate(used=18_400, window_ms=MINUTE, resets_at=NOW + timedelta(seconds=38)),
        workers=2,
    ),
    QueueSnapshot(
        name="crawl",
        active=2,
        rpm=Rate(used=3, max=20, window_ms=10_000, resets_at=NOW + timedelta(seconds=4), source="worker"),
        workers=1,
    ),
    QUEUES[3],
)


def _cells(height: float, period: float) -> tuple[float | None, ...]:
    return tuple(round(height * (0.6 + 0.4 * math.sin(i / period))) for i in range(CELLS))


METERS = {
    "inference": QueueMeters(
        rpm=MeterHistory(cells=_cells(58, 5), watched_ms=2_400_000),
        tpm=MeterHistory(cells=_cells(104_000, 8), blocked_ms=190_000, watched_ms=2_400_000),
    ),
    "embed": QueueMeters(
        rpm=MeterHistory(cells=(None,) * 40 + _cells(240, 3)[:20], watched_ms=300_000),
        tpm=MeterHistory(cells=(None,) * 40 + _cells(20_000, 3)[:20], watched_ms=300_000),
    ),
}
GROUPS = (
    Group(
        key="tenant-acme",
        active=2,
        max_concurrency=2,
        waiting=9,
        rate=Rate(used=5, max=5, window_ms=10_000, resets_at=NOW + timedelta(seconds=3), source="queue"),
        resume_at=NOW + timedelta(seconds=3),
    ),
    Group(key="tenant-globex", active=1, max_concurrency=4, tokens=12, capacity=100, refill_per_s=5),
    Group(key="tenant-北京", active=0, waiting=0, tokens=100, capacity=100, refill_per_s=0.5),
)
LIMITS = {
    "inference": Limits(
        queue="inference",
        rpm=LIMITED[0].rpm,
        tpm=LIMITED[0].tpm,
        global_concurrency=Concurrency(used=10, max=16),
        groups=GROUPS,
        groups_total=3,
    ),
    **{
        row.name: Limits(
            queue=row.name,
            rpm=row.rpm,
            tpm=row.tpm,
            global_concurrency=Concurrency(used=row.active or 0, max=row.global_concurrency),
            groups_total=0,
        )
        for row in LIMITED[1:]
    },
}


def limits_script(queues: tuple[QueueSnapshot, ...] = LIMITED, *, read_only: bool = False) -> Script:
    """What a server with these queues answers to the limits screen."""

    def answer(wants: Interests) -> Snapshot:
        return replace(
            LIVE,
            queues=tuple(sorted(queues, key=lambda row: row.name)),
            history={},
            limits=LIMITS.get(wants.limits or ""),
            meters=METERS,
            read_only=read_only,
        )

    return answer


CASES: dict[str, Script] = {
    "limits": limits_script(),
    "limits-none": limits_script(()),
    "limits-unlimited": limits_script(QUEUES[1:]),
    "limits-read-only": limits_script(read_only=True),
}
