"""Schedulers of a queue in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from ..schedules.definition import Definition
from ..schedules.entry import SchedulerEntry, entry_of
from ..schedules.next_run import following_run
from .entries import now_ms

#: Makes the job of a scheduler: its name, its entry, and whether its next run counts from the end of this job.
MakeJob = Callable[[str, SchedulerEntry, bool], Awaitable[None]]


class MemorySchedules:
    """Schedulers by name, stored as on the wire; they make jobs while `run` goes on."""

    def __init__(self) -> None:
        self._raw: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()

    def upsert(self, name: str, definition: Definition) -> SchedulerEntry:
        """Set a scheduler; one of the same timing keeps its count and its next run."""
        first, timing = definition.first_run(now_ms()), json.loads(definition.timing())
        before = self._raw.get(name, {})
        is_same = bool(before.get("nextRun")) and timing == {key: before.get(key) for key in timing}
        raw = {**timing, "iterationCount": 0, "nextRun": first}
        if is_same and len(timing) == sum(key in before for key in _TIMING):
            raw |= {key: before[key] for key in ("iterationCount", "lastRun", "nextRun") if key in before}
        if definition.limit is not None:
            raw["limit"] = definition.limit
        if definition.template:
            raw["template"] = json.loads(definition.template)
        self._raw[name] = raw
        self._changed.set()
        return entry_of(raw, now_ms())

    def remove(self, name: str) -> bool:
        """Remove a scheduler; False if there is none."""
        self._changed.set()
        return self._raw.pop(name, None) is not None

    def get(self, name: str) -> SchedulerEntry | None:
        """Return a scheduler as it is now; None if there is none."""
        raw = self._raw.get(name)
        return None if raw is None else entry_of(raw, now_ms())

    def all(self) -> dict[str, SchedulerEntry]:
        """Return all schedulers by name."""
        return {name: entry_of(raw, now_ms()) for name, raw in sorted(self._raw.items())}

    async def run(self, make: MakeJob) -> None:
        """Make jobs when they are due, until cancelled."""
        while True:
            self._changed.clear()
            at_ms = now_ms()
            for name, raw in list(self._raw.items()):
                if raw["nextRun"] and raw["nextRun"] <= at_ms:
                    await self._make(name, raw, at_ms, make)
            due = min((raw["nextRun"] for raw in self._raw.values() if raw["nextRun"]), default=None)
            wait_s = None if due is None else max(0, due - now_ms()) / 1_000
            try:
                await asyncio.wait_for(self._changed.wait(), wait_s)
            except TimeoutError:
                continue

    async def _make(self, name: str, raw: dict[str, Any], at_ms: int, make: MakeJob) -> None:
        """Make one job; what has made its last one is removed."""
        entry = entry_of(raw)
        raw["lastRun"], raw["iterationCount"] = at_ms, raw["iterationCount"] + 1
        waited_for = entry.repeat_after_complete is not None
        following = 0 if waited_for else following_run(entry, raw["nextRun"], at_ms)
        if following is None or raw["iterationCount"] >= raw.get("limit", raw["iterationCount"] + 1):
            del self._raw[name]
        else:
            raw["nextRun"] = following
        await make(name, entry, waited_for)

    def job_ended(self, name: str) -> None:
        """The job for which a scheduler waits has ended: the next one comes after the pause."""
        raw = self._raw.get(name)
        if raw is None or raw["nextRun"]:
            return
        following = following_run(entry_of(raw), 0, now_ms())
        if following is None:
            del self._raw[name]
        else:
            raw["nextRun"] = following
        self._changed.set()


_TIMING = ("pattern", "every", "repeatAfterComplete", "tz", "startDate", "endDate")
