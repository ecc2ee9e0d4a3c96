"""What is spent, while that is shown: jobs that are known already are not read again."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from ...model.lists.cost import DAY_MS, HOUR_MS, SpendView, spend_view
from ..reading import Reading

if TYPE_CHECKING:
    from glidemq_core.records.outcomes import UsageKey

EVERY_MS = 5_000
#: Jobs that are looked at, the newest that ended, and groups that are kept.
MOST, GROUPS = 2_000, 500


class CostReader:
    """Reads what was spent beside the rounds: at first that takes a second or two, which nothing else waits for."""

    def __init__(self) -> None:
        self._part: tuple[object, ...] = ()
        self._task: asyncio.Task[SpendView] | None = None

    async def read_wanted(self, reading: Reading) -> None:
        """Take what was read, and begin to read again if it is shown and due."""
        by = reading.wants.cost
        part = ("cost", by, reading.known.complete)
        task = self._task
        if task is not None and part != self._part:
            # What is not shown any more is read again when it is.
            task.cancel()
            reading.make_due(self._part)
            task = None
        if task is not None and task.done():
            view = None if task.cancelled() else await reading.attempt(task)
            if view is not None:
                reading.known = replace(reading.known, cost=view)
            task = None
        if task is None and by is not None and reading.is_due(part, EVERY_MS):
            task, self._part = reading.beside(_view(reading, by)), part
        self._task = task


async def _view(reading: Reading, by: UsageKey) -> SpendView:
    names = sorted(reading.rows.names)
    day = await reading.watch.usage_by(by, names, window=DAY_MS, limit=MOST, top=GROUPS)
    hour = await reading.watch.usage_by(by, names, window=HOUR_MS, limit=MOST, top=GROUPS)
    day = replace(day, complete=day.complete and reading.known.complete)
    return spend_view(by, hour, day, reading.clock())
