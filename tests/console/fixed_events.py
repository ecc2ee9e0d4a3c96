"""Fixed events for snapshots, folded as the feed folds them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from glidemq_console.model.lists.events import EventsView, fold
from glidemq_console.model.snapshot import Interests, Snapshot
from glidemq_core.records import QueueEvent

from .fixed import LIVE, NOW, NOW_MS, script


def event(seconds: float, queue: str, kind: str, job: str | None = None, **data: Any) -> QueueEvent:
    at = NOW - timedelta(seconds=seconds)
    return QueueEvent(
        queue=queue, id=f"{int(at.timestamp() * 1_000)}-0", at=at, event=kind, job_id=job, data=data
    )


OLDER = [
    *(event(40 - n / 10, "inference", "completed", str(48_000 + n)) for n in range(212)),
    event(21, "moderation", "suspended", "48207", reason="awaiting-human-review", timeout=3_600_000),
    event(19, "rag-index", "stalled", "9002"),
]
NEWER = [
    event(4, "inference", "added", "48213", name="answer"),
    event(3, "inference", "active", "48213", name="answer"),
    event(2, "webhooks", "retrying", "77", delay=1_500, failed_reason="503 service unavailable"),
    event(1, "inference", "failed", "48209", failed_reason="429 slow down, retry after 800 ms"),
    event(1, "inference", "usage", "48213", model="gpt-5.4", total_tokens=1_204, total_cost=0.018),
    event(1, "moderation", "paused"),
]
COUNTS = (("completed", 212), ("added", 14), ("active", 12), ("usage", 9), ("failed", 3), ("suspended", 1))
EVENTS = EventsView(
    lines=tuple(fold(fold([], OLDER, frozenset(("inference",))), NEWER, frozenset())),
    counts=COUNTS,
    at_ms=NOW_MS,
)


def events_script(base: Snapshot = LIVE, view: EventsView = EVENTS) -> Callable[[Interests], Snapshot]:
    others = script(base)

    def answer(wants: Interests) -> Snapshot:
        known = others(wants)
        return replace(known, events=view) if wants.events else known

    return answer
