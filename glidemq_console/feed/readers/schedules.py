"""The schedulers of all known queues, while they are listed."""

from __future__ import annotations

from dataclasses import replace

from ...model.lists.schedules import SchedulesView
from ..reading import Reading

#: How often they are read, a command a queue in one go.
EVERY_MS = 3_000


async def read_schedules(reading: Reading) -> None:
    """Read all schedulers, if they are listed and due."""
    if not reading.wants.schedules or not reading.is_due(("schedules", reading.known.complete), EVERY_MS):
        return
    found = await reading.attempt(reading.watch.all_schedulers(sorted(reading.rows.names)))
    if found is not None:
        view = SchedulesView(schedulers=found, complete=reading.known.complete, at_ms=reading.clock())
        reading.known = replace(reading.known, schedules=view)
