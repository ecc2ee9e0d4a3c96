"""What is spent, while that is shown: jobs that are known already are not read again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...model.lists.cost import DAY_MS, HOUR_MS, SpendView, spend_view
from ..reading import Reading

if TYPE_CHECKING:
    from glidemq_core.records.outcomes import UsageKey

EVERY_MS = 5_000
#: Jobs that are looked at, the newest that ended, and groups that are kept.
MOST, GROUPS = 2_000, 500


async def read_cost(reading: Reading) -> None:
    """Read what was spent in the last hour and day, if it is shown and due."""
    by = reading.wants.cost
    if by is None or not reading.is_due(("cost", by, reading.known.complete), EVERY_MS):
        return
    view = await reading.attempt(_view(reading, by))
    if view is not None:
        reading.known = replace(reading.known, cost=view)


async def _view(reading: Reading, by: UsageKey) -> SpendView:
    names = sorted(reading.rows.names)
    day = await reading.watch.usage_by(by, names, window=DAY_MS, limit=MOST, top=GROUPS)
    hour = await reading.watch.usage_by(by, names, window=HOUR_MS, limit=MOST, top=GROUPS)
    day = replace(day, complete=day.complete and reading.known.complete)
    return spend_view(by, hour, day, reading.clock())
